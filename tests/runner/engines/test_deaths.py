"""Plugins that end, crash or hang their process, at import, in the constructor or in the pass: only their own rows
fail, each with its reason, and every other record is the same, bit for bit, as without them.
"""

import json
import re
from pathlib import Path

import pytest

HEAD = """
import ctypes, os, signal, subprocess, sys, time
import torch, vaezoo


def leave_processes():
    subprocess.Popen(["sh", "-c", "setsid sleep 4343 & exit 0"])
    if os.fork() == 0:
        os.setsid()
        time.sleep(4343)
    os._exit(5)


def set_globals():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.manual_seed(7)
    os.environ["OMP_NUM_THREADS"] = "2"
    os.chdir("/")
"""
PRIOR = '''
@vaezoo.register.prior("own")
class Own(vaezoo.Prior):
    """A standard normal."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent
        {constructor}

    def log_density(self, z):
        if self.training:
            {evaluated}
        zero = torch.zeros_like(z)
        return vaezoo.DiagonalGaussian(zero, zero).log_density(z)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)
'''
DEATHS = {
    "exit 0": ("os._exit(0)", r"exit code 0 before it wrote its record"),
    "exit 7": ("os._exit(7)", r"exit code 7 before it wrote its record"),
    "segfault": ("ctypes.string_at(0)", r"killed by SIGSEGV"),
    "abort": ("os.abort()", r"killed by SIGABRT"),
    "interrupt": ("raise KeyboardInterrupt", r"KeyboardInterrupt"),
    "generator": ("raise GeneratorExit", r"GeneratorExit"),
    "exits": ("sys.exit(3)", r"SystemExit: 3"),
    "memory": ("bytearray(10**15)", r"MemoryError"),
    "processes": ("leave_processes()", r"exit code 5 before it wrote its record"),
    "output": ("print('x' * 10**8, flush=True); os._exit(1)", r"exit code 1 before it wrote its record"),
    "server": (
        "os.kill(os.getppid(), signal.SIGKILL); time.sleep(1000)",
        r"(.*: )?the server of all processes was ended while this one ran, and again",
    ),
    "hang": ("time.sleep(1000)", r"stalled: no progress for 6 s"),
}
PLACES = ("import", "constructor", "pass")
SHORT = [("exit 0", "import"), ("segfault", "constructor"), ("hang", "pass"), ("processes", "constructor")]
EVERY = [(kind, place) for kind in DEATHS for place in PLACES]


def plugin(code: str, place: str, name: str) -> str:
    """A plugin file whose prior does this at this place."""
    at = {each: code if each == place else "pass" for each in PLACES}
    body = PRIOR.format(constructor=at["constructor"], evaluated=at["pass"]).replace('"own"', f'"{name}"')
    return f"{HEAD}\n{at['import']}\n{body}"


def named(kind: str, place: str) -> str:
    return f"{kind}-{place}".replace(" ", "")


def healthy(folder: Path) -> dict[str, dict]:
    """The records of the rows without plugins, without times and memory."""
    records = [json.loads(path.read_text()) for path in (folder / "cells").glob("*.json")]
    found = {record["label"]: record for record in records if record["label"] in ("first", "last")}
    for record in found.values():
        for name in ("train_seconds", "own_memory_bytes"):
            record["results"].pop(name)
        record["history"].pop("seconds")
        for name in ("seconds", "provenance", "digest"):
            record.pop(name)
    return found


def run_with(shell, matrix_file, folder: Path, deaths, *more):
    """A run of two healthy rows around one for each death."""
    rows = [{"name": "vae", "label": "first"}]
    for kind, place in deaths:
        name = named(kind, place)
        (folder / f"{name}.py").write_text(plugin(DEATHS[kind][0], place, name))
        rows.append({"name": "vae", "label": name, "prior": name})
    rows.append({"name": "iwae", "label": "last"})
    plugins = [f"{named(*each)}.py" for each in deaths]
    train = {"epochs": 2, "batch_size": 300}
    matrix_file(folder / "m.toml", rows, plugins=plugins, train=train, evaluate={"throughput": False})
    options = ("--device", "cpu", "--jobs", 1, "--stall", 6, "--retries", 0, "--out", "out", *more)
    return shell("run", "m.toml", *options, cwd=folder)


def assert_only_own_rows_fail(shell, matrix_file, tmp_path, deaths):
    alone, with_deaths = tmp_path / "alone", tmp_path / "deaths"
    alone.mkdir()
    with_deaths.mkdir()
    assert run_with(shell, matrix_file, alone, []).code == 0
    done = run_with(shell, matrix_file, with_deaths, deaths)
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    assert f"{len(deaths)} failed" in done.out or "oom" in done.out or "timeout" in done.out
    lines = done.out.splitlines()
    for kind, place in deaths:
        shown = rf"(failed|oom|timeout): {named(kind, place)} on digits-binary, seed 0: {DEATHS[kind][1]}.*"
        assert [line for line in lines if re.fullmatch(shown, line)], (kind, place, done.out)
    assert healthy(alone / "out") == healthy(with_deaths / "out")
    assert all(path.stat().st_size < 2 * 2**20 for path in (with_deaths / "out" / "logs").glob("*"))
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"sleep\x004343" in _read(path)]
    assert not running


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_a_plugin_that_dies_costs_its_own_rows_only(shell, matrix_file, tmp_path):
    assert_only_own_rows_fail(shell, matrix_file, tmp_path, SHORT)


@pytest.mark.nightly
def test_every_kind_of_death_at_every_place(shell, matrix_file, tmp_path):
    assert_only_own_rows_fail(shell, matrix_file, tmp_path, EVERY)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["import", pytest.param("constructor", marks=pytest.mark.nightly)])
def test_what_a_plugin_sets_for_its_process_reaches_no_other_row(shell, matrix_file, tmp_path, place):
    """Torch's default dtype, threads and generator, the environment and the working folder. Its own row runs."""
    alone, there = tmp_path / "alone", tmp_path / "there"
    alone.mkdir()
    there.mkdir()
    assert run_with(shell, matrix_file, alone, []).code == 0
    (there / "globals.py").write_text(plugin("set_globals()", place, "globals"))
    rows = [{"name": "vae", "label": "first"}, {"name": "vae", "prior": "globals"}, {"name": "iwae", "label": "last"}]
    train = {"epochs": 2, "batch_size": 300}
    matrix_file(there / "m.toml", rows, plugins=["globals.py"], train=train, evaluate={"throughput": False})
    done = shell("run", "m.toml", "--device", "cpu", "--jobs", 1, "--out", "out", cwd=there)
    assert done.code == 0, done.out + done.err
    assert len(list((there / "out" / "cells").glob("*.json"))) == 3
    assert healthy(alone / "out") == healthy(there / "out")


def test_a_plan_ends_by_itself_and_says_what_will_fail(shell, matrix_file, tmp_path):
    rows = [{"name": "vae", "label": "first"}]
    for kind, place in (("exit 7", "import"), ("interrupt", "constructor")):
        name = named(kind, place)
        (tmp_path / f"{name}.py").write_text(plugin(DEATHS[kind][0], place, name))
        rows.append({"name": "vae", "label": name, "prior": name})
    matrix_file(tmp_path / "m.toml", rows, plugins=["exit7-import.py", "interrupt-constructor.py"])
    done = shell("plan", "m.toml", "--device", "cpu", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    first, second = [line for line in done.out.splitlines() if line.startswith("row ")]
    assert re.fullmatch(
        r"row 'exit7-import' on digits-binary: expected to fail: prior 'exit7-import' is not registered, and plugin "
        r"file .*/exit7-import\.py ended its process when it was imported: exit code 7",
        first,
    )
    assert second.endswith("expected to fail: raised KeyboardInterrupt when its plugins were rehearsed")
    assert "first on digits-binary: 1 to run" in done.out.splitlines()


def test_a_plugin_that_raises_an_error_when_imported_ends_the_plan(shell, matrix_file, tmp_path):
    (tmp_path / "mine.py").write_text("import nothing_of_this_name\n")
    matrix_file(tmp_path / "m.toml", ["vae"], plugins=["mine.py"])
    line = shell.wrong("plan", "m.toml", "--device", "cpu", cwd=tmp_path)
    assert re.fullmatch(r"plugin file .*mine\.py could not be imported: ModuleNotFoundError: .*nothing_of_this.*", line)
