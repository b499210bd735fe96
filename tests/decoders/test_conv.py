"""The convolutional encoder and decoder: images of any size, and no other data."""

import re

import pytest
import torch

from vaezoo import DataSpec, Skip, VaezooError, Variant, noise
from vaezoo.builder import Ingredients, construct, resolve


@pytest.mark.parametrize(
    ("sides", "channels"),
    [
        ((7, 9), (4, 6)),
        ((1, 1), (4, 6, 8)),
        ((2, 3), (4,)),
        ((5, 16), (4, 6, 8)),
        ((13, 31), (4, 6)),
        ((28, 28), (4, 6)),
    ],
    ids=str,
)
@pytest.mark.parametrize("inputs", [1, 3])
def test_conv_of_any_size(sides, channels, inputs):
    spec = DataSpec((inputs, *sides), "discrete", 17)
    variant = Variant("t", encoder=("conv", {"channels": channels}), decoder=("conv", {"channels": channels[::-1]}))
    model, _ = construct(resolve(variant, spec), Ingredients.blank(spec, 3, (9,), 10))
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 17, (2, *spec.shape), generator=generator, dtype=torch.uint8)
    assert model.decoder(torch.zeros(4, 3)).shape == (4, 2, inputs, *sides)
    with noise.stream(0, index=torch.arange(2)), torch.no_grad():
        assert model.draw(model.batch(x), 3).log_weight.isfinite().all()
    assert model.sample(2).shape == (2, inputs, *sides)


def test_conv_refuses_what_is_no_image():
    spec = DataSpec((10,), "binary")
    for slot, text in (
        ("encoder", r"encoder 'conv' needs images \[channels, height, width\], got \[10\]"),
        ("decoder", "decoder 'conv' needs"),
    ):
        with pytest.raises(Skip, match=text):
            construct(resolve("vae", spec, {slot: ("conv", {})}), Ingredients.blank(spec, 3, (9,), 10))


@pytest.mark.parametrize("slot", ["encoder", "decoder"])
@pytest.mark.parametrize("channels", [[], [8, 0], [-1]])
def test_conv_refuses_channels_that_are_none(slot, channels):
    spec = DataSpec((1, 8, 8), "binary")
    slots = resolve("vae", spec, {slot: ("conv", {"channels": channels})})
    said = rf"^{slot} 'conv': channels must be one or more whole numbers >= 1, got {re.escape(str(channels))}$"
    with pytest.raises(VaezooError, match=said):
        construct(slots, Ingredients.blank(spec, 3, (9,), 10))
