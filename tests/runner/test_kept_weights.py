"""`--keep-weights`: which weights are removed, and that their records stay what they are."""

from dataclasses import replace

import pytest
from small_tasks import a_cell

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.runner.kept_weights import keep, parse_kept
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store


@pytest.fixture
def store(tmp_path):
    """Six seeds: two equal best ones, a worse one, one whose metrics are unfinished, a failed and a missing one."""
    made = Store(tmp_path)
    made.prepare()
    outcomes = [("ok", -3.0, ()), ("ok", -2.0, ()), ("ok", -2.0, ()), ("ok", -1.0, ("ais",)), ("failed", None, ())]
    for seed, (status, iwll, pending) in enumerate(outcomes):
        cell = a_cell(seed)
        made.path("checkpoints", cell.stem).write_bytes(b"weights")
        record = replace(Record.of(cell, status), results={"iwll": iwll}, pending_metrics=pending)
        made.write(cell, record)
    return made


CELLS = [a_cell(seed) for seed in range(6)]


def kept(store: Store) -> list[int]:
    return [cell.seed for cell in CELLS if store.path("checkpoints", cell.stem).exists()]


@pytest.mark.parametrize(
    ("choice", "alone", "left"),
    [
        ("all", True, [0, 1, 2, 3, 4]),
        ("best", True, [1, 3, 4]),
        ("best", False, [1, 3, 4]),
        ("none", True, [3, 4]),
        ("none", False, [0, 1, 2, 3, 4]),
    ],
)
def test_what_is_kept_of_complete_records(store, choice, alone, left):
    before = {path: path.read_bytes() for path in store.folder.glob("cells/*.json")}
    keep(choice, store, CELLS[::-1], alone)
    assert kept(store) == left
    assert {path: path.read_bytes() for path in store.folder.glob("cells/*.json")} == before


def test_the_best_of_fewer_seeds_is_never_the_removed_best_of_more(store):
    """As where two shards end one after the other."""
    keep("best", store, CELLS[:1], True)
    keep("best", store, CELLS[1:], True)
    assert kept(store) == [0, 1, 3, 4]
    keep("best", store, CELLS, True)
    assert kept(store) == [1, 3, 4]


def test_rows_and_data_sets_keep_one_each(store):
    keep("best", store, [CELLS[0], replace(CELLS[1], label="another row"), replace(CELLS[2], dataset="other")], True)
    assert kept(store) == [0, 1, 2, 3, 4]


def test_an_unknown_choice_is_one_line():
    with pytest.raises(VaezooError, match=r"--keep-weights: choice 'bset' is unknown; did you mean 'best'"):
        parse_kept("bset")


def test_runs_keep_what_they_are_asked_for_and_run_no_cell_again(shell, tmp_path, matrix_file):
    matrix_file(tmp_path / "m.toml", ["vae"], seeds=3)
    words = ("run", "m.toml", "--device", "cpu", "--jobs", 1, "--keep-weights")
    done = shell(*words, "best", cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done
    folder = tmp_path / "results" / "m"
    records = {path: path.read_bytes() for path in (folder / "cells").glob("*.json")}
    frame = vaezoo.read_results(folder)
    [weights] = (folder / "checkpoints").iterdir()
    assert f"s{frame.seed[frame.iwll.idxmax()]}--" in weights.name
    vaezoo.load_model(folder / "cells" / f"{weights.stem}.json")

    done = shell(*words, "none", cwd=tmp_path)
    assert (done.code, done.err) == (0, ""), done
    assert done.out.startswith("cells: 0 to run, 3 already done")
    assert list((folder / "checkpoints").iterdir()) == []
    assert {path: path.read_bytes() for path in (folder / "cells").glob("*.json")} == records
    with pytest.raises(VaezooError, match=r"weights .* are not there: they were not kept \(--keep-weights\)"):
        vaezoo.load_model(folder / "cells" / f"{weights.stem}.json")
