"""InfoVAE: its maximum mean discrepancy, and the ELBO without it."""

import math

import pytest
import torch
from binary_draws import drawn, trainee

from vaezoo import VaezooError, noise
from vaezoo.objectives.info import discrepancy


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_a_weight_of_1_is_the_elbo(weight):
    model, info = trainee("info", "mixture", mmd_weight=1.0)
    draws = drawn(model, 2)
    draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
    torch.testing.assert_close(info(draws), trainee("elbo", "mixture")[1](draws), rtol=1e-12, atol=0)


def test_the_discrepancy_is_the_mean_of_the_kernel_over_all_pairs():
    a, b = torch.randn(3, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)

    def mean(u, v):
        return sum(math.exp(-float((x - y).square().sum()) / 5) for x in u for y in v) / (len(u) * len(v))

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert float(discrepancy(a, b, 5.0)) == pytest.approx(expected, abs=1e-12)
    assert float(discrepancy(a, a.flip(0), 5.0)) == pytest.approx(0, abs=1e-12)


def test_its_mean_for_samples_of_one_gaussian_is_known():
    """(2 / N) (1 - E k(z, z')), where E k = (1 + 4 / width)^(-Z / 2) for N(0, I)."""
    size, dims, width = 20, 3, 6.0
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 400, size, dims, generator=generator, dtype=torch.float64)
    found = torch.stack([discrepancy(a, b, width) for a, b in zip(*z, strict=True)])
    expected = 2 / size * (1 - (1 + 4 / width) ** (-dims / 2))
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / 20


def test_the_prior_is_drawn_anew_at_each_step_and_gets_no_gradient_from_it():
    model, info = trainee("info", "mixture", mmd_weight=50.0)

    def penalty(seed):
        with noise.stream(seed, index=torch.arange(6), dtype=torch.float64):
            return info.penalty(drawn(model, 1))

    assert torch.equal(penalty(0), penalty(0))
    assert not torch.equal(penalty(0), penalty(1))
    gradients = torch.autograd.grad(penalty(0), list(model.prior.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_the_weight_of_the_kl_weighs_kl_and_discrepancy():
    model, info = trainee("info", alpha=0.25, mmd_weight=50.0)
    found = []
    for weight in (0.0, 1.0, 0.3):
        draws = drawn(model, 1)
        draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
        with noise.stream(1, index=torch.arange(6), dtype=torch.float64):
            found.append(info(draws))
    torch.testing.assert_close(found[0], draws.log_likelihood[0])
    torch.testing.assert_close(found[2], found[0] + 0.3 * (found[1] - found[0]))
    assert (found[1] < found[0]).all()


def test_weights_out_of_range_are_refused():
    with pytest.raises(VaezooError, match=r"alpha must be at most 1 and mmd_weight at least 1 - alpha, got 0 and 0\.5"):
        trainee("info", mmd_weight=0.5)
    with pytest.raises(VaezooError, match="bandwidth must be above 0, got 0"):
        trainee("info", bandwidth=0.0)
