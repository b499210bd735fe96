"""A model whose log p(x) and posterior are known: linear and Gaussian, with orthogonal weight columns."""

import math
from dataclasses import dataclass

import torch
from scipy.stats import multivariate_normal
from torch import Tensor

import vaezoo
from vaezoo.builder import build
from vaezoo.core.model import LatentModel


@dataclass
class LinearModel:
    """x = W z + mu + noise * eps; `model` is `ppca` with these weights, its q(z|x) N(m + shift sqrt(v), scale v) where
    N(m, v) is the posterior. All in float64; images drawn from it are the dataset's splits.
    """

    model: LatentModel
    dataset: vaezoo.Dataset
    mean: Tensor
    covariance: Tensor
    variance: Tensor
    scale: float
    shift: float

    @property
    def x(self) -> Tensor:
        return self.dataset.test.x

    def log_p(self, x: Tensor) -> Tensor:
        """log p(x), by scipy. [B]"""
        value = multivariate_normal(self.mean.numpy(), self.covariance.numpy()).logpdf(x.numpy())
        return torch.as_tensor(value, dtype=torch.float64).reshape(len(x))

    @property
    def divergence(self) -> float:
        """KL(q || p(z|x)), the same for each image."""
        latents = len(self.variance)
        return latents * 0.5 * (self.scale + self.shift**2 - 1 - math.log(self.scale))


def linear_model(
    latents: int = 2, *, scale: float = 1.0, shift: float = 0.0, images: int = 8, noise: float = 0.6, seed: int = 0
) -> LinearModel:
    """scale: q's variance over the posterior's. shift: of q's mean, in the posterior's standard deviations."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    dimensions = latents + 3
    norms = torch.linspace(1.7, 0.8, latents, dtype=torch.float64)
    weights = torch.linalg.qr(normal(dimensions, latents))[0] * norms
    mean = normal(dimensions)
    train, valid, test = (
        normal(images, latents) @ weights.T + mean + noise * normal(images, dimensions) for _ in range(3)
    )
    dataset = vaezoo.Dataset(train, valid, test, measure="continuous")
    model = build("ppca", dataset, latent=latents).double()
    diagonal = norms.square() + noise**2
    variance = noise**2 / diagonal
    with torch.no_grad():
        model.decoder.net[0].weight.copy_(weights)
        model.decoder.net[0].bias.copy_(mean)
        model.likelihood.raw.fill_(math.log(math.expm1(noise - model.likelihood.min_std)))
        head = model.posterior_net.heads[1]
        head.weight.zero_()
        head.weight[:latents] = weights.T / diagonal[:, None]
        head.bias[:latents] = -(weights.T @ mean) / diagonal + shift * variance.sqrt()
        head.bias[latents:] = 0.5 * (scale * variance).log()
    covariance = weights @ weights.T + noise**2 * torch.eye(dimensions, dtype=torch.float64)
    return LinearModel(model, dataset, mean, covariance, variance, scale, shift)
