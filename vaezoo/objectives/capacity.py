"""The beta-VAE objective with controlled capacity."""

from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.registry import register


@register.objective("capacity", paper="Burgess et al. (2018), arXiv:1804.03599")
class Capacity(Objective):
    """E_q[log p(x|z)] - w gamma |KL(q(z|x) || p(z)) - C| of each image. [B]

    The capacity C rises linearly over training, C = capacity min(progress / rise, 1), so that q may carry ever more
    nats about x. w is the weight of the KL warm-up, 1 after it. At capacity = 0 it equals the objective `beta` with
    beta = gamma, where the KL is in closed form. It is no lower bound: a KL at C costs nothing.

    gamma: the weight of the distance from C, 1000 in the paper. capacity: the last C in nats, 25 in the paper. rise:
    the share of training in which C rises.
    """

    def __init__(self, *, gamma: float = 1000.0, capacity: float = 25.0, rise: float = 0.5):
        super().__init__()
        if gamma < 0 or capacity < 0:
            raise VaezooError(f"gamma and capacity must be 0 or more, got {gamma:g} and {capacity:g}")
        if not 0 < rise <= 1:
            raise VaezooError(f"rise must be a share of training, above 0 and at most 1, got {rise:g}")
        self.gamma, self.capacity, self.rise = gamma, capacity, rise
        self.annealed_until = rise

    def estimates(self, draws: Draws) -> Tensor:
        """E_q[log p(x|z)] - gamma |KL - C|. [B]"""
        return draws.log_likelihood.mean(0) - self.penalty(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return draws.log_likelihood.mean(0) - draws.kl_weight * self.penalty(draws)

    def penalty(self, draws: Draws) -> Tensor:
        """gamma |KL(q(z|x) || p(z)) - C| of each image. [B]"""
        now = self.capacity * (draws.progress / self.rise).clamp(max=1)
        return self.gamma * (draws.kl_estimate - now).abs()
