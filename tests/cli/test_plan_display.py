"""What `vaezoo plan` says of a row before it is run, without a process of its own."""

from dataclasses import replace

import pytest

import vaezoo
from vaezoo.api import plan_of
from vaezoo.cli.plan_display import plan_lines
from vaezoo.reports.tables import tables
from vaezoo.runner.machine.device import describe
from vaezoo.runner.records import DataFacts, Record
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store
from vaezoo.runner.work.cell import provenance
from vaezoo.training.options import TrainingOptions

WARMUP = "the KL warm-up of 50 epochs does not end within 5 epochs"


def planned(**changes):
    rows = [{"name": "vae", "train": {"kl_warmup": 50}}, {"name": "beta-vae"}]
    matrix = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}, "train": {"epochs": 5}, "seeds": 2}
    return plan_of({"evaluate": {"throughput": False}, **matrix, **changes, "variants": rows}, device="cpu")[0]


@pytest.mark.parametrize(
    ("warmup", "epochs", "said"),
    [
        (50, 5, WARMUP),
        (1, 1, "the KL warm-up of 1 epoch does not end within 1 epoch"),
        (2.5, 3, None),
        (0, 1, None),
    ],
)
def test_a_warm_up_that_does_not_end(warmup, epochs, said):
    assert TrainingOptions(epochs=epochs, kl_warmup=warmup).unfinished_warmup == said


def test_a_warm_up_that_does_not_end_is_said_in_the_plan_and_marked_in_the_table(tmp_path):
    made, store = planned(), Store(tmp_path / "m")
    lines = list(plan_lines(made, store, Selection(), "cpu"))
    assert [line for line in lines if "warm-up" in line] == [f"row 'vae' on digits-binary: {WARMUP}"]
    store.prepare()
    store.write_plan(made.stored())
    for cell in made.cells:
        store.write(cell, replace(Record.of(cell, "ok"), results={"iwll": -20.0 - cell.seed}))
    frame = vaezoo.read_results(store.folder)
    assert frame.warnings[frame.label == "vae"].tolist() == [WARMUP] * 2
    assert frame.warnings[frame.label == "beta-vae"].isna().all()
    [table] = tables(frame)
    assert WARMUP in table.markdown()


def test_the_last_line_estimates_what_is_left(tmp_path):
    made, store = planned(), Store(tmp_path / "m")
    assert list(plan_lines(made, store, Selection(), "cpu"))[-1] == "no estimate: no past record"
    store.prepare()
    facts = DataFacts((1, 8, 8), "binary", None, "none", None, made.train_images["digits-binary"])
    cell = next(cell for cell in made.cells if cell.label == "vae")
    record = replace(Record.of(cell, "ok"), results={"iwll": -20.0}, seconds=600.0, data=facts)
    where = provenance("cpu", made.task(cell, store.folder))
    assert where.device == describe("cpu")
    store.write(cell, replace(record, provenance=where))
    last = list(plan_lines(made, store, Selection(), "cpu"))[-1]
    assert last.startswith("about 10 min of processor time on ")
    assert last.endswith("; no estimate for 2 of them: no past record")
    doubled = list(plan_lines(planned(train={"epochs": 10}), store, Selection(), "cpu"))[-1]
    assert doubled.startswith("about 40 min of processor time on ")


def test_a_shard_counts_its_own_cells_only(tmp_path):
    lines = list(plan_lines(planned(), Store(tmp_path / "m"), Selection(shard=(1, 2)), "cpu"))
    assert lines[:2] == [
        "vae on digits-binary: 1 to run, 1 left out",
        "beta-vae on digits-binary: 1 to run, 1 left out",
    ]
    assert lines[-2].startswith("2 cells and 0 timings to run on cpu")
