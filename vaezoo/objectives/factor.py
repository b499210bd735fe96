"""The FactorVAE objective."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core import bounds, noise
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.objective("factor", paper="Kim and Mnih (2018), arXiv:1802.05983")
class Factor(Objective):
    """ELBO - gamma TC, where TC = KL(q(z) || prod_j q(z_j)) is the total correlation of the aggregate posterior.

    A discriminator, the objective's own, tells samples of q(z) from ones whose dimensions are permuted over the batch,
    each by a permutation of its own. Its log-odds log D(z) / (1 - D(z)) estimate the log density ratio, so that their
    mean over the batch estimates TC: exactly where D is the best one. D maximises
    0.5 E[log D(z)] + 0.5 E[log(1 - D(permuted z))], which is log 0.5 for a blind one. The paper permutes a second
    batch; here it is the same one. All latent groups together are z.

    gamma: the weight of TC; at 0 the model trains as with `elbo`. width, depth: of the discriminator's hidden layers
    (leaky ReLU of slope 0.2), 1000 and 6 in the paper and in the variant `factor-vae`. discriminator_learning_rate: of
    Adam, whose other settings are the model's (the paper has betas of 0.5 and 0.9).
    """

    batch_coupled = True

    def __init__(
        self,
        latents: tuple[int, ...],
        *,
        gamma: float = 10.0,
        width: int = 200,
        depth: int = 4,
        discriminator_learning_rate: float = 1e-4,
    ):
        super().__init__()
        if gamma < 0:
            raise VaezooError(f"gamma must be 0 or more, got {gamma:g}")
        if width < 1 or depth < 1:
            raise VaezooError(f"width and depth must be 1 or more, got {width} and {depth}")
        self.gamma = gamma
        self.learning_rates: Mapping[str, float] = {"own": discriminator_learning_rate}
        layers: list[nn.Module] = []
        inputs = sum(latents)
        for _ in range(depth):
            layers += [Linear(inputs, width), nn.LeakyReLU(0.2)]
            inputs = width
        self.discriminator = nn.Sequential(*layers, Linear(inputs, 1))

    def log_odds(self, z: Tensor) -> Tensor:
        """log D(z) / (1 - D(z)): of a joint sample against a permuted one. [..., Z] -> [...]"""
        value: Tensor = self.discriminator(z)
        return value[..., 0]

    def estimates(self, draws: Draws) -> dict[str, Tensor]:
        """The ELBO for decoder and prior; for the encoder the ELBO minus gamma times the mean log-odds. [B] each"""
        elbo = bounds.elbo(draws)
        return {
            "inference": elbo - self.gamma * self.log_odds(torch.cat(draws.z, -1)).mean(0),
            "generative": elbo,
        }

    def forward(self, draws: Draws) -> dict[str, Tensor]:
        """The value of each group of parameters, `own` being the discriminator's. {group: [B]}"""
        elbo = draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate
        z = torch.cat(draws.z, -1)  # [K, B, Z]
        fixed = z.detach()
        permuted = permute_dimensions(fixed.flatten(0, 1)).view(z.shape)
        told = F.logsigmoid(self.log_odds(fixed)) + F.logsigmoid(-self.log_odds(permuted))
        return {
            "generative": elbo,
            "inference": elbo - self.gamma * self.log_odds(z).mean(0),
            "own": 0.5 * told.mean(0),
        }


def permute_dimensions(z: Tensor) -> Tensor:
    """z with each dimension permuted over the rows, independently of the others. [N, Z] -> [N, Z]

    Each column keeps its values, so that every q(z_j) stays and only the dependence between them goes. The permutations
    are keyed by step (`noise.step`).
    """
    return z.gather(0, noise.step.uniform(*z.shape).argsort(0))
