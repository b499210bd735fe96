"""Data from a linear Gaussian model. Its density and the optimum of a linear VAE are known in closed form."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.core import noise as noise_source
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register

GRID = 2.0**20
"""Values are rounded to this grid, so that the checksum does not depend on how a machine rounds its last bits."""


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + mu + noise * eps, z and eps standard normal: weights W [D, Z], mean mu [D], float64; noise > 0."""

    weights: Tensor
    mean: Tensor
    noise: float

    @property
    def covariance(self) -> Tensor:
        """W W' + noise^2 I. [D, D]"""
        eye = torch.eye(len(self.mean), dtype=self.mean.dtype, device=self.mean.device)
        return self.weights @ self.weights.T + self.noise**2 * eye

    def __call__(self, x: Tensor) -> Tensor:
        """log N(x; mu, W W' + noise^2 I) of each image, in nats, float64 on x's device: x [B, D] -> [B]."""
        normal = torch.distributions.MultivariateNormal(self.mean.to(x.device), self.covariance.to(x.device))
        value: Tensor = normal.log_prob(x.to(self.mean.dtype))
        return value


@register.dataset("linear-gaussian", paper="Tipping and Bishop (1999), Probabilistic Principal Component Analysis")
def linear_gaussian(
    root: Path, seed: int, *, dimensions: int = 10, latents: int = 3, noise: float = 0.5, images: int = 5000
) -> Dataset:
    """Synthetic x = W z + mu + noise * eps, shape (dimensions,), continuous, whose true log p(x) is known.

    dimensions: D. latents: Z; the columns of W are orthogonal, of norms falling evenly from 2 to 1. noise: the standard
    deviation of eps. images: of training; validation and test have 1,000 each. `log_likelihood` is a LinearGaussian.

    Raises VaezooError unless 1 <= latents <= dimensions, noise > 0 and images >= 1.
    """
    if not 1 <= latents <= dimensions:
        raise VaezooError(f"latents must lie in 1..dimensions={dimensions}, got {latents}")
    if not (noise > 0 and math.isfinite(noise)):
        raise VaezooError(f"noise is a standard deviation and must be above 0, got {noise:g}")
    if images < 1:
        raise VaezooError(f"images must be 1 or more, got {images}")
    truth = _model(seed, dimensions, latents, noise)
    sizes = {"train": images, "valid": 1000, "test": 1000}
    train, valid, test = (_draw(truth, seed, split, n) for split, n in sizes.items())
    return Dataset(train, valid, test, measure="continuous", log_likelihood=truth)


def _normal(seed: int, axis: str, images: int, dimensions: int) -> Tensor:
    """Standard normal numbers [images, dimensions], float64, keyed by image.

    More images do not change the first ones.
    """
    index = torch.arange(images, device="cpu")
    key = noise_source.derive(seed, "linear-gaussian", axis)
    with noise_source.stream(key, index=index, dtype=torch.float64):
        return noise_source.normal(1, images, dimensions)[0]


def _model(seed: int, dimensions: int, latents: int, noise: float) -> LinearGaussian:
    """The true parameters of a seed. The signs of W's columns are fixed, because QR does not determine them."""
    columns, upper = torch.linalg.qr(_normal(seed, "weights", dimensions, latents))
    norms = torch.linspace(2.0, 1.0, latents, dtype=torch.float64, device="cpu")
    mean = _normal(seed, "mean", 1, dimensions)[0]
    return LinearGaussian(columns * upper.diagonal().sign() * norms, mean, float(noise))


def _draw(truth: LinearGaussian, seed: int, split: str, images: int) -> Tensor:
    """Images of a split, float32 [images, D]."""
    dimensions, latents = truth.weights.shape
    z, eps = _normal(seed, split, images, latents + dimensions).split([latents, dimensions], dim=1)
    x = z @ truth.weights.T + truth.mean + truth.noise * eps
    rounded: Tensor = ((x * GRID).round() / GRID).to(torch.float32)
    return rounded


def ppca_optimum(x: Tensor, latents: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """Maximum-likelihood probabilistic PCA of x [N, D]: mean [D], weights [D, Z], variance, mean log-likelihood (nats).

    With eigenvalues l_1 >= ... >= l_D of the sample covariance (divided by N) and its eigenvectors U,

        variance = mean of l_{Z+1} .. l_D,    W = U_Z (diag(l_1 .. l_Z) - variance I)^(1/2)    up to a rotation of z,
        mean log p(x) = -(D log 2 pi + sum_{i <= Z} log l_i + (D - Z) log variance + D) / 2.

    No VAE with a linear decoder, Z standard normal latents and Gaussian noise of one variance has a higher
    log-likelihood or ELBO on x. float64 throughout.

    Raises VaezooError unless x is [N, D], 1 <= latents < D and the variance is above 0 (else there is no maximum).
    Tipping and Bishop (1999), Probabilistic Principal Component Analysis, section 3.2.
    """
    if x.ndim != 2 or not 1 <= latents < x.shape[1]:
        raise VaezooError(
            f"ppca_optimum needs x [N, D] and latents in 1..D-1, got x {list(x.shape)} and latents {latents}"
        )
    x = x.to(torch.float64)
    count, dimensions = x.shape
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / count)
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[latents:].mean()
    if not variance > 1e-12 * values[0]:
        raise VaezooError(
            f"these {count} images span only {latents} dimensions or fewer: the likelihood has no maximum"
        )
    weights = vectors[:, :latents] * (values[:latents] - variance).clamp_min(0).sqrt()
    logs = values[:latents].log().sum() + (dimensions - latents) * variance.log()
    return mean, weights, variance, float(-0.5 * (dimensions * (math.log(2 * math.pi) + 1) + logs))
