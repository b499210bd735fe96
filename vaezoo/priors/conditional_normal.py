"""The normal prior of a conditional model."""

from torch import Tensor

from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.core.data import DataSpec
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.prior("conditional-normal", paper="Sohn et al. (2015), NeurIPS")
class ConditionalNormal(Prior):
    """p(z|context) = N(mean(context), diag(std(context)^2)), both linear in the context; log_std is bounded.

    With one-hot labels each class has a Gaussian of its own. Its KL divergence from a Gaussian posterior is in
    closed form. The builder skips images without context.
    """

    def __init__(self, spec: DataSpec, latent: int):
        super().__init__()
        assert spec.context is not None
        self.heads = Linear(spec.context, 2 * latent)

    def _density(self, context: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian.from_heads(self.heads(context))

    def log_density(self, z: Tensor, context: Tensor) -> Tensor:
        return self._density(context).log_density(z)

    def sample(self, n: int, context: Tensor) -> Tensor:
        return self._density(context).draw()

    def kl(self, q: PosteriorDistribution, context: Tensor) -> tuple[Tensor] | None:
        return None if q.gaussian is None else (q.gaussian.kl(self._density(context)),)
