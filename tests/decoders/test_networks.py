"""The families of networks: images of any size, their formulas, and what they refuse."""

import re

import pytest
import torch
from torch.nn import functional as F

from vaezoo import DataSpec, Skip, VaezooError, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.nets.context_channels import as_channels
from vaezoo.registry import registry

SIZES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 7), (1, 1, 3)]
ENCODERS = ["conv", "gated-conv", "resnet"]
DECODERS = ["conv", "gated-conv", "resnet", "spatial-broadcast", "pixelcnn"]
CONDITIONAL = ["gated-mlp", "conv", "gated-conv", "resnet"]


def part(slot, name, spec, *, latent=3, parameter_shape=None, **options):
    """A part of its own, moved from its start, in float64."""
    served = {"spec": spec, "latent": latent, "hidden": (5, 4), "parameter_shape": parameter_shape or spec.shape}
    plugin = registry(slot)[name]
    torch.manual_seed(0)
    made = plugin.target(**{each: served[each] for each in plugin.builder_arguments}, **options).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def drawn(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_takes_images_of_any_size(name, shape):
    made = part("encoder", name, DataSpec(shape, "binary"))
    assert made(drawn(2, *shape)).shape == (2, *made.features)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_gives_parameters_of_any_size(name, shape):
    made = part("decoder", name, DataSpec(shape, "discrete", 5), parameter_shape=(2, *shape))
    given = (drawn(2, 3), drawn(2, *shape)) if made.autoregressive else (drawn(2, 3),)
    assert made(*given).shape == (2, 2, *shape)


@pytest.mark.parametrize(("slot", "name"), [*(("encoder", e) for e in ENCODERS), *(("decoder", d) for d in DECODERS)])
def test_networks_of_images_skip_other_data(slot, name):
    spec = DataSpec((6,), "binary")
    with pytest.raises(Skip, match=rf"^{slot} '{name}' needs images \[channels, height, width\], got \[6\]$"):
        construct(resolve("vae", spec, {slot: (name, {})}), Ingredients.blank(spec, 2, (5,), 10))


@pytest.mark.parametrize(
    ("slot", "name", "options", "text"),
    [
        ("encoder", "gated-conv", {"kernel": 4}, "encoder 'gated-conv': kernel must be an odd side length, got 4"),
        ("decoder", "gated-conv", {"kernel": 0}, "decoder 'gated-conv': kernel must be an odd side length, got 0"),
        ("encoder", "resnet", {"blocks": -1}, "encoder 'resnet': blocks must be 0 or more, got -1"),
        ("decoder", "resnet", {"blocks": -1}, "decoder 'resnet': blocks must be 0 or more, got -1"),
        ("decoder", "spatial-broadcast", {"channels": [0]}, "channels must be one or more whole numbers >= 1, got [0]"),
    ],
)
def test_sizes_that_cannot_be_are_refused(slot, name, options, text):
    spec = DataSpec((1, 8, 8), "binary")
    with pytest.raises(VaezooError, match=re.escape(text)):
        construct(resolve("vae", spec, {slot: (name, options)}), Ingredients.blank(spec, 2, (5,), 10))


def test_gated_dense_layers_give_h_times_the_sigmoid_of_g():
    spec = DataSpec((1, 3, 2), "binary")
    encoder, decoder = part("encoder", "gated-mlp", spec), part("decoder", "gated-mlp", spec)
    x, z = drawn(2, 1, 3, 2), drawn(2, 3)
    h = x.flatten(1)
    for layer in encoder.net:
        h = F.glu(F.linear(h, layer.both.weight, layer.both.bias))
    torch.testing.assert_close(encoder(x), h)
    first, second, last, _ = decoder.net
    for layer in (first, second):
        z = F.glu(F.linear(z, layer.both.weight, layer.both.bias))
    torch.testing.assert_close(decoder(drawn(2, 3)), F.linear(z, last.weight, last.bias).view(2, 1, 3, 2))


def test_skip_without_its_connections_is_the_plain_decoder():
    spec = DataSpec((1, 3, 2), "binary")
    skip, plain = part("decoder", "skip", spec), part("decoder", "mlp", spec)
    ours, theirs = [*skip.layers, skip.out[0]], [m for m in plain.modules() if isinstance(m, torch.nn.Linear)]
    with torch.no_grad():
        for own, other in zip(ours, theirs, strict=True):
            own.weight.zero_()
            own.weight[:, : other.in_features] = other.weight
            own.bias.copy_(other.bias)
    torch.testing.assert_close(skip(drawn(4, 3)), plain(drawn(4, 3)))
    with torch.no_grad():
        skip.out[0].weight[:, -3:] = 1.0
    torch.testing.assert_close(skip(drawn(4, 3)), plain(drawn(4, 3)) + drawn(4, 3).sum(-1)[:, None, None, None])


def test_spatial_broadcast_tells_pixels_apart_by_their_coordinates_alone():
    """Without their weights all pixels that no padding reaches are equal."""
    made = part("decoder", "spatial-broadcast", DataSpec((1, 9, 10), "binary"), channels=(4, 4))
    assert [float(made.coordinates[0, i, 0]) for i in (0, 4, 8)] == [-1, 0, 1]
    assert [float(made.coordinates[1, 0, i]) for i in (0, 9)] == [-1, 1]
    with torch.no_grad():
        made.net[0].weight[:, 3:] = 0
    inside = made(drawn(2, 3))[..., 3:-3, 3:-3].flatten(1)
    torch.testing.assert_close(inside, inside[:, :1].expand_as(inside))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_part_is_the_plain_one_where_the_context_has_no_weight(name):
    shape, context = (2, 5, 4), drawn(3, 2, seed=2)
    spec = DataSpec(shape, "binary", context=2)
    for slot, given in (("encoder", drawn(3, *shape)), ("decoder", drawn(3, 3))):
        plain, made = part(slot, name, spec), part(slot, f"conditional-{name}", spec)
        theirs = dict(plain.named_parameters())
        with torch.no_grad():
            for title, own in made.net.named_parameters():
                other = theirs[title]
                own.zero_()
                own[tuple(slice(size) for size in other.shape)] = other
        torch.testing.assert_close(made(given, context), plain(given))
        with torch.no_grad():
            for own in made.parameters():
                own.add_(0.1 * torch.randn_like(own))
        assert (made(given, context) - made(given, -context)).abs().min(0).values.max() > 0


def test_context_stands_at_every_pixel():
    found = as_channels(torch.zeros(2, 1, 3, 4), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert found.shape == (2, 3, 3, 4)
    assert (found[:, 0] == 0).all()
    assert (found[1, 1] == 3).all()
    assert (found[0, 2] == 2).all()


@pytest.mark.parametrize(
    "name", ["conv-vae", "resnet-vae", "pixel-vae", "spatial-broadcast-vae", "skip-vae", "conv-hvae"]
)
def test_a_variant_draws_colour_images(name):
    spec = DataSpec((3, 6, 5), "discrete", 17)
    model, _ = construct(resolve(name, spec), Ingredients.blank(spec, [2, 3] if name == "conv-hvae" else 3, (5,), 10))
    x = torch.randint(0, 17, (2, *spec.shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with noise.stream(0, index=torch.arange(2)), torch.no_grad():
        assert model.draw(model.batch(x), 3).log_weight.isfinite().all()
    assert model.sample(2).shape == (2, *spec.shape)
