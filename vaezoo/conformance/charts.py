"""Charts: coordinates of R^d for latents that live on a sphere, in a ball or in [0, 1]^Z, so that one grid serves all.

A density p(z) with respect to the support's volume is p(z) |dz/dy| in the coordinates y.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.conformance.verdict import NotRun
from vaezoo.core.contracts import Latents

LOG_TWO = math.log(2)


class Chart:
    """Coordinates y [N, d] of latents, a tuple of [N, Z_l], and log |dz/dy|.

    real: y = z. unit: y = logit z. sphere: the stereographic projection from the point opposite to the samples' mean
    direction, so that d = Z - 1. ball: y = z atanh(|z|) / |z|.

    samples: of the distribution, which say where its mean lies. hyperbolic: whether the volume of a ball is that of the
    Poincare ball, (2 / (1 - |z|^2))^Z dz, in place of dz.
    """

    def __init__(self, kinds: tuple[str, ...], samples: Latents, hyperbolic: bool = False):
        if "discrete" in kinds:
            raise NotRun("a discrete group has no coordinates")
        if any(kind == "sphere" and z.shape[-1] == 1 for kind, z in zip(kinds, samples, strict=True)):
            raise NotRun("a sphere in one dimension is two points")
        self.kinds, self.hyperbolic = kinds, hyperbolic
        self.sizes = [z.shape[-1] - (kind == "sphere") for kind, z in zip(kinds, samples, strict=True)]
        self.mirrors = [_mirror(z) if kind == "sphere" else None for kind, z in zip(kinds, samples, strict=True)]

    def coordinates(self, z: Latents) -> Tensor:
        """y of latents. -> [N, d]"""
        found = []
        for kind, group, mirror in zip(self.kinds, z, self.mirrors, strict=True):
            if kind == "unit":
                group = group.logit(1e-300)
            elif mirror is not None:
                group = _reflected(group, mirror)
                group = group[..., :-1] / (1 + group[..., -1:]).clamp(min=1e-12)
            elif kind == "ball":
                radius = group.norm(dim=-1, keepdim=True).clamp(1e-12, 1 - 1e-15)
                group = group * torch.atanh(radius) / radius
            found.append(group)
        return torch.cat(found, -1)

    def latents(self, y: Tensor) -> Latents:
        """The latents at y. [N, d] -> a tuple of [N, Z_l]"""
        found = []
        for kind, group, mirror in zip(self.kinds, y.split(self.sizes, -1), self.mirrors, strict=True):
            if kind == "unit":
                group = group.sigmoid()
            elif mirror is not None:
                square = group.square().sum(-1, keepdim=True)
                group = _reflected(torch.cat([2 * group, 1 - square], -1) / (1 + square), mirror)
            elif kind == "ball":
                radius = group.norm(dim=-1, keepdim=True).clamp(min=1e-12)
                group = group * torch.tanh(radius) / radius
            found.append(group)
        return tuple(found)

    def log_volume(self, y: Tensor) -> Tensor:
        """log |dz/dy|. [N, d] -> [N]"""
        total = y.new_zeros(y.shape[:-1])
        for kind, group in zip(self.kinds, y.split(self.sizes, -1), strict=True):
            size = group.shape[-1]
            if kind == "unit":
                total = total + (F.logsigmoid(group) + F.logsigmoid(-group)).sum(-1)
            elif kind == "sphere":
                total = total + size * (2 / (1 + group.square().sum(-1))).log()
            elif kind == "ball":
                radius = group.norm(dim=-1).clamp(min=1e-12)
                log_one_minus_square = -2 * (radius + F.softplus(-2 * radius) - LOG_TWO)
                total = total + log_one_minus_square + (size - 1) * (torch.tanh(radius) / radius).log()
                if self.hyperbolic:
                    total = total + size * (LOG_TWO - log_one_minus_square)
        return total


def _mirror(samples: Tensor) -> Tensor:
    """The normal of the plane that reflects the samples' mean direction to the last axis. [Z]"""
    mean = samples.mean(0)
    last = torch.zeros_like(mean)
    last[-1] = 1.0
    direction = mean / mean.norm() if float(mean.norm()) > 1e-6 else last
    normal = direction - last
    return normal / normal.norm() if float(normal.norm()) > 1e-6 else torch.zeros_like(mean)


def _reflected(points: Tensor, normal: Tensor) -> Tensor:
    """Points reflected at the plane through 0 with this normal; unchanged where it is 0."""
    return points - 2 * (points @ normal)[..., None] * normal
