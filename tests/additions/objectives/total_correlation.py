"""The ELBO with a discriminator of its own that penalises the total correlation of q(z)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.nets import Linear
from vaezoo.registry import register


@register.objective("total-correlation", paper="Kim and Mnih (2018), arXiv:1802.05983")
class TotalCorrelation(Objective):
    """The ELBO minus gamma times the log density ratio of q(z) and prod_j q(z_j), as a discriminator tells them apart.

    Gives a value for each group of parameters; the discriminator is the objective's own.
    """

    batch_coupled = True

    def __init__(self, latents: tuple[int, ...], *, gamma: float = 2.0, width: int = 8):
        super().__init__()
        self.gamma = gamma
        self.discriminator = nn.Sequential(Linear(sum(latents), width), nn.Tanh(), Linear(width, 1))

    def forward(self, draws: Draws) -> dict[str, Tensor]:
        z = torch.cat(draws.z, -1)[0]
        elbo = draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate
        order = noise.step.uniform(*z.shape).argsort(0)
        apart = z.detach().gather(0, order)
        told = self.discriminator(z.detach())[:, 0], self.discriminator(apart)[:, 0]
        return {
            "inference": elbo - self.gamma * self.discriminator(z)[:, 0],
            "generative": elbo,
            "own": F.logsigmoid(told[0]) + F.logsigmoid(-told[1]),
        }
