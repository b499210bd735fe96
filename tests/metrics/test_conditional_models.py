"""Metrics of a conditional model: each image is scored, and the prior sampled, under its own context."""

import math

import pytest
import torch

import vaezoo
from vaezoo.evaluation.ais import Annealing, ais
from vaezoo.registry import registry

SMALL = {"count": 6, "chains": 2, "temperatures": 5, "steps": 3, "samples": 2, "elbo_samples": 4}


@pytest.fixture(scope="module")
def conditional():
    data = vaezoo.load_dataset("digits-binary", options={"context": "labels"})
    model = vaezoo.build("conditional-vae", data, latent=2, hidden=(8,), overrides={"prior": "conditional-normal"})
    return model, data


@pytest.mark.parametrize("name", vaezoo.names("metric"))
def test_a_metric_takes_the_context(conditional, name):
    model, data = conditional
    options = {key: SMALL[key] for key in registry("metric")[name].hyperparameters if key in SMALL}
    context = vaezoo.Evaluation(5, 0, data, torch.arange(12), context=data.test.context[:12])
    found = registry("metric")[name].target(model, data.test.x[:12], context, **options)
    vectors = [value for each in context.vectors.values() for value in torch.as_tensor(each).flatten().tolist()]
    numbers = [*found.values(), *vectors]
    assert numbers
    assert all(value is None or math.isfinite(value) for value in numbers), numbers


def test_ais_depends_on_the_context(conditional):
    model, data = conditional
    x, context = data.test.x[:4], data.test.context[:4]
    values = [ais(model, x, Annealing(2, 5, 2), context=each) for each in (context, context, context.roll(1, 1))]
    assert torch.equal(values[0], values[1])
    assert not torch.allclose(values[0], values[2])
