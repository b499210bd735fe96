"""What a proof says: a figure where it passes, Wrong where it fails, NotRun where it does not apply."""

from __future__ import annotations

from dataclasses import dataclass

PASS, FAIL, NOT_RUN = "pass", "FAIL", "not run"


@dataclass(frozen=True)
class Finding:
    """What a proof found.

    verdict: `pass`, `FAIL` or `not run`. figure: the number that decided. detail: after a failure the formula, what it
    expected and what was found; where the proof was not run, the reason. formula: what the proof compares. false_alarm:
    the probability that it rejects a right plugin. code: the fingerprint of what was proved, where its process hashed
    it.
    """

    proof: str
    verdict: str
    figure: str = ""
    detail: str = ""
    seconds: float = 0.0
    formula: str = ""
    false_alarm: str = ""
    code: str = ""


class NotRun(Exception):
    """The proof does not apply here, or cannot be carried out; the message is the reason. It is not a pass."""


class Wrong(Exception):
    """The proof failed."""

    def __init__(self, figure: str, detail: str):
        super().__init__(detail)
        self.figure, self.detail = figure, detail


def must(true: bool, figure: str, detail: str) -> str:
    """The figure where the claim is true; Wrong where it is not."""
    if not true:
        raise Wrong(figure, detail)
    return figure


def close_to(found: float, expected: float, tolerance: float, what: str) -> str:
    """The figure where found is within the tolerance of what was expected; Wrong (also for NaN) where it is not."""
    off = abs(found - expected)
    return must(
        off <= tolerance, f"{found:.6g}", f"{what}: expected {expected:.6g} +- {tolerance:.1g}, found {found:.6g}"
    )


ERRORS = 5.0
"""Standard errors that a mean may be off: a right plugin fails once in 1.7 million for each mean that is normal, and
once in 80,000 where the error is that of 40 numbers (Student's t): under once in 10,000 for each proof, of 6 means or
fewer.
"""


def within_errors(found: float, expected: float, error: float, what: str, floor: float = 1e-6) -> str:
    """The figure, in standard errors, where found is within ERRORS of what was expected; Wrong where it is not."""
    off = abs(found - expected)
    beyond = off - floor if not off <= floor else 0.0
    size = beyond / error if error > 0 else 0.0 if beyond == 0 else float("inf")
    said = f"{size:.1f}" if size < 1e4 else f"{size:.1g}"
    return must(
        off <= ERRORS * error + floor,
        f"{said} s.e.",
        f"{what}: expected {expected:.5g}, found {found:.5g} +- {error:.2g}, which is {said} standard errors off",
    )
