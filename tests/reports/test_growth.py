"""Work on results grows in proportion to the cells: the lines of vaezoo that run are counted, as they are the same on
every machine. `tox -e bench` measures the seconds.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pandas
import pytest
from frames import MEASURED, SPEEDS_AND_COSTS

import vaezoo
from vaezoo.reports.tables import tables, write_tables
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store, write_json

HOUSE = str(Path(vaezoo.__file__).parent)
STORED = Path(__file__).parents[1] / "runner" / "version_0_1_0"


def lines_run(work):
    """How many lines of vaezoo `work()` runs; each turn of a loop or comprehension counts."""
    count = 0

    def line(frame, event, arg):
        nonlocal count
        count += event == "line"
        return line

    previous = sys.gettrace()
    sys.settrace(lambda frame, event, arg: line if frame.f_code.co_filename.startswith(HOUSE) else None)
    try:
        work()
    finally:
        sys.settrace(previous)
    return count


def check_proportional(work, size):
    """Twice the cells take at most twice the lines, and 5 % for chance."""
    small, large = lines_run(work(size)), lines_run(work(2 * size))
    assert small > 10 * size
    assert large < 2.1 * small


def test_a_quadratic_step_would_be_seen():
    source = compile("[a for a in range(n) for b in range(n)]", f"{HOUSE}/x.py", "exec")
    with pytest.raises(AssertionError):
        check_proportional(lambda n: lambda: exec(source, {"n": n}), 100)


def frame_of(cells, seeds):
    """Cells whose settings and remarks differ as much as they can."""
    draws = numpy.random.default_rng(0)
    places = numpy.arange(cells)
    frame = pandas.DataFrame({"label": [f"v{place // seeds}" for place in places], "seed": places % seeds})
    frame = frame.assign(dataset="d", status="ok", **MEASURED)
    for name in ("iwll", "elbo", "kl", "reconstruction", "active_units", *SPEEDS_AND_COSTS, "train_seconds"):
        frame[name] = draws.normal(size=cells)
    frame["importance_samples"] = 50 + places // seeds % 2
    frame["train.learning_rate"] = places // seeds
    frame["warnings"] = [f"a warning of cell {chr(97 + place % 20)}" for place in places]
    return frame


@pytest.mark.parametrize("seeds", [1, 5])
def test_tables_grow_with_the_cells(seeds):
    def work(cells):
        frame = frame_of(cells, seeds)

        def written():
            (table,) = tables(frame)
            assert len(table.rows) == cells // seeds
            assert table.markdown()
            assert table.latex()
            assert table.csv()

        return written

    check_proportional(work, 300)


@pytest.fixture
def copies(tmp_path):
    """A folder with n times the cells of these records, which have no digest, each with its record."""

    def folder(count):
        store = Store(tmp_path / str(count))
        store.prepare()
        plan = Store(STORED).plan()
        cells = []
        for number in range(count):
            for cell in plan.cells:
                stem, label = f"{cell.stem}-{number}", f"{cell.label} {number}"
                cells.append(replace(cell, stem=stem, label=label))
                record = json.loads((STORED / "cells" / f"{cell.stem}.json").read_text(encoding="utf-8"))
                write_json(store.path("cells", stem), {**record, "label": label}, lasting=False)
        for path in (STORED / "timings").iterdir():
            (store.folder / "timings" / path.name).write_bytes(path.read_bytes())
        store.write_plan(replace(plan, cells=tuple(cells)))
        return store.folder

    return folder


def test_reading_grows_with_the_records(copies, monkeypatch):
    """A folder's tables read each record once."""
    read = []
    record = Store.record

    def counted(store, kind, stem, cell=None):
        read.append((store.folder, kind, stem))
        return record(store, kind, stem, cell)

    monkeypatch.setattr(Store, "record", counted)

    def work(count):
        folder = copies(count)
        return lambda: write_tables(read_results(folder), folder / "tables")

    check_proportional(work, 6)
    assert len(read) == len(set(read)) == 12 * (6 + 12) + 2 * 6
