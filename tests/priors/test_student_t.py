"""The Student-t prior: scipy's density, and the normal limit."""

import numpy as np
import pytest
import torch
from scipy import stats
from small_prior import log_density, model_with

from vaezoo import VaezooError

POINTS = 3 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("learned", [True, False])
def test_it_has_the_density_of_scipy(learned):
    model = model_with(("student-t", {"df": 2.5, "learned": learned}), 3)
    df = model.prior.log_df.detach().exp().numpy()
    expected = stats.t.logpdf(POINTS.numpy(), df).sum(-1)
    np.testing.assert_allclose(log_density(model, POINTS).numpy(), expected, rtol=1e-6)
    assert len(set(df)) == (3 if learned else 1)


def test_with_large_degrees_of_freedom_it_is_nearly_normal_also_in_float32():
    model = model_with(("student-t", {"df": 1000.0, "learned": False}), 3, dtype=torch.float32)
    normal = model_with("normal", 3)
    points = POINTS.clamp(-3, 3)
    torch.testing.assert_close(
        log_density(model, points.float()).double(), log_density(normal, points), atol=0.06, rtol=0
    )
    expected = torch.from_numpy(stats.t.logpdf(points.numpy(), 1000.0).sum(-1))
    torch.testing.assert_close(log_density(model, points.float()).double(), expected, atol=2e-5, rtol=0)


def test_degrees_of_freedom_out_of_range_are_refused():
    with pytest.raises(VaezooError, match=r"df must lie between 0\.0009 and 1097, got 0"):
        model_with(("student-t", {"df": 0.0}), 3)
