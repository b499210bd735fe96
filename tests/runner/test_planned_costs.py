"""Estimates of time and disk: from which past records, and how they are scaled."""

import math
from dataclasses import replace

import pytest
from small_tasks import a_cell

from vaezoo.cli.plan_display import estimate_line
from vaezoo.runner.estimate import Estimate, estimate
from vaezoo.runner.provenance import Provenance
from vaezoo.runner.records import DataFacts, Record
from vaezoo.runner.store import Store

HERE = Provenance("1", "2", "3", "linux", "this processor", 1, 1, (), "now")


def past(folder, seed=0, device="this processor", seconds=10.0, label="a row", **changes):
    """A past record of seven epochs over 100 images, and a kilobyte of weights."""
    cell, store = replace(a_cell(seed), label=label), Store(folder)
    store.prepare()
    store.path("checkpoints", cell.stem).write_bytes(b"." * 1000)
    facts = DataFacts((1, 8, 8), "discrete", 17, "none", None, 100)
    record = replace(Record.of(cell, "ok"), results={"iwll": -1.0}, seconds=seconds, data=facts)
    store.write(cell, replace(record, provenance=replace(HERE, device=device), **changes))


def cells(epochs=7):
    cell = a_cell(5)
    train = replace(cell.specification.train, epochs=epochs)
    return [replace(cell, specification=replace(cell.specification, train=train))]


def seconds(folder, epochs=7, images=100) -> float | None:
    found = estimate(cells(epochs), folder, "this processor", {"digits": images})
    assert found.known + found.unknown == 1
    return found.seconds if found.known else None


def test_it_is_the_mean_scaled_by_epochs_and_images(tmp_path):
    past(tmp_path / "mine", 0, seconds=10.0)
    past(tmp_path / "mine", 1, seconds=20.0)
    assert seconds(tmp_path / "mine") == 15.0
    assert math.isclose(seconds(tmp_path / "mine", epochs=14, images=300), 90.0)
    found = estimate(cells() * 2, tmp_path / "mine", "this processor", {})
    assert (found.seconds, found.known) == (30.0, 2)
    assert found.size > 2 * 1000


def test_the_folders_own_records_and_the_rows_own_label_come_first(tmp_path):
    assert seconds(tmp_path / "mine") is None
    past(tmp_path / "beside", seconds=40.0, label="another")
    assert seconds(tmp_path / "mine") == 40.0
    past(tmp_path / "beside", 1, seconds=30.0)
    assert seconds(tmp_path / "mine") == 30.0
    past(tmp_path / "mine", seconds=20.0)
    assert seconds(tmp_path / "mine") == 20.0


@pytest.mark.parametrize(
    "change", [{"device": "another"}, {"status": "failed", "results": {}}, {"resumed": 1}, {"seconds": None}]
)
def test_no_record_of_another_kind_is_used(tmp_path, change):
    past(tmp_path / "mine", **change)
    assert seconds(tmp_path / "mine") is None


def test_a_damaged_record_is_passed_over(tmp_path):
    past(tmp_path / "mine", 0)
    past(tmp_path / "mine", 1, seconds=20.0)
    Store(tmp_path / "mine").path("cells", a_cell(0).stem).write_text("{")
    assert seconds(tmp_path / "mine") == 20.0


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (Estimate(0, 0, 0, 3), "no estimate: no past record"),
        (Estimate(30, 2e5, 1, 0), "about 30 s of processor time on 2 cells at a time, under 1 MB of disk"),
        (Estimate(720, 3e6, 4, 0), "about 12 min of processor time on 2 cells at a time, about 3 MB of disk"),
        (
            Estimate(9000, 2e10, 4, 2),
            "about 2.5 h of processor time on 2 cells at a time, about 20 GB of disk; no estimate for 2 of them: "
            "no past record",
        ),
    ],
)
def test_its_line(found, line):
    assert estimate_line(found, 2) == line
