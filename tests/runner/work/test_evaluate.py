"""A metric that returns something else than its own numbers fails its cell."""

import math
from dataclasses import replace

import pytest
import torch
from small_tasks import a_cell

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.runner.plan.planner import STANDARD_METRICS
from vaezoo.runner.work.evaluate import evaluated

BAD = {
    "text": ("high", "metric 'mine': expected a dict of column -> number or None, got str 'high'"),
    "tensor": ({"mine": torch.zeros(2)}, "metric 'mine': expected a dict .*, got Tensor for 'mine'"),
    "nan": ({"mine": math.nan}, "metric 'mine': expected a finite number or None .* for 'mine', got nan"),
    "iwll": ({"iwll": 0.0}, "metrics 'likelihood' and 'mine' both measure the column 'iwll'"),
    "seed": ({"seed": 7}, "metric 'mine' returned the column 'seed', which every cell has"),
    "theirs": ({"theirs": 1.0}, "metrics 'theirs' and 'mine' both measure the column 'theirs'"),
}


@pytest.mark.parametrize("way", BAD)
def test_a_cell_fails_where_a_metric_returns_no_numbers_of_its_own(own_registry, way):
    returned, words = BAD[way]
    vaezoo.register.metric("theirs")(lambda model, images, context: {"theirs": 1.0})
    vaezoo.register.metric("mine")(lambda model, images, context: returned)
    dataset = vaezoo.load_dataset("digits-binary")
    model = vaezoo.build("vae", dataset, latent=2, hidden=[4])
    cell = a_cell()
    facts = replace(cell.comparability, images=4, importance_samples=1)
    names = (*STANDARD_METRICS, "theirs", "mine")
    wanted = replace(cell.specification, metrics=tuple((name, {}) for name in names))
    with pytest.raises(VaezooError, match=words):
        evaluated(replace(cell, comparability=facts, specification=wanted), model, dataset)
