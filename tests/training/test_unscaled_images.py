"""Images of 0..255 that are declared continuous: no term overflows, and training improves on them."""

import math

import pytest
import torch

import vaezoo
from vaezoo.builder import build
from vaezoo.core import gaussian, passes
from vaezoo.objectives.elbo import ELBO
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import Diverged


def images(top):
    generator = torch.Generator().manual_seed(0)
    x = top * torch.rand(120, 1, 28, 28, generator=generator).round()
    return vaezoo.Dataset(x[:100], x[100:110], x[110:], measure="continuous")


def trained(dataset):
    model = build("vae", dataset)
    options = TrainingOptions(epochs=8, batch_size=20, learning_rate=1e-3, validation_images=None)
    return model, train(model, ELBO(), dataset, options).history


@pytest.mark.parametrize("top", [255.0, 1e5])
def test_training_improves_on_images_that_are_not_standardised(top):
    model, history = trained(images(top))
    assert all(math.isfinite(epoch.objective) and math.isfinite(epoch.validation_iwll) for epoch in history)
    assert history[-1].objective > history[0].objective
    assert history[-1].validation_iwll > history[0].validation_iwll
    assert all(p.isfinite().all() for p in model.parameters())


def test_it_is_the_bound_of_log_std_that_keeps_them_finite(monkeypatch):
    monkeypatch.setattr(gaussian, "bounded_log_std", lambda log_std: log_std)
    monkeypatch.setattr(passes, "takes", lambda *tensors: False)
    with pytest.raises(Diverged, match=r"the objective is (nan|-inf) at step 1 "):
        trained(images(1e5))
