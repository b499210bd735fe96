"""Keyed Dropout: its mean, its keys, the same masks in every pass of a step. The layers that the builder refuses."""

import functools

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo import VaezooError, noise
from vaezoo.builder import build
from vaezoo.registry import registry

N = 400
X = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()
DATA = vaezoo.Dataset(X, X[:20], X[:20], measure="binary")


def dropped(layer, h, key=0, index=None, first=0):
    with noise.stream(key, index=index, first=first):
        return layer(h)


def test_each_element_is_kept_with_probability_1_less_p_and_the_mean_is_h():
    layer, h = vaezoo.nets.Dropout(0.3), torch.full((N, 50), 2.0)
    kept = dropped(layer, h, index=torch.arange(N))
    assert set(kept.unique().tolist()) == {0.0, torch.tensor(2 / 0.7).item()}
    rate = (kept != 0).double()
    error = (0.3 * 0.7 / rate.numel()) ** 0.5
    assert abs(float(rate.mean()) - 0.7) < 4 * error
    neighbours = torch.corrcoef(torch.stack([rate[:, 1:].flatten(), rate[:, :-1].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 4 / (N * 49) ** 0.5


def test_in_evaluation_and_at_p_0_it_is_the_identity():
    h = torch.randn(5, 3)
    assert vaezoo.nets.Dropout(0.9).eval()(h) is h
    assert vaezoo.nets.Dropout(0.0)(h) is h


def test_passes_of_one_step_share_masks_and_steps_and_layers_do_not():
    one, other, h, index = vaezoo.nets.Dropout(), vaezoo.nets.Dropout(), torch.ones(8, 40), torch.arange(8)
    with noise.stream(3, index=index):
        first = one(h)
        between = noise.normal(1, 8, 2)
        assert torch.equal(one(h), first)
        assert not torch.equal(other(h), first)
    with noise.stream(3, index=index):
        assert torch.equal(noise.normal(1, 8, 2), between)  # the layers take no call of the stream
    assert not torch.equal(dropped(one, h, key=4, index=index), first)


def test_a_mask_belongs_to_its_image_and_sample():
    """Neither the order of the batch nor the blocks of samples change it."""
    layer, h, index = vaezoo.nets.Dropout(), torch.ones(3, 4, 25), torch.tensor([5, 2, 9, 7])
    whole = dropped(layer, h.flatten(0, 1), index=index).view(3, 4, 25)
    turned = dropped(layer, h.flatten(0, 1), index=index.flip(0)).view(3, 4, 25)
    assert torch.equal(turned, whole.flip(1))
    assert torch.equal(dropped(layer, h[2], index=index, first=2), whole[2])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[:, 0], whole[:, 1])


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_another_p_is_refused(p):
    with pytest.raises(VaezooError, match=f"at least 0 and below 1, got {p:g}"):
        vaezoo.nets.Dropout(p)


def test_rows_that_belong_to_no_image_are_refused():
    with pytest.raises(VaezooError, match=r"a multiple of the 4 images, got \[3, 5\]"):
        dropped(vaezoo.nets.Dropout(), torch.ones(3, 5), index=torch.arange(4))


# What the builder refuses


def holding(own_registry, slot, layer):
    """Build a model with a part of ours that holds the layer too."""
    base = registry(slot)[{"encoder": "linear", "objective": "elbo"}[slot]].target

    @functools.wraps(base.__init__)
    def constructor(self, *given, **named):
        base.__init__(self, *given, **named)
        self.own = nn.Sequential(layer)

    getattr(own_registry, slot)("t-layer")(type("Held", (base,), {"__init__": constructor}))
    return build("vae", DATA, overrides={slot: "t-layer"})


@pytest.mark.parametrize(
    ("slot", "layer", "said"),
    [
        ("encoder", nn.BatchNorm1d(8), "BatchNorm1d at 'own.0', whose output depends on the other images"),
        ("encoder", nn.LazyBatchNorm2d(), "LazyBatchNorm2d"),
        ("encoder", nn.Dropout(0.1), "Dropout at 'own.0', .*; use vaezoo.nets.Dropout"),
        ("objective", nn.BatchNorm1d(8), "BatchNorm1d"),
        ("objective", nn.Dropout2d(0.1), "Dropout2d"),
    ],
)
def test_layers_that_cannot_be_right_are_refused_by_name(own_registry, slot, layer, said):
    with pytest.raises(VaezooError, match=f"{slot} 't-layer' holds {said}"):
        holding(own_registry, slot, layer)


@pytest.mark.parametrize(
    ("slot", "layer"),
    [("encoder", nn.Dropout(0.0)), ("objective", nn.BatchNorm1d(8, track_running_stats=False))],
)
def test_layers_that_do_no_harm_are_accepted(own_registry, slot, layer):
    assert holding(own_registry, slot, layer) is not None
