"""The example of a hierarchy: every proof of it, and a training run."""

import math
from pathlib import Path

import pytest
import torch
from unable import is_pass_or_unable

import vaezoo
from vaezoo.builder import build
from vaezoo.conformance.check import plugins_named, proofs_of, prove
from vaezoo.objectives.elbo import ELBO
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions

FILE = Path(__file__).parents[2] / "examples" / "hierarchy.py"


@pytest.fixture(autouse=True)
def example(own_registry):
    return plugins_named(str(FILE))


@pytest.mark.nightly
def test_every_proof_of_it_holds(example):
    """None fails, and none is left out for want of support for several groups."""
    assert {f"{plugin.slot}/{plugin.name}" for plugin in example} == {
        "prior/two-group",
        "posterior/two-group",
        "variant/two-group-vae",
    }
    found = [prove(plugin, proof, quick=True) for plugin in example for proof in proofs_of(plugin.slot)]
    assert [each for each in found if not is_pass_or_unable(each)] == []


def test_it_trains_samples_and_reconstructs():
    x = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(0)).round()
    data = vaezoo.Dataset(x, x[:20], x[:20], measure="binary")
    model = build("two-group-vae", data, latent=[2, 3], hidden=(5,))
    result = train(model, ELBO(), data, TrainingOptions(epochs=3, batch_size=20))
    assert math.isfinite(result.best_iwll)
    assert model.sample(4).shape == (4, 1, 3, 3)
    assert model.reconstruct(x[:5]).shape == (5, 1, 3, 3)
    assert [group.shape for group in model.prior_sample(4)] == [(4, 2), (4, 3)]


def test_one_group_is_a_skip_that_says_what_to_write():
    x = torch.zeros(20, 1, 3, 3)
    data = vaezoo.Dataset(x, x, x, measure="binary")
    with pytest.raises(vaezoo.Skip, match=r"two latent groups, such as latent = \[4, 8\], got \[3\]"):
        build("two-group-vae", data, latent=3)
