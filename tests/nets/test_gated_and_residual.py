"""Gated layers and residual blocks: their formulas, their shapes at any image size, and their start."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from vaezoo.nets import (
    DownBlock2d,
    GatedConv2d,
    GatedConvTranspose2d,
    GatedLinear,
    ResidualBlock2d,
    UpBlock2d,
    halved,
)
from vaezoo.nets.resnet import doubled

SIZES = [(28, 28), (7, 8), (1, 5), (32, 9)]
sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def images(channels, size, batch=2):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", [None, "tanh"])
def test_a_gated_layer_is_a_map_times_the_sigmoid_of_another(activation):
    layer, x = GatedLinear(4, 3, activation=activation), torch.randn(2, 5, 4)
    value, gate = (
        F.linear(x, *each) for each in zip(layer.both.weight.chunk(2), layer.both.bias.chunk(2), strict=True)
    )
    torch.testing.assert_close(layer(x), (value.tanh() if activation else value) * gate.sigmoid())
    if not activation:
        torch.testing.assert_close(layer(x), F.glu(layer.both(x), -1))


@sizes
@pytest.mark.parametrize("stride", [1, 2])
def test_a_gated_convolution_keeps_or_halves_any_image(size, stride):
    layer, x = GatedConv2d(3, 4, 5, stride=stride, activation="gelu"), images(3, size)
    value, gate = layer.both(x).chunk(2, 1)
    found = layer(x)
    torch.testing.assert_close(found, F.gelu(value) * gate.sigmoid())
    assert found.shape == (2, 4, *(halved(side, stride - 1)[-1] for side in size))


@sizes
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_gated_transposed_convolution_comes_back_to_the_size(size, kernel):
    small = [halved(side, 1)[-1] for side in size]
    layer, x = GatedConvTranspose2d(3, 4, size, kernel), images(3, small)
    found = layer(x)
    assert found.shape == (2, 4, *size)
    torch.testing.assert_close(found, F.glu(layer.both(x), 1))


@sizes
def test_residual_blocks_start_as_their_shortcut(size):
    x = images(3, size)
    assert torch.equal(ResidualBlock2d(3)(x), x)
    down = DownBlock2d(3, 4)
    small = down(x)
    assert small.shape == (2, 4, *(halved(side, 1)[-1] for side in size))
    torch.testing.assert_close(small, down.shortcut(x))
    up = UpBlock2d(4, 3, size)
    assert up(small).shape == x.shape
    torch.testing.assert_close(up(small), doubled(up.shortcut(small), size))


@pytest.mark.parametrize("size", [(6, 6), (5, 7)], ids=str)
def test_a_residual_is_two_convolutions_each_after_an_activation(size):
    x, small = images(3, size), images(4, [halved(side, 1)[-1] for side in size])
    keeps, halves, doubles = (
        make(activation="tanh")
        for make in (partial(ResidualBlock2d, 3), partial(DownBlock2d, 3, 4), partial(UpBlock2d, 4, 3, size))
    )
    residuals = []
    for block, given in ((keeps, x), (halves, x), (doubles, doubled(small, size))):
        first, second = (layer for layer in block.residual.modules() if isinstance(layer, torch.nn.Conv2d))
        torch.nn.init.normal_(second.weight)
        residuals.append(second(first(given.tanh()).tanh()))
    torch.testing.assert_close(keeps(x), x + residuals[0])
    torch.testing.assert_close(halves(x), halves.shortcut(x) + residuals[1])
    torch.testing.assert_close(doubles(small), doubled(doubles.shortcut(small), size) + residuals[2])


@pytest.mark.parametrize(
    "make", [lambda: ResidualBlock2d(3), lambda: DownBlock2d(3, 4), lambda: UpBlock2d(3, 4, (13, 14))]
)
def test_gradients_reach_every_parameter_of_a_residual_block(make):
    torch.manual_seed(0)
    block = make()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    block(images(3, (7, 7))).square().sum().backward()
    assert all(parameter.grad.any() for parameter in block.parameters())


def test_doubling_repeats_each_pixel_and_halving_it_gives_it_back():
    x = images(2, (4, 5))
    twice = doubled(x, (8, 9))
    assert twice.shape == (2, 2, 8, 9)
    assert torch.equal(twice[..., ::2, ::2], x)
    assert torch.equal(twice[..., 1::2, 1::2], x[..., :, :4])
    torch.testing.assert_close(F.avg_pool2d(doubled(x, (8, 10)), 2), x)


def test_the_mean_at_an_odd_side_is_over_the_pixels_that_are_there():
    """A constant image stays constant."""
    block = DownBlock2d(1, 1)
    torch.testing.assert_close(block.shortcut[0](torch.ones(1, 1, 5, 7)), torch.ones(1, 1, 3, 4))
