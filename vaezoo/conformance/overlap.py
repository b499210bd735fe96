"""Compare a density p with its samples through a density h that is known: bounded means, without a grid."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from vaezoo.conformance.grid import Density
from vaezoo.conformance.verdict import ERRORS, NotRun, must

VAGUE = 0.06
"""The relative standard error of the mass above which the comparison does not decide."""
REACHED = 50
"""The sum of p/(p + h), and of h/(p + h), that shows that p and h overlap."""
PROBES = 20
"""Random waves cos(w.y) with which samples and density are compared, beside each coordinate."""


class Drawable(Protocol):
    """A density h that can be drawn from."""

    def log_density(self, points: Tensor) -> Tensor:
        """log h(z). [N, d] -> [N]"""

    def sample(self, count: int) -> Tensor:
        """[count, d]"""


def overlap(density: Density, samples: Tensor, h: Drawable) -> str:
    """The mass of p, the figure of E_h[f p/(p + h)] = E_p[f h/(p + h)] with several f within [-1, 1].

    Both sides are the integral of f p h/(p + h) where p has mass 1 and the samples [N, d] follow it. p/(p + h) lies in
    [0, 1], so that both are means of bounded numbers, however heavy the tails of p/h and h/p are (Bennett 1976;
    Meng and Wong 1996). Their ratio with f = 1 is the mass of p. NotRun where p and h overlap too little to tell it.
    """
    drawn = h.sample(len(samples))
    of_p = (density(drawn).nan_to_num(nan=-math.inf) - h.log_density(drawn)).sigmoid()
    of_h = (h.log_density(samples) - density(samples).nan_to_num(nan=-math.inf)).sigmoid()
    for title, probe in _probes(samples):
        _compare(title, of_p * probe(drawn), of_h * probe(samples))
    mass = float(of_p.mean() / of_h.mean())
    error = math.hypot(float(of_p.std() / of_p.mean()), float(of_h.std() / of_h.mean())) / math.sqrt(len(samples))
    reached = min(float(of_p.sum()), float(of_h.sum())) > REACHED
    if not (error <= VAGUE and reached):
        raise NotRun(
            f"undecided: a mass of {mass:.2g} +- {error * mass:.1g}, as samples and fitted density overlap little"
        )
    return f"mass {mass:.3f} +- {error * mass:.1g}"


def _compare(title: str, of_p: Tensor, of_h: Tensor) -> None:
    """Wrong unless the means are equal within ERRORS standard errors, and 10 in the number of samples: so few rare
    samples may all lie on one side.
    """
    found, expected = float(of_p.mean()), float(of_h.mean())
    error = math.hypot(float(of_p.std()), float(of_h.std())) / math.sqrt(len(of_p))
    slack = ERRORS * error + 10 / len(of_p)
    detail = f"E_h[f p/(p + h)] with f = {title}: expected {expected:.5g} +- {slack:.1g}, found {found:.5g}"
    must(abs(found - expected) <= slack, f"{found:.4g} and {expected:.4g}", detail)


def _probes(samples: Tensor) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
    """Functions f of points [N, d], within [-1, 1]: 1, tanh of each coordinate, and waves in random directions."""
    centre = samples.median(0).values
    lower, upper = torch.quantile(samples, torch.tensor([0.25, 0.75], dtype=samples.dtype), dim=0)
    scale = (upper - lower).clamp(min=1e-9)
    generator = torch.Generator().manual_seed(0)
    waves = torch.randn(PROBES, samples.shape[1], generator=generator, dtype=samples.dtype) / math.sqrt(
        samples.shape[1]
    )

    def of_coordinate(axis: int) -> Callable[[Tensor], Tensor]:
        """tanh of one standardised coordinate."""
        return lambda y: torch.tanh((y[:, axis] - centre[axis]) / scale[axis])

    def of_wave(wave: Tensor) -> Callable[[Tensor], Tensor]:
        """cos(w.y) of squeezed coordinates, shifted so that it is neither odd nor even."""
        return lambda y: torch.cos(3 * torch.tanh((y - centre) / scale) @ wave + 0.5)

    found: list[tuple[str, Callable[[Tensor], Tensor]]] = [("1", lambda y: torch.ones(len(y), dtype=y.dtype))]
    found += [(f"tanh z{axis + 1}", of_coordinate(axis)) for axis in range(samples.shape[1])]
    return found + [(f"cos(w{n + 1}.z)", of_wave(wave)) for n, wave in enumerate(waves)]
