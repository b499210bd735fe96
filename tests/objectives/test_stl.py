"""Sticking the landing: the ELBO's value and mean gradient, and no gradient at the posterior."""

import torch
from binary_draws import assert_weighted, drawn, trainee

from vaezoo import bounds
from vaezoo.conformance.ground import exact, linear_gaussian
from vaezoo.conformance.subject import Subject, keyed
from vaezoo.registry import find
from vaezoo.training.module import TrainingModule
from vaezoo.training.step import parameter_groups


def test_its_value_is_the_bound():
    model, stl = trainee("stl", importance_samples=4)
    draws = drawn(model, 4)
    torch.testing.assert_close(stl(draws), bounds.elbo(draws), rtol=1e-12, atol=0)


def test_its_gradient_is_0_at_the_posterior():
    """log w is constant in z there; the ELBO's gradient of a draw is not 0."""
    largest = {}
    for name in ("stl", "elbo"):
        model, objective, batch = linear_gaussian(Subject(find(f"objective/{name}")))
        exact(model)
        parameters = parameter_groups(TrainingModule(model, objective))
        inference = parameters["inference"] if "inference" in parameters else list(model.posterior_net.parameters())
        with keyed(0, model, batch):
            draws = model.draw(batch, 1)
            value = objective(draws) if name == "stl" else bounds.elbo(draws)
        gradients = torch.autograd.grad(value.mean(), inference, allow_unused=True)
        largest[name] = max(float(g.abs().max()) for g in gradients if g is not None)
    assert largest["stl"] < 1e-12 < 1e-3 < largest["elbo"]


def test_the_weight_of_the_kl_is_honoured():
    assert_weighted("stl", "mixture")
