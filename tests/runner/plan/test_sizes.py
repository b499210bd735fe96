"""Memory that a row cannot have: found before anything is allocated, and a skip of that row alone."""

import re

import psutil
import pytest

from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, resolve
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.registry import registry
from vaezoo.runner.plan.sizes import Room, may_be_large, sizes_of

SPEC = DataSpec((1, 8, 8), "binary")


@pytest.mark.parametrize("latent", [10**9, 10**18, [10**9, 2]])
@pytest.mark.parametrize("hidden", [[], [10**6, 10**6]])
def test_the_sizes_of_every_variant_are_found_without_memory(latent, hidden):
    checked = 0
    for name in registry("variant"):
        try:
            found = sizes_of(resolve(name, SPEC), Ingredients.blank(SPEC, latent, hidden, 600))
        except Skip:
            continue
        checked += 1
        assert found is not None, name
        assert found.reason(2, Room(device=2**36)), name
    assert checked >= (2 if isinstance(latent, list) else 10)


def test_the_parameters_are_counted_exactly():
    slots = resolve("vae", SPEC)
    found = sizes_of(slots, Ingredients.blank(SPEC, 2, [3], 600))
    parameters = 64 * 3 + 3 + 2 * (3 * 2 + 2) + 2 * 3 + 3 + 3 * 64 + 64
    assert (found.parameters, found.held, found.image) == (parameters, 4 * 4 * parameters, 4 * (64 + 64))
    needed = found.held + 10 * found.image
    assert found.reason(10, Room(device=needed, limit=needed)) is None
    assert "the device has" in found.reason(10, Room(device=needed - 1))
    assert "--max-memory is" in found.reason(10, Room(device=needed, limit=needed - 1))
    assert found.reason(10**12, Room()) is None


def test_usual_sizes_are_not_looked_at():
    assert not may_be_large(20, (400, 400), {"objective": {"importance_samples": 64, "beta": 1e9, "on": True}})
    assert may_be_large(20, (400,), {"prior": {"components": 10**7}})
    assert not may_be_large((), {})


def test_a_row_that_cannot_fit_is_skipped_and_the_others_are_planned():
    rows = [
        {"name": "vae"},
        {"name": "vae", "label": "wide", "model": {"hidden": [1_000_000, 1_000_000]}},
        {"name": "vae", "label": "deep", "model": {"latent": 1_000_000_000}},
        {"name": "iwae", "label": "samples", "objective": {"importance_samples": 1_000_000_000}},
        {"name": "vae", "label": "batch", "train": {"batch_size": 1_000_000_000}},
    ]
    before = psutil.Process().memory_info().rss
    made, _ = plan_of({"datasets": ["digits-binary"], "variants": rows}, device="cpu", max_memory=2**30)
    assert psutil.Process().memory_info().rss - before < 2**30
    skips = {cell.label: cell.skip for cell in made.cells}
    assert skips.pop("vae") is None
    assert skips.pop("batch") is None
    said = r"training takes at least [\d,.]+ GiB \(4 copies of [\d,]+ parameters and batches of 128 images\), and "
    for label, skip in skips.items():
        assert re.fullmatch(said + r"--max-memory is 1\.0 GiB", skip), label
    assert all(cell.expected_failure is None for cell in made.cells)


def test_a_batch_that_cannot_fit_is_a_skip():
    rows = [{"name": "vae"}, {"name": "vae", "label": "batch", "train": {"batch_size": 1_000_000_000}}]
    made, _ = plan_of({"datasets": ["digits-binary"], "variants": rows}, device="cpu", max_memory=2**18)
    skips = {cell.label: cell.skip for cell in made.cells}
    assert skips["vae"] is None
    assert re.search(r"batches of 1,\d\d\d images", skips["batch"])


@pytest.mark.nightly
def test_a_model_of_endless_parts_is_a_failure_of_its_row():
    """It is built in a child, which is killed; a plan in this process would never end."""
    rows = [{"name": "vae"}, {"name": "vae-realnvp", "posterior": {"couplings": 1_000_000_000}}]
    small = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}}
    made, _ = plan_of({**small, "variants": rows}, device="cpu", seconds=20)
    first, second = made.cells
    assert (first.skip, first.expected_failure, second.skip) == (None, None, None)
    assert second.expected_failure == "hung when its plugins were rehearsed: nothing in 20 s"
