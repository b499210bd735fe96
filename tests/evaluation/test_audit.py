"""The audit of a trained model passes right models, and names with a figure what is wrong with others."""

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.builder import build
from vaezoo.core.contracts import Prior
from vaezoo.core.errors import Skip
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.audit import audit
from vaezoo.evaluation.audit_figures import CLAIMS, Audit, Figure
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics.likelihood import likelihood
from vaezoo.registry import registry

IMAGES = 40


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("digits-binary")


def small(dataset, variant="vae", latent=5):
    return build(variant, dataset, latent=latent, hidden=[8])


def audited(model, dataset, reloaded=None, samples=20, **per_image):
    """The audit of a model after its evaluation, with these values in place of the measured ones."""
    x, index = dataset.test.x[:IMAGES], torch.arange(min(IMAGES, len(dataset.test)))
    context = dataset.test.context[:IMAGES] if model.conditional else None
    evaluation = Evaluation(samples, 0, dataset, index, context)
    likelihood(model, x, evaluation)
    evaluation.per_image.update(per_image)
    return audit(model, reloaded or copy.deepcopy(model), x, evaluation)


def failed(found: Audit) -> set[str]:
    return {name for name, figure in found.figures.items() if not figure.holds}


@pytest.mark.parametrize("variant", ["vae", pytest.param("all", marks=pytest.mark.nightly)])
def test_right_models_pass(variant, dataset):
    labelled = load_dataset("digits-binary", options={"context": "labels"})
    levels = load_dataset("digits")
    names = vaezoo.names("variant") if variant == "all" else [variant]
    for name in names:
        for data in (dataset, labelled, levels, load_dataset("linear-gaussian")):
            try:
                model = build(name, data, latent=[3, 4] if name in ("hvae-2", "ladder-vae") else 4, hidden=[8])
            except Skip:
                continue
            found = audited(model, data)
            assert found.failure is None, (name, found)
            pixel_by_pixel = {"later_pixels"} - ({"later_pixels"} if model.decoder.autoregressive else set())
            assert set(found.figures) | set(found.not_decided) == set(CLAIMS) - pixel_by_pixel
            assert found.images == 16


LEFT = {}


class Leaving(nn.Module):
    """An encoder that leaves what it saw in a global."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.features = encoder, encoder.features

    def forward(self, x):
        LEFT["h"] = self.encoder(x)
        return LEFT["h"]


class Taking(vaezoo.Decoder):
    """A decoder that adds what an encoder left."""

    def __init__(self, decoder, taken):
        super().__init__()
        self.decoder, self.taken = decoder, taken

    def forward(self, z):
        out = self.decoder(z)
        return out + self.taken(out)


def of_last_batch(out):
    left = LEFT.get("h")
    if left is None or len(out) % len(left):
        return 0.0
    return left.mean(-1).repeat(len(out) // len(left)).view(-1, *(1,) * (out.dim() - 1))


def of_neighbours(out):
    return out.mean(0)


@pytest.mark.parametrize(
    ("taken", "names"),
    [
        (lambda out: 0.1, set()),
        (of_last_batch, {"likelihood_after_others", "likelihood_beside_others"}),
        (of_neighbours, {"reloaded", "likelihood_beside_others"}),
    ],
)
def test_a_decoder_that_sees_other_images_fails(taken, names, dataset):
    model = small(dataset)
    model.encoder = Leaving(model.encoder)
    model.decoder = Taking(model.decoder, taken)
    assert failed(audited(model, dataset)) >= names
    assert bool(failed(audited(model, dataset))) == bool(names)


class OfPrior(Prior):
    """A normal prior with something more."""

    def __init__(self, more):
        super().__init__()
        self.more = more

    def log_density(self, z):
        own = -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)
        return own + self.more(z, own)

    def sample(self, n):
        return vaezoo.noise.normal(n, 20)


@pytest.mark.parametrize(
    ("more", "names"),
    [
        (lambda z, own: 0.0, set()),
        (lambda z, own: (own.exp() + 1e-10).log() - own, {"prior_mass"}),
        (lambda z, own: (z.mean((0, 1)) * z).sum(-1), {"reloaded", "prior_beside_others"}),
        (lambda z, own: LEFT["h"].mean(), {"prior_after_others"}),
    ],
)
def test_a_prior_that_is_no_density_or_sees_other_images_fails(more, names, dataset):
    model = small(dataset, latent=20)
    model.encoder, model.prior = Leaving(model.encoder), OfPrior(more)
    found = failed(audited(model, dataset))
    assert found >= names
    assert bool(found) == bool(names)


ADDED = Path(__file__).parents[1] / "additions" / "decoders" / "masked_linear.py"


@pytest.mark.parametrize(("sees_itself", "names"), [(False, set()), (True, {"later_pixels"})])
def test_an_autoregressive_decoder_that_sees_its_own_pixel_fails(own_registry, sees_itself, names, dataset):
    if "masked-linear" not in vaezoo.names("decoder"):
        own_registry.load_file(ADDED)
    model = small(dataset)
    model.decoder = registry("decoder")["masked-linear"].target(5, model.spec, model.likelihood.parameter_shape)
    if sees_itself:
        model.decoder.mask = torch.ones_like(model.decoder.mask).tril()
    found = audited(model, dataset)
    assert failed(found) == names
    assert "later_pixels" in found.figures


def test_weights_that_are_not_all_in_the_file_fail(dataset):
    model, other = small(dataset), build("vae", dataset, latent=5, hidden=[8], seed=1)
    assert failed(audited(model, dataset, reloaded=other)) == {"reloaded"}
    assert audited(model, dataset, reloaded=other).figures["reloaded"].found > 1e-3


def test_probabilities_above_1_fail_beyond_chance(dataset):
    model = small(dataset)
    one = torch.full((IMAGES,), -1.0)
    error, trusted = torch.full((IMAGES,), 0.01), torch.full((IMAGES,), 0.3)
    high = {"iwll_standard_error": error, "pareto_k": trusted}

    def found(iwll, **more):
        return failed(audited(model, dataset, iwll=iwll, **high | more)) - {"reloaded"}

    last = torch.zeros(IMAGES).index_fill(0, torch.tensor([IMAGES - 1]), 1.0)
    assert found(one) == set()
    assert found(one + 18.0 * last) == {"probability_in_errors"}  # ln(1e6 N) is 17.5
    assert found(one + 19.0 * last) == {"probability", "probability_in_errors"}
    assert found(one + 14.5, pareto_k=trusted + 0.5) == set()  # 13.5 each; ln 1e6 is 13.8
    assert found(one + 15.0, pareto_k=trusted + 0.5) == {"mean_probability"}
    assert found(one + 1.2 * last, iwll_standard_error=4 * error) == set()
    assert "k-hat of no image" in audited(model, dataset).not_decided["probability_in_errors"]


def test_dequantised_images_have_probabilities_and_continuous_ones_have_none():
    x = torch.rand(30, 4)
    for levels, decided in ((None, False), (4, True)):
        data = vaezoo.Dataset(x[:10], x[10:20], x[20:], measure="continuous", levels=levels)
        found = audited(build("vae", data, latent=2, hidden=[4]), data, iwll=torch.full((10,), 4 * math.log(4) + 14.0))
        assert found.images == 10
        assert ("mean_probability" in failed(found)) == decided
        assert ("density has no largest value" in str(found.not_decided)) == (not decided)


def test_a_pseudo_likelihood_has_no_probabilities(dataset):
    model = small(dataset)
    model.pseudo_likelihood = True
    assert "scores another measure" in audited(model, dataset).not_decided["probability"]


def test_a_figure_holds_up_to_its_bound_and_only_where_it_is_finite():
    assert Figure.of(1.0, 1.0).holds
    assert not Figure.of(1.1, 1.0).holds
    assert not Figure.of(math.nan, 1.0).holds
    found = Audit(16, {"prior_mass": Figure.of(math.inf, 6.9)})
    assert found.failure == f"audit: {CLAIMS['prior_mass']} not finite, at most 6.9"
