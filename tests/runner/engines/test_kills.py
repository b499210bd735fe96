"""A run is killed at random moments, its parent, its children or all of them, and goes on each time: nothing finished
is run again, and the end is that of an undisturbed run.
"""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pandas
import psutil
import pytest

from vaezoo.core.columns import QUALITY
from vaezoo.runner.store import Store
from vaezoo.training.checkpoint import decoded

ROWS = [{"name": name} for name in ("vae", "iwae", "vae-vampprior", "vae-mixture")]
CHECKPOINT = 0.2
WORDS = ("run", "m.toml", "--device", "cpu", "--jobs", 2, "--checkpoint", CHECKPOINT)


def content(folder: Path) -> dict[str, object]:
    """All of a folder's records and tables but times and memory."""
    found = {}
    for path in (folder / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        numbers = {n: v for n, v in record["results"].items() if n not in ("train_seconds", "own_memory_bytes")}
        history = {n: v for n, v in record["history"].items() if n != "seconds"}
        found[path.name] = record["status"], numbers, history, record["vectors"], record["best_epoch"]
        weights = {name: digest for name, digest in record["files"].items() if "checkpoints" in name}
        found[path.name] += (weights, record["warnings"])
    return found


def strike(running, number: int, whom: str) -> None:
    """Send a signal to the parent, to one of its descendants, or to all."""
    parent = psutil.Process(running.pid)
    below = parent.children(recursive=True)
    chosen = {"parent": [parent], "child": below[-1:], "all": [*below, parent]}[whom]
    for process in chosen:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def lost_seconds(folder: Path) -> list[float]:
    """Seconds of training that each cell which has been killed loses: from its checkpoint to its last epoch."""
    found = []
    for path in (folder / "running").glob("*.json"):
        kept, progress = folder / "resume" / f"{path.stem}.state", Store(folder).progress(path.stem)
        if progress is not None:
            saved = decoded(kept.read_bytes()).facts if kept.exists() else {"seconds": 0.0}
            if "seconds" in saved:  # else training had ended
                found.append(max(progress.seconds - saved["seconds"], 0.0))
    return found


def assert_ends_undisturbed(shell, matrix_file, tmp_path, kills: int, rows: int, seeds: int, epochs: int) -> None:
    train = {"epochs": epochs, "batch_size": 64, "validation_images": 20}
    evaluate = {"throughput": False, "importance_samples": 5, "images": 20}
    matrix_file(tmp_path / "m.toml", ROWS[:rows], seeds=seeds, train=train, evaluate=evaluate, pack=1)
    assert shell(*WORDS, "--out", "calm", cwd=tmp_path).code == 0
    chance, finished, struck, lost = random.Random(7), {}, 0, []
    while struck < kills:
        running = shell.start(*WORDS, "--out", "storm", cwd=tmp_path)
        end = time.monotonic() + chance.uniform(0.7, 1.2)
        while time.monotonic() < end and running.poll() is None:
            time.sleep(0.02)
        assert running.poll() is None, "the run ended before it was killed so often"
        whom = chance.choice(["parent", "child", "all"])
        strike(running, chance.choice([signal.SIGKILL, signal.SIGTERM]), whom)
        struck += 1
        if whom == "child":
            time.sleep(0.5)  # the run goes on
        else:
            running.wait()
            lost += lost_seconds(tmp_path / "storm")
        for name, written in finished.items():  # nothing finished is run again
            assert (tmp_path / "storm" / "cells" / name).stat().st_mtime_ns == written, name
        records = {path: json.loads(path.read_text()) for path in (tmp_path / "storm" / "cells").glob("*.json")}
        finished |= {p.name: p.stat().st_mtime_ns for p, record in records.items() if record["status"] == "ok"}
        if running.poll() is None:
            running.kill_group(signal.SIGTERM)
            running.wait()
    print(f"{len(lost)} cells killed: {max(lost, default=0.0):.3f} s lost at most")
    assert all(each <= 5 * CHECKPOINT for each in lost), lost  # of 0.2 s: a loaded machine delays the writing
    last = shell(*WORDS, "--out", "storm", "--retry-failed", cwd=tmp_path)
    assert last.code == 0, last.out + last.err
    assert content(tmp_path / "storm") == content(tmp_path / "calm")
    frames = [pandas.read_csv(tmp_path / name / "tables" / "digits-binary.csv") for name in ("storm", "calm")]
    names = ["label", *(column.name for column in QUALITY)]
    pandas.testing.assert_frame_equal(*(frame[[n for n in names if n in frame]] for frame in frames))
    for name in ("running", "resume", "claims"):
        assert not list((tmp_path / "storm" / name).glob("*")), name


@pytest.mark.slow
def test_a_run_that_is_killed_twice_ends_as_an_undisturbed_one(shell, matrix_file, tmp_path):
    assert_ends_undisturbed(shell, matrix_file, tmp_path, kills=2, rows=2, seeds=1, epochs=250)


@pytest.mark.nightly
def test_a_run_that_is_killed_sixty_times_ends_as_an_undisturbed_one(shell, matrix_file, tmp_path):
    assert_ends_undisturbed(shell, matrix_file, tmp_path, kills=60, rows=4, seeds=3, epochs=700)
