"""The ELBO with free bits."""

from typing import Literal

import torch
from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import register


@register.objective("free-bits", paper="Kingma et al. (2016), arXiv:1606.04934")
class FreeBits(Objective):
    """E_q[log p(x|z)] - w sum_j max(nats, KL_j) of each image: a KL_j below `nats` costs no less than `nats`. [B]

    KL_j is that of one dimension, KL(q(z_j|x) || p(z_j)), or of one latent group. As in the paper its mean over the
    batch is compared with `nats`, so that the images of a batch are coupled; with average_batch = false each image's
    own KL_j is. w is the weight of the KL warm-up, 1 after it. Equals the objective `elbo` at nats = 0 where the KL is
    in closed form, and is at most the ELBO, because it only raises the KL.

    nats: the free nats of each KL_j. per: "dimension" or "group". average_batch: whether the batch's mean is compared.
    Where the KL has no closed form, that of a group is estimated by the samples, and "dimension" raises Skip.
    """

    lower_bound = True

    def __init__(
        self, *, nats: float = 0.25, per: Literal["dimension", "group"] = "dimension", average_batch: bool = True
    ):
        super().__init__()
        if nats < 0:
            raise VaezooError(f"nats must be 0 or more, got {nats:g}")
        self.nats, self.per, self.average_batch = nats, per, average_batch
        self.batch_coupled = average_batch

    def estimates(self, draws: Draws) -> Tensor:
        """E_q[log p(x|z)] - sum_j max(nats, KL_j). [B]"""
        return draws.log_likelihood.mean(0) - self.penalty(draws)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return draws.log_likelihood.mean(0) - draws.kl_weight * self.penalty(draws)

    def penalty(self, draws: Draws) -> Tensor:
        """sum_j max(nats, KL_j): of each image [B], or the batch's, a scalar."""
        kl = self._kl(draws)
        return (kl.mean(0) if self.average_batch else kl).clamp(min=self.nats).sum(-1)

    def _kl(self, draws: Draws) -> Tensor:
        """KL_j of each image. [B, J]"""
        if self.per == "dimension":
            if draws.kl is None:
                raise Skip(
                    "objective 'free-bits' with per = \"dimension\" needs KL(q(z|x) || p(z)) in closed form, and this "
                    'posterior and prior have none; use per = "group"'
                )
            return torch.cat(draws.kl, -1)
        if draws.kl is not None:
            return torch.stack([group.sum(-1) for group in draws.kl], -1)
        return (draws.log_posterior - draws.log_prior).mean(1).T
