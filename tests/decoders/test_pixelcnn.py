"""The PixelCNN decoder: it sums to 1, sees no pixel too early and every earlier one, and its samples follow it."""

import re

import pytest
import torch
from scipy import stats

import vaezoo
from vaezoo import DataSpec, Likelihood, Skip, VaezooError, Variant
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.draws import Batch
from vaezoo.nets.pixelcnn import GatedPixelCNN, MaskedConv2d


def model_of(shape, measure="binary", levels=None, likelihood="auto", **options):
    """A model with all its weights moved from their start, in float64."""
    spec = DataSpec(shape, measure, levels)
    decoder = ("pixelcnn", {"width": 6, "layers": 2, "channels": (4,), **options})
    variant = Variant("t", encoder="linear", decoder=decoder, likelihood=likelihood)
    model, _ = construct(resolve(variant, spec), Ingredients.blank(spec, 2, (5,), 10))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model.double()


def table(model):
    """Every binary image of the model's shape, and its probability given one z."""
    pixels = model.spec.dimensions
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * pixels).view(-1, *model.spec.shape)
    z = torch.tensor([0.7, -1.2], dtype=torch.float64).expand(1, len(x), 2)
    with torch.no_grad():
        return x, model.log_likelihood(Batch(x), (z,))[0].exp()


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2, 2), (3, 1, 2), (1, 3, 3)], ids=str)
def test_the_probabilities_of_all_images_sum_to_one(shape):
    x, probability = table(model_of(shape))
    assert len(x) == 2 ** len(x[0].flatten())
    assert probability.max() > 1.5 * probability.min()
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_images_drawn_pixel_by_pixel_have_their_probabilities():
    model, count = model_of((1, 2, 2)), 4000
    _, probability = table(model)
    z = torch.tensor([0.7, -1.2], dtype=torch.float64).expand(count, 2)
    drawn = model.simulate((z,)).flatten(1)
    found = torch.bincount((drawn @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long(), minlength=16)
    p = stats.chisquare(found.numpy(), (probability / probability.sum() * count).numpy()).pvalue
    assert p > 1e-6


class JointBits(Likelihood):
    """Both channels of a binary pixel together: the logits of 00, 01, 10 and 11."""

    measures = ("binary",)

    def __init__(self, spec):
        super().__init__()
        self.parameter_shape = (4, *spec.shape[1:])

    def log_prob(self, x, parameters):
        code = (2 * x[:, :1] + x[:, 1:]).long().expand(len(parameters), -1, -1, -1, -1)
        return parameters.log_softmax(-3).gather(-3, code).flatten(2).sum(-1)

    def mean(self, parameters):
        p = parameters.softmax(-3)
        return torch.stack([p[..., 2, :, :] + p[..., 3, :, :], p[..., 1, :, :] + p[..., 3, :, :]], -3)

    def sample(self, parameters):
        edges = parameters.softmax(-3).cumsum(-3)[..., :3, :, :]
        code = (vaezoo.noise.uniform(*edges.shape[:-3], 1, *edges.shape[-2:]).to(edges) > edges).sum(-3)
        return torch.stack([code // 2, code % 2], -3).to(parameters)


def test_channels_that_a_likelihood_couples_are_drawn_together(own_registry):
    vaezoo.register.likelihood("joint-bits")(JointBits)
    model, count = model_of((2, 1, 2), likelihood="joint-bits"), 4000
    x, probability = table(model)
    torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert model.decoder.pixel_order((2, 1, 2)).tolist() == [[0, 2], [1, 3]]
    drawn = model.simulate((torch.tensor([0.7, -1.2], dtype=torch.float64).expand(count, 2),)).flatten(1)
    code = torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    found = torch.bincount((drawn @ code).long(), minlength=16)
    expected = torch.zeros(16, dtype=torch.float64)
    expected[(x.flatten(1) @ code).long()] = probability / probability.sum() * count
    assert stats.chisquare(found.numpy(), expected.numpy()).pvalue > 1e-6


def jacobian(net, x, context, weights):
    """|d (a random sum of the parameters of a place) / d x_j|, places in raster order with channels last."""
    channels, pixels = x.shape[1], x[0].numel()

    def sums(image):
        found = net(image, context)
        by_channel = found.unflatten(1, (-1, channels))[0]  # [P, C, H, W]
        return (by_channel * weights[:, None, None, None]).sum(0).movedim(0, -1).flatten()

    rows = torch.autograd.functional.jacobian(sums, x)
    return rows.view(pixels, channels, -1).movedim(1, -1).reshape(pixels, pixels).abs()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_pixel_sees_all_pixels_and_channels_before_it_and_no_other(channels):
    torch.manual_seed(0)
    net = GatedPixelCNN(channels, 2 * channels, channels, width=7, layers=6, kernel=3, context=3).double()
    x, context = torch.randn(1, channels, 3, 4).double(), torch.randn(1, 3, 3, 4).double()
    found = jacobian(net, x, context, torch.tensor([1.0, -0.7]).double())
    before = torch.ones_like(found).tril(-1).bool()
    assert found[~before].max() == 0
    assert (found[before] > 0).all()


def test_it_sees_as_far_as_its_layers_reach():
    """Two layers with kernel 3: two columns to each side, and one more row up than layers."""
    net = GatedPixelCNN(1, 1, 1, width=4, layers=2, kernel=3, context=1).double()
    x, context = torch.randn(1, 1, 7, 7).double(), torch.randn(1, 1, 7, 7).double()
    row = jacobian(net, x, context, torch.ones(1).double())[4 * 7 + 3].view(7, 7) > 0
    assert row[1:4, 1:6].all()
    assert row[4, 1:3].all()
    assert row.sum() == 3 * 5 + 2


def test_z_reaches_every_pixel():
    model = model_of((2, 5, 6))
    z = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    for parameter in model.decoder(z, torch.zeros(1, 2, 5, 6, dtype=torch.float64)).flatten():
        assert torch.autograd.grad(parameter, z, retain_graph=True)[0].any()


def test_a_masked_weight_has_no_effect_and_no_gradient():
    layer = MaskedConv2d(torch.tensor([[[[1.0, 0.0]]]]))
    x = torch.randn(1, 1, 3, 5)
    layer(x).square().sum().backward()
    assert layer.weight.grad[0, 0, 0, 1] == 0
    torch.testing.assert_close(layer(x), x[..., :-1] * layer.weight[0, 0, 0, 0] + layer.bias)
    assert "mask" not in layer.state_dict()


def test_it_skips_what_has_no_order_of_pixels():
    with pytest.raises(Skip, match=r"decoder 'pixelcnn' needs images \[channels, height, width\], got \[6\]"):
        model_of((6,))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 2}, "width must be 3 or more, one for each channel, and layers 1 or more, got 2 and 2"),
        ({"layers": 0}, "got 6 and 0"),
        ({"kernel": 4}, "kernel must be an odd side length of 3 or more, got 4"),
        ({"channels": ()}, "channels must be one or more whole numbers >= 1, got []"),
    ],
)
def test_it_refuses_sizes_that_cannot_be(options, text):
    with pytest.raises(VaezooError, match=re.escape(text)):
        model_of((3, 4, 4), **options)


def test_a_likelihood_with_two_parameters_a_pixel():
    model = model_of((3, 4, 4), "discrete", 5)
    assert model.decoder(torch.zeros(2, 2).double(), torch.zeros(2, 3, 4, 4).double()).shape == (2, 2, 3, 4, 4)
    drawn = model.sample(2)
    assert torch.equal((drawn * 4).round() / 4, drawn)
    assert vaezoo.names("variant").count("pixel-vae") == 1
