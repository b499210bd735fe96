"""The abstract parts that plugins fill. Letters: K importance samples, B images, L latent groups (1 when flat), Z
latent dimensions.

Every part treats each image of a batch alone, in train and in eval mode; only an objective may couple a batch, and says
so. What a part keeps from step to step is a buffer, changed in place: a training step is replayed without its Python.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from vaezoo.core.requests import call, may_request

if TYPE_CHECKING:
    from vaezoo.core.draws import Draws
    from vaezoo.core.gaussian import DiagonalGaussian

Latents = tuple[Tensor, ...]
"""One tensor [K, B, Z_l] for each latent group, top first."""


class PosteriorDistribution(Protocol):
    """q(z|x) of a batch of images, as a Posterior gives it."""

    @property
    def gaussian(self) -> DiagonalGaussian | None:
        """The diagonal Gaussian that q is, or None."""

    def rsample_and_log_prob(self, samples: int) -> tuple[Latents, Tensor]:
        """K reparameterised samples, a tuple of [K, B, Z_l], and log q [L, K, B] in nats."""

    def log_prob(self, z: Latents) -> Tensor | None:
        """log q(z|x) of given points [L, K, B] in nats, or None where only its own samples can be scored."""


class Encoder(nn.Module, ABC):
    """x [B, *shape] -> features [B, *features]. `self.features` is the shape of one image's features."""

    features: tuple[int, ...]

    @abstractmethod
    @may_request
    def forward(self, x: Tensor) -> Tensor:
        """Features of each image. [B, *shape] -> [B, *features]"""


class Posterior(nn.Module, ABC):
    """features [B, *features] -> q(z|x)."""

    @abstractmethod
    @may_request
    def forward(self, features: Tensor) -> PosteriorDistribution:
        """The distribution q(z|x) of each image."""


class Prior(nn.Module, ABC):
    """p(z). A flat prior writes `log_density` and `sample`; this class adds the rest."""

    @may_request
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats of a flat latent, normalised. [..., Z] -> [...]"""
        raise NotImplementedError(f"{type(self).__name__} must write log_density(z) or log_prob(z)")

    @may_request
    def log_prob(self, z: Latents, parts: Mapping[str, Any]) -> Tensor:
        """log p(z) of each latent group in nats. -> [L, K, B]"""
        return call(self.log_density, z[0], parts=parts)[None]

    @abstractmethod
    @may_request
    def sample(self, n: int) -> Tensor | Latents:
        """n draws from p(z): [n, Z], or a tuple of [n, Z_l]."""

    @may_request
    def kl(self, q: PosteriorDistribution) -> Tensor | None:
        """KL(q(z|x) || p(z)) in closed form, of each group, image and dimension, in nats [L, B, Z]; None where there is
        none.
        """
        return None


class Decoder(nn.Module, ABC):
    """z -> the parameters of p(x|z). `forward` sees [N, Z] (the lowest group) and gives [N, *parameter_shape]; this
    class folds K and B.
    """

    @abstractmethod
    @may_request
    def forward(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z). [N, Z] -> [N, *parameter_shape]"""

    def parameters_of(self, z: Latents, parts: Mapping[str, Any]) -> Tensor:
        """Parameters of p(x|z) for K samples of B images. ([K, B, Z_l], ...) -> [K, B, *parameter_shape]"""
        samples, images = z[-1].shape[:2]
        folded = dict(parts, groups=tuple(group.flatten(0, 1) for group in z))
        for name in ("x", "context"):
            if name in parts:
                folded[name] = parts[name].expand(samples, *parts[name].shape).flatten(0, 1)
        out = call(self.forward, folded["groups"][-1], parts=folded, entry=self)
        return out.unflatten(0, (samples, images))


class Likelihood(nn.Module, ABC):
    """p(x|z) given the decoder's parameters: normalised over the images of its measures, with every constant.

    measures: which of `binary`, `discrete`, `counts`, `continuous` it scores. self.parameter_shape: shape of one
    image's parameters.
    """

    measures: ClassVar[tuple[str, ...]] = ()
    parameter_shape: tuple[int, ...]

    @abstractmethod
    @may_request
    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) summed over pixels, in nats. [B, *shape], [K, B, *parameter_shape] -> [K, B]"""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z]. [..., *parameter_shape] -> [..., *shape]"""

    def sample(self, parameters: Tensor) -> Tensor:
        """x drawn from p(x|z). [..., *parameter_shape] -> [..., *shape]"""
        raise NotImplementedError(f"likelihood {type(self).__name__} has no sample(parameters)")


class Objective(nn.Module, ABC):
    """What training maximises, from the draws of one pass. Objectives train, bounds report: its value never reaches a
    table.

    importance_samples: its K in training. batch_coupled: whether an image's value depends on the others of its batch.
    lower_bound: whether its mean is at most log p(x) where the KL's weight is 1. surrogate: whether only its gradient,
    not its value, is what it claims. `vaezoo check` holds it to all of these.
    """

    importance_samples: int = 1
    batch_coupled: bool = False
    lower_bound: bool = False
    surrogate: bool = False

    def estimates(self, draws: Draws) -> Tensor | None:
        """What it claims to maximise in expectation where the KL's weight is 1, written plainly: [B] or a scalar, in
        nats.

        None: it makes no claim that could be checked.
        """
        return None

    @abstractmethod
    def forward(self, draws: Draws) -> Tensor | dict[str, Tensor]:
        """Nats to maximise: [B], a scalar, or {"inference" | "generative" | "own": value}, each of which moves only its
        own group of
        parameters (encoder and posterior; prior, decoder and likelihood; the objective's own)."""


def flat_parameters(values: tuple[int, ...]) -> int:
    """Number of elements of a shape, for a linear layer."""
    return int(torch.Size(values).numel())
