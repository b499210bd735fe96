"""The gradient's signal-to-noise ratio: its formula, and Rainforth et al.'s law on the linear Gaussian model."""

import pytest
import torch
from linear_model import linear_model

from vaezoo.builder import objective_for
from vaezoo.core import noise
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import registry


def ratios(known, name, options=None, *, count=16, steps=200):
    own = Evaluation(
        10, 0, known.dataset, torch.arange(len(known.x)), objective=None if name is None else (name, options or {})
    )
    return registry("metric")["gradient-snr"].target(known.model, known.x, own, count=count, steps=steps), own.notes


def snr(name, samples, steps=120):
    found, notes = ratios(linear_model(2, shift=0.5, images=16), name, {"importance_samples": samples}, steps=steps)
    assert notes == {}
    return found["inference_snr"], found["generative_snr"]


def test_it_is_the_mean_of_the_absolute_mean_over_the_standard_deviation():
    known = linear_model(2, scale=1.5, images=6)
    model, steps = known.model.eval(), 30
    groups = {
        "inference": [*model.encoder.parameters(), *model.posterior_net.parameters()],
        "generative": [*model.decoder.parameters(), *model.likelihood.parameters()],
    }
    for name in ("iwae", "dreg"):
        objective = objective_for(model, name, {"importance_samples": 3}, known.dataset)
        gradients = {group: [] for group in groups}
        for step in range(steps):
            key = noise.derive(0, "gradient-snr", step)
            with noise.stream(key, index=torch.arange(4), dtype=torch.float64):
                value = objective(model.draw(model.batch(known.x[:4]), 3))
            for group, parameters in groups.items():
                own = (value[group] if name == "dreg" else value).mean()
                flat = torch.autograd.grad(own, parameters, retain_graph=True)
                gradients[group].append(torch.cat([each.flatten() for each in flat]))
        found, _ = ratios(known, name, {"importance_samples": 3}, count=4, steps=steps)
        for group, each in gradients.items():
            every = torch.stack(each)
            expected = every.mean(0).abs() / every.std(0)
            assert found[f"{group}_snr"] == pytest.approx(float(expected[every.std(0) > 0].mean()), rel=1e-9)


def test_more_samples_drown_the_inference_gradient_of_iwae_and_not_of_dreg():
    """From K = 4 to 64: 1 / sqrt(K) is a quarter for IWAE's inference; its generative ratio rises as sqrt(K)."""
    few, many = snr("iwae", 4), snr("iwae", 64)
    assert 0.2 < many[0] / few[0] < 0.36
    assert 3 < many[1] / few[1] < 5
    assert snr("dreg", 64, 20)[0] > 50 * many[0]


@pytest.mark.nightly
def test_the_inference_ratio_of_iwae_falls_as_one_over_the_root_of_k():
    found = {samples: snr("iwae", samples, 3000) for samples in (4, 16, 64, 256)}
    for few, many in ((4, 16), (16, 64), (64, 256)):
        assert found[many][0] / found[few][0] == pytest.approx(0.5, abs=0.06)
        assert found[many][1] / found[few][1] == pytest.approx(2.0, abs=0.2)
    dreg = [snr("dreg", samples)[0] for samples in (4, 16, 64, 256)]
    assert dreg == sorted(dreg)


@pytest.mark.parametrize(
    ("name", "why"), [(None, "the model has no objective here"), ("factor", "weights that are not kept")]
)
def test_without_a_whole_objective_there_is_no_number_and_a_reason(name, why):
    found, notes = ratios(linear_model(2), name)
    assert found == {"inference_snr": None, "generative_snr": None}
    assert notes.keys() == found.keys()
    assert all(why in note for note in notes.values())
