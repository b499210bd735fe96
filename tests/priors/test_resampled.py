"""The resampled prior: a constant network, the paper's formula, draws, and the error of Z."""

import math

import pytest
import torch
from small_prior import log_density, model_with, sampled

import vaezoo
from vaezoo.core.gaussian import HALF_LOG_TWO_PI

OPTIONS = {"width": 8, "proposals": 256, "shifts": 16}


def resampled(latent, truncation, **options):
    return model_with(("resampled", {**OPTIONS, "truncation": truncation, **options}), latent).eval()


def on_a_line(model, count=4001):
    """Points, the width between them, N(0, 1) and a(z) there."""
    z = torch.linspace(-8, 8, count, dtype=torch.float64)[:, None]
    with torch.no_grad():
        accept = model.prior.accept(z)[:, 0].sigmoid()
    return z, 16 / (count - 1), (-0.5 * z[:, 0].square() - HALF_LOG_TWO_PI).exp(), accept


@pytest.mark.parametrize(("truncation", "bias"), [(2, -1.0), (7, -40.0), (100, 0.3), (100, 40.0)])
def test_a_constant_network_gives_the_normal_prior(truncation, bias):
    model = resampled(3, truncation)
    with torch.no_grad():
        model.prior.accept[1].weight.zero_()
        model.prior.accept[1].bias.fill_(bias)
    z = sampled(model, n=50)
    torch.testing.assert_close(log_density(model, z), (-0.5 * z.square() - HALF_LOG_TWO_PI).sum(-1))


@pytest.mark.parametrize("truncation", [2, 5, 100])
def test_it_is_the_formula_of_the_paper(truncation):
    """(1 - (1 - Z)^(T-1)) a(z) N(z) / Z + (1 - Z)^(T-1) N(z), with Z by quadrature."""
    model = resampled(1, truncation)
    z, step, normal, accept = on_a_line(model)
    total = float((normal * accept).sum() * step)
    last = (1 - total) ** (truncation - 1)
    expected = normal * ((1 - last) * accept / total + last)
    error = float(model.prior.log_mass_error())
    torch.testing.assert_close(log_density(model, z), expected.log(), atol=10 * error + 1e-9, rtol=0)
    assert 0 < error < 1e-3


def test_the_integral_is_1_within_the_error_that_it_gives():
    """Over 20 networks, in units of the standard error: a mean square of 1."""
    squares = []
    for seed in range(20):
        model = resampled(1, 20, width=4)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.prior.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        z, step, *_ = on_a_line(model)
        off = math.log(float(log_density(model, z).exp().sum() * step))
        squares.append((off / float(model.prior.log_mass_error())) ** 2)
    assert 0.3 < sum(squares) / 20 < 3


def test_draws_have_the_mean_of_the_density():
    model = resampled(1, 3)
    with torch.no_grad():
        model.prior.accept[1].weight.mul_(6)
    z, step, *_ = on_a_line(model)
    density = log_density(model, z).exp()
    mean, square = (float((density * z[:, 0] ** power).sum() * step) for power in (1, 2))
    drawn = sampled(model, n=20000)[:, 0]
    error = math.sqrt((square - mean**2) / 20000)
    assert abs(mean) > 10 * error  # the network moves it from 0
    assert abs(float(drawn.mean()) - mean) < 5 * error


def test_each_training_step_has_its_own_points_and_evaluation_has_fixed_ones():
    model = resampled(2, 20)
    z = sampled(model, n=5)
    fixed = log_density(model, z)
    model.train()
    first = log_density(model, z)
    assert torch.equal(first, log_density(model, z))
    model.prior.update(None)
    assert not torch.equal(first, log_density(model, z))
    torch.testing.assert_close(first, fixed, atol=0.1, rtol=0)
    assert torch.equal(fixed, log_density(model.eval(), z))


@pytest.mark.parametrize(("name", "least"), [("truncation", 2), ("proposals", 256), ("shifts", 2)])
def test_too_few_are_refused(name, least):
    with pytest.raises(vaezoo.VaezooError, match=f"{name} must be {least} or more, got {least - 1}"):
        model_with(("resampled", {name: least - 1}), 2)
