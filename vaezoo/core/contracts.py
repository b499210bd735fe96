"""The abstract parts that plugins fill. Letters: K importance samples, B images, L latent groups (1 when flat), Z
latent dimensions.

Every part treats each image of a batch alone, in train and in eval mode. Only an objective may couple a batch, and it
declares so. A pass is pure: it changes no attribute, no buffer and no global. What changes over training is one of
three things, and any part or objective may have each:

progress, in 0..1, which a method requests or reads from the draws. annealed_until: the progress after which it changes
nothing more; no epoch before it is chosen as the best.
update(draws), which runs after the objective without gradients and writes declared buffers only (a moving baseline, an
EMA codebook). The step puts their new values in place after the optimiser's step.
refit(images), which runs after each epoch without gradients on up to 1,000 training images [N, *shape] and writes
parameters and buffers in place. Where it names `parameters`, that is a function images -> the parameters of p(x|z)
[N, *parameter_shape] at one draw z ~ q(z|x).

replayable, an attribute of every part and objective from outside vaezoo, declares that a training step may be replayed
without its Python: that its code stores to nothing but local names (training/replay/rule.py).

surrogate, an attribute of encoder, posterior, decoder and objective, declares that a gradient is meant to be another
than the derivative of the value, as that of a straight-through estimator is. `vaezoo check` then shows how far a
posterior's gradient is off and does not compare the part's own derivatives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.requests import may_request, requested_arguments

if TYPE_CHECKING:
    from vaezoo.core.draws import Draws
    from vaezoo.core.gaussian import DiagonalGaussian

Latents = tuple[Tensor, ...]
"""One tensor [K, B, Z_l] for each latent group, top first."""
Support = Literal["real", "sphere", "ball", "unit", "discrete"]
"""Where a latent group lives: R^Z, the unit sphere or the unit ball of R^Z (densities are then with respect to their
Riemannian volume), [0, 1]^Z, or a countable set of codes (whose densities are probabilities).
"""


class PosteriorDistribution(Protocol):
    """q(z|x) of a batch of images; a Posterior returns it.

    Where q is Gaussian and its dimensions are correlated, it may also have `for_kl`, a DiagonalGaussian that knows
    `kl` and `kl_standard_normal` alone: LatentModel.kl hands it to a prior that finds no closed form for q itself.
    """

    @property
    def gaussian(self) -> DiagonalGaussian | None:
        """q itself where it is a diagonal Gaussian, else None."""

    def rsample_and_log_prob(self, samples: int) -> tuple[Latents, Tensor]:
        """K reparameterised samples, a tuple of [K, B, Z_l], and log q [L, K, B] in nats."""

    def log_prob(self, z: Latents) -> Tensor | None:
        """log q(z|x) of given points [L, K, B] in nats, or None where q can score only its own samples."""


class Encoder(nn.Module, ABC):
    """x [B, *shape] -> features [B, *features]. `self.features` is the shape of one image's features."""

    replayable: ClassVar[bool] = False
    annealed_until: float = 0.0
    surrogate: bool = False
    features: tuple[int, ...]

    @abstractmethod
    @may_request
    def forward(self, x: Tensor) -> Tensor:
        """Features of each image. [B, *shape] -> [B, *features]"""


class Posterior(nn.Module, ABC):
    """features [B, *features] -> q(z|x).

    support: where its samples live, one for all groups or a tuple with one for each.
    """

    replayable: ClassVar[bool] = False
    annealed_until: float = 0.0
    surrogate: bool = False
    support: Support | tuple[Support, ...] = "real"

    @abstractmethod
    @may_request
    def forward(self, features: Tensor) -> PosteriorDistribution:
        """The distribution q(z|x) of each image."""


class Prior(nn.Module, ABC):
    """p(z). A flat prior (L = 1) writes `log_density` and `sample`; this class adds the rest.

    support: where p(z) lives, one for all groups or a tuple with one for each. It must be the posterior's.
    """

    replayable: ClassVar[bool] = False
    annealed_until: float = 0.0
    support: Support | tuple[Support, ...] = "real"

    @may_request
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats of a flat latent, normalised. [..., Z] -> [...]"""
        raise NotImplementedError(f"{type(self).__name__} must write log_density(z) or log_prob(z)")

    @may_request
    def log_prob(self, z: Latents) -> Tensor:
        """log p(z) of each latent group in nats, given the groups above it. -> [L, K, B]

        A flat prior inherits it: it is `log_density` of the one group, for which LatentModel serves the requests.
        """
        if len(z) > 1:
            raise NotImplementedError(f"{type(self).__name__} must write log_prob(z) for {len(z)} latent groups")
        return self.log_density(z[0])[None]

    @abstractmethod
    @may_request
    def sample(self, n: int) -> Tensor | Latents:
        """n draws from p(z): [n, Z], or a tuple of [n, Z_l]."""

    @may_request
    def kl(self, q: PosteriorDistribution) -> tuple[Tensor, ...] | None:
        """KL(q(z|x) || p(z)) of each image and dimension, in nats: a tensor [B, Z_l] for each group; None where it has
        no closed form.

        A group's divergence may depend on the groups above it. Then `kl(self, q, z)` requests the samples and gives the
        mean over K.
        """
        return None


class Decoder(nn.Module, ABC):
    """z -> the parameters of p(x|z).

    `forward` gets the lowest group as [N, Z] and gives [N, *parameter_shape]; this class folds K and B into N, also of
    `groups`, `x`, `context` and `index`.

    autoregressive: whether p(x|z) is a product over pixels in which each one's parameters depend on the pixels before
    it. `forward` is then served x, and `vaezoo.LatentModel.sample` draws pixel by pixel in the order of `pixel_order`.
    """

    replayable: ClassVar[bool] = False
    annealed_until: float = 0.0
    surrogate: bool = False
    autoregressive: ClassVar[bool] = False

    @abstractmethod
    @may_request
    def forward(self, z: Tensor) -> Tensor:
        """Parameters of p(x|z). [N, Z] -> [N, *parameter_shape]"""

    def parameters_of(self, z: Latents, parts: Mapping[str, Any]) -> Tensor:
        """Parameters of p(x|z) for K samples of B images. ([K, B, Z_l], ...) -> [K, B, *parameter_shape]"""
        samples, images = z[-1].shape[:2]
        groups, served = tuple(group.flatten(0, 1) for group in z), {}
        for name, _ in requested_arguments(self.forward, 1):
            if name == "groups":
                served[name] = groups
            elif name in parts:
                value = parts[name]
                folds = name in ("x", "context", "index")
                served[name] = value.expand(samples, *value.shape).flatten(0, 1) if folds else value
        return torch.unflatten(self(groups[-1], **served), 0, (samples, images))

    def pixel_order(self, shape: tuple[int, ...]) -> Tensor:
        """The order in which an autoregressive decoder's pixels are drawn: places in the flattened image, [D] int64; or
        [steps, places], where those of a step are drawn together, as for a likelihood that couples a pixel's channels.

        The default goes through an image [C, H, W] row by row, and through the channels of each pixel.
        """
        places = torch.arange(int(torch.Size(shape).numel())).view(shape)
        return (places.movedim(0, -1) if len(shape) == 3 else places).flatten()


class Likelihood(nn.Module, ABC):
    """p(x|z) given the decoder's parameters, normalised over the images of its measures, every constant included.

    measures: the ones it scores, of `binary`, `discrete`, `counts` and `continuous`. self.parameter_shape: the shape of
    one image's parameters.
    """

    replayable: ClassVar[bool] = False
    annealed_until: float = 0.0
    measures: ClassVar[tuple[str, ...]] = ()
    parameter_shape: tuple[int, ...]

    @abstractmethod
    @may_request
    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) summed over pixels, in nats; that of a sample depends on no other sample.
        [B, *shape], [K, B, *parameter_shape] -> [K, B]
        """

    @abstractmethod
    @may_request
    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z]. [..., B, *parameter_shape] -> [..., B, *shape], where a context is [B, C]"""

    @may_request
    def sample(self, parameters: Tensor) -> Tensor:
        """x drawn from p(x|z). [..., B, *parameter_shape] -> [..., B, *shape], where a context is [B, C]"""
        raise NotImplementedError(f"likelihood {type(self).__name__} has no sample(parameters)")


PARAMETER_GROUPS = ("inference", "generative", "own")
"""The groups of parameters that an objective may give a value each: see `Objective.forward`."""


class Objective(nn.Module, ABC):
    """What training maximises, computed from the draws of one pass. Objectives train, bounds report: no table shows an
    objective's value.

    importance_samples: K in training. batch_coupled: whether an image's value depends on the others of its batch.
    lower_bound: whether its mean is at most log p(x) where the KL's weight is 1. surrogate: whether only its gradient
    is right, not its value. `vaezoo check` tests all of these. one_group: whether it takes a single latent group.
    learning_rates: group of parameters -> a learning rate of its own, {"own": 1e-4}; a schedule scales all rates alike.
    """

    replayable: ClassVar[bool] = False
    one_group: bool = False
    annealed_until: float = 0.0
    learning_rates: Mapping[str, float] = MappingProxyType({})
    importance_samples: int = 1
    batch_coupled: bool = False
    lower_bound: bool = False
    surrogate: bool = False

    def __call__(self, draws: Draws) -> Tensor | dict[str, Tensor]:
        """`forward`, in which `noise.step` is legal where the objective declares `batch_coupled`."""
        with noise.coupled(self.batch_coupled):
            value: Tensor | dict[str, Tensor] = super().__call__(draws)
        return value

    def estimates(self, draws: Draws) -> Tensor | dict[str, Tensor] | None:
        """A plain formula for what `forward` maximises in expectation where the KL's weight is 1: [B] or a scalar, in
        nats. `vaezoo check` compares the two. None where the objective claims no such formula.

        Where `forward` gives a dictionary, one formula is claimed for "inference" and "generative" alike; a dictionary
        claims one for each of its groups.
        """
        return None

    @abstractmethod
    def forward(self, draws: Draws) -> Tensor | dict[str, Tensor]:
        """Nats to maximise: [B], a scalar, or {"inference" | "generative" | "own": value}.

        Each value of a dictionary moves only its own group of parameters: those of encoder and posterior; of prior,
        decoder and likelihood; of the objective itself.
        """


def supports(part: Posterior | Prior, groups: int) -> tuple[str, ...]:
    """The support of each latent group of a posterior or a prior; those of one model agree."""
    return part.support if isinstance(part.support, tuple) else (part.support,) * groups


def flat_parameters(values: tuple[int, ...]) -> int:
    """The number of elements of a shape, which is the width of a linear layer."""
    return int(torch.Size(values).numel())
