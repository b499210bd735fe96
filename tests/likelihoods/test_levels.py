"""Likelihoods of gray levels: the categorical one and the mixture of logistics, also of three colours."""

import itertools

import pytest
import torch
from one_pixel import assert_adds_up, made, parameters_of
from torch import distributions

from vaezoo import DataSpec, VaezooError, noise
from vaezoo.likelihoods.logistic_mixture import LogisticMixture


@pytest.mark.parametrize("scale", [0.5, 3.0])
@pytest.mark.parametrize("name", ["categorical", "logistic-mixture"])
def test_they_add_up_on_two_pixels_and_on_three_colours(name, scale):
    assert_adds_up(name, DataSpec((1, 1, 2), "discrete", 17), scale)
    assert_adds_up(name, DataSpec((3, 1, 1), "discrete", 5), scale)


def test_categorical_is_that_of_torch():
    likelihood = made("categorical", DataSpec((2, 3), "discrete", 17))
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(17, (5, 2, 3), generator=generator)
    logits = 10 * torch.randn(4, 5, 17, 2, 3, generator=generator, dtype=torch.float64)
    expected = distributions.Categorical(logits=logits.movedim(2, -1)).log_prob(levels).flatten(2).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(levels.double() / 16, logits), expected)


def test_one_component_of_one_colour_is_the_discretised_logistic():
    spec = DataSpec((1, 2, 3), "discrete", 256)
    mixture, plain = made("logistic-mixture", spec, components=1), made("discretized-logistic", spec)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (5, 1, 2, 3), generator=generator) / 255
    mean, raw, weight = torch.randn(3, 4, 5, 1, 2, 3, generator=generator, dtype=torch.float64)
    both, three = torch.stack([mean, raw], 2), torch.cat([weight, mean, raw], 2)
    torch.testing.assert_close(mixture.log_prob(x, three), plain.log_prob(x, both))
    torch.testing.assert_close(mixture.mean(three), plain.mean(both))


def by_hand(levels, components, x, parameters):
    """log P of one pixel of three colours [3], as Salimans et al. (2017) write it: parameters [10 M]."""
    each = parameters.view(components, 10)
    terms = []
    for m, (logit, *rest) in enumerate(each.tolist()):
        means, raws, (a, b, c) = rest[:3], rest[3:6], torch.tensor(rest[6:]).tanh().tolist()
        shift = [0.0, a * (x[0] - 0.5), b * (x[0] - 0.5) + c * (x[1] - 0.5)]
        term = torch.tensor(logit, dtype=torch.float64) - each[:, 0].logsumexp(0)
        for colour in range(3):
            scale = (-7 + torch.nn.functional.softplus(torch.tensor(raws[colour] + 5.0, dtype=torch.float64))).exp()
            centre = means[colour] + (m + 0.5) / components + shift[colour]
            edges = torch.tensor([x[colour] - 0.5 / (levels - 1), x[colour] + 0.5 / (levels - 1)], dtype=torch.float64)
            low, high = ((edges - centre) / scale).sigmoid()
            term = term + torch.log((1.0 if x[colour] == 1 else high) - (0.0 if x[colour] == 0 else low))
        terms.append(term)
    return torch.stack(terms).logsumexp(0)


def test_three_colours_are_coupled_as_in_pixelcnn():
    levels, components = 6, 2
    likelihood = made("logistic-mixture", DataSpec((3, 1, 1), "discrete", levels), components=components)
    parameters = parameters_of(likelihood, 1.0, rows=1)
    for image in itertools.product([0, 2, 5], repeat=3):
        x = torch.tensor(image, dtype=torch.float64) / (levels - 1)
        found = likelihood.log_prob(x.view(1, 3, 1, 1), parameters)
        expected = by_hand(levels, components, x.tolist(), parameters.flatten())
        torch.testing.assert_close(found[0, 0], expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_the_mean_of_three_colours_in_256_levels_is_that_of_draws():
    """The quadrature against 20,000 draws of each pixel, at 4 standard errors and a tenth of a level."""
    likelihood = made("logistic-mixture", DataSpec((3, 1, 4), "discrete", 256))
    parameters = parameters_of(likelihood, 1.0, rows=1)[0]
    with noise.stream(3, dtype=torch.float64):
        drawn = likelihood.sample(parameters.expand(20_000, *parameters.shape[1:]))
    slack = 4 * drawn.std(0) / 20_000**0.5 + 0.1 / 255
    assert ((likelihood.mean(parameters)[0] - drawn.mean(0)).abs() < slack).all()


def test_the_quadrature_of_the_mean_agrees_with_every_level(monkeypatch):
    """In 16 levels of scales of a level or more, where both can be computed."""
    likelihood = made("logistic-mixture", DataSpec((3, 1, 2), "discrete", 16), min_log_scale=-2.0)
    parameters = parameters_of(likelihood, 0.7, rows=2)
    exact = likelihood.mean(parameters)
    monkeypatch.setattr("vaezoo.likelihoods.logistic_mixture.ENUMERATED", 1)
    torch.testing.assert_close(likelihood.mean(parameters), exact, rtol=0, atol=2e-3)


def test_what_cannot_be_a_mixture_is_refused():
    with pytest.raises(VaezooError, match="logistic-mixture needs images of 2 or more levels, got levels=None"):
        LogisticMixture(DataSpec((2,), "binary"))
    with pytest.raises(VaezooError, match="components must be 1 or more, got 0"):
        made("logistic-mixture", DataSpec((2,), "discrete", 4), components=0)
