"""Simulated counts: the moments of the planted model, more images, and what is refused."""

import math

import pytest
import torch
from loading import nothing_kept  # noqa: F401

import vaezoo
from vaezoo import VaezooError
from vaezoo.datasets import load_dataset
from vaezoo.datasets.simulated_counts import SPREAD, planted


def test_its_counts_have_the_moments_of_the_planted_model():
    """E[x|z, l], and the variance E[(x - m)^2] = E[m + m^2 / r] without lost counts, within 5 standard errors."""
    model = planted(2, 8, 2, 5.0, 0.3)
    x, z, log_library = model.draw(2, "train", 8000)
    rate, kept = model.mean(z, log_library) / 0.7, 0.7
    off = x - kept * rate
    assert (off.mean(0).abs() < 5 * off.std(0) / 8000**0.5).all()
    spread = off.square() - (kept * (rate + rate.square() / model.dispersion) + kept * (1 - kept) * rate.square())
    assert (spread.mean(0).abs() < 5 * spread.std(0) / 8000**0.5).all()
    assert abs(float(log_library.mean()) - math.log(40)) < 5 * SPREAD / 8000**0.5
    assert abs(float(model.offset.exp().sum()) - 1) < 1e-12


def test_more_cells_leave_the_first_ones_alone_and_the_context_is_the_log_of_the_library_size():
    options = {"genes": 6, "images": 10, "context": "library"}
    few = load_dataset("simulated-counts", options=options)
    many = load_dataset("simulated-counts", options=options | {"images": 2100})
    assert few.spec == vaezoo.DataSpec((6,), "counts", context=1)
    assert torch.equal(few.train.x, many.train.x[:10])
    assert torch.equal(few.train.context, many.train.context[:10])
    assert len(few.valid) == len(few.test) == 1000
    assert abs(float(few.test.context.mean()) - math.log(30)) < 0.1
    plain = load_dataset("simulated-counts", options={"genes": 6, "images": 10})
    assert plain.spec.context is None
    assert plain.checksum == few.checksum


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genes": 0}, "genes must be 1 or more, got 0"),
        ({"latents": 0}, "latents must be 1 or more, got 0"),
        ({"depth": 0.0}, "depth must lie above 0 and up to 10,000 counts a gene, got 0"),
        ({"zero_inflation": 1.0}, "zero_inflation is a probability below 1, got 1"),
    ],
)
def test_numbers_outside_their_range_are_refused(options, message):
    with pytest.raises(VaezooError, match=f"^dataset 'simulated-counts': {message}"):
        load_dataset("simulated-counts", options=options)
