"""Metrics are repeatable and declare their columns; KL, information and collapse equal closed forms and identities."""

import math

import pytest
import torch
from linear_model import linear_model
from measuring import evaluation, metric

import vaezoo
from vaezoo.builder import build
from vaezoo.core import noise
from vaezoo.registry import registry


def digits_model(latent=6, seed=0, **overrides):
    dataset = vaezoo.load_dataset("digits-binary")
    return build("vae", dataset, latent=latent, hidden=(16,), seed=seed, overrides=overrides), dataset


def mean_kl(known):
    with torch.no_grad():
        return known.model.encode(known.x).kl_standard_normal().mean(0)


class NotGaussian:
    """A posterior that scores only its own samples, as an IAF."""

    gaussian = None

    def __init__(self, q):
        self.q = q

    def rsample_and_log_prob(self, samples):
        return self.q.rsample_and_log_prob(samples)

    def log_prob(self, z):
        return None


def opaque(model):
    """The model with a posterior that is NotGaussian."""
    forward = model.posterior_net.forward
    model.posterior_net.forward = lambda features: NotGaussian(forward(features))
    return model


@pytest.mark.parametrize("name", registry("metric"))
def test_a_metric_is_repeatable_and_leaves_the_model_alone(name):
    """The numbers do not depend on torch's generator; they are finite and their columns declared and documented. The
    model keeps its mode and has no gradients.
    """
    model, dataset = digits_model()
    model.train()
    small = {"count": 6, "steps": 3, "temperatures": 3, "chains": 2}
    options = {k: v for k, v in small.items() if k in registry("metric")[name].hyperparameters}
    found, contexts = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        contexts.append(evaluation(dataset, 12, 20))
        found.append(registry("metric")[name].target(model, dataset.test.x[:12], contexts[-1], **options))
    assert found[0] == found[1]
    documented, declared = registry("metric")[name].target.__doc__, registry("metric")[name].columns
    for column, value in found[0].items():
        assert value is None or math.isfinite(value)
        assert value is not None or column in contexts[0].notes
        assert any(each.member(column) for each in declared), column
        stem = column.removesuffix("_standard_error").removesuffix("_iwll").removesuffix("_elbo")
        assert stem.split("_over_")[0] in documented, column
    assert contexts[0].vectors.keys() == contexts[1].vectors.keys()
    for key, value in contexts[0].vectors.items():
        assert torch.equal(value, contexts[1].vectors[key])
        assert key in documented
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()


def test_kl_of_each_dimension_is_the_closed_form_and_adds_up():
    known = linear_model(5, images=300)
    context = evaluation(known.dataset)
    found = metric("kl-per-dimension", known.model, known.dataset, context)
    kl = mean_kl(known)
    vector, order = context.vectors["kl_per_dimension"], context.vectors["kl_per_dimension_order"]
    assert vector.shape == order.shape == (1, 5)
    torch.testing.assert_close(vector[0], kl[order[0]])
    assert (vector[0].diff() <= 0).all()
    torch.testing.assert_close(context.vectors["kl_per_group"], vector.sum(1))
    assert found["kl_largest_dimension"] == pytest.approx(float(kl.max()))
    assert found["kl_median_dimension"] == pytest.approx(float(kl.median()))
    many = found["kl_dimensions_for_90_percent"]
    assert vector[0, :many].sum() >= 0.9 * kl.sum() > vector[0, : many - 1].sum()


def test_kl_without_a_closed_form_is_that_of_the_group():
    known = linear_model(3, images=300)
    context = evaluation(known.dataset)
    found = metric("kl-per-dimension", opaque(known.model), known.dataset, context, samples=200)
    assert set(found.values()) == {None}
    assert found.keys() == context.notes.keys()
    known = linear_model(3, images=300)
    assert float(context.vectors["kl_per_group"]) == pytest.approx(float(mean_kl(known).sum()), abs=0.05)


def test_a_prior_as_posterior_has_no_kl():
    known = linear_model(3, images=20)
    make_constant(known.model)
    context = evaluation(known.dataset)
    found = metric("kl-per-dimension", known.model, known.dataset, context)
    assert float(context.vectors["kl_per_group"]) == 0
    assert (found["kl_largest_dimension"], found["kl_dimensions_for_90_percent"]) == (0, 0)


def make_constant(model):
    """Make q the prior for every x."""
    with torch.no_grad():
        for parameter in model.posterior_net.parameters():
            parameter.zero_()


def test_active_units_for_several_thresholds():
    model, dataset = digits_model()
    with torch.no_grad():
        means = model.encode(dataset.test.x).mean.double()
    variances = means.var(0)
    context = evaluation(dataset)
    middle = float(variances.median())
    found = metric("active-unit-vector", model, dataset, context, thresholds=(0.0, 0.01, middle, 1e9))
    counts = list(found.values())
    assert counts[0] == 6
    assert counts[2] == 3
    assert counts[3] == 0
    assert list(found)[1] == "active_units_over_0.01"
    assert counts[1] == metric("active-units", model, dataset)["active_units"]
    order = context.vectors["mean_variances_order"]
    torch.testing.assert_close(context.vectors["mean_variances"], variances[order])
    assert (context.vectors["mean_variances"].diff() <= 0).all()


def test_aggregate_kl_and_mutual_information_make_the_mean_kl():
    known = linear_model(2, images=400)
    found = metric("aggregate-kl", known.model, known.dataset, samples=20)
    total = found["mutual_information"] + found["aggregate_kl"]
    assert found["mutual_information_limit"] == pytest.approx(math.log(400))
    with torch.no_grad(), noise.stream(0, index=torch.arange(400), dtype=torch.float64):
        draws = known.model.draw(known.model.batch(known.x), 1000)
        spread = float((draws.log_posterior - draws.log_prior)[0].std(0).mean()) / math.sqrt(20 * 400)
    assert total == pytest.approx(float(mean_kl(known).sum()), abs=5 * spread)
    assert 0 < found["mutual_information"] < math.log(400)
    assert found["aggregate_kl"] > 0


def test_mutual_information_is_that_of_the_channel():
    """With the exact posterior x and z are jointly Gaussian: I(x;z) = -1/2 sum_j log v_j, and q(z) = p(z)."""
    known = linear_model(1, images=2000, noise=1.5)
    found = metric("aggregate-kl", known.model, known.dataset, samples=5)
    assert found["mutual_information"] == pytest.approx(-0.5 * float(known.variance.log()), abs=0.06)
    assert found["aggregate_kl"] == pytest.approx(0, abs=0.05)


def test_information_is_at_most_log_n_and_reaches_it():
    """Where the posteriors are so narrow that each z identifies its image, I = log N."""
    known = linear_model(4, images=30, scale=1e-6)
    found = metric("aggregate-kl", known.model, known.dataset)
    assert found["mutual_information"] <= math.log(30) + 1e-9
    assert found["mutual_information"] == pytest.approx(math.log(30), abs=1e-3)
    few = metric("aggregate-kl", known.model, known.dataset, count=5)
    assert few["mutual_information_limit"] == pytest.approx(math.log(5))


def test_information_of_a_constant_encoder_is_zero():
    known = linear_model(3, images=50)
    make_constant(known.model)
    found = metric("aggregate-kl", known.model, known.dataset)
    assert found["mutual_information"] == pytest.approx(0, abs=1e-9)
    assert found["aggregate_kl"] == pytest.approx(0, abs=1e-9)


def test_information_does_not_depend_on_the_block_size(monkeypatch):
    known = linear_model(2, images=60)
    whole = metric("aggregate-kl", known.model, known.dataset, samples=3)
    monkeypatch.setattr("vaezoo.metrics.aggregate_kl.BLOCK", 60 * 2 * 7)
    assert metric("aggregate-kl", known.model, known.dataset, samples=3) == pytest.approx(whole)


def test_a_posterior_that_cannot_score_has_no_aggregate():
    model = opaque(linear_model(2).model)
    dataset = linear_model(2).dataset
    context = evaluation(dataset)
    assert set(metric("aggregate-kl", model, dataset, context).values()) == {None}
    assert "cannot score" in context.notes["mutual_information"]
    found = metric("collapse", model, dataset, context)
    assert found["collapse_mutual_information"] is None
    assert found["collapsed"] == 0
    assert set(metric("amortisation-gap", model, dataset, context).values()) == {None}
    assert context.notes["amortisation_gap"] == "the posterior is not a diagonal Gaussian"


def test_collapse_of_constant_and_untrained_encoders_is_flagged():
    known = linear_model(3, images=200)
    healthy = metric("collapse", known.model, known.dataset)
    assert (healthy["collapsed"], healthy["idle_dimensions"]) == (0, 0)
    assert healthy["reconstruction_gain"] > 1
    make_constant(known.model)
    constant = metric("collapse", known.model, known.dataset)
    assert (constant["collapsed"], constant["idle_dimensions"]) == (1, 1)
    assert constant["collapse_mutual_information"] == pytest.approx(0, abs=1e-9)
    model, dataset = digits_model()
    assert metric("collapse", model, dataset)["collapsed"] == 1


def test_collapse_of_a_decoder_that_ignores_z_is_flagged():
    """z identifies the image, and the decoder ignores z."""
    known = linear_model(3, images=200)
    with torch.no_grad():
        known.model.decoder.net[0].weight.zero_()
    found = metric("collapse", known.model, known.dataset)
    assert found["collapse_mutual_information"] > 1
    assert found["reconstruction_gain"] == 0
    assert found["collapsed"] == 1


def test_the_share_of_idle_dimensions():
    known = linear_model(4, images=100)
    with torch.no_grad():
        for parameter in known.model.posterior_net.parameters():
            parameter[[0, 4]] = 0  # mean and log_std of the first dimension
    found = metric("collapse", known.model, known.dataset)
    assert (found["idle_dimensions"], found["collapsed"]) == (0.25, 0)


def test_the_reconstruction_gain_is_its_closed_form():
    """Along a column of W of length n the squared error is s^2 in the mean with z ~ q, the exact posterior, and
    s^2 + 2 n^2 with z ~ p: the gain is n^2 / s^2.
    """
    known = linear_model(1, images=4000, noise=1.0)
    found = metric("collapse", known.model, known.dataset, count=4000, samples=20)
    assert found["reconstruction_gain"] == pytest.approx(1.7**2, abs=0.16)


def test_pareto_k_is_of_95_percent_of_the_images_or_says_why_it_is_not():
    for scale, samples, wanted in ((0.6, 300, None), (1.0, 300, "do not differ: q is exact"), (0.6, 224, "take 225")):
        known = linear_model(2, scale=scale, images=40)
        own = evaluation(known.dataset, samples=samples)
        found = registry("metric")["likelihood"].target(known.model, known.x, own)["pareto_k"]
        k = own.per_image["pareto_k"]
        if wanted is None:
            assert found == float(k.sort().values[-3])
            assert own.notes == {}
        else:
            assert found is None
            assert wanted in own.notes["pareto_k"]
