"""Several runs on one results folder share its cells, and shards are merged: the same records as of one run."""

import json
import os
import signal
import time

import pytest

from vaezoo.runner.claims import EXPIRY, Claims, claimed, is_expired

ROWS = ["vae", "iwae"]
CHANGES = {"seeds": 3, "evaluate": {"throughput": False, "importance_samples": 5}, "train": {"epochs": 2}}
WORDS = ("run", "m.toml", "--device", "cpu", "--jobs", 1)


def results(folder):
    """The results of each cell by its file, without times and memory."""
    found = {}
    for path in (folder / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "ok"
        numbers = {n: v for n, v in record["results"].items() if n not in ("train_seconds", "own_memory_bytes")}
        found[path.name] = numbers, record["history"]["objective"], record["vectors"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "shards"), [(2, 2), pytest.param(3, 4, marks=pytest.mark.nightly)])
def test_runs_at_once_share_the_cells_and_shards_are_merged(shell, matrix_file, tmp_path, runs, shards):
    matrix_file(tmp_path / "m.toml", ROWS, **CHANGES)
    assert shell(*WORDS, "--out", "one", cwd=tmp_path).code == 0
    started = [shell.start(*WORDS, "--out", "together", cwd=tmp_path) for _ in range(runs)]
    done = [running.wait() for running in started]
    assert [each.code for each in done] == [0] * runs, [each.err + each.out for each in done]
    assert all("6 ok" in each.out for each in done)  # each returns when all cells have ended
    expected = results(tmp_path / "one")
    assert len(expected) == 6
    assert results(tmp_path / "together") == expected
    pids = [json.loads(p.read_text())["provenance"]["started"] for p in (tmp_path / "together/cells").glob("*.json")]
    assert len(pids) == 6
    assert not (tmp_path / "together" / "claims").exists()
    parts = [f"part{number}" for number in range(1, shards + 1)]
    for number, part in enumerate(parts, start=1):
        assert shell(*WORDS, "--out", part, "--shard", f"{number}/{shards}", cwd=tmp_path).code == 0
    sizes = [len(list((tmp_path / part / "cells").glob("*.json"))) for part in parts]
    assert sum(sizes) == 6
    assert max(sizes) - min(sizes) <= 1
    merged = shell("merge", *parts, "all", cwd=tmp_path)
    assert merged.code == 0, merged.err
    assert results(tmp_path / "all") == expected
    tables = [(tmp_path / name / "tables" / "digits-binary.csv").read_text() for name in ("one", "all")]
    columns = [[line.split(",")[:6] for line in table.splitlines()] for table in tables]
    assert columns[0] == columns[1]


def test_another_matrix_in_the_folder_of_a_run_is_refused(shell, matrix_file, tmp_path):
    matrix_file(tmp_path / "m.toml", ["vae"], **CHANGES)
    assert shell(*WORDS, "--out", "one", cwd=tmp_path).code == 0
    matrix_file(tmp_path / "m.toml", ["iwae"], **CHANGES)
    with Claims(tmp_path / "one") as claims:
        assert claims.take("a-cell-of-this-process")
        line = shell.wrong(*WORDS, "--out", "one", cwd=tmp_path)
    assert line == "another run is writing another matrix to one; wait for it, or give another folder with --out"


# Claims


def test_a_claim_is_one_runs_alone_until_it_is_released(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as other:
        assert one.take("a")
        assert not other.take("a")
        assert other.take("b")
        assert claimed(tmp_path) == {"a", "b"}
        one.release(["a", "b"])  # of which b is not its own
        assert claimed(tmp_path) == {"b"}
        assert other.take("a")
    assert claimed(tmp_path) == set()
    assert not (tmp_path / "claims").exists()


def test_the_claim_of_a_process_that_has_ended_has_expired(tmp_path):
    pid = os.fork()
    if pid == 0:
        Claims(tmp_path).folder.mkdir()
        Claims(tmp_path).take("a")
        os._exit(0)
    os.waitpid(pid, 0)
    assert (tmp_path / "claims" / "a").exists()
    assert claimed(tmp_path) == set()
    with Claims(tmp_path) as claims:
        assert claims.take("a")
        assert claimed(tmp_path) == {"a"}


def test_the_claim_of_another_machine_expires_unless_it_is_renewed(tmp_path):
    path = tmp_path / "claims" / "a"
    path.parent.mkdir()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "run": "x"}))
    assert not is_expired(path)
    with Claims(tmp_path) as claims:
        assert not claims.take("a")
        past = time.time() - EXPIRY - 10
        os.utime(path, (past, past))
        assert is_expired(path)
        assert claims.take("a")
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "\udcff"])
def test_a_damaged_claim_holds_until_it_expires(tmp_path, content):
    path = tmp_path / "claims" / "a"
    path.parent.mkdir()
    path.write_text(content, errors="surrogateescape")
    with Claims(tmp_path) as claims:
        assert not claims.take("a")
        past = time.time() - EXPIRY - 10
        os.utime(path, (past, past))
        assert claims.take("a")


def test_of_many_runs_one_gets_an_expired_claim(tmp_path):
    path = tmp_path / "claims" / "a"
    path.parent.mkdir()
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "run": "x"}))
    past = time.time() - EXPIRY - 10
    os.utime(path, (past, past))
    pids = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            got = Claims(tmp_path).take("a")
            time.sleep(1.0 if got else 0.0)
            os._exit(int(got))
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert sum(codes) == 1
