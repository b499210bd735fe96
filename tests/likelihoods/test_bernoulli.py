"""The Bernoulli likelihood: its sums of logits, their derivatives of every order, its tails."""

import math

import pytest
import torch
from one_pixel import SCALES, assert_adds_up, made

from vaezoo import DataSpec


@pytest.mark.parametrize("scale", SCALES)
def test_it_adds_up_at_every_scale_of_its_parameters(scale):
    """Also far out, where the proofs of `vaezoo check` do not go."""
    assert_adds_up("bernoulli", DataSpec((1, 1, 2), "binary"), scale)


def test_bernoulli_is_that_of_torch():
    likelihood = made("bernoulli", DataSpec((1, 2, 3), "binary"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 1, 2, 3, generator=generator, dtype=torch.float64).round()
    logits = 10 * torch.randn(4, 5, 1, 2, 3, generator=generator, dtype=torch.float64)
    bernoulli = torch.distributions.Bernoulli(logits=logits)
    torch.testing.assert_close(
        likelihood.log_prob(x, logits), bernoulli.log_prob(x.expand_as(logits)).flatten(2).sum(-1)
    )
    torch.testing.assert_close(likelihood.mean(logits), bernoulli.mean)


def bernoulli(x, logits):
    """[B, P], [K, B, P] -> [K, B], by the plugin."""
    spec = DataSpec((1, 1, x.shape[-1]), "binary")
    return made("bernoulli", spec).log_prob(x.view(-1, *spec.shape), logits.view(*logits.shape[:2], *spec.shape))


@pytest.mark.parametrize("pixels", [1, 2, 64, 112, 113, 784, 1000])
@pytest.mark.parametrize("scale", [1.0, 30.0, 500.0])
def test_bernoulli_products_of_pixels_are_torchs_sums(pixels, scale):
    """Of images that the logits expect, and of those that they do not; in pieces, where there are many samples."""
    generator = torch.Generator().manual_seed(pixels)
    samples = 2**19 // (3 * pixels) + 2
    logits = (scale * torch.randn(samples, 3, pixels, generator=generator)).double()
    expected, surprising = (logits[0] > 0).double(), (logits[0] < 0).double()
    for x in (expected, surprising, torch.rand(3, pixels, generator=generator).double()):
        exact = x * logits - torch.logaddexp(logits, torch.zeros_like(logits))
        torch.testing.assert_close(bernoulli(x, logits), exact.sum(-1), rtol=1e-12, atol=1e-12)
        exact = x.float().double() * logits - torch.logaddexp(logits, torch.zeros_like(logits))
        rounded = bernoulli(x.float(), logits.float()).double() - exact.sum(-1)
        between = (x * (1 - x) > 0).any() * 2e-7 * logits.abs().sum(-1)  # x l and max(l, 0) are each rounded
        assert (rounded.abs() <= 1e-6 * exact.abs().sum(-1) + 1.2e-7 * pixels + between).all()


def test_bernoulli_has_every_derivative():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, generator=generator, dtype=torch.float64).requires_grad_()
    logits = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(bernoulli, (x, logits), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(bernoulli, (x, logits))
    assert bernoulli(x[:0], logits[:, :0]).shape == (3, 0)


def test_bernoulli_has_forward_derivatives_of_forward_derivatives():
    """Of x l - log(1 + e^l): by l twice -p (1 - p), three times p (1 - p) (2 p - 1); by x and by l 1."""
    logits, x = torch.linspace(-3, 3, 5, dtype=torch.float64).view(1, 1, 5), torch.rand(1, 5, dtype=torch.float64)
    ones, p = torch.ones_like(logits), logits.sigmoid()

    def along(function):
        return lambda at: torch.func.jvp(function, (at,), (torch.ones_like(at),))[1]

    by_logits = along(lambda logits: bernoulli(x, logits))
    torch.testing.assert_close(along(by_logits)(logits), -(p * (1 - p)).sum(-1))
    torch.testing.assert_close(along(along(by_logits))(logits), (p * (1 - p) * (2 * p - 1)).sum(-1))
    mixed = along(lambda x: along(lambda logits: bernoulli(x, logits))(logits))
    torch.testing.assert_close(mixed(x), ones.sum(-1))


def test_bernoulli_is_exact_far_in_the_tails():
    """No clamp: a logit of 200 that is wrong costs 200 nats."""
    likelihood = made("bernoulli", DataSpec((1,), "binary"), torch.float32)
    value = likelihood.log_prob(torch.zeros(1, 1), torch.tensor([[[200.0]], [[-200.0]]]))
    assert value.tolist() == [[-200.0], [0.0]]


def test_bernoulli_mapped_over_images_or_logits_alone():
    generator = torch.Generator().manual_seed(0)
    x, logits = torch.rand(4, 2, 5, generator=generator).round(), torch.randn(4, 3, 2, 5, generator=generator)
    for places, given in (((0, None), (x, logits[0])), ((None, 0), (x[0], logits)), ((0, 0), (x, logits))):
        pairs = zip(*(each if at == 0 else [each] * 4 for each, at in zip(given, places, strict=True)), strict=True)
        expected = torch.stack([bernoulli(*pair) for pair in pairs])
        assert torch.equal(torch.vmap(bernoulli, places)(*given), expected)
        with torch.no_grad():
            assert torch.equal(torch.vmap(bernoulli, places)(*given), expected)


def test_bernoulli_of_the_same_logits_for_all_images():
    x, logits = torch.ones(3, 5), torch.linspace(-2, 2, 20).view(4, 1, 5)
    assert torch.equal(bernoulli(x, logits), bernoulli(x, logits.expand(4, 3, 5).contiguous()))


@pytest.mark.parametrize("pixels", [5, 256])
@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 1), (1, 1, 1), (1, 3, 1)], ids=str)
def test_bernoulli_of_one_logit_for_all_pixels(pixels, shape):
    """The value and the gradient are those of the same logit written for each pixel."""
    x = torch.ones(3, pixels)
    x[1, 2:] = 0
    logits = torch.linspace(-2, 2, math.prod(shape)).view(shape).requires_grad_()
    likelihood = made("bernoulli", DataSpec((1, 1, pixels), "binary"), torch.float32)
    value = likelihood.log_prob(x.view(3, 1, 1, pixels), logits[..., None, None])
    expected = bernoulli(x, logits.expand(shape[0], 3, pixels).contiguous())
    torch.testing.assert_close(value, expected)
    found, wanted = (torch.autograd.grad(each.sum(), logits)[0] for each in (value, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float64])
def test_bernoulli_of_images_of_another_type(dtype):
    generator = torch.Generator().manual_seed(0)
    x, logits = torch.rand(2, 5, generator=generator).round(), torch.randn(3, 2, 5, generator=generator)
    torch.testing.assert_close(bernoulli(x.to(dtype), logits).float(), bernoulli(x, logits))
