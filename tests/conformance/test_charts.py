"""Charts of spheres, balls and [0, 1]^Z: there and back, and the volume of a cell."""

import math

import pytest
import torch

from vaezoo.conformance.charts import Chart
from vaezoo.conformance.laws import in_each_volume
from vaezoo.conformance.verdict import NotRun, Wrong
from vaezoo.evaluation.prior_mass import log_sphere_area


def points(kind: str, count: int = 7, size: int = 3) -> torch.Tensor:
    z = torch.randn(count, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if kind == "unit":
        return z.sigmoid()
    if kind == "sphere":
        return z / z.norm(dim=-1, keepdim=True)
    return z / (1 + z.norm(dim=-1, keepdim=True)) if kind == "ball" else z


@pytest.mark.parametrize("kind", ["real", "unit", "sphere", "ball"])
def test_there_and_back(kind):
    z = points(kind)
    chart = Chart((kind, "real"), (z, points("real")))
    y = chart.coordinates((z, points("real")))
    assert y.shape == (7, 5 if kind == "sphere" else 6)
    for found, expected in zip(chart.latents(y), (z, points("real")), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["real", "unit", "ball"])
def test_the_volume_is_the_determinant_of_the_map(kind):
    z = points(kind)
    chart = Chart((kind,), (z,))
    for y in chart.coordinates((z,)):
        jacobian = torch.autograd.functional.jacobian(lambda y: chart.latents(y[None])[0][0], y)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(chart.log_volume(y[None])[0], expected)


def test_the_volume_of_a_sphere_is_that_of_the_parallelogram_of_the_tangents():
    z = points("sphere")
    chart = Chart(("sphere",), (z,))
    for y in chart.coordinates((z,)):
        jacobian = torch.autograd.functional.jacobian(lambda y: chart.latents(y[None])[0][0], y)  # [3, 2]
        expected = 0.5 * torch.linalg.slogdet(jacobian.T @ jacobian).logabsdet
        torch.testing.assert_close(chart.log_volume(y[None])[0], expected)


def test_the_circle_is_two_pi_long():
    z = points("sphere", size=2)
    y = torch.tan(torch.linspace(-math.pi / 2, math.pi / 2, 4001, dtype=torch.float64)[1:-1])[:, None]
    found = torch.trapezoid(Chart(("sphere",), (z,)).log_volume(y).exp(), y[:, 0])
    assert float(found) == pytest.approx(math.exp(log_sphere_area(2)), rel=1e-2)


def test_the_poincare_ball_has_a_larger_volume():
    z = points("ball")
    y = Chart(("ball",), (z,)).coordinates((z,))
    apart = Chart(("ball",), (z,), hyperbolic=True).log_volume(y) - Chart(("ball",), (z,)).log_volume(y)
    torch.testing.assert_close(apart, 3 * (2 / (1 - z.square().sum(-1))).log())


def test_a_proof_of_a_ball_may_hold_in_either_volume_and_of_others_in_one():
    def only_hyperbolic(hyperbolic: bool) -> str:
        if not hyperbolic:
            raise Wrong("0.5", "flat")
        return "1"

    assert in_each_volume(("ball",), only_hyperbolic) == "1"
    with pytest.raises(Wrong, match="flat"):
        in_each_volume(("sphere",), only_hyperbolic)


def test_what_has_no_coordinates_is_not_run():
    with pytest.raises(NotRun, match="discrete"):
        Chart(("discrete",), (points("real"),))
    with pytest.raises(NotRun, match="two points"):
        Chart(("sphere",), (points("sphere", size=1),))
