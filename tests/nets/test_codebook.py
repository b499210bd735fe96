"""Codes that stand for learned vectors."""

import pytest
import torch

from vaezoo.core.errors import VaezooError
from vaezoo.nets.codebook import Codebook, CodebookDistribution


def small(codes=3, latent=5, block=2):
    torch.manual_seed(0)
    book = Codebook(latent, codes, block).double()
    return book, [CodebookDistribution(book, torch.randn(book.blocks, codes).double().log_softmax(-1)) for _ in "qp"]


def test_probabilities_add_up_to_one_and_kl_is_the_exact_sum():
    book, (q, p) = small()
    rows = torch.cartesian_prod(*[torch.arange(3)] * book.blocks)
    z = book.points(rows)
    assert torch.equal(book.nearest(z), rows)
    log_q, log_p = q.log_density(z), p.log_density(z)
    assert torch.allclose(log_q.exp().sum(), torch.ones((), dtype=torch.float64))
    assert torch.allclose(q.kl(p).sum(), (log_q.exp() * (log_q - log_p)).sum())


def test_scores_are_the_squared_distances_of_each_block():
    book, _ = small()
    h = torch.randn(4, 5, dtype=torch.float64)
    for n, columns in enumerate(((0, 1), (2, 3), (4,))):
        own, vectors = h[:, columns], book.vectors[:, columns]
        distance = (own[:, None] - vectors).square().sum(-1)
        found = book.scores(h)[:, n] - 0.5 * own.square().sum(-1, keepdim=True)
        assert torch.allclose(found, -0.5 * distance)


def test_draws_follow_the_probabilities():
    _, (q, _) = small()
    rows = q.draw(20_000)
    share = torch.nn.functional.one_hot(rows, 3).double().mean(0)
    assert float((share - q.log_probability.exp()).abs().max()) < 0.02


def test_a_sample_moves_what_it_was_pulled_from_as_if_it_were_that():
    book, _ = small()
    h = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    q = CodebookDistribution(book, book.scores(h).log_softmax(-1), h)
    (z,), log_q = q.rsample_and_log_prob(3)
    weight = torch.randn(5, dtype=torch.float64)
    assert torch.allclose(torch.autograd.grad((z @ weight).sum(), h, retain_graph=True)[0], 3 * weight.expand(2, 5))
    assert torch.allclose(q.log_prob((z,)), log_q)


def test_no_codes_are_refused():
    with pytest.raises(VaezooError, match="codes and block must be 1 or more, got 0 and 2"):
        Codebook(4, 0, 2)
