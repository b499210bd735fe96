"""The prior of discrete codes with learned probabilities."""

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.nets.codes import BlockCategorical, CodeBlocks
from vaezoo.registry import register


@register.prior("categorical", paper="Mnih and Rezende (2016), arXiv:1602.06725; Jang et al. (2017), arXiv:1611.01144")
class Categorical(Prior):
    """p(z) = prod_n Cat(z_n; softmax(logits_n)): Z columns in one-hot blocks of `block` categories; a block of one
    column is a bit with the probability sigmoid(logit). The logits are learned and start at 0, where all codes have the
    same probability.

    The probabilities of all codes add up to 1. `codebook` is the prior whose codes are learned vectors.
    """

    support = "discrete"

    def __init__(self, latent: int, *, block: int = 8):
        super().__init__()
        self.blocks = CodeBlocks(latent, block)
        self.logits = nn.Parameter(torch.zeros(latent))

    def log_density(self, z: Tensor) -> Tensor:
        return self.blocks.distribution(self.logits).log_density(z)

    def sample(self, n: int) -> Tensor:
        """n codes. [n, Z]"""
        return self.blocks.distribution(self.logits).draw(n)

    def kl(self, q: PosteriorDistribution) -> tuple[Tensor, ...] | None:
        """KL(q || p) in closed form where q has the same blocks. ([B, Z],)"""
        if not isinstance(q, BlockCategorical) or q.blocks.width != self.blocks.width:
            return None
        return (q.kl(self.blocks.distribution(self.logits)),)
