"""What a prior encodes runs through the encoder once an estimate, and the estimate is the same bit for bit."""

import pytest
import torch

import vaezoo
from vaezoo import Variant
from vaezoo.builder import build
from vaezoo.core import encodings
from vaezoo.core.encodings import encoding_once
from vaezoo.evaluation.estimate import log_likelihood

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
    monkeypatch.setattr(encodings, "KEPT", 0)
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
    with torch.no_grad(), encoding_once(model):
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
    with torch.no_grad(), encoding_once(model):
        first = encode(model)
        kept = first.mean.clone()
        first.mean.add_(1)
        assert torch.equal(encode(model).mean, kept)


def test_nothing_is_kept_outside_an_estimate_in_train_mode_with_gradients_or_of_another_model(model):
    model.eval()
    with torch.no_grad():
        assert encode(model) is not encode(model)
        with encoding_once(torch.nn.Identity()):
            assert encode(model) is not encode(model)
        with encoding_once(model):
            model.train()
            assert encode(model) is not encode(model)
            model.eval()
            first = encode(model)
            with torch.enable_grad():
                assert encode(model) is not first
                assert encode(model).mean.requires_grad
        with encoding_once(model):
            assert encode(model) is not first


def test_under_inference_mode_nothing_is_kept(model):
    model.eval()
    with torch.inference_mode(), encoding_once(model):
        assert encode(model) is not encode(model)


def test_the_number_of_kept_encodings_is_bounded(model, encoded):
    model.eval()
    different = [model.x + n for n in range(encodings.KEPT + 2)]
    with torch.no_grad(), encoding_once(model):
        for x in different * 2:
            model._encode_images(x)
    assert len(encoded) == len(different) + 2
