"""Loops that numba compiles: where there are none, torch's operators compute, and a record says which it was."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.core import compiled
from vaezoo.core.errors import VaezooWarning
from vaezoo.likelihoods._bernoulli_sums import LOOP

pytest.importorskip("numba")
SCRIPT = Path(sys.executable).with_name("vaezoo")
ONE_VALUE = """
import sys
{first}
import torch
from vaezoo.core import compiled
from vaezoo.likelihoods._bernoulli_sums import LOOP, sums
torch.set_num_threads({threads})
logits = torch.linspace(-9, 9, 256).view(1, 1, 256)
value = sums((logits > 0).float(), logits, slopes=False)[0]
print(float(value), compiled.loop(LOOP) is not None, compiled.compiler())
"""


def one_value(first="", threads=1, **environment):
    """(log p of an image, whether there is a loop, what has compiled it), in a new process."""
    code = ONE_VALUE.format(first=first, threads=threads)
    env = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    number, there, by = done.stdout.split()
    return float(number), there == "True", by


@pytest.fixture
def fresh():
    """No loop has been looked for."""
    for each in (compiled._loop, compiled._address, compiled._team):
        each.cache_clear()
    yield
    for each in (compiled._loop, compiled._address, compiled._team):
        each.cache_clear()


@pytest.fixture(scope="module")
def value():
    """Of the loop."""
    number, there, by = one_value()
    assert (there, by) == (True, "numba")
    return number


def test_without_numba_and_without_its_compiler_the_operators_compute(value):
    for without in (one_value("sys.modules['numba'] = None"), one_value(NUMBA_DISABLE_JIT="1")):
        assert without[1:] == (False, "None")
        assert without[0] == pytest.approx(value, rel=1e-6)


def test_a_numba_that_fails_as_it_is_imported_stops_nothing(value, tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("raise OSError('no shared object')")
    found = one_value(f"sys.path.insert(0, {str(tmp_path)!r})")
    assert found == (pytest.approx(value, rel=1e-6), False, "None")


def test_where_nothing_can_be_kept_the_loop_is_compiled_each_time(value):
    assert one_value(threads=2, NUMBA_CACHE_DIR="/dev/null/none") == (value, True, "numba")


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["nbc", "nbi"])
@pytest.mark.parametrize("left", [0, 50])
def test_a_damaged_file_of_the_kept_loop_changes_nothing(value, tmp_path, ending, left):
    one_value(NUMBA_CACHE_DIR=str(tmp_path))
    (file,) = tmp_path.rglob(f"*.{ending}")
    file.write_bytes(file.read_bytes()[:left])
    for _ in range(2):
        assert one_value(NUMBA_CACHE_DIR=str(tmp_path)) == (value, True, "numba")


@pytest.mark.slow
def test_a_kept_loop_is_compiled_anew_where_a_file_that_it_is_made_of_has_changed(tmp_path):
    """numba itself looks only at the file of the loop."""
    shutil.copytree(Path(vaezoo.__file__).parent, tmp_path / "vaezoo", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import torch; from vaezoo.core.dense_product import multiplied as m; "
    code += "print(float(m(torch.ones(8, 20), torch.ones(16, 20))[0, 0]))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}

    def product():
        words = [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
        return float(done.stdout)

    assert [product(), product()] == [20.0, 20.0]
    parts = tmp_path / "vaezoo" / "core" / "loop_parts.py"
    parts.write_text(parts.read_text().replace("builder.fadd(total, ", "builder.fsub(total, "))
    assert product() == -20.0


def test_a_loop_that_cannot_be_compiled_is_said_once(fresh, monkeypatch, tmp_path):
    (tmp_path / "broken_loop.py").write_text("raise TypeError('no such\\nprocessor')")
    monkeypatch.syspath_prepend(tmp_path)
    words = (
        r"numba cannot be used \(TypeError: no such processor\), so torch's operators compute instead of the loop of b"
    )
    with pytest.warns(VaezooWarning, match=words):
        assert compiled.loop("broken_loop") is None
    assert compiled.loop("broken_loop") is None


def test_threads_that_only_torch_can_reach(fresh, monkeypatch):
    monkeypatch.setattr(compiled, "_team", lambda: None)
    before = torch.get_num_threads()
    try:
        for threads, there in ((1, True), (2, False)):
            torch.set_num_threads(threads)
            assert (compiled.loop(LOOP) is not None) == there
    finally:
        torch.set_num_threads(before)


MATRIX = """
seeds = [0]
[[datasets]]
name = "npz"
path = "wide.npz"
measure = "binary"
[[datasets]]
name = "npz"
path = "narrow.npz"
measure = "binary"
[model]
latent = 2
hidden = [8]
[train]
epochs = 1
[evaluate]
importance_samples = 10
throughput = false
[[variants]]
name = "vae"
"""


@pytest.mark.slow
def test_a_record_says_whether_loops_took_part(tmp_path):
    """And on one machine it gives the same numbers again; without loops others, by no more than rounding changes."""
    generator = np.random.default_rng(0)
    for name, side in (("wide", 16), ("narrow", 8)):
        images = {
            f"x_{split}": (generator.random((count, 1, side, side)) < 0.3).astype(np.uint8)
            for split, count in (("train", 256), ("valid", 40), ("test", 40))
        }
        np.savez(tmp_path / f"{name}.npz", **images)
    (tmp_path / "m.toml").write_text(MATRIX)
    found = []
    for out in ("one", "two", "without"):
        words = [SCRIPT, "run", "m.toml", "--out", out, "--device", "cpu"]
        own = {**os.environ, "NUMBA_DISABLE_JIT": str(int(out == "without"))}
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=own)
        assert done.returncode == 0, done.stderr
        cells = (tmp_path / out / "cells").glob("*.json")
        records = [json.loads(path.read_text()) for path in cells]
        found.append({str(each["dataset"]): each for each in records if each.get("results")})
    assert len(found[0]) == 2
    for name, record in found[0].items():
        assert [each[name]["provenance"].get("loops") for each in found] == ["numba", "numba", None]
        assert record["provenance"]["versions"]["numba"]
        for number in ("elbo", "iwll", "kl"):
            assert record["results"][number] == found[1][name]["results"][number]
            assert record["results"][number] == pytest.approx(found[2][name]["results"][number], rel=1e-3)
