"""Building a model: likelihoods that suit the data, hyper-parameters, overrides, rehearsals, seeds of the weights."""

import re
import subprocess
import sys

import pytest
import torch
from small_parts import NormalPrior, NotGaussianPosterior, built, dataset, forgotten  # noqa: F401
from small_tasks import images_of

import vaezoo
from vaezoo import DataSpec, Skip, VaezooError, Variant
from vaezoo.builder import Ingredients, build, construct, rehearse, resolve
from vaezoo.registry import register


@pytest.mark.parametrize(
    ("likelihood", "measure", "levels", "scores"),
    [
        ("bernoulli", "continuous", None, "binary"),
        ("gaussian", "binary", None, "continuous"),
        ("bernoulli", "discrete", 4, "binary"),
    ],
)
def test_a_likelihood_that_does_not_score_the_measure_is_a_skip(likelihood, measure, levels, scores):
    data = dataset(measure, levels=levels)
    text = (
        rf"likelihood '{likelihood}' scores {scores} images, these are {measure}; "
        r"allow_pseudo_likelihood = true runs it all the same, marked and never ranked"
    )
    with pytest.raises(Skip, match=text):
        built(data=data, likelihood=likelihood)
    slots = resolve("vae", data.spec, {"likelihood": (likelihood, {})})
    model, _ = construct(slots, Ingredients.of(data, 3, (5,)), allow_pseudo_likelihood=True)
    assert model.pseudo_likelihood
    assert not built().pseudo_likelihood


@pytest.mark.parametrize("declared", [(), "binary", ("gray",), None])
def test_a_likelihood_without_measures_is_refused_and_told_what_to_write(declared):
    @register.likelihood("t-unmeasured")
    class Unmeasured(vaezoo.registry.registry("likelihood")["bernoulli"].target):
        measures = declared

    text = (
        r"likelihood 't-unmeasured' \(.*test_building\.py:\d+\) must declare `measures`, a tuple of 'binary', "
        rf"'discrete', 'counts', 'continuous', got {re.escape(repr(declared))}; write for example "
        r"measures = \('binary',\) in its class"
    )
    with pytest.raises(VaezooError, match=f"^{text}$"):
        built(likelihood="t-unmeasured")


def test_auto_is_the_natural_likelihood_of_the_measure():
    natural = {"binary": "bernoulli", "discrete": "discretized-logistic", "continuous": "gaussian"}
    for measure, name in natural.items():
        assert resolve("vae", DataSpec((2, 2), measure, 4))["likelihood"][0] == name


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"prior": "vampprio"}, "prior 'vampprio' is unknown; did you mean 'vampprior' or 'top-down-vampprior'?"),
        (
            {"objective": ("beta", {"betta": 2.0})},
            "objective 'beta': hyper-parameter 'betta' is unknown; did you mean 'beta'",
        ),
        (
            {"objective": ("beta", {"beta": "much"})},
            "objective 'beta': hyper-parameter 'beta' must be a number, got 'much'",
        ),
        (
            {"objective": ("beta", {"beta": True})},
            "objective 'beta': hyper-parameter 'beta' must be a number, got true",
        ),
        ({"objective": ("iwae", {"importance_samples": 2.5})}, "'importance_samples' must be a whole number, got 2.5"),
        (
            {"objective": ("iwae", {"importance_samples": True})},
            "'importance_samples' must be a whole number, got true",
        ),
        ({"encoder": ("mlp", {"hidden": [3]})}, "encoder 'mlp': 'hidden' is handed over by the builder"),
        (
            {"encoder": ("mlp", {"activation": 3})},
            "encoder 'mlp': hyper-parameter 'activation' must be a string, got 3",
        ),
        (
            {"encoder": ("conv", {"channels": [8, "x"]})},
            "encoder 'conv': hyper-parameter 'channels' must be a list, each item a whole number, got",
        ),
        ({"encoder": ("conv", {"channels": "88"})}, "encoder 'conv': hyper-parameter 'channels' must be a list"),
        ({"encoder": ("mlp", {"activation": "rellu"})}, "encoder 'mlp': activation 'rellu' is unknown; did you mean"),
        ({"objective": ("beta", {"beta": -1})}, "objective 'beta': beta must be 0 or more, got -1"),
        ({"prior": ("mixture", {"components": 0})}, "prior 'mixture': components must be 1 or more, got 0"),
        ({"prior": ("vampprior", {"components": 31})}, "components must be at most the 30 training images, got 31"),
        ({"encodr": "mlp"}, "slot 'encodr' is unknown; did you mean 'encoder'"),
    ],
)
def test_what_is_wrong_with_a_hyper_parameter_is_said(overrides, text):
    with pytest.raises(VaezooError) as raised:
        built(**overrides)
    assert text in str(raised.value)
    assert not isinstance(raised.value, Skip)


def test_hyper_parameters_take_their_annotated_type():
    spec = dataset().spec
    (_, values) = resolve("vae", spec, {"objective": ("beta", {"beta": 2})})["objective"]
    assert (values, type(values["beta"])) == ({"beta": 2.0}, float)
    (_, values) = resolve("vae", spec, {"encoder": ("conv", {"channels": [8, 4]})})["encoder"]
    assert (values["channels"], values["width"]) == ((8, 4), 256)


def test_a_hyper_parameter_without_a_default_must_be_given():
    @register.prior("t-needs")
    class Needs(NormalPrior):
        def __init__(self, latent: int, *, scale: float):
            super().__init__(latent)

    with pytest.raises(VaezooError, match="prior 't-needs': hyper-parameter 'scale' has no default and must be given"):
        built(prior="t-needs")
    assert built(prior=("t-needs", {"scale": 1})) is not None


def test_an_override_keeps_or_replaces_the_declared_hyper_parameters():
    variant = Variant("t-declared", objective=("beta", {"beta": 2.0}))
    spec = dataset().spec
    assert resolve(variant, spec)["objective"] == ("beta", {"beta": 2.0})
    assert resolve(variant, spec, {"objective": (None, {"beta": 7})})["objective"] == ("beta", {"beta": 7.0})
    assert resolve(variant, spec, {"objective": ("iwae", {})})["objective"] == ("iwae", {"importance_samples": 5})


def test_a_rehearsal_finds_a_vampprior_with_a_posterior_that_is_not_gaussian():
    register.posterior("t-not-gaussian")(NotGaussianPosterior)
    data = dataset()
    overrides = {"posterior": ("t-not-gaussian", {}), "prior": ("vampprior", {"components": 5})}
    slots = resolve("vae", data.spec, overrides)
    error = rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30)).error
    assert isinstance(error, Skip)
    assert "prior 'vampprior' needs a Gaussian posterior" in str(error)
    model, _ = construct(slots, Ingredients.of(data, 3, (5,)))
    with pytest.raises(Skip, match="prior 'vampprior' needs a Gaussian posterior"):
        model.draw(model.batch(data.test.x), 2).log_prior  # noqa: B018


@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_a_posterior_that_is_not_gaussian_has_its_kl_by_sampling(prior):
    register.posterior("t-not-gaussian")(NotGaussianPosterior)
    model = built(posterior="t-not-gaussian", prior=prior)
    draws = model.draw(model.batch(dataset().test.x), 4)
    assert draws.kl is None
    torch.testing.assert_close(draws.kl_estimate, (draws.log_posterior - draws.log_prior).sum(0).mean(0))


def test_a_rehearsal_finds_a_wrong_shape():
    @register.prior("t-turned-prior")
    class Turned(NormalPrior):
        def log_density(self, z):
            return super().log_density(z).T

    data = dataset()
    slots = resolve("vae", data.spec, {"prior": ("t-turned-prior", {}), "objective": ("iwae", {})})
    error = rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30)).error
    assert isinstance(error, VaezooError)
    assert "log_prior must be [L=1, K=5, B=2], got [1, 2, 5] from Turned" in str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda elbo: float(elbo.mean()), r"^objective 't-value' must return a tensor of nats, .*, got -\d"),
        (lambda elbo: {"own": 1.0}, r"^objective 't-value' must return a tensor of nats, .*, got \{'own': 1\.0\}$"),
        (lambda elbo: {}, r"^objective 't-value' must return a tensor of nats, .*, got \{\}$"),
        (
            lambda elbo: {"inferences": elbo},
            r"^objective 't-value': group of parameters 'inferences' is unknown; did you mean 'inference'\?$",
        ),
        (
            lambda elbo: {"encoder": elbo},
            r"^objective 't-value': group of parameters 'encoder' is unknown; there are: generative, inference, own$",
        ),
    ],
)
def test_a_rehearsal_finds_an_objective_that_training_could_not_use(value, text):
    @register.objective("t-value")
    class Value(vaezoo.Objective):
        def forward(self, draws):
            return value(draws.log_likelihood.mean(0) - draws.kl_estimate)

    data = dataset()
    slots = resolve("vae", data.spec, {"objective": ("t-value", {})})
    error = rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30)).error
    with pytest.raises(VaezooError, match=text):
        raise error


@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_a_rehearsal_of_a_registered_variant_says_nothing_and_leaves_no_trace(variant, monkeypatch):
    data = images_for(variant)
    slots = resolve(variant, data.spec)
    state = torch.get_rng_state()
    reached = []
    original = vaezoo.core.model.LatentModel.draw
    monkeypatch.setattr(
        vaezoo.core.model.LatentModel, "draw", lambda *a: (reached.append(original(*a)), reached[-1])[1]
    )
    outcome = rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30_000))
    assert (outcome.error, set(outcome.served)) == (None, {"parameter_shape", "features"})
    assert reached[0].log_weight.shape[1] == 2
    assert torch.equal(torch.get_rng_state(), state)


def images_for(variant):
    """600 images of the first kind that a variant takes."""
    x = torch.rand(600, 6, generator=torch.Generator().manual_seed(0))
    kinds = (
        dataset(n=600, context=2),
        dataset("continuous", (6,), n=600),
        *(images_of(each, x) for each in ("continuous", "counts")),
    )
    return next(data for data in kinds if resolves(variant, data.spec))


def resolves(variant, spec):
    try:
        construct(resolve(variant, spec), Ingredients.blank(spec, 3, (5,), 30_000))
    except Skip:
        return False
    return True


def test_no_part_holds_another():
    """Every parameter has one name, for each registered variant."""
    for variant in vaezoo.names("variant"):
        model = build(variant, images_for(variant), latent=3, hidden=(5,))
        every = [p.data_ptr() for _, p in model.named_parameters(remove_duplicate=False)]
        assert len(every) == len(set(every)), variant
        assert len(list(model.modules())) == len(list(model.named_modules(remove_duplicate=False))), variant


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build("vae-vampprior", dataset(n=600), latent=3, hidden=(5,), seed=4).state_dict()
    torch.manual_seed(2)
    again = build("vae-vampprior", dataset(n=600), latent=3, hidden=(5,), seed=4).state_dict()
    other = build("vae-vampprior", dataset(n=600), latent=3, hidden=(5,), seed=5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_build_is_a_function_whatever_was_imported_first():
    code = "import vaezoo, vaezoo.runner.plan.planner; assert callable(vaezoo.build), vaezoo.build"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("choice", [3, None, ("normal",), ("normal", 3), (3, {}), ["a", {}, {}]])
def test_an_override_that_is_neither_a_name_nor_a_pair_is_one_line(choice):
    with pytest.raises(VaezooError, match=r"overrides\['prior'\] must be a name or \(name, {hyper-parameters}\), got"):
        vaezoo.build("vae", "digits-binary", overrides={"prior": choice})


@pytest.mark.parametrize("latent", [0, [], [4, 0]])
def test_a_latent_group_of_no_size_is_refused(latent):
    with pytest.raises(VaezooError, match="latent must be a whole number >= 1 or a list of them"):
        vaezoo.build("vae", "digits-binary", latent=latent)
