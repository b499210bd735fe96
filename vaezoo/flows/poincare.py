"""The Poincare ball of curvature -1: distances, the exponential map and the wrapped normal.

Points are in the open unit ball of R^Z, and the metric is (2 / (1 - |z|^2))^2 |dz|^2. Densities are with respect to its
volume, (2 / (1 - |z|^2))^Z dz. All is computed in float64, because distances grow without bound near the border, and
rounded to the dtype of the arguments.
"""

import math

import torch
from torch import Tensor

from vaezoo.core.gaussian import DiagonalGaussian

RESOLVED = 12.0
"""The distance from the centre up to which float32 tells points apart: it rounds distances by 0.002 there, and by 0.05
at 15. Priors and posteriors keep nearly all of their samples within it.
"""


def widest(latent: int, farthest: float = 0.0) -> float:
    """The std in each of Z dimensions of a wrapped normal whose mean is at most `farthest` from the centre, with which
    samples stay within RESOLVED: their distance from the mean is at most std (sqrt(Z) + 3), but for 1 in 10,000.
    """
    return (RESOLVED - farthest) / (math.sqrt(latent) + 3)


def length(v: Tensor) -> Tensor:
    """|v|, whose slope is 0 at 0. [..., Z] -> [...]"""
    square = v.square().sum(-1)
    return square.clamp(min=torch.finfo(v.dtype).tiny).sqrt()


def log_sinhc(r: Tensor) -> Tensor:
    """log(sinh(r) / r) of r >= 0; 0 at 0. [...]"""
    far = r.clamp(min=1e-2)
    square = r.clamp(max=1e-2).square()
    near = square / 6 - square.square() / 180 + square * square.square() / 2835
    return torch.where(r < 1e-2, near, far + (-torch.expm1(-2 * far)).log() - (2 * far).log())


def inside(z: Tensor, dtype: torch.dtype) -> Tensor:
    """Points pulled back along their radius to at most 1 - 4 eps of a dtype, so that rounding leaves them in the ball.

    At the limit they are 15.3 from the centre in float32, 35 in float64.
    """
    limit = 1 - 4 * torch.finfo(dtype).eps
    return z * (limit / length(z).clamp(min=limit)).unsqueeze(-1)


def distance_from_centre(z: Tensor) -> Tensor:
    """2 artanh |z|. float64 [..., Z] -> [...]"""
    radius = length(z).clamp(max=1 - torch.finfo(z.dtype).eps)
    return torch.log1p(radius) - torch.log1p(-radius)


def from_centre(v: Tensor) -> Tensor:
    """The point at distance |v| from the centre in the direction of v: tanh(|v| / 2) v / |v|. [..., Z] -> [..., Z]"""
    r = length(v)
    return v * (torch.tanh(0.5 * r) / r).unsqueeze(-1)


def to_centre(z: Tensor) -> Tensor:
    """The tangent vector at the centre that leads to z, the inverse of `from_centre`: 2 artanh(|z|) z / |z|. float64
    [..., Z] -> [..., Z]
    """
    return z * (distance_from_centre(z) / length(z)).unsqueeze(-1)


def added(x: Tensor, y: Tensor) -> Tensor:
    """Mobius addition, the isometry that moves the centre to x, of y. [..., Z], [..., Z] -> [..., Z]

    Ungar (2008). (-x) + (x + y) = y.
    """
    product = (x * y).sum(-1, keepdim=True)
    x_square, y_square = x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    above = (1 + 2 * product + y_square) * x + (1 - x_square) * y
    return above / (1 + 2 * product + x_square * y_square)


class WrappedNormal:
    """The law of exp_mu(v) with v ~ N(0, diag(std^2)) in the tangent space at mu; one latent group.

    v has orthonormal coordinates, carried from the centre to mu along the geodesic, so that |v| is the distance from
    mu. With respect to the volume of the ball, in nats,

        log q(z) = log N(v; 0, std) - (Z - 1) log(sinh |v| / |v|),   v = log_mu(z)

    It integrates to 1. At mu = 0 it is the wrapped normal about the centre; in one dimension it is a normal of the
    distance.

    mean: the tangent vector at the centre that leads to mu, [B, Z] ([Z] for a prior). log_std: of v, [B, Z].

    Nagano et al. (2019), arXiv:1902.02992; Mathieu et al. (2019), arXiv:1901.06033.
    """

    def __init__(self, mean: Tensor, log_std: Tensor):
        self.base = DiagonalGaussian(torch.zeros_like(mean), log_std)
        self.centre = from_centre(mean.double())
        self.log_one_minus_square = -2 * (length(mean.double()) / 2).cosh().log()

    @property
    def gaussian(self) -> None:
        """None: it is not Gaussian."""
        return None

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats, from the same v."""
        (v,), log_normal = self.base.rsample_and_log_prob(samples)
        wide = v.double()
        z = inside(added(self.centre, from_centre(wide)), v.dtype)
        return (z.to(v),), log_normal - self._log_volume(length(wide)).to(v)

    def rsample(self, samples: int) -> Tensor:
        """Samples alone. [K, ..., Z]"""
        return self.rsample_and_log_prob(samples)[0][0]

    def log_density(self, z: Tensor) -> Tensor:
        """log q of given points in nats. [..., Z] -> [...]"""
        wide = inside(z.double(), torch.float64)
        moved = added(-self.centre, wide)
        log_product = self.log_one_minus_square + torch.log1p(-wide.square().sum(-1))
        distance = 2 * torch.asinh(length(wide - self.centre) * (-0.5 * log_product).exp())
        v = moved * (distance / length(moved)).unsqueeze(-1)
        return (self.base.log_density(v) - self._log_volume(distance)).to(z)

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given points ([K, B, Z],) -> [L=1, K, B]"""
        return self.log_density(z[0])[None]

    def _log_volume(self, distance: Tensor) -> Tensor:
        """log of the volume of the exponential map at this distance. [...] -> [...]"""
        return (self.centre.shape[-1] - 1) * log_sinhc(distance)


def log_isotropic(z: Tensor, std: float) -> Tensor:
    """log of the wrapped normal about the centre whose distances have this std in each dimension. [..., Z] -> [...]

    `WrappedNormal` of mean 0, from the distance to the centre alone, which is the most exact near the border.
    """
    size, distance = z.shape[-1], distance_from_centre(z.double())
    constant = size * (math.log(std) + 0.5 * math.log(2 * math.pi))
    return (-0.5 * (distance / std).square() - constant - (size - 1) * log_sinhc(distance)).to(z)
