"""The audit of a trained model as a record keeps it: each figure with its bound. Needs no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CLAIMS: Mapping[str, str] = {
    "reloaded": "iwll of test images, evaluated again in another order with the weights of the file, differs by",
    "likelihood_after_others": "log p(x|z) of given x and z, after other images were encoded, differs by",
    "likelihood_beside_others": "log p(x|z) of given x and z, beside other images or under another index, differs by",
    "prior_after_others": "log p(z) of given z, after other images were encoded, differs by",
    "prior_beside_others": "log p(z) of given z, beside other images, another x or another index, differs by",
    "later_pixels": "E[x|z] of a pixel, where pixels that come after it in the decoder's order change, differs by",
    "prior_mass": "the log of the prior's mass, a mean of p(z)/g(z) over z from Gaussians g, is",
    "probability": "the highest log-probability of one test image is",
    "mean_probability": "the mean log-probability of the test images is",
    "probability_in_errors": "the log-probability of an image lies above 0 by this many of its standard errors:",
}
"""What each figure of an audit is. Differences are relative to the size of the terms."""


@dataclass(frozen=True)
class Figure:
    """A figure of an audit, and the most that it may be. found: None where it is not finite."""

    found: float | None
    most: float

    @classmethod
    def of(cls, found: float, most: float) -> "Figure":
        """The figure of a number, which may be NaN or infinite."""
        return cls(float(found) if math.isfinite(found) else None, most)

    @property
    def holds(self) -> bool:
        """Whether the figure is at most what it may be."""
        return self.found is not None and self.found <= self.most

    def __str__(self) -> str:
        return f"{'not finite' if self.found is None else format(self.found, '.3g')}, at most {self.most:.3g}"


@dataclass(frozen=True)
class Audit:
    """What was compared of a trained model, by the names of CLAIMS.

    images: how many test images were evaluated again. not_decided: why a figure is not there.
    """

    images: int
    figures: dict[str, Figure]
    not_decided: dict[str, str] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[str, ...]:
        """A line for each figure that is more than it may be."""
        failed = ((name, each) for name, each in self.figures.items() if not each.holds)
        return tuple(f"{CLAIMS.get(name, name)} {figure}" for name, figure in failed)

    @property
    def failure(self) -> str | None:
        """All failures in one line, or None."""
        return f"audit: {'; '.join(self.failures)}" if self.failures else None

    def to_json(self) -> dict[str, Any]:
        """The audit as a record holds it; not_decided is left out where it is empty."""
        value: dict[str, Any] = {"images": self.images}
        value["figures"] = {name: dict(vars(figure)) for name, figure in self.figures.items()}
        return value | ({"not_decided": dict(self.not_decided)} if self.not_decided else {})
