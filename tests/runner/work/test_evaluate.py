"""A metric that raises, returns something else than its own numbers, or meddles, costs the cell nothing else."""

import math
import os
from dataclasses import replace

import pytest
import torch
from small_tasks import a_cell

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.runner.plan.planner import STANDARD_METRICS
from vaezoo.runner.work.evaluate import CellEvaluation

BAD = {
    "text": ("high", "metric 'mine': expected a dict of column -> number or None, got str 'high'"),
    "tensor": ({"mine": torch.zeros(2)}, "metric 'mine': expected a dict .*, got Tensor for 'mine'"),
    "nan": ({"mine": math.nan}, "metric 'mine': expected a finite number or None .* for 'mine', got nan"),
    "iwll": ({"iwll": 0.0}, "metrics 'likelihood' and 'mine' both measure the column 'iwll'"),
    "seed": ({"seed": 7}, "metric 'mine' returned the column 'seed', which every cell has"),
    "theirs": ({"theirs": 1.0}, "metrics 'theirs' and 'mine' both measure the column 'theirs'"),
}


def evaluation_with(*names):
    """The evaluation of an untrained model on four images, after what every cell measures."""
    dataset = vaezoo.load_dataset("digits-binary")
    model = vaezoo.build("vae", dataset, latent=2, hidden=[4])
    cell = a_cell()
    facts = replace(cell.comparability, images=4, importance_samples=1)
    wanted = replace(cell.specification, metrics=tuple((name, {}) for name in (*STANDARD_METRICS, *names)))
    found = CellEvaluation(replace(cell, comparability=facts, specification=wanted), model, dataset)
    found.standard()
    return found


@pytest.mark.parametrize("way", BAD)
def test_a_metric_that_returns_no_numbers_of_its_own_is_refused(own_registry, way):
    returned, words = BAD[way]
    vaezoo.register.metric("theirs")(lambda model, images, context: {"theirs": 1.0})
    vaezoo.register.metric("mine")(lambda model, images, context: returned)
    evaluation = evaluation_with("theirs", "mine")
    evaluation.metric("theirs")
    before = dict(evaluation.results)
    with pytest.raises(VaezooError, match=words):
        evaluation.metric("mine")
    assert evaluation.results == before
    assert before["theirs"] == 1.0


def test_a_metric_gets_copies_and_its_globals_are_put_back(own_registry, tmp_path):
    """Whatever it writes to: images, index, weights, the per-image values of others, torch's defaults, the folder."""

    @vaezoo.register.metric("meddles")
    def meddles(model, images, context):
        images.zero_()
        context.index.add_(100)
        context.per_image["iwll"].fill_(7)
        context.per_image["own"] = torch.arange(4.0)
        context.notes |= {"own": "why"}
        for parameter in model.parameters():
            parameter.data.zero_()
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.manual_seed(3)
        os.environ["OWN"] = "1"
        os.chdir(tmp_path)
        return {"own": 1.0}

    evaluation = evaluation_with("meddles")
    weights = {name: value.clone() for name, value in evaluation.model.state_dict().items()}
    images, per_image = evaluation.images.clone(), evaluation.evaluation.per_image["iwll"].clone()
    before = torch.get_default_dtype(), torch.get_num_threads(), os.getcwd(), torch.get_rng_state()
    evaluation.metric("meddles")
    after = torch.get_default_dtype(), torch.get_num_threads(), os.getcwd(), torch.get_rng_state()
    assert before[:3] == after[:3]
    assert torch.equal(before[3], after[3])
    assert "OWN" not in os.environ
    assert torch.equal(evaluation.images, images)
    assert evaluation.evaluation.index.tolist() == [0, 1, 2, 3]
    assert torch.equal(evaluation.evaluation.per_image["iwll"], per_image)
    assert evaluation.evaluation.per_image["own"].tolist() == [0, 1, 2, 3]
    assert evaluation.evaluation.notes["own"] == "why"
    assert all(torch.equal(value, weights[name]) for name, value in evaluation.model.state_dict().items())


@pytest.mark.parametrize("name", ["importance_samples", "seed", "index", "per_image"])
def test_the_settings_of_an_evaluation_cannot_be_changed(name):
    evaluation = evaluation_with().evaluation
    with pytest.raises(AttributeError, match=f"the evaluation's {name} cannot be changed by a metric"):
        setattr(evaluation, name, {})


def test_a_metric_is_told_the_objective_of_the_cell():
    made, chosen = evaluation_with(), ("iwae", {"importance_samples": 7})
    wanted = replace(made.cell.specification, slots={**made.cell.specification.slots, "objective": chosen})
    evaluation = CellEvaluation(replace(made.cell, specification=wanted), made.model, made.dataset).evaluation
    assert evaluation.objective == chosen
    assert evaluation.own_copy().objective == chosen
