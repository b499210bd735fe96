"""The comparison of a density with its samples through a fitted one: masses, heavy tails, and when it does not tell."""

import math

import pytest
import torch
from torch.distributions import Cauchy, MixtureSameFamily, Normal, StudentT

from vaezoo.conformance.fitted import Fitted, Marginals
from vaezoo.conformance.overlap import overlap
from vaezoo.conformance.verdict import NotRun, Wrong

SIZE = 20


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


NORMAL = Normal(number(0.0), number(1.0))
TWO = MixtureSameFamily(
    torch.distributions.Categorical(torch.tensor([0.5, 0.5])),
    Normal(torch.tensor([0.0, 0.0]).double(), torch.tensor([0.2, 1.0]).double()),
)


def compared(law, factor: float = 1.0, count: int = 2000, other=None) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        samples, rest = law.sample((count, SIZE)), (other or law).sample((count, SIZE))
    return overlap(lambda z: law.log_prob(z).sum(-1) + math.log(factor), rest, Fitted(samples))


SLOW = [pytest.param(law, marks=pytest.mark.nightly) for law in (StudentT(number(3.0)), TWO)]


@pytest.mark.parametrize("law", [NORMAL, Cauchy(number(0.0), number(1.0)), *SLOW])
def test_right_densities_have_mass_1_also_with_heavy_tails_and_2_to_the_20_modes(law):
    assert float(compared(law).split()[1]) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("law", [NORMAL])
def test_a_mass_of_another_size_is_rejected_by_its_figure(law):
    with pytest.raises(Wrong, match="with f = 1") as raised:
        compared(law, 1.3)
    assert " and " in raised.value.figure


def test_samples_of_another_law_of_the_same_mass_are_rejected():
    with pytest.raises(Wrong, match="E_h"):
        compared(NORMAL, other=Normal(number(0.3), number(1.0)))


def test_a_law_that_the_fitted_density_does_not_reach_is_undecided():
    class Far:
        def log_density(self, points):
            return NORMAL.log_prob(points - 9).sum(-1)

        def sample(self, count):
            return torch.full((count, 2), 9.0, dtype=torch.float64)

    with pytest.raises(NotRun, match="undecided"):
        overlap(lambda z: NORMAL.log_prob(z).sum(-1), torch.zeros(500, 2, dtype=torch.float64), Far())


def test_marginals_there_and_back_with_the_log_determinant_of_finite_differences():
    z = Cauchy(0.0, 1.0).icdf(torch.linspace(0.01, 0.99, 99).double())[:, None].numpy()
    marginals = Marginals.of(z)
    y, log_det = marginals.forward(z)
    assert marginals.inverse(y) == pytest.approx(z, rel=1e-6, abs=1e-9)
    step = 1e-7
    slope = (marginals.forward(z + step)[0] - marginals.forward(z - step)[0]) / (2 * step)
    inside = [n for n in range(99) if abs(slope[n, 0] / math.exp(log_det[n]) - 1) < 1e-4]
    assert len(inside) > 90  # at a knot the slope jumps
