"""The doubly reparameterised gradient: for encoder and posterior the mean of IWAE's, with less variance."""

import math

import pytest
import torch

import vaezoo
from vaezoo import Skip, Variant, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.training.module import TrainingModule
from vaezoo.training.step import parameter_groups

CHUNKS, COPIES = 40, 500
PARTS = {
    "gaussian": Variant("t", encoder="linear", decoder="linear", likelihood="gaussian"),
    "realnvp": Variant("t", encoder="linear", posterior="realnvp", decoder="linear", likelihood="gaussian"),
    "bottom-up": Variant("t", encoder="linear", posterior="bottom-up", prior="top-down", likelihood="gaussian"),
    "ladder": Variant("t", encoder="linear", posterior="ladder", prior="top-down", likelihood="gaussian"),
    "vampprior": Variant(
        "t", encoder="linear", prior=("vampprior", {"components": 3}), decoder="linear", likelihood="gaussian"
    ),
}
LATENTS = {"bottom-up": (1, 2), "ladder": (2, 1)}


def small(name, objective, samples=3):
    """A model of four dimensions, off its start, in float64, with the objective and one image of its own, copied."""
    generator = torch.Generator().manual_seed(0)
    data = vaezoo.Dataset(*torch.randn(3, 6, 4, generator=generator).unbind(), measure="continuous")
    slots = resolve(PARTS[name], data.spec) | {"objective": (objective, {"importance_samples": samples})}
    model, built = construct(slots, Ingredients.of(data, LATENTS.get(name, 2), (3,)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.6).add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model, built = model.double(), built.double()
    return model, built, model.batch(data.test.x[:1].expand(COPIES, -1))


def gradients(model, objective, batch, group, weight=1.0, chunks=CHUNKS):
    """The gradients of one value by one group of parameters, each the mean over COPIES draws. [chunks, P]"""
    parameters, found = parameter_groups(TrainingModule(model, objective))[group], []
    for chunk in range(chunks):
        torch.manual_seed(noise.derive(chunk, type(objective).__name__))
        draws = model.draw(batch, objective.importance_samples)
        draws.kl_weight = torch.tensor(weight, dtype=torch.float64)
        value = objective(draws)
        value = value[group] if isinstance(value, dict) else value
        each = torch.autograd.grad(value.mean(), parameters, allow_unused=True)
        zipped = zip(each, parameters, strict=True)
        found.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zipped]))
    return torch.stack(found)


@pytest.mark.parametrize(("name", "weight"), [*((name, 1.0) for name in PARTS), ("gaussian", 0.4), ("vampprior", 0.4)])
def test_its_mean_gradient_is_that_of_iwae(name, weight):
    means, errors = [], []
    for objective in ("dreg", "iwae"):
        found = gradients(*small(name, objective), "inference", weight)
        means.append(found.mean(0))
        errors.append(found.std(0) / math.sqrt(len(found)))
    allowed = 4 * (errors[0].square() + errors[1].square()).sqrt()
    assert ((means[0] - means[1]).abs() <= allowed + 1e-9).all()
    assert (means[1].abs() > 10 * errors[1]).any()


@pytest.mark.parametrize("name", PARTS)
def test_the_generative_gradient_is_iwaes_own(name):
    model, dreg, batch = small(name, "dreg")
    iwae = small(name, "iwae")[1]
    torch.manual_seed(0)
    draws = model.draw(batch, 3)
    torch.testing.assert_close(dreg(draws)["generative"], iwae(draws))


def test_it_is_quieter_with_many_samples():
    """The spread of IWAE's gradient grows relative to DReG's with K."""
    spread = {}
    for objective in ("dreg", "iwae"):
        model, built, batch = small("gaussian", objective, 50)
        spread[objective] = gradients(model, built, batch, "inference", chunks=10).std(0).mean()
    assert spread["dreg"] < 0.5 * spread["iwae"]


def test_its_gradient_is_0_at_the_true_posterior():
    """log w is constant in z there, so each draw's gradient is 0; IWAE's is not."""
    from vaezoo.conformance.ground import exact, linear_gaussian
    from vaezoo.conformance.subject import Subject
    from vaezoo.registry import find

    largest = {}
    for name in ("dreg", "iwae"):
        model, objective, batch = linear_gaussian(Subject(find(f"objective/{name}")))
        exact(model)
        largest[name] = gradients(model, objective, batch, "inference", chunks=1).abs().max()
    assert largest["dreg"] < 1e-12 < 1e-3 < largest["iwae"]


def test_a_posterior_that_scores_only_its_own_samples_is_skipped(own_registry):
    @own_registry.posterior("own-samples")
    class OwnSamples(vaezoo.Posterior):
        """A Gaussian that does not say so."""

        def __init__(self, features: tuple[int, ...], latent: int):
            super().__init__()
            self.head = torch.nn.Linear(features[0], 2 * latent)

        def forward(self, features):
            q = vaezoo.DiagonalGaussian(*self.head(features).chunk(2, -1))
            q.log_prob = lambda z: None
            return q

    x = torch.randn(6, 4)
    data = vaezoo.Dataset(x, x, x, measure="continuous")
    slots = resolve(Variant("t", posterior="own-samples", objective="dreg"), data.spec)
    model, objective = construct(slots, Ingredients.of(data, 2, (3,)))
    with pytest.raises(Skip, match="can score only its own samples"):
        objective(model.draw(model.batch(x), 5))
