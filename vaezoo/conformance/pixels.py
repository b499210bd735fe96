"""A likelihood on small images: every image where they are countable and few, and slices through one image else."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaezoo.conformance.grid import Density, Grid, in_the_unit_interval
from vaezoo.conformance.subject import LEVELS, Subject, contexts
from vaezoo.conformance.verdict import NotRun
from vaezoo.core import noise
from vaezoo.core.requests import call_with_requests

COUNTS = {1: 4000, 2: 300}
"""How many counts are summed over, for one and for two pixels."""
SLICED = 1000
"""How many counts a slice goes through."""
ENUMERATED = 5000
"""The most images of finitely many that are summed over."""
NODES = 500
"""The nodes of a slice through a continuous density."""
EVEN = 0.02
"""The share of h that is spread evenly over the nodes of a slice."""


class Pixels:
    """A likelihood on images of one shape: points [N, pixels] under one image's parameters.

    values: those that a pixel can take (of counts, up to a large one), or None where they are not countable.
    """

    def __init__(self, subject: Subject, shape: tuple[int, ...], levels: int = LEVELS):
        plain = {"encoder": "linear", "decoder": "linear"}
        model = subject.build(shape=shape, levels=levels, double=True, altered=True, overrides=plain)[0].eval()
        self.likelihood, self.spec, self.count = model.likelihood, model.spec, model.spec.dimensions
        self._context = contexts(model, 1)
        self.bounded = self.spec.measure == "continuous" and self.spec.levels is not None
        self.values = self._values()

    def _values(self) -> Tensor | None:
        if self.spec.measure == "counts":
            return torch.arange(COUNTS.get(self.count, SLICED), dtype=torch.float64)
        if self.spec.measure == "continuous":
            return None
        levels = self.spec.levels if self.spec.measure == "discrete" and self.spec.levels else 2
        return torch.arange(levels, dtype=torch.float64) / (levels - 1)

    @property
    def title(self) -> str:
        """`discrete images of [3, 1, 1], 256 levels`."""
        levels = f", {self.spec.levels} levels" if self.spec.levels else ""
        return f"{self.spec.measure} images of {list(self.spec.shape)}{levels}"

    @property
    def enumerable(self) -> bool:
        """Whether every image can be summed over."""
        if self.values is None:
            return False
        if self.spec.measure == "counts":
            return self.count in COUNTS
        return bool(len(self.values) ** self.count <= ENUMERATED)

    @property
    def on_a_grid(self) -> bool:
        """Whether it is a density in one or two dimensions."""
        return self.values is None and self.count <= 2

    def parameters(self, count: int, size: float = 1.5) -> list[Tensor]:
        """Several images' parameters, each [1, 1, *parameter_shape]."""
        size = min(size, 0.7) if self.spec.measure == "counts" else size
        with noise.stream(23, dtype=torch.float64):
            drawn = size * noise.normal(count, *self.likelihood.parameter_shape)
        return list(drawn[:, None, None])

    def density(self, parameters: Tensor) -> Density:
        """log p(x) of points."""

        def density(points: Tensor) -> Tensor:
            """log p(x|z) of points under one image's parameters."""
            x = points.reshape(-1, *self.spec.shape)
            with torch.no_grad():
                return self.log_prob(x, parameters.expand(1, len(x), *parameters.shape[2:]))[0]

        return density

    def _served(self, images: int) -> dict[str, Any]:
        """What the likelihood's methods may request: one context for all images, and the progress of evaluation."""
        served: dict[str, Any] = {"progress": torch.ones((), dtype=torch.float64)}
        return served if self._context is None else served | {"context": self._context.expand(images, -1)}

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z). [N, *shape], [K, N, *parameter_shape] -> [K, N]"""
        value: Tensor = call_with_requests(self.likelihood.log_prob, x, parameters, parts=self._served(len(x)))
        return value

    def mean(self, parameters: Tensor) -> Tensor:
        """mean(parameters). [pixels]"""
        with torch.no_grad():
            mean: Tensor = call_with_requests(self.likelihood.mean, parameters[0], parts=self._served(1))
            return mean.flatten()

    def samples(self, parameters: Tensor, count: int) -> Tensor:
        """Drawn from p(x|z), [count, pixels]; where it has no `sample`, noise about its mean, to say where a grid must
        reach.
        """
        with torch.no_grad(), noise.stream(29, dtype=torch.float64):
            try:
                wide = parameters[0].expand(count, *parameters.shape[2:])
                drawn: Tensor = call_with_requests(self.likelihood.sample, wide, parts=self._served(count))
            except NotImplementedError:
                drawn = self.mean(parameters) + noise.normal(count, self.count)
        return drawn.flatten(1)

    def grid(self, parameters: Tensor, samples: Tensor) -> Grid:
        """A continuous density at the nodes of a grid."""
        return Grid(self.density(parameters), samples, bounded=self.bounded)

    def table(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Every image [N, pixels] of countable ones, and its probability."""
        assert self.values is not None
        points = torch.cartesian_prod(*[self.values] * self.count).view(-1, self.count)
        return points, self.density(parameters)(points).exp()

    def slices(self, parameters: Tensor) -> Slices:
        """Slices through an image near the middle of p."""
        return Slices(self, parameters)


class Slices:
    """h(x) = prod_i h_i(x_i), with h_i proportional to p along pixel i through one image; a density that is known.

    Where the pixels are independent given z, h is nearly p itself. `EVEN` of each h_i is spread evenly.
    """

    def __init__(self, pixels: Pixels, parameters: Tensor):
        samples = pixels.samples(parameters, 500)
        self.values, self.nodes = pixels.values, NODES if pixels.values is None else len(pixels.values)
        self.bounded = pixels.bounded
        middle = samples.median(0).values
        lower, upper = torch.quantile(samples, torch.tensor([0.1, 0.9], dtype=samples.dtype), dim=0)
        least = 1e-3 if self.values is None else float(self.values[1] - self.values[0])
        self.centre, self.scale = middle, (upper - lower).clamp(min=least) / 2
        places = torch.arange(self.nodes, dtype=samples.dtype)
        along, log_width = self._at(places if self.values is not None else places + 0.5)
        x = middle.expand(self.nodes, pixels.count, -1).clone()
        axis = torch.arange(pixels.count)
        x[:, axis, axis] = along
        log_p = pixels.density(parameters)(x.view(-1, pixels.count)).view(self.nodes, pixels.count)
        weight = (log_p + log_width).nan_to_num(nan=-math.inf).softmax(0)
        if bool(weight.isnan().any()):
            raise NotRun("undecided: p is nowhere positive along a slice")
        self.weight = (1 - EVEN) * weight + EVEN / self.nodes

    @property
    def upper_half(self) -> float:
        """The largest share of a pixel that h puts into the upper half of its nodes."""
        return float(self.weight[self.nodes // 2 :].sum(0).max())

    def _at(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """x and log dx/dplace at places between 0 and the number of nodes. [N] or [N, pixels] -> [N, pixels] twice"""
        place = place if place.ndim == 2 else place[:, None].expand(-1, len(self.centre))
        if self.values is not None:
            return self.values[place.long()], torch.zeros_like(place)
        if self.bounded:
            x, slope = in_the_unit_interval(place / self.nodes)
            return x, slope.log() - math.log(self.nodes)
        t = 2 * place / self.nodes - 1
        slope = self.scale * 2 / self.nodes * (1 + t.square()) / (1 - t.square()).square()
        return self.centre + self.scale * t / (1 - t.square()), slope.log()

    def sample_and_log_density(self, count: int) -> tuple[Tensor, Tensor]:
        """Draws x [count, pixels] and log h(x) [count]."""
        generator = torch.Generator().manual_seed(0)
        cell = torch.multinomial(self.weight.T, count, replacement=True, generator=generator).T
        within = torch.rand(cell.shape, generator=generator, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        x, log_width = self._at(cell if self.values is not None else cell + within)
        return x, (self.weight.gather(0, cell).log() - log_width).sum(-1)

    def sample(self, count: int) -> Tensor:
        """Draws from h. [count, pixels]"""
        return self.sample_and_log_density(count)[0]

    def log_density(self, points: Tensor) -> Tensor:
        """log h(x). [N, pixels] -> [N]"""
        if self.values is not None:
            place = (points / float(self.values[1] - self.values[0])).round()
        elif self.bounded:
            root = (points / (1 - points)).pow(1 / 3)  # t / (1 - t), see `in_the_unit_interval`
            place = torch.where(points < 1, root / (1 + root), 1.0) * self.nodes
        else:
            size = 2 * (points - self.centre) / self.scale
            t = size / (1 + (1 + size.square()).sqrt())
            place = (t + 1) / 2 * self.nodes
        inside = ((place >= 0) & (place < self.nodes)).all(-1)
        place = place.clamp(0, self.nodes - 1e-9)
        log_width = self._at(place)[1]
        found = (self.weight.gather(0, place.long()).log() - log_width).sum(-1)
        return torch.where(inside, found, -math.inf)
