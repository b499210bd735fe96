"""What a prior encodes runs through the encoder once an estimate, and a weight is laid out for oneDNN once: the
estimate is the same, bit for bit.
"""

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


@pytest.fixture
def layer(monkeypatch):
    """A large layer that oneDNN multiplies."""
    monkeypatch.setenv(products.SETTING, "onednn")
    torch.manual_seed(0)
    return Linear(IN, OUT)


@pytest.fixture
def arranged(monkeypatch):
    """The weights that were laid out."""
    arrange, seen = onednn_layout(), []
    if arrange is None:
        pytest.skip("this build of torch has no oneDNN")

    def counted(weight):
        seen.append(weight.clone())
        return arrange(weight)

    monkeypatch.setattr(fixed_weights, "onednn_layout", lambda: counted)
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
    x = torch.ones(ROWS, IN)
    with torch.no_grad(), weights_fixed(layer):
        layer(x)
        for change in (lambda: layer.weight.mul_(2), lambda: setattr(layer.weight, "data", layer.weight * 3)):
            change()
            torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert len(arranged) == 3
    assert torch.equal(arranged[2], 6 * arranged[0])


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


def test_a_build_of_torch_that_lays_nothing_out(layer, monkeypatch):
    monkeypatch.setattr(fixed_weights, "onednn_layout", lambda: None)
    x = torch.ones(ROWS, IN)
    with torch.no_grad():
        expected = layer(x)
        with weights_fixed(layer):
            assert torch.equal(layer(x), expected)
