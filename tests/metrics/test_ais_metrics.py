"""The metrics `ais` and `ais-gap`: their columns, and whether they lie below or above the true log p(x)."""

import math

import pytest
import torch
from linear_model import linear_model

from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import registry

SMALL = {"chains": 4, "temperatures": 30, "leapfrogs": 4}


def evaluation(known, samples=200):
    return Evaluation(samples, 0, known.dataset, torch.arange(len(known.x)))


def test_ais_is_a_lower_bound_and_close():
    known = linear_model(2, images=150, scale=1.5)
    context = evaluation(known)
    registry("metric")["likelihood"].target(known.model, known.x, context)
    found = registry("metric")["ais"].target(known.model, known.x, context, count=120, **SMALL)
    assert set(found) == {"ais", "ais_standard_error", "ais_iwll"}
    values, log_p = context.per_image["ais"], known.log_p(known.x)
    assert values.shape == (120,)
    assert found["ais"] == pytest.approx(float(values.mean()))
    assert found["ais_standard_error"] == pytest.approx(float(values.std()) / math.sqrt(120))
    miss = values - log_p[:120]
    assert -0.3 < float(miss.mean()) < 0
    assert found["ais_iwll"] == pytest.approx(float(log_p[:120].mean()), abs=0.02)


def test_ais_alone_has_no_iwll_to_compare_with():
    known = linear_model(2, images=3)
    found = registry("metric")["ais"].target(known.model, known.x[:1], evaluation(known), **SMALL)
    assert "ais_iwll" not in found
    assert found["ais_standard_error"] is None


def test_the_gap_is_open_in_the_mean_and_closes_with_more_steps():
    known = linear_model(2, scale=1.5)
    coarse, fine = (
        registry("metric")["ais-gap"].target(
            known.model, known.x, evaluation(known), count=150, **SMALL | {"temperatures": temperatures}
        )
        for temperatures in (4, 40)
    )
    assert set(fine) == {"ais_gap", "iwll_gap", "iwll_gap_standard_error"}
    assert 0 < fine["ais_gap"] < coarse["ais_gap"]
    assert fine["iwll_gap"] > -4 * fine["iwll_gap_standard_error"]
    assert fine["iwll_gap"] < fine["ais_gap"]  # iwll is the better estimate here
