"""Codes of bits and one-hot blocks, against torch's distributions and exact sums."""

from itertools import chain, product

import pytest
import torch
from torch.distributions import Bernoulli, OneHotCategorical, kl_divergence

from vaezoo.core import noise
from vaezoo.core.errors import VaezooError
from vaezoo.nets.codes import CodeBlocks

SIZES = [(1, 10), (3, 1), (5, 3), (4, 3), (4, 2)]


def logits(latent, seed):
    return 2 * torch.randn(latent, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sizes_of(latent, block):
    """The columns of each block."""
    return [min(block, latent - start) for start in range(0, latent, block)]


def every_code(sizes):
    """All codes of blocks of these sizes. [S, Z]"""
    own = {size: torch.eye(size).tolist() if size > 1 else [[0.0], [1.0]] for size in sizes}
    rows = [list(chain(*row)) for row in product(*(own[size] for size in sizes))]
    return torch.tensor(rows, dtype=torch.float64)


def of_torch(sizes, logits):
    """The same distribution of each block, by torch."""
    parts = logits.split(sizes)
    return [OneHotCategorical(logits=p) if len(p) > 1 else Bernoulli(logits=p) for p in parts]


@pytest.mark.parametrize(("latent", "block"), SIZES)
def test_log_density_and_kl_are_those_of_torch(latent, block):
    blocks = CodeBlocks(latent, block)
    q, p = (blocks.distribution(logits(latent, seed)) for seed in (0, 1))
    z = every_code(sizes_of(latent, block))
    theirs, others = (of_torch(sizes_of(latent, block), logits(latent, seed)) for seed in (0, 1))
    scores = sum(
        d.log_prob(part).view(len(z)) for d, part in zip(theirs, z.split(sizes_of(latent, block), -1), strict=True)
    )
    assert torch.allclose(q.log_density(z), scores)
    assert torch.allclose(q.log_density(z).exp().sum(), torch.ones((), dtype=torch.float64))
    kl = sum(kl_divergence(a, b).sum() for a, b in zip(theirs, others, strict=True))
    assert torch.allclose(q.kl(p).sum(), kl)
    assert float(q.kl(p).min()) >= 0
    assert not q.kl(q).any()


@pytest.mark.parametrize(("latent", "block"), SIZES)
def test_draws_are_codes_as_often_as_their_probability(latent, block):
    blocks = CodeBlocks(latent, block)
    q = blocks.distribution(logits(latent, 0)[None])
    with noise.stream(0, index=torch.arange(1), dtype=torch.float64):
        z = q.draw(20_000)[:, 0]
    codes, counts = z.unique(dim=0, return_counts=True)
    known = {tuple(code) for code in every_code(sizes_of(latent, block)).tolist()}
    assert {tuple(code) for code in codes.tolist()} <= known
    probability = q.log_density(codes[:, None]).exp()[:, 0]
    error = (probability * (1 - probability) / len(z)).sqrt()
    assert ((counts / len(z) - probability).abs() < 5 * error + 1e-4).all()


def test_a_straight_through_sample_has_the_gradient_of_the_probabilities():
    free = logits(5, 0)[None].requires_grad_()
    q = CodeBlocks(5, 3).distribution(free, straight_through=True)
    (z,), log_q = q.rsample_and_log_prob(4)
    weight = logits(5, 2)
    found = torch.autograd.grad((z * weight).sum(-1).mean(), free, retain_graph=True)[0]
    expected = torch.autograd.grad((q.mean * weight).sum(), free, retain_graph=True)[0]
    assert torch.allclose(found, expected)
    assert torch.allclose(q.log_prob((z.detach().round(),)), log_q)


def test_a_block_under_one_is_refused():
    with pytest.raises(VaezooError, match="block must be 1 or more, got 0"):
        CodeBlocks(4, 0)
