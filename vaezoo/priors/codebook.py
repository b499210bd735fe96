"""The prior of a learned codebook."""

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import PosteriorDistribution, Prior
from vaezoo.nets.codebook import Codebook, CodebookDistribution
from vaezoo.registry import register


@register.prior("codebook", paper="van den Oord et al. (2017), arXiv:1711.00937")
class CodebookPrior(Prior):
    """p(z) = prod_n pi_n,k where the n-th block of z is the vector e_k of a learned codebook, else 0: a categorical
    prior over vectors, whose probabilities pi are learned and start equal.

    The Z columns are N blocks of `block` columns, the last of what is left, and each block has `codes` vectors of its
    own. The probabilities of all codes^N codes add up to 1. A point counts as the code nearest to it. The codebook is
    part of the generative model: `sample` gives its vectors to the decoder. A posterior that requests the prior finds
    it as `codebook`.
    """

    support = "discrete"

    def __init__(self, latent: int, *, codes: int = 64, block: int = 4):
        super().__init__()
        self.codebook = Codebook(latent, codes, block)
        self.logits = nn.Parameter(torch.zeros(self.codebook.blocks, codes))

    def _distribution(self) -> CodebookDistribution:
        return CodebookDistribution(self.codebook, self.logits.log_softmax(-1))

    def log_density(self, z: Tensor) -> Tensor:
        return self._distribution().log_density(z)

    def sample(self, n: int) -> Tensor:
        """n points, each of N vectors. [n, Z]"""
        return self.codebook.points(self._distribution().draw(n))

    def kl(self, q: PosteriorDistribution) -> tuple[Tensor, ...] | None:
        """KL(q || p) in closed form where q is over the same codebook. ([B, Z],)"""
        if not isinstance(q, CodebookDistribution) or q.codebook is not self.codebook:
            return None
        return (q.kl(self._distribution()),)
