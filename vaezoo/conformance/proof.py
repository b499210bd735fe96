"""A proof is a named function of a Subject: it gives a figure, or raises Wrong or NotRun. PROOFS lists them all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from vaezoo.conformance.subject import Subject
from vaezoo.registry import first_sentence

FALSE_ALARM = "1e-4"


@dataclass(frozen=True)
class Proof:
    """A named proof of some slots; `prove` gives the figure, or raises Wrong or NotRun."""

    name: str
    slots: tuple[str, ...]
    prove: Callable[[Subject], str]

    @property
    def formula(self) -> str:
        """The identity that is proved: the first sentence of its docstring."""
        return first_sentence(self.prove.__doc__ or "")

    @property
    def false_alarm(self) -> str:
        """The probability that it rejects a right plugin: the number after the words `false alarm` of its docstring.

        A proof that says nothing has at most FALSE_ALARM: it draws nothing, or allows ERRORS standard errors.
        """
        stated = re.search(r"false\s+alarm(?:\s+[a-z]+)*\s+([\d.]+(?:e-\d+)?)(?<!\.)", self.prove.__doc__ or "")
        return stated[1] if stated else FALSE_ALARM


@dataclass
class Proofs:
    """All proofs, in the order they were written."""

    every: list[Proof] = field(default_factory=list)

    def of(self, slot: str) -> list[Proof]:
        """The proofs of a slot."""
        return [proof for proof in self.every if slot in proof.slots]

    def add(self, name: str, *slots: str) -> Callable[[Callable[[Subject], str]], Callable[[Subject], str]]:
        """A decorator: enter a function as a proof of these slots."""

        def enter(prove: Callable[[Subject], str]) -> Callable[[Subject], str]:
            self.every.append(Proof(name, slots, prove))
            return prove

        return enter


PROOFS = Proofs()
