"""Codebooks: learned vectors that stand for categories, and distributions over them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError


class Codebook(nn.Module):
    """C learned vectors [C, Z] whose columns are divided into N blocks of `block` columns, of which the last takes what
    is left. A code is a choice k_n of one row for each block, and stands for the point [Z] of these rows' columns.

    The vectors start as standard normal numbers, so that no two are equal. VaezooError for codes or a block under 1.
    """

    def __init__(self, latent: int, codes: int, block: int):
        super().__init__()
        if codes < 1 or block < 1:
            raise VaezooError(f"codes and block must be 1 or more, got {codes} and {block}")
        self.vectors = nn.Parameter(torch.randn(codes, latent))
        self.blocks = -(-latent // block)
        block_of = torch.arange(latent) // block
        self.block_of: Tensor
        self.members: Tensor
        self.register_buffer("block_of", block_of, persistent=False)
        members = (block_of == torch.arange(self.blocks)[:, None]).float()
        self.register_buffer("members", members, persistent=False)

    def scores(self, h: Tensor) -> Tensor:
        """-0.5 |h - e_k|^2 of each block and row, but for -0.5 |h|^2, which all rows share. [..., Z] -> [..., N, C]"""
        vectors = self.vectors * self.members[:, None]  # [N, C, Z]
        cross = h @ vectors.flatten(0, 1).T
        scores: Tensor = (cross - 0.5 * vectors.square().sum(-1).flatten()).unflatten(-1, vectors.shape[:2])
        return scores

    def points(self, rows: Tensor) -> Tensor:
        """The point of each code. int64 [..., N] -> [..., Z]"""
        index = rows[..., self.block_of]
        return self.vectors.gather(0, index.flatten(0, -2)).view(index.shape)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest row in each block: the code of a point that is one. [..., Z] -> int64 [..., N]"""
        with torch.no_grad():
            return self.scores(z).argmax(-1)


class CodebookDistribution:
    """Codes of a codebook whose blocks are independent: log_probability [..., N, C] of each block's rows. As q(z|x) it
    has one latent group, L = 1, and log_probability is [B, N, C].

    A sample is the code's point. Its gradient goes to the codebook's vectors and, where `pulled` [B, Z] is given, also
    to that, as if the sample were `pulled` (straight-through): a surrogate. The probabilities of all codes add up to 1.
    A given point counts as the code nearest to it.
    """

    gaussian = None

    def __init__(self, codebook: Codebook, log_probability: Tensor, pulled: Tensor | None = None):
        self.codebook, self.log_probability, self.pulled = codebook, log_probability, pulled

    def draw(self, samples: int) -> Tensor:
        """K codes, by the inverse of each block's distribution function. int64 [K, ..., N]"""
        edges = self.log_probability.detach().double().exp().cumsum(-1)[..., :-1]
        uniform = noise.uniform(samples, *self.log_probability.shape[:-1]).to(edges)
        return (uniform[..., None] >= edges).sum(-1)

    def score(self, rows: Tensor) -> Tensor:
        """log of the probability of codes, in nats. int64 [..., N] -> [...]"""
        every = self.log_probability.expand(*rows.shape, -1)
        return every.gather(-1, rows[..., None])[..., 0].sum(-1)

    def log_density(self, z: Tensor) -> Tensor:
        """log of the probability of the codes of points, in nats. [..., Z] -> [...]"""
        return self.score(self.codebook.nearest(z))

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K points ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats."""
        rows = self.draw(samples)
        z = self.codebook.points(rows)
        if self.pulled is not None:
            z = z + (self.pulled - self.pulled.detach())
        return (z,), self.score(rows)[None]

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given points in nats. ([K, B, Z],) -> [L=1, K, B]"""
        return self.log_density(z[0])[None]

    def kl(self, p: CodebookDistribution) -> Tensor:
        """KL(q || p) in closed form, in nats: the divergence of each block's categoricals, in equal shares for each of
        its columns. [..., Z]
        """
        book, log_q = self.codebook, self.log_probability
        each = (log_q.exp() * (log_q - p.log_probability)).sum(-1)
        return (each / book.members.sum(-1))[..., book.block_of]
