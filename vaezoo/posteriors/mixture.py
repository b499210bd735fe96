"""The posterior that is a mixture of diagonal Gaussians."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Latents, Posterior
from vaezoo.core.errors import VaezooError
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


class MixtureDistribution:
    """(1/C) sum_c N(mean_c, diag(std_c^2)), a q(z|x) of one latent group; see `Mixture`.

    components: over [C, B, Z].
    """

    def __init__(self, components: DiagonalGaussian):
        self.components = components

    @property
    def gaussian(self) -> DiagonalGaussian | None:
        """The Gaussian of a mixture of one, else None."""
        mean, log_std = self.components.mean, self.components.log_std
        return DiagonalGaussian(mean[0], log_std[0]) if len(mean) == 1 else None

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],), each of a component that it draws, and their log q(z|x) [L=1, K, B] in nats."""
        if (single := self.gaussian) is not None:
            return single.rsample_and_log_prob(samples)
        mean, log_std = self.components.mean, self.components.log_std
        count, images, _ = mean.shape
        chosen = (noise.uniform(samples, images) * count).long()[..., None] == torch.arange(count, device=mean.device)
        weight = chosen.to(mean)
        z = DiagonalGaussian(*(torch.einsum("kbc,cbz->kbz", weight, each) for each in (mean, log_std))).draw()
        return (z,), self.log_prob((z,))

    def log_prob(self, z: Latents) -> Tensor:
        """log q(z|x) of given points in nats. ([K, B, Z],) -> [L=1, K, B]"""
        means, log_stds = self.components.mean, self.components.log_std
        each = [DiagonalGaussian(*one).log_density(z[0]) for one in zip(means, log_stds, strict=True)]
        return torch.stack(each).logsumexp(0)[None] - math.log(len(each))


@register.posterior("mixture", paper="Kviman et al. (2023), arXiv:2209.15514")
class Mixture(Posterior):
    """q(z|x) = (1/C) sum_c N(z; mean_c(x), diag(std_c(x)^2)). Linear heads map the features to all means and to all
    log_std, which are bounded.

    A sample draws its component c uniformly, then z = mean_c + std_c eps; log q is that of the whole mixture, not of
    the component. The weights are equal and fixed, as in the paper. Hence the choice of c depends on no parameter, z
    moves continuously at fixed noise, and the gradient of E f(z) through the samples is exact. With learned weights z
    would jump. Their gradient through z (Graves 2016, arXiv:1607.05690; Figurnov et al. 2018, arXiv:1805.08498) divides
    by q(z|x) between the components, so its variance grows without bound as they move apart. Unequal weights are
    approximated where several components agree.

    Equals the posterior `gaussian` for C = 1, and in log q where all components are equal. The KL from a prior has no
    closed form for C > 1.

    components: C. [B, *features] -> a MixtureDistribution over [B, Z]. Raises VaezooError for fewer than 1.
    """

    def __init__(self, features: tuple[int, ...], latent: int, *, components: int = 4):
        super().__init__()
        if components < 1:
            raise VaezooError(f"components must be 1 or more, got {components}")
        self.components = components
        self.heads = nn.Sequential(nn.Flatten(1), Linear(math.prod(features), components * 2 * latent))

    def forward(self, features: Tensor) -> MixtureDistribution:
        heads = self.heads(features).unflatten(-1, (self.components, -1))
        return MixtureDistribution(DiagonalGaussian.from_heads(heads.movedim(1, 0)))
