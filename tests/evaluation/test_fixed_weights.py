"""What a prior encodes runs through the encoder once an estimate, and a weight is laid out for its library once: the
estimate is the same, bit for bit.
"""

from functools import partial

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo import Variant
from vaezoo.builder import build
from vaezoo.core import fixed_weights, products
from vaezoo.core.fixed_weights import weights_fixed
from vaezoo.core.torch_internals import onednn_layout
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.nets.linear import Linear, linear

PRIORS = {"exemplar": {"exemplars": 12}, "vampprior": {"components": 12}}


@pytest.fixture(params=PRIORS)
def model(request):
    x = torch.rand(30, 1, 2, 3, generator=torch.Generator().manual_seed(0)).round()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    made = build(Variant("t", prior=(request.param, PRIORS[request.param])), data, latent=2, hidden=(6,))
    made.x = x
    return made


@pytest.fixture
def encoded(model):
    """How many images each run of the encoder had."""
    counts = []
    model.encoder.register_forward_hook(lambda part, given, out: counts.append(len(given[0])))
    return counts


def estimated(model, samples=600):
    found = log_likelihood(model, model.x[:5], samples)
    return torch.stack([found.estimate, found.standard_error, found.elbo])


def encode(model):
    """q(z|x) as the prior is given it."""
    return model._encode_images(model.x)


@pytest.mark.filterwarnings("ignore::vaezoo.core.errors.VaezooWarning")
def test_an_estimate_encodes_once_and_is_the_same_bit_for_bit(model, encoded, monkeypatch):
    """In blocks of 50 samples, of which there are 12."""
    monkeypatch.setattr("vaezoo.evaluation.blocks.BlockSize.samples", 50)
    once = estimated(model)
    assert encoded == [5, 12]
    encoded.clear()
    monkeypatch.setattr(fixed_weights, "KEPT", 0)
    assert torch.equal(estimated(model), once)
    assert encoded == [5, *[12] * 12]


@pytest.mark.filterwarnings("ignore::vaezoo.core.errors.VaezooWarning")
def test_the_next_estimate_sees_the_weights_of_now(model):
    before = estimated(model)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.5)
    after = estimated(model)
    fresh = build(
        model_variant(model), vaezoo.Dataset(model.x, model.x, model.x, measure="binary"), latent=2, hidden=(6,)
    )
    fresh.load_state_dict(model.state_dict())
    fresh.x = model.x
    assert not torch.equal(before, after)
    assert torch.equal(estimated(fresh), after)


def model_variant(model):
    """The variant of a model of this file."""
    name = type(model.prior).__name__.lower()
    return Variant("t", prior=(name, PRIORS[name]))


def test_equal_images_share_an_encoding_and_changed_ones_do_not(model):
    model.eval()
    with torch.no_grad(), weights_fixed(model):
        first = encode(model)
        assert encode(model) is first
        assert model._encode_images(model.x.clone()) is first
        assert model._encode_images(1 - model.x) is not first
        model.x[0] = 1 - model.x[0]
        changed = encode(model)
        assert changed is not first
        assert not torch.equal(changed.mean[0], first.mean[0])


def test_a_result_that_was_written_to_is_computed_again(model):
    model.eval()
    with torch.no_grad(), weights_fixed(model):
        first = encode(model)
        kept = first.mean.clone()
        first.mean.add_(1)
        assert torch.equal(encode(model).mean, kept)


def test_nothing_is_kept_outside_an_estimate_in_train_mode_with_gradients_or_of_another_model(model):
    model.eval()
    with torch.no_grad():
        assert encode(model) is not encode(model)
        with weights_fixed(torch.nn.Identity()):
            assert encode(model) is not encode(model)
        with weights_fixed(model):
            model.train()
            assert encode(model) is not encode(model)
            model.eval()
            first = encode(model)
            with torch.enable_grad():
                assert encode(model) is not first
                assert encode(model).mean.requires_grad
        with weights_fixed(model):
            assert encode(model) is not first


def test_under_inference_mode_nothing_is_kept(model):
    model.eval()
    with torch.inference_mode(), weights_fixed(model):
        assert encode(model) is not encode(model)


def test_the_number_of_kept_encodings_is_bounded(model, encoded):
    model.eval()
    different = [model.x + n for n in range(fixed_weights.KEPT + 2)]
    with torch.no_grad(), weights_fixed(model):
        for x in different * 2:
            model._encode_images(x)
    assert len(encoded) == len(different) + 2


ROWS, OUT, IN = products.BOUNDARY, 300, 250


@pytest.fixture(params=["onednn", "loop"])
def library(request, monkeypatch):
    """One that multiplies, and has a layout of its own."""
    if request.param not in products.available() or (request.param == "onednn" and onednn_layout() is None):
        pytest.skip(f"there is no {request.param} here, or it has no layout")
    monkeypatch.setenv(products.SETTING, request.param)
    return request.param


@pytest.fixture
def layer(library):
    """A large layer that it multiplies."""
    torch.manual_seed(0)
    return Linear(IN, OUT)


@pytest.fixture
def arranged(library, monkeypatch):
    """The weights that were laid out."""
    arrange, seen = products.arranged, []

    def counted(name, weight):
        assert name == library
        seen.append(weight.clone())
        return arrange(name, weight)

    monkeypatch.setattr(fixed_weights.products, "arranged", counted)
    return seen


@pytest.mark.parametrize("rows", [ROWS, 1000, 5000])
@pytest.mark.parametrize("biased", [True, False])
def test_a_weight_is_laid_out_once_and_the_product_is_the_same_bit_for_bit(layer, arranged, rows, biased):
    x = torch.randn(rows, IN, generator=torch.Generator().manual_seed(1))
    if not biased:
        layer.bias = None
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)
            assert torch.equal(layer(x.view(-1, 8, IN)).view(-1, OUT), expected)
    assert len(arranged) == 1


def test_a_weight_that_was_written_to_is_laid_out_again(layer, arranged):
    """Also where its memory is replaced, twice by memory of the same size."""
    x = torch.ones(ROWS, IN)
    changes = [
        lambda: layer.weight.mul_(2),
        *2 * [lambda: setattr(layer.weight, "data", layer.weight.data * 4)],
        lambda: setattr(layer.weight, "data", layer.weight.data.flip(0)),
    ]
    with torch.no_grad(), weights_fixed(layer):
        layer(x)
        for change in changes:
            change()
            torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert len(arranged) == 5
    assert torch.equal(arranged[3], 32 * arranged[0])


def test_a_square_weight_that_was_transposed_is_laid_out_again(arranged):
    layer, x = Linear(OUT, OUT, bias=False), torch.randn(ROWS, OUT)
    with torch.no_grad(), weights_fixed(layer):
        layer(x)
        layer.weight.data = layer.weight.data.t()
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight))
    assert len(arranged) == 2


def test_layouts_are_forgotten_at_the_end(layer, arranged):
    x = torch.ones(ROWS, IN)
    with torch.no_grad():
        for _ in range(2):
            with weights_fixed(layer):
                layer(x)
    assert len(arranged) == 2


GAPS = {
    "a gap after each row": lambda: torch.randn(OUT, IN + 9)[:, :IN],
    "a gap after each column": lambda: torch.randn(IN, OUT + 9)[:, :OUT].t(),
    "one row for all": lambda: torch.randn(1, IN).expand(OUT, IN),
}


@pytest.mark.parametrize("gap", GAPS)
def test_a_weight_whose_memory_is_not_dense_stays_as_it_is(layer, arranged, gap):
    """oneDNN would round it otherwise."""
    layer.weight = nn.Parameter(GAPS[gap]())
    x = torch.randn(ROWS, IN)
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)
    assert arranged == []


def test_a_transposed_weight_is_laid_out(layer, arranged):
    layer.weight = nn.Parameter(torch.randn(IN, OUT).t())
    x = torch.randn(ROWS, IN)
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)
    assert len(arranged) == 1


def double(module, _):
    """A hook from outside."""
    module.weight.data.mul_(2)


class Doubling(nn.Module):
    """Code from outside. It writes to a weight in a way that torch does not count."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        self.layer.weight.data.mul_(2)
        return self.layer(x)


@pytest.mark.parametrize("outside", ["class", "hook", "partial hook", "function"])
def test_with_code_from_outside_nothing_is_laid_out(layer, arranged, outside):
    model, x = nn.Sequential(layer), torch.ones(ROWS, IN)
    if outside == "class":
        model = nn.Sequential(Doubling(layer))
    elif outside == "hook":
        layer.register_forward_pre_hook(double)
    elif outside == "partial hook":
        layer.register_forward_pre_hook(partial(double))
    else:
        layer.forward = lambda x: nn.functional.linear(x, layer.weight.data.mul_(2), layer.bias)
    with torch.no_grad(), weights_fixed(model):
        for _ in range(3):
            value = model(x)
            torch.testing.assert_close(value, nn.functional.linear(x, layer.weight, layer.bias))
    assert arranged == []


def test_a_weight_made_in_inference_mode_stays_as_it_is(arranged):
    """torch does not count what is written to it."""
    with torch.inference_mode():
        layer = Linear(IN, OUT)
        with weights_fixed(layer):
            layer(torch.ones(ROWS, IN))
    assert arranged == []


def test_an_estimate_lays_its_large_weights_out(layer, arranged, monkeypatch):
    """And is the same without, bit for bit."""
    x = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0)).round()
    model = build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=3, hidden=(300,))
    model.x = x
    found = estimated(model, 100)
    assert [tuple(weight.shape) for weight in arranged] == [(256, 300)]
    monkeypatch.setattr(fixed_weights.products, "arranged", lambda name, weight: weight)
    assert torch.equal(estimated(model, 100), found)


def test_nothing_is_laid_out_for_few_rows_outside_an_estimate_with_gradients_or_for_a_computed_weight(layer, arranged):
    x = torch.ones(ROWS, IN)
    with weights_fixed(layer):
        layer(x).sum().backward()
        with torch.no_grad():
            layer(x[1:])
            linear(x, layer.weight * 2, layer.bias)
            linear(x, layer.weight.detach(), layer.bias)
    with torch.no_grad():
        layer(x)
    assert arranged == []


def test_torch_s_own_library_gets_the_weight_as_it_is(layer, arranged, monkeypatch):
    monkeypatch.setenv(products.SETTING, "torch")
    with torch.no_grad(), weights_fixed(layer):
        layer(torch.ones(ROWS, IN))
    assert arranged == []


@pytest.mark.parametrize("out", [5, 12, 15, 16])
def test_a_narrow_layer_is_the_same_bit_for_bit(library, out):
    """The loop leaves one of fewer than 16 outputs to torch, which gets the weight as it is."""
    torch.manual_seed(0)
    layer, x = Linear(2000, out), torch.randn(ROWS, 2000)
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)


def test_a_weight_is_laid_out_again_where_another_library_multiplies(layer, library, monkeypatch):
    """As where the number of threads changes."""
    if set(products.LIBRARIES) - set(products.available()):
        pytest.skip("a library is not here")
    other = {"onednn": "loop", "loop": "onednn"}[library]
    x = torch.randn(ROWS, IN, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = {library: layer(x)}
        monkeypatch.setenv(products.SETTING, other)
        expected[other] = layer(x)
        with weights_fixed(layer):
            for name in (library, other, library):
                monkeypatch.setenv(products.SETTING, name)
                assert torch.equal(layer(x), expected[name])


def test_a_build_of_torch_that_lays_nothing_out(layer, monkeypatch):
    monkeypatch.setattr(products, "onednn_layout", lambda: None)
    x = torch.ones(ROWS, IN)
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)
