"""Verdicts: which of two counts, strict reading, results folders that are marked, joined and set aside."""

import json
import os
from dataclasses import replace

import pytest
from small_tasks import a_cell

from vaezoo.core.errors import VaezooWarning
from vaezoo.registry import registry
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.formats import sealed
from vaezoo.runner.merge import merge
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.records import Record
from vaezoo.runner.results import adopt_verdicts, read_results
from vaezoo.runner.store import Store
from vaezoo.runner.verdicts import (
    FOLDER,
    Verdict,
    adopt,
    cache_folder,
    keep,
    known,
    path_of,
    provable,
    read_verdict,
    remarks,
    stored,
)

CODE = a_cell().specification.code
"""Of the prior `mixture` and the metric `likelihood`."""


def verdict(plugin="prior/mixture", failure=None, *, quick=False, proofs="p", date="2026-01-02", code=None):
    return Verdict(plugin, code or CODE.get(plugin, "c" * 64), failure, quick, proofs, date, "0.2.0")


@pytest.mark.parametrize(
    ("new", "old", "counts"),
    [
        ({}, {"date": "2026-01-01"}, True),
        ({"date": "2026-01-01"}, {}, False),
        ({}, {}, False),
        ({"quick": True}, {"date": "2026-01-01"}, False),
        ({"date": "2026-01-01"}, {"quick": True}, True),
        ({"quick": True, "proofs": "newer"}, {"date": "2026-01-01"}, True),
        ({"date": ""}, {"quick": True, "proofs": "other"}, False),
    ],
)
def test_of_two_verdicts_the_newer_one_counts_unless_it_is_the_quick_one_by_the_same_proofs(tmp_path, new, old, counts):
    new, old = verdict(failure="new", **new), verdict(failure="old", **old)
    assert new.replaces(old) == counts
    assert new.replaces(None)
    assert keep(tmp_path, old)
    assert keep(tmp_path, new) == counts
    assert stored(tmp_path, new.plugin, new.fingerprint).failure == ("new" if counts else "old")


def test_a_verdict_is_that_of_one_plugin_and_one_code(tmp_path):
    keep(tmp_path, verdict())
    assert stored(tmp_path, "prior/mixture", CODE["prior/mixture"]) == verdict()
    assert stored(tmp_path, "prior/mixture", "a" * 12 + "b" * 52) is None
    assert stored(tmp_path, "prior/normal", CODE["prior/mixture"]) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "it is no text"),
        (b"[]", "expected a JSON object"),
        (json.dumps(sealed({"plugin": "prior/mixture"})).encode(), "fingerprint is missing"),
        (json.dumps({**sealed(vars(verdict())), "quick": True}).encode(), "it has been changed"),
        (json.dumps(sealed(vars(verdict()) | {"format": 99})).encode(), "a newer vaezoo wrote it"),
        (json.dumps(sealed(vars(verdict("prior/normal")))).encode(), "the verdict of other code"),
    ],
)
def test_a_damaged_verdict_is_left_out_with_a_line_and_set_aside_by_a_run(tmp_path, content, said):
    folder = results(tmp_path / "results")
    path = path_of(folder / FOLDER, "prior/mixture", CODE["prior/mixture"])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=said):
        read_verdict(path)
    with pytest.warns(VaezooWarning, match=said):
        frame = read_results(folder)
    assert "prior/mixture" in frame.unproved[0]
    with pytest.warns(VaezooWarning, match=r"it is now .*damaged"):
        assert len(Store(folder).set_aside_damaged([a_cell()])) == 1
    assert not path.exists()
    assert [each.read_bytes() for each in (folder / "damaged").iterdir()] == [content]


def test_a_failure_is_one_line(tmp_path):
    keep(tmp_path, verdict(failure="a\nb"))
    assert "\n" not in stored(tmp_path, "prior/mixture", CODE["prior/mixture"]).failure


def test_what_is_no_file_is_no_verdict(tmp_path):
    path = path_of(tmp_path, "prior/mixture", CODE["prior/mixture"])
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(DamagedFile, match="got a link"):
        keep(tmp_path, verdict())
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("digest", ["../../secret", "/etc/secret", "a\n/b"])
def test_a_records_fingerprint_leads_to_no_file_outside(tmp_path, digest):
    for plugin in ("prior/mine", "prior/../../mine"):
        assert path_of(tmp_path, plugin, digest).parent == tmp_path
        assert "/" not in path_of(tmp_path, plugin, digest).name


def results(folder, *verdicts):
    """A results folder with one ok cell of CODE, and these verdicts."""
    store, cell = Store(folder), a_cell()
    store.prepare()
    store.write(cell, replace(Record.of(cell, "ok"), results={"iwll": -80.0}))
    facts = (cell.label, cell.variant, cell.dataset, cell.seed, None, cell.comparability, {})
    store.write_plan(StoredPlan(3, "made", (), (), (), {}, (StoredCell(cell.stem, cell.key, None, *facts),)))
    for each in verdicts:
        keep(folder / FOLDER, each)
    return folder


BOTH = (verdict(), verdict("metric/likelihood"))


@pytest.mark.parametrize(
    ("verdicts", "unproved", "disproved"),
    [
        (BOTH, None, None),
        ((), "not proved: vaezoo check prior/mixture metric/likelihood", None),
        (BOTH[:1], "not proved: vaezoo check metric/likelihood", None),
        (
            (verdict(failure='"density integrates to 1": 0.61'), BOTH[1]),
            None,
            'not ranked: prior/mixture fails "density integrates to 1": 0.61; vaezoo check prior/mixture',
        ),
        (
            (BOTH[0], verdict("metric/likelihood", '"modes": 2')),
            'not proved: metric/likelihood fails "modes": 2; vaezoo check metric/likelihood',
            None,
        ),
        ((verdict(code="d" * 64), BOTH[1]), "not proved: vaezoo check prior/mixture", None),
    ],
)
def test_the_frame_says_what_the_folder_knows_of_each_cells_plugins(tmp_path, verdicts, unproved, disproved):
    frame = read_results(results(tmp_path / "results", *verdicts))
    assert (frame.unproved[0], frame.disproved[0]) == (unproved, disproved)


def test_the_command_names_the_plugin_files():
    unproved, _ = remarks({"prior/mine": "a" * 64}, {}, ["mine.py", "two words.py"])
    assert unproved == "not proved: vaezoo check prior/mine --plugin mine.py --plugin 'two words.py'"


def test_only_plugins_with_a_fingerprint_can_be_proved():
    code = [{"file/mine.py": "a", "package/mine": "", "prior/mine": "b"}, {"prior/mine": "b", "prior/other": ""}]
    assert list(provable(code)) == [("prior/mine", "b")]


def test_vaezoos_own_plugins_are_proved_and_a_check_of_the_user_counts_before(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_PROOFS", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    code = fingerprint(registry("prior")["normal"])
    assert known("prior/normal", "f" * 64) is None
    assert known("prior/normal", code).failure is None
    adopt(tmp_path / "results", [{"prior/normal": code, "prior/mine": "f" * 64}])
    assert len(list((tmp_path / "results" / FOLDER).iterdir())) == 1
    keep(cache_folder(), verdict("prior/normal", "why", code=code))
    assert known("prior/normal", code).failure == "why"
    adopt(tmp_path / "results", [{"prior/normal": code}])
    assert stored(tmp_path / "results" / FOLDER, "prior/normal", code).failure == "why"


def test_what_is_checked_later_reaches_the_folder_and_what_the_folder_knows_stays_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_PROOFS", str(tmp_path / "cache"))
    folder = results(tmp_path / "results", BOTH[0])
    keep(cache_folder(), BOTH[1])
    assert read_results(folder).unproved[0] is not None
    adopt_verdicts(folder)
    monkeypatch.setenv("VAEZOO_PROOFS", str(tmp_path / "another machine"))
    adopt_verdicts(folder)
    assert read_results(folder).unproved[0] is None


def test_a_merge_joins_the_verdicts(tmp_path):
    newer = verdict("metric/likelihood", "newer", date="2026-01-03")
    folders = [results(tmp_path / "one", *BOTH), results(tmp_path / "two", newer)]
    broken = path_of(folders[1] / FOLDER, "prior/mixture", CODE["prior/mixture"])
    broken.write_text("broken")
    merged = merge(folders, tmp_path / "out")
    assert [str(broken) in line for line in merged.left_out] == [True]
    for expected in (BOTH[0], newer):
        assert stored(tmp_path / "out" / FOLDER, expected.plugin, expected.fingerprint) == expected
