"""The constructor rule and named requests: what a part may ask for, and the errors for what cannot be served."""

import math

import pytest
import torch
from small_parts import NormalPrior, NotGaussian, NotGaussianPosterior, built, dataset, forgotten  # noqa: F401
from torch import nn

from vaezoo import DataSpec, Decoder, Encoder, Likelihood, Objective, Skip, VaezooError
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.requests import MEANINGS, SERVICES, requests_of
from vaezoo.registry import register


def test_every_ingredient_is_served_with_what_it_is():
    seen = {}

    @register.objective("t-asks-all")
    class AsksAll(Objective):
        def __init__(
            self,
            spec,
            latent,
            latents,
            hidden,
            features,
            parameter_shape,
            train_images,
            train_sample,
            train_size,
            *,
            weight: float = 2.0,
        ):
            super().__init__()
            seen.update(locals())

        def forward(self, draws):
            return draws.log_weight.mean(0)

    data = dataset()
    slots = resolve("vae", data.spec, {"objective": ("t-asks-all", {"weight": 3})})
    construct(slots, Ingredients.of(data, 3, (5, 6)))
    assert (seen["spec"], seen["latent"], seen["hidden"], seen["train_size"]) == (data.spec, 3, (5, 6), 30)
    assert seen["latents"] == (3,)
    assert (seen["features"], seen["parameter_shape"], seen["weight"]) == ((6,), (1, 4, 4), 3.0)
    stored = {tuple(image.flatten().tolist()) for image in data.train.images()}
    chosen = seen["train_images"](7)
    assert chosen.shape == (7, 1, 4, 4)
    assert all(tuple(image.flatten().tolist()) in stored for image in chosen)
    sampled, index = seen["train_sample"](7)
    assert torch.equal(sampled, data.train.images(index))


def test_an_unknown_constructor_argument_is_refused_with_its_place():
    @register.prior("t-asks-much")
    class AsksMuch(NormalPrior):
        def __init__(self, latent: int, moon):
            super().__init__(latent)

    with pytest.raises(
        VaezooError,
        match=r"prior 't-asks-much' \(.*test_requests\.py:\d+\): its constructor's argument 'moon' is unknown",
    ):
        built(prior="t-asks-much")


def test_a_part_built_later_is_not_there_yet():
    @register.decoder("t-asks-features")
    class AsksFeatures(Decoder):
        def __init__(self, latent: int, features):
            super().__init__()

        def forward(self, z):
            return z

    with pytest.raises(VaezooError, match="its constructor's argument 'features' is unknown"):
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
        """Its constructor counts on the context, too: it is not built."""

        features = (3,)

        def __init__(self, spec):
            super().__init__()
            self.width = 1 + spec.context

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
    with pytest.raises(Skip, match=rf"{slot} 't-conditional' requests context in \w+, and these images have none"):
        built(**{slot: "t-conditional"})


def test_a_method_that_requests_something_unheard_of_is_refused():
    @register.decoder("t-moon")
    class AsksMoon(Decoder):
        def forward(self, z, moon):
            return z

    with pytest.raises(VaezooError, match="decoder AsksMoon: forward requests 'moon', which it is not served; it can"):
        built(decoder="t-moon")


def test_named_requests_are_handed_over_folded():
    """A decoder sees x and groups for each of K B rows; an optional request that cannot be served keeps its default."""
    seen = {}

    @register.decoder("t-requests")
    class Requests(Decoder):
        autoregressive = True

        def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
            super().__init__()
            self.net = nn.Linear(latent, math.prod(parameter_shape))

        def forward(self, z, x, groups, index, progress, context=None):
            seen.update(z=z, x=x, groups=groups, index=index, progress=progress, context=context)
            return self.net(z).unflatten(-1, (1, 4, 4))

    model = built(decoder="t-requests")
    number = torch.tensor([7, 1, 2, 3, 5, 4])
    batch = model.batch(dataset().test.x[:6], index=number, progress=torch.tensor(0.25))
    draws = model.draw(batch, 4)
    assert draws.log_weight.shape == (4, 6)
    assert seen["z"].shape == (24, 3)
    assert torch.equal(seen["groups"][0], seen["z"])
    assert torch.equal(seen["z"].view(4, 6, 3), draws.z[0])
    assert torch.equal(seen["x"].view(4, 6, 1, 4, 4), batch.x.expand(4, 6, 1, 4, 4))
    assert torch.equal(seen["index"].view(4, 6), number.expand(4, 6))
    assert float(seen["progress"]) == 0.25
    assert seen["context"] is None
    model.draw(model.batch(dataset().test.x[:6], index=number), 4).log_likelihood  # noqa: B018
    assert (seen["index"] == -1).all(), "outside training"
    assert float(seen["progress"]) == 1.0


def test_a_prior_may_request_the_encoder_and_the_index_of_training():
    seen = {}

    @register.prior("t-index")
    class AsksIndex(NormalPrior):
        def log_density(self, z, encode, index):
            seen.update(encode=encode, index=index)
            return super().log_density(z)

    model = built(prior="t-index")
    index = torch.tensor([5, 6])
    batch = model.batch(dataset().test.x[:2], index=index, progress=torch.zeros(()))
    model.draw(batch, 3).log_prior  # noqa: B018
    assert seen["index"] is index
    torch.testing.assert_close(seen["encode"](batch.x).mean, model.posterior(batch).mean)


def test_a_posterior_may_request_the_prior_and_the_joint_density():
    seen = {}

    @register.posterior("t-joint")
    class AsksJoint(NotGaussianPosterior):
        def forward(self, features, prior, log_joint):
            seen.update(prior=prior, log_joint=log_joint)
            return super().forward(features)

    model = built(posterior="t-joint")
    draws = model.draw(model.batch(dataset().test.x[:2]), 3)
    assert seen["prior"] is model.prior
    torch.testing.assert_close(seen["log_joint"](draws.z), draws.log_likelihood + draws.log_prior.sum(0))


METHODS = {
    "encoder": ("forward", "x_"),
    "posterior": ("forward", "features"),
    "prior": ("log_density", "z_"),
    "decoder": ("forward", "z_"),
    "likelihood": ("log_prob", "x_, parameters"),
    "objective": ("forward", "draws"),
}


@pytest.mark.parametrize("name", [*MEANINGS, "moon"])
@pytest.mark.parametrize("slot", METHODS)
def test_each_request_in_each_slot_is_served_or_refused_by_the_table(slot, name):
    """A name that the table does not serve is refused, with those it serves; so is x without `autoregressive`."""
    method, own = METHODS[slot]
    scope: dict = {}
    exec(f"def {method}(self, {own}, {name}): ...", scope)
    part = type("Asks", (), {method: scope[method]})()
    allowed = SERVICES[slot, method].names
    if name in allowed and (slot, name) != ("decoder", "x"):
        assert requests_of(slot, part) == {method: ((name, True),)}
        return
    with pytest.raises(VaezooError, match=rf"^{slot} Asks: {method} requests '{name}', wh") as raised:
        requests_of(slot, part)
    assert any(each in str(raised.value) for each in (*allowed, "draws alone", "autoregressive = True"))


def test_a_flat_prior_with_two_groups_is_a_skip():
    data = dataset()
    slots = resolve("vae", data.spec)
    with pytest.raises(Skip, match="posterior 'gaussian' has one latent group, and 2 are asked for"):
        construct(slots, Ingredients.of(data, [2, 3], (5,)))
    with pytest.raises(VaezooError, match="latent must be a whole number >= 1 or a list of them, top first, got 0"):
        Ingredients.of(data, 0, (5,))


def test_supports_must_agree():
    @register.prior("t-sphere")
    class Sphere(NormalPrior):
        support = "sphere"

    with pytest.raises(Skip, match=r"posterior Gaussian lives on real, prior Sphere on sphere"):
        built(prior="t-sphere")


@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda v: v.mT, r"\[1, 7, 6\]"), (lambda v: v[0], r"\[6, 7\]"), (lambda v: v.sum(1), r"\[1, 7\]")],
)
def test_a_log_prior_of_a_wrong_shape_is_named(wrong, got):
    @register.prior("t-student")
    class StudentT(NormalPrior):
        def log_prob(self, z):
            return wrong(super().log_prob(z))

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
        "z": r"z must be one \[K=6, B=7, Z\] for each group, got \[\[7, 6, 3\]\] from TurnedPosterior",
        "log_posterior": r"log_posterior must be \[L=1, K=6, B=7\], got \[6, 7\] from TurnedPosterior",
    }
    with pytest.raises(VaezooError, match=expected[what]):
        model.draw(model.batch(dataset().test.x[:7]), 6)


def test_images_of_a_wrong_shape_are_refused():
    model = built()
    with pytest.raises(VaezooError, match=r"x must be \[B, 1, 4, 4\], got \[2, 16\]"):
        model.encode(torch.zeros(2, 16))
