"""Codes of bits and one-hot blocks: the categorical distribution that posteriors and priors share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError


class CodeBlocks(nn.Module):
    """How the Z columns of a code are divided: into blocks of `block` columns, of which the last takes what is left.

    A block of one column is a bit, 0 or 1. A block of C columns, C > 1, is a one-hot code of C categories. width: the
    columns of a block; count: the number of blocks. VaezooError for a block under 1.
    """

    def __init__(self, latent: int, block: int):
        super().__init__()
        if block < 1:
            raise VaezooError(f"block must be 1 or more, got {block}")
        column = torch.arange(latent)
        first = column - column % block
        self.width, self.count = min(block, latent), -(-latent // block)
        width = (latent - first).clamp(max=block)
        self.block_of: Tensor
        self.first: Tensor
        self.last: Tensor
        self.bit: Tensor
        self.within: Tensor
        self.register_buffer("block_of", column // block, persistent=False)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("last", (column == first + width - 1) & (width > 1), persistent=False)
        self.register_buffer("bit", width == 1, persistent=False)
        within = torch.arange(self.count)[:, None] == column // block
        self.register_buffer("within", within, persistent=False)

    def distribution(self, logits: Tensor, straight_through: bool = False) -> BlockCategorical:
        """The codes whose blocks are independent, with these logits. [..., Z] -> a BlockCategorical"""
        return BlockCategorical(self, logits, straight_through)


class BlockCategorical:
    """Codes of independent blocks: sigmoid(logit) is the probability that a bit is 1, and softmax(logits of the block)
    the probabilities of its categories. As q(z|x) it has one latent group, L = 1.

    The probabilities of all codes add up to 1. logits: [..., Z]; of a posterior [B, Z].

    straight_through: whether a sample is given the gradient of its mean, the probabilities (Bengio et al. 2013,
    arXiv:1308.3432): a surrogate. log q never has a gradient through the sample.
    """

    gaussian = None

    def __init__(self, blocks: CodeBlocks, logits: Tensor, straight_through: bool = False):
        self.blocks, self.straight_through = blocks, straight_through
        by_block = logits[..., None, :].masked_fill(~blocks.within, -torch.inf).logsumexp(-1)
        total = by_block[..., blocks.block_of]
        total = torch.where(blocks.bit, F.softplus(logits), total)
        self.log_one = logits - total
        self.log_zero = torch.where(blocks.bit, -total, 0.0)  # a one-hot block is scored by its 1 alone

    @property
    def mean(self) -> Tensor:
        """The probability of a 1 in each column. [..., Z]"""
        return self.log_one.exp()

    def draw(self, samples: int) -> Tensor:
        """K codes, by the inverse of each block's distribution function, without a gradient. [K, ..., Z]"""
        blocks, probability = self.blocks, self.mean.detach()
        edges = F.pad(probability.double().cumsum(-1), (1, 0))
        start = edges[..., blocks.first]
        low = (edges[..., :-1] - start).to(probability)
        high = torch.where(blocks.last, 2.0, edges[..., 1:] - start).to(probability)
        uniform = noise.uniform(samples, *probability.shape[:-1], blocks.count).to(probability)
        uniform = uniform[..., blocks.block_of]
        return ((uniform >= low) & (uniform < high)).to(probability)

    def log_density(self, z: Tensor) -> Tensor:
        """log of the probability of codes, in nats. [..., Z] -> [...]"""
        return (z * self.log_one + (1 - z) * self.log_zero).sum(-1)

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K codes ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats."""
        z = self.draw(samples)
        log_q = self.log_density(z)[None]
        mean = self.mean
        return (z + (mean - mean.detach()) if self.straight_through else z,), log_q

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given codes in nats. ([K, B, Z],) -> [L=1, K, B]"""
        return self.log_density(z[0])[None]

    def kl(self, p: BlockCategorical) -> Tensor:
        """KL(q || p) of each column in closed form, in nats; each is 0 or more. [..., Z]

        Of a bit it is the divergence of two Bernoullis. Of column c of a one-hot block it is
        q_c log(q_c / p_c) - q_c + p_c, and the sum over the block is the divergence of the two categoricals.
        """
        q_one, p_one = self.mean, p.mean
        rest = torch.where(self.blocks.bit, (1 - q_one) * (self.log_zero - p.log_zero), p_one - q_one)
        return q_one * (self.log_one - p.log_one) + rest
