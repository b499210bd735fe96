"""Interleaved rounds, their ratios as a Markdown table, and the checks that all contestants did the same work."""

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from vaezoo.evaluation.blocks import now

CLEAR = 4.0
"""Standard errors by which two mean estimates may differ."""
SHARP = 0.5
"""Nats: a difference known no better than this would prove nothing."""
SAME = 0.05
"""Share by which the ELBOs of one net trained by several loops may differ."""


class Table:
    """What was measured: the rate of each contestant in each round, by items of work a second.

    One more round, the first, warms up and is not kept. The order of a round moves on by one from round to round.
    """

    def __init__(self, title: str, unit: str, items: int, device: torch.device):
        self.title, self.unit, self.items, self.device = title, unit, items, device
        self.rates: dict[str, list[float]] = {}

    def run(self, work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, object]:
        """Time each one's work, once a round; returns the last result of each."""
        names, last = list(work), {}
        self.rates = {name: [] for name in names}
        for turn in range(rounds + 1):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                started = now(self.device)
                last[name] = work[name]()
                seconds = now(self.device) - started
                if turn:
                    self.rates[name].append(self.items / seconds)
        return last

    def ratios(self, name: str, other: str) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile over the rounds of one's rate by another's."""
        found = [mine / theirs for mine, theirs in zip(self.rates[name], self.rates[other], strict=True)]
        low, median, high = statistics.quantiles(found * 2 if len(found) == 1 else found, n=4, method="inclusive")
        return low, median, high

    def rows(self) -> list[dict]:
        """One for each contestant: median rate, the rate of each round."""
        return [
            {"table": self.title, "name": name, "unit": self.unit, "median": statistics.median(r), "rounds": r}
            for name, r in self.rates.items()
        ]

    def markdown(self) -> str:
        """Medians, and ratios to the first contestant with their quartiles."""
        base = next(iter(self.rates))
        lines = [f"| {self.title} | {self.unit} | relative | quartiles |", "|:--|--:|--:|--:|"]
        for name, rates in self.rates.items():
            low, median, high = self.ratios(name, base)
            lines.append(f"| {name} | {statistics.median(rates):,.0f} | {median:.2f} | {low:.2f} .. {high:.2f} |")
        return "\n".join(lines)

    def against(self, name: str, others: Iterable[str], what: str) -> str:
        """One line: the ratio to the fastest of the others, which are called so."""
        fastest = max(others, key=lambda other: statistics.median(self.rates[other]))
        low, median, high = self.ratios(name, fastest)
        return f"{name} / {what} ({fastest}): {median:.3f} (quartiles {low:.3f} .. {high:.3f})"


def same_objective(values: Mapping[str, float]) -> None:
    """Exit where the contestants' last ELBOs, in nats an image, differ by more than the share SAME."""
    low, high = min(values.values()), max(values.values())
    if not all(map(math.isfinite, values.values())) or high - low > SAME * abs(low):
        sys.exit(f"not the same training: {', '.join(f'{name} {value:.1f} nats' for name, value in values.items())}")


def agree(found: Mapping[str, Tensor], samples: int) -> str:
    """One line on the mean estimates [N]; exit where one differs from the last, vaezoo's, by more than chance.

    Estimators of the same K are distributed alike, so that their difference at an image is symmetric about 0 whatever
    the weights' tails: its standard error is taken from its spread over the images.
    """
    ours, differences = list(found.values())[-1].double().cpu(), []
    for name, values in found.items():
        rise = values.double().cpu() - ours
        mean, error = float(rise.mean()), float(rise.std()) / math.sqrt(len(rise))
        differences.append(f"{name} {float(values.mean()):.3f} (by {mean:+.3f} +- {error:.3f})")
        if not error <= SHARP:
            sys.exit(f"{name}: its difference to vaezoo is known to {error:.2f} nats only; take more samples")
        if not abs(mean) <= CLEAR * error:
            sys.exit(f"{name} differs from vaezoo by {mean:+.3f} nats, standard error {error:.3f}")
    return f"The same weights at K = {samples:,}, in nats, and the difference to vaezoo: {', '.join(differences)}."
