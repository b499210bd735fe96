"""The Gaussian that a flow transforms: what all flow posteriors and flow priors share."""

from typing import cast

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior, flat_parameters
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.flows.flow import Flow
from vaezoo.nets.linear import Linear


class TransformedGaussian:
    """The law of z = f(z0; context) with z0 ~ N(mean, diag(std^2)), a q(z|x) of one latent group (L = 1).

        log q(z) = log N(z0; mean, std) - log |det df/dz0|,   z0 = f^-1(z; context)

    In nats. A sample is scored from its own z0, so that f needs no inverse there; given points are scored where f has
    one. Equals its base, bit for bit, while f is the identity.

    base: over [B, Z], or [Z] for a prior. flow: f. context: [B, C], or None where f takes none.

    Rezende and Mohamed (2015), arXiv:1505.05770.
    """

    def __init__(self, base: DiagonalGaussian, flow: Flow, context: Tensor | None = None):
        self.base, self.flow, self.context = base, flow, context

    @property
    def gaussian(self) -> None:
        """None: it is not Gaussian."""
        return None

    def rsample(self, samples: int) -> Tensor:
        """z = f(mean + std * eps). [K, ..., Z]"""
        return cast(Tensor, self.flow(self.base.rsample(samples), self.context)[0])

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats, from the same eps."""
        (start,), log_q = self.base.rsample_and_log_prob(samples)
        z, log_det = self.flow(start, self.context)
        return (z,), log_q - log_det

    def log_density(self, value: Tensor) -> Tensor:
        """log q of given points in nats. [..., Z] -> [...]

        Integrates to 1 over value. Raises VaezooError where the flow has no inverse.
        """
        start, log_det = self.flow.inverse(value, self.context)
        return self.base.log_density(start) - log_det

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor | None:
        """log q(z|x) of given points ([K, B, Z],) -> [L=1, K, B], or None where the flow has no inverse."""
        return self.log_density(z[0])[None] if self.flow.has_inverse else None


class FlowPosterior(Posterior):
    """q(z|x): a diagonal Gaussian pushed through a flow whose context is the features.

    Linear heads map the features to mean and log_std, as those of the posterior `gaussian`. A subclass sets `flow`
    after this class's constructor, over Z = `latent` and with the context `self.width`, or 0 for a flow that does not
    depend on the image. [B, *features] -> a TransformedGaussian over [B, Z]
    """

    flow: Flow

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.width = flat_parameters(features)
        self.heads = nn.Sequential(nn.Flatten(1), Linear(self.width, 2 * latent))

    def forward(self, features: Tensor) -> TransformedGaussian:
        base = DiagonalGaussian.from_heads(self.heads(features))
        return TransformedGaussian(base, self.flow, features.flatten(1))
