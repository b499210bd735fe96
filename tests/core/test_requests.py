"""The constructor rule and named requests: what a part may ask for, and what is said when it cannot be served."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo import (
    DataSpec,
    Decoder,
    DiagonalGaussian,
    Encoder,
    Likelihood,
    Objective,
    Posterior,
    Prior,
    Skip,
    VaezooError,
    Variant,
)
from vaezoo.builder import Ingredients, build, construct, rehearse, resolve
from vaezoo.registry import SLOTS, register, registry


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """What a test registers is forgotten after it."""
    for slot in SLOTS:
        names = registry(slot)
        len(names)
        monkeypatch.setattr(names, "_plugins", dict(names._plugins))


def dataset(measure="binary", shape=(1, 4, 4), levels=None, n=30):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).round()
    return vaezoo.Dataset(x, x, x, measure=measure, levels=levels)


def built(variant="vae", data=None, **overrides):
    return build(variant, data or dataset(), latent=3, hidden=(5,), overrides=overrides)


class NormalPrior(Prior):
    """A right prior to make wrong ones from."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def log_density(self, z):
        return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


class NotGaussian:
    """q(z|x) that is a Gaussian and does not say so."""

    gaussian = None

    def __init__(self, q):
        self.q = q

    def rsample_and_log_prob(self, samples):
        return self.q.rsample_and_log_prob(samples)

    def log_prob(self, z):
        return self.q.log_prob(z)


class NotGaussianPosterior(Posterior):
    """Gives NotGaussian."""

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def forward(self, features):
        return NotGaussian(DiagonalGaussian(*self.heads(features.flatten(1)).chunk(2, -1)))


def test_every_ingredient_is_served_with_what_it_is():
    seen = {}

    @register.objective("t-asks-all")
    class AsksAll(Objective):
        def __init__(
            self, spec, latent, hidden, features, parameter_shape, train_images, train_size, *, weight: float = 2.0
        ):
            super().__init__()
            seen.update(locals())

        def forward(self, draws):
            return draws.log_weight.mean(0)

    data = dataset()
    slots = resolve("vae", data.spec, {"objective": ("t-asks-all", {"weight": 3})})
    construct(slots, Ingredients.of(data, 3, (5, 6)))
    assert (seen["spec"], seen["latent"], seen["hidden"], seen["train_size"]) == (data.spec, 3, (5, 6), 30)
    assert (seen["features"], seen["parameter_shape"], seen["weight"]) == ((6,), (1, 4, 4), 3.0)
    stored = {tuple(image.flatten().tolist()) for image in data.train.images()}
    chosen = seen["train_images"](7)
    assert chosen.shape == (7, 1, 4, 4)
    assert all(tuple(image.flatten().tolist()) in stored for image in chosen)


def test_an_unknown_constructor_argument_is_a_skip_with_its_place():
    @register.prior("t-asks-much")
    class AsksMuch(NormalPrior):
        def __init__(self, latent: int, moon):
            super().__init__(latent)

    with pytest.raises(
        Skip, match=r"prior 't-asks-much' \(.*test_requests\.py:\d+\) asks for 'moon', which is not served"
    ):
        built(prior="t-asks-much")


def test_a_part_built_later_is_not_there_yet():
    @register.decoder("t-asks-features")
    class AsksFeatures(Decoder):
        def __init__(self, latent: int, features):
            super().__init__()

        def forward(self, z):
            return z

    with pytest.raises(Skip, match="asks for 'features', which is not served here"):
        built(decoder="t-asks-features")


def test_an_argument_with_a_default_may_go_unserved():
    @register.prior("t-default")
    class WithDefault(NormalPrior):
        def __init__(self, latent: int, moon=7):
            super().__init__(latent)
            self.moon = moon

    assert built(prior="t-default").prior.moon == 7


@pytest.mark.parametrize("slot", ["encoder", "posterior", "prior", "decoder", "likelihood"])
def test_a_method_that_asks_for_context_is_a_skip_without_one(slot):
    class E(Encoder):
        features = (3,)

        def forward(self, x, context):
            return x

    class Q(NotGaussianPosterior):
        def forward(self, features, context):
            return super().forward(features)

    class P(NormalPrior):
        def log_density(self, z, context):
            return super().log_density(z)

    class D(Decoder):
        def forward(self, z, context):
            return z

    class L(Likelihood):
        measures = ("binary",)
        parameter_shape = (1, 4, 4)

        def log_prob(self, x, parameters, context):
            return parameters

        def mean(self, parameters):
            return parameters

    kind = {"encoder": E, "posterior": Q, "prior": P, "decoder": D, "likelihood": L}[slot]
    getattr(register, slot)("t-conditional")(kind)
    with pytest.raises(Skip, match=rf"{slot} {kind.__name__} asks for 'context' in \w+, which cannot be served here"):
        built(**{slot: "t-conditional"})


def test_a_method_that_asks_for_something_unheard_of_is_a_skip():
    @register.decoder("t-moon")
    class AsksMoon(Decoder):
        def forward(self, z, moon):
            return z

    with pytest.raises(Skip, match="decoder AsksMoon asks for 'moon' in forward"):
        built(decoder="t-moon")


def test_named_requests_are_handed_over_folded():
    """A decoder sees x and groups for each of K B rows; an optional request that cannot be served keeps its default."""
    seen = {}

    @register.decoder("t-requests")
    class Requests(Decoder):
        def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
            super().__init__()
            self.net = nn.Linear(latent, math.prod(parameter_shape))

        def forward(self, z, x, groups, prior, encode, context=None):
            seen.update(z=z, x=x, groups=groups, prior=prior, encode=encode, context=context)
            return self.net(z).unflatten(-1, (1, 4, 4))

    model = built(decoder="t-requests")
    batch = model.batch(dataset().test.x[:6])
    draws = model.draw(batch, 4)
    assert draws.log_weight.shape == (4, 6)
    assert seen["z"].shape == (24, 3)
    assert torch.equal(seen["groups"][0], seen["z"])
    assert torch.equal(seen["z"].view(4, 6, 3), draws.z[0])
    assert torch.equal(seen["x"].view(4, 6, 1, 4, 4), batch.x.expand(4, 6, 1, 4, 4))
    assert seen["prior"] is model.prior
    assert seen["context"] is None
    torch.testing.assert_close(seen["encode"](batch.x).mean, model.posterior(batch).mean)


def test_a_prior_may_ask_for_the_index_and_the_joint_density():
    seen = {}

    @register.prior("t-index")
    class AsksIndex(NormalPrior):
        def log_density(self, z, index, log_joint):
            seen.update(index=index, log_joint=log_joint)
            return super().log_density(z)

    model = built(prior="t-index")
    index = torch.tensor([5, 6])
    batch = model.batch(dataset().test.x[:2], index=index)
    draws = model.draw(batch, 3)
    total = draws.log_likelihood + draws.log_prior.sum(0)
    assert seen["index"] is index
    torch.testing.assert_close(seen["log_joint"](draws.z), total)


@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda v: v.mT, r"\[1, 7, 6\]"), (lambda v: v[0], r"\[6, 7\]"), (lambda v: v.sum(1), r"\[1, 7\]")],
)
def test_a_log_prior_of_a_wrong_shape_is_named(wrong, got):
    @register.prior("t-student")
    class StudentT(NormalPrior):
        def log_prob(self, z, parts):
            return wrong(super().log_prob(z, parts))

    model = built(prior="t-student")
    batch = model.batch(dataset().test.x[:7])
    with pytest.raises(
        VaezooError, match=rf"^log_prior must be \[L=1, K=6, B=7\], got {got} from StudentT \(test_requests\.py:\d+\)$"
    ):
        model.draw(batch, 6).log_prior  # noqa: B018


def test_a_log_likelihood_of_a_wrong_shape_is_named():
    @register.likelihood("t-pixels")
    class Pixels(Likelihood):
        measures = ("binary",)

        def __init__(self, spec: DataSpec):
            super().__init__()
            self.parameter_shape = spec.shape

        def log_prob(self, x, parameters):
            return -(x - parameters).square().flatten(3).sum(-1)

        def mean(self, parameters):
            return parameters

    model = built(likelihood="t-pixels")
    with pytest.raises(VaezooError, match=r"log_likelihood must be \[K=6, B=7\], got \[6, 7, 1\] from Pixels"):
        model.draw(model.batch(dataset().test.x[:7]), 6).log_weight  # noqa: B018


@pytest.mark.parametrize("what", ["z", "log_posterior"])
def test_a_posterior_of_a_wrong_shape_is_named(what):
    class Turned(NotGaussian):
        def rsample_and_log_prob(self, samples):
            (z,), log_q = super().rsample_and_log_prob(samples)
            return ((z.transpose(0, 1),), log_q) if what == "z" else ((z,), log_q[0])

    @register.posterior("t-turned")
    class TurnedPosterior(NotGaussianPosterior):
        def forward(self, features):
            return Turned(super().forward(features).q)

    model = built(posterior="t-turned")
    expected = {
        "z": r"z must be \[K=6, B=7, Z\] a group, got \[\[7, 6, 3\]\] from TurnedPosterior",
        "log_posterior": r"log_posterior must be \[L=1, K=6, B=7\], got \[6, 7\] from TurnedPosterior",
    }
    with pytest.raises(VaezooError, match=expected[what]):
        model.draw(model.batch(dataset().test.x[:7]), 6)


def test_images_of_a_wrong_shape_are_refused():
    model = built()
    with pytest.raises(VaezooError, match=r"x must be \[B, 1, 4, 4\], got \[2, 16\]"):
        model.encode(torch.zeros(2, 16))


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


def test_auto_is_the_natural_likelihood_of_the_measure():
    natural = {"binary": "bernoulli", "discrete": "discretized-logistic", "continuous": "gaussian"}
    for measure, name in natural.items():
        assert resolve("vae", DataSpec((2, 2), measure, 4))["likelihood"][0] == name


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"prior": "vampprio"}, "prior 'vampprio' is unknown; did you mean 'vampprior'?"),
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
            "objective 'beta': hyper-parameter 'beta' must be a number, got True",
        ),
        ({"objective": ("iwae", {"importance_samples": 2.5})}, "'importance_samples' must be a whole number, got 2.5"),
        (
            {"objective": ("iwae", {"importance_samples": True})},
            "'importance_samples' must be a whole number, got True",
        ),
        ({"encoder": ("mlp", {"hidden": [3]})}, "encoder 'mlp': 'hidden' is handed over by the builder"),
        (
            {"encoder": ("mlp", {"activation": 3})},
            "encoder 'mlp': hyper-parameter 'activation' must be a string, got 3",
        ),
        (
            {"encoder": ("conv", {"channels": [8, "x"]})},
            "encoder 'conv': hyper-parameter 'channels' must be a list (of each item a whole number), got",
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
    with pytest.raises(Skip, match="prior 'vampprior' needs a Gaussian posterior"):
        rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30))
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
    with pytest.raises(VaezooError, match=r"log_prior must be \[L=1, K=5, B=2\], got \[1, 2, 5\] from Turned"):
        rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30))


@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_a_rehearsal_of_a_registered_variant_says_nothing_and_leaves_no_trace(variant, monkeypatch):
    data = dataset() if resolves(variant, dataset().spec) else dataset("continuous", (6,))
    slots = resolve(variant, data.spec)
    state = torch.get_rng_state()
    reached = []
    original = vaezoo.core.model.LatentModel.draw
    monkeypatch.setattr(
        vaezoo.core.model.LatentModel, "draw", lambda *a: (reached.append(original(*a)), reached[-1])[1]
    )
    rehearse(slots, Ingredients.blank(data.spec, 3, (5,), 30_000))
    assert reached[0].log_weight.shape[1] == 2
    assert torch.equal(torch.get_rng_state(), state)


def resolves(variant, spec):
    try:
        construct(resolve(variant, spec), Ingredients.blank(spec, 3, (5,), 30_000))
    except Skip:
        return False
    return True


def test_no_part_holds_another():
    """Every parameter has one name, for each registered variant."""
    for variant in vaezoo.names("variant"):
        data = dataset(n=600) if resolves(variant, dataset().spec) else dataset("continuous", (6,), n=600)
        model = build(variant, data, latent=3, hidden=(5,))
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
    code = "import vaezoo, vaezoo.runner.plan; assert callable(vaezoo.build), vaezoo.build"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
