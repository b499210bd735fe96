"""The log mass of a prior under wide proposals: at most 0 for densities, large for what has no finite integral."""

import math

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.prior_mass import LIMIT, SCALES, log_mass, log_sphere_area


class Given(vaezoo.Prior):
    """A prior of a given log density and samples."""

    def __init__(self, density, drawn, support="real"):
        super().__init__()
        self.density, self.drawn, self.support = density, drawn, support

    def log_prob(self, z):
        return torch.stack([self.density(group) for group in z])

    def sample(self, n):
        return self.drawn(n)


class Silent(nn.Module):
    """Stands for the parts that the prior does not need."""

    features, parameter_shape, measures = (2,), (2,), ("binary",)

    def __init__(self, support):
        super().__init__()
        self.support, self.unused = support, nn.Parameter(torch.zeros(()))


def model_of(prior, groups=1):
    part = Silent(prior.support)
    spec = vaezoo.DataSpec((2,), "binary")
    return LatentModel(part, part, prior, part, part, spec, latents=(20,) * groups).double()


def masses(density, drawn=lambda n: torch.zeros(n, 20), support="real", groups=1, images=1):
    batch = Batch(torch.zeros(images, 2, dtype=torch.float64))
    return log_mass(model_of(Given(density, drawn, support), groups), batch, samples=400)


def normal(z):
    return -(0.5 * z.square() + 0.5 * math.log(2 * math.pi)).sum(-1)


@pytest.mark.parametrize("images", [1, 3])
def test_the_mass_of_the_proposal_itself_is_1_and_under_wider_ones_at_most_1(images):
    found = masses(normal, images=images)
    assert found[1.0] == pytest.approx(0, abs=1e-9)
    assert max(found.values()) < 1e-9
    assert list(found) == list(SCALES)


@pytest.mark.parametrize("floor", [1e-10, 1e-30, 1e-43])
def test_a_floored_density_has_too_much_mass(floor):
    found = masses(lambda z: (normal(z).exp() + floor).log())
    assert max(found.values()) > 14


def test_a_floor_in_one_of_two_groups_is_found():
    def density(z):  # one group is [..., 20], the other [..., 19]
        return normal(z) if z.shape[-1] == 20 else (normal(z).exp() + 1e-10).log()

    assert max(masses(density, lambda n: (torch.zeros(n, 20), torch.zeros(n, 19)), groups=2).values()) > 14


def test_infinite_densities_count_and_nan_does_not():
    assert max(masses(lambda z: torch.where(z[..., 0] > 0, math.nan, normal(z))).values()) < LIMIT
    assert max(masses(lambda z: torch.where(z[..., 0] > 2, math.inf, normal(z))).values()) == math.inf


def uniform_on(support):
    if support == "unit":
        return lambda z: z.new_zeros(z.shape[:-1])
    volume = log_sphere_area(20) - (math.log(20) if support == "ball" else 0)
    return lambda z: torch.where((z.norm(dim=-1) < 1 + 1e-9), -volume, math.inf)


@pytest.mark.parametrize("support", ["sphere", "ball", "unit"])
def test_uniform_densities_on_bounded_supports_have_mass_1(support):
    found = masses(uniform_on(support), support=support)
    assert found == pytest.approx(dict.fromkeys(SCALES, 0.0), abs=1e-9)


def test_the_mass_of_discrete_codes_is_the_sum_over_the_codes_that_were_drawn():
    codes = torch.eye(20)[torch.arange(1024) % 5].double()
    assert masses(lambda z: z.new_full(z.shape[:-1], -math.log(20)), lambda n: codes, "discrete")[1.0] == pytest.approx(
        math.log(5 / 20)
    )


def test_areas_of_spheres():
    assert [math.exp(log_sphere_area(n)) for n in (1, 2, 3)] == pytest.approx([2, 2 * math.pi, 4 * math.pi])
