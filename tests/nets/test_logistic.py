"""Relaxed bits on the logistic line, against torch's distributions."""

import torch
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli

from vaezoo.nets.logistic import binary_concrete

LOGITS = torch.tensor([0.3, -2.0, 1.5], dtype=torch.float64)


def test_the_density_is_that_of_a_relaxed_bernoulli_and_of_a_logistic_number():
    z = torch.randn(6, 3, dtype=torch.float64)
    theirs = LogitRelaxedBernoulli(torch.tensor(0.7, dtype=torch.float64), logits=LOGITS)
    assert torch.allclose(binary_concrete(LOGITS, 0.7).log_density(z), theirs.log_prob(z).sum(-1))


def test_a_sample_is_above_zero_with_the_probability_of_the_bit_at_any_temperature():
    torch.manual_seed(0)
    for temperature in (0.2, 2.0):
        share = (binary_concrete(LOGITS, temperature).rsample(20_000) > 0).double().mean(0)
        assert float((share - LOGITS.sigmoid()).abs().max()) < 0.02


def test_nothing_overflows_where_the_relaxed_bit_rounds_to_one():
    far = binary_concrete(torch.tensor([40.0]), 0.1)
    z = far.rsample(10)
    assert (z.sigmoid() == 1).all()
    assert far.log_density(z).isfinite().all()
