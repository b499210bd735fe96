"""Sprites: each image is its factors', all images differ, and the seed chooses them."""

import pytest
import torch

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets.sprites import COMBINATIONS, FACTORS, RADII, factors_of, inside, rendered, stamps


@pytest.fixture(scope="module")
def data():
    return vaezoo.load_dataset("sprites", options={"images": 2000})


def middle(images):
    """The mean row and column of each image's sprite. [N, 2]"""
    at = torch.arange(32.0)
    x = images[:, 0].float()
    return torch.stack([(x.sum(2) * at).sum(1), (x.sum(1) * at).sum(1)], -1) / x.sum((1, 2))[:, None]


def test_factors_number_all_combinations():
    every = factors_of(torch.arange(COMBINATIONS))
    assert len(every.unique(dim=0)) == COMBINATIONS == 92_160
    assert (every.max(0).values + 1).tolist() == list(FACTORS.values())


def test_images_and_factors_of_the_splits(data):
    assert data.spec == vaezoo.DataSpec((1, 32, 32), "binary")
    for split, count in ((data.train, 2000), (data.valid, 2000), (data.test, 5000)):
        assert split.y.shape == (count, 5)
        assert torch.equal(rendered(split.y), split.x)
    assert not data.overlaps


def test_a_sprite_moves_by_whole_pixels():
    factors = torch.tensor([[2, 5, 3, x, y] for x in (0, 7, 15) for y in (0, 15)])
    centres = middle(rendered(factors))
    torch.testing.assert_close(centres - centres[:1], factors[:, [4, 3]].float() - factors[:1, [4, 3]].float())
    assert (rendered(factors).sum((1, 2, 3)) == stamps()[2, 5, 3].sum()).all()


def test_every_shape_scale_and_rotation_looks_different():
    assert len(stamps().flatten(0, 2).flatten(1).unique(dim=0)) == 3 * 6 * 20
    size = stamps().float().sum((-1, -2)).mean(2)
    assert (size.diff(dim=1) > 0).all()
    wanted = (RADII[1] / RADII[0]) ** 2
    torch.testing.assert_close(size[:, -1] / size[:, 0], torch.full((3,), wanted), rtol=0.1, atol=0)


def test_no_edge_runs_through_the_middle_of_a_pixel():
    """So rounding on another machine changes no pixel: the same images everywhere."""
    angle = 0.1 + 2 * torch.pi * torch.arange(20).double()[:, None, None] / 20
    place, radius = torch.arange(-8, 9).double(), torch.linspace(*RADII, 6).double()[:, None, None, None]
    down, right = place[:, None] / radius, place[None, :] / radius
    depth = inside(right * angle.cos() + down * angle.sin(), down * angle.cos() - right * angle.sin())
    assert depth.abs().min() > 1e-8


def test_shapes_fit_into_the_unit_circle():
    place = torch.linspace(-1.5, 1.5, 301).double()
    v, u = torch.meshgrid(place, place, indexing="ij")
    within = inside(u, v) > 0
    assert within.sum((1, 2)).min() > 1000
    assert (u.square() + v.square())[None].expand_as(within)[within].max() <= 1


def test_the_seed_chooses_the_training_images_alone(data):
    other = vaezoo.load_dataset("sprites", seed=1, options={"images": 2000})
    assert torch.equal(data.test.x, other.test.x)
    assert torch.equal(data.valid.x, other.valid.x)
    assert (data.train.y[:, None] == other.train.y).all(-1).any(1).float().mean() < 0.1
    assert data.train.y.float().mean(0) == pytest.approx([1, 2.5, 9.5, 7.5, 7.5], abs=0.5)


@pytest.mark.parametrize("images", [0, 92_160])
def test_a_number_of_images_that_cannot_be(images):
    with pytest.raises(VaezooError, match=f"dataset 'sprites': images must be 1..85160, got {images}"):
        vaezoo.load_dataset("sprites", options={"images": images})
