"""What tests share: quiet threads, visible skips, `vaezoo` processes that need not import torch, a finished run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when torch and numpy are imported: torch.set_num_threads(1) without torch


LOCKS = "VAEZOO_LOCKS"
SCRIPT = Path(sys.executable).with_name("vaezoo")
PATIENCE = 300
"""Seconds that a process may take before its test fails."""

SERVER = r"""
import atexit, json, os, signal, subprocess, sys, threading, time, traceback, warnings
import pandas
import vaezoo.api, vaezoo.cli, vaezoo.cli.progress, vaezoo.conformance.beside, vaezoo.reports.tables
import vaezoo.reports.drawing.charts, vaezoo.reports.drawing.grids
import vaezoo.runner.children.client, vaezoo.runner.children.server
vaezoo.runner.children.server.import_all(vaezoo.runner.children.server.FOR_PROOFS)
vaezoo.api.plan_of({"datasets": ["digits-binary"], "model": {"hidden": [4]}, "variants": [{"name": "vae"}]})
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        pid, status = os.waitpid(asked["wait"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork beside threads
        pid = os.fork()
    if pid == 0:
        break
    print(pid, flush=True)
else:
    os._exit(0)
os.setsid()
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job would ignore
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
os.chdir(asked["cwd"])
os.environ.update(asked["env"])


class ForkedServer:
    # A fork server that is forked from this process, which has imported everything, in place of a new interpreter.

    def __init__(self, also):
        self.lock = threading.Lock()
        (commands, self.stdin), (self.stdout, events) = os.pipe(), os.pipe()
        self.returncode, self.pid = None, os.fork()
        if self.pid == 0:
            os.dup2(commands, 0)
            os.dup2(events, 1)
            for number in (commands, events, self.stdin, self.stdout):
                os.close(number)
            vaezoo.runner.children.server.main()
            os._exit(0)
        os.close(commands)
        os.close(events)
        self.stdin, self.stdout = open(self.stdin, "wb", buffering=0), open(self.stdout, "rb")

    def poll(self):
        with self.lock:  # two threads ask, and only one can be told
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode

    def wait(self, timeout=60):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("server", timeout)
            time.sleep(0.005)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


vaezoo.runner.children.client.started_server = ForkedServer
beside = vaezoo.conformance.beside
if "PROVE" in os.environ:  # the proofs of this name, beside the cells
    beside.WAIT, every = 300.0, beside.proofs_of
    beside.proofs_of = lambda slot: [proof for proof in every(slot) if proof.name == os.environ["PROVE"]]
else:
    beside.Proving._is_known = lambda self, plugin, fingerprint: True
for number, path in enumerate([os.devnull, asked["out"], asked["err"]]):
    opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(opened, number)
    os.close(opened)
code = 0
try:
    if "code" in asked:
        exec(compile(asked["code"], "<test>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = ["vaezoo", *asked["argv"]]
        vaezoo.cli.main()
except SystemExit as ending:
    code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
except BaseException:
    traceback.print_exc()
    code = 1
atexit._run_exitfuncs()
sys.stdout.flush()
os._exit(code)  # taking all of torch down would take seconds
"""
"""A process that has imported everything and forks itself for each command, which then is a process of its own: with
its own exit code, output, signals and children. Its fork server is forked, too; tests that start `vaezoo` or Python by
themselves have one in a new interpreter.
"""


@dataclass
class Done:
    """What a process left: its exit code (minus the signal that ended it), and what it printed."""

    code: int
    out: str
    err: str


class Running:
    """A process that is under way, the leader of its own group."""

    def __init__(self, shell: "Shell", pid: int, out: Path, err: Path):
        self.shell, self.pid, self.code = shell, pid, None
        self._out, self._err = out, err

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self.shell.ask({"wait": self.pid})
        return self.code

    def wait(self, patience: float = PATIENCE) -> Done:
        until = time.monotonic() + patience
        while self.poll() is None:
            if time.monotonic() > until:
                self.kill_group(signal.SIGKILL)
                pytest.fail(f"not done after {patience:g} s: {self._out.read_text()}{self._err.read_text()}")
            time.sleep(0.02)
        return Done(self.code, self._out.read_text(), self._err.read_text())

    def kill_group(self, number: int) -> None:
        """As a terminal does: to the process and its workers."""
        os.killpg(self.pid, number)


class Shell:
    """Runs the `vaezoo` command, or Python code, in processes of their own."""

    def __init__(self, folder: Path):
        self.folder, self.count, self.started = folder, 0, []
        quiet = {"COLUMNS": "250", "NO_COLOR": "1", "TERM": "dumb"}
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet},
            cwd=folder,
        )
        assert self.server.stdout.readline() == "ready\n"

    def ask(self, question: Mapping) -> int | None:
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def _start(self, cwd: Path | None, env: Mapping[str, str] | None, **what) -> Running:
        self.count += 1
        out, err = self.folder / f"{self.count}.out", self.folder / f"{self.count}.err"
        given = {"cwd": str(cwd or self.folder), "env": dict(env or {}), "out": str(out), "err": str(err)}
        running = Running(self, self.ask({**given, **what}), out, err)
        self.started.append(running)
        return running

    def start(self, *argv: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Running:
        """A command that goes on while the test does."""
        return self._start(cwd, env, argv=[str(word) for word in argv])

    def __call__(self, *argv: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Done:
        """A command, to its end."""
        return self.start(*argv, cwd=cwd, env=env).wait()

    def start_python(self, code: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Running:
        """A script that goes on while the test does; its `__name__` is `__main__`."""
        return self._start(cwd, env, code=code)

    def python(self, code: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """What a piece of Python prints, which must end well."""
        done = self.start_python(code, cwd, env).wait()
        assert done.code == 0, done.err
        return done.out

    def wrong(self, *argv: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """The one-line error for invalid user input: exit code 2, and nothing on stdout."""
        done = self(*argv, cwd=cwd, env=env)
        lines = done.err.splitlines()
        assert (done.code, done.out, len(lines)) == (2, "", 1), done
        assert lines[0].startswith("error: "), done
        assert "Traceback" not in done.err
        return lines[0].removeprefix("error: ")

    def close(self) -> None:
        for running in self.started:
            if running.poll() is None:
                running.kill_group(signal.SIGKILL)
        with self.server:
            self.server.stdin.close()


@pytest.fixture(scope="session", autouse=True)
def own_locks(tmp_path_factory):
    """Device locks of this process's own tests: none waits for a run elsewhere on the machine, or beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOCKS, str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(scope="session")
def shell(tmp_path_factory):
    """Real `vaezoo` processes."""
    if not hasattr(os, "fork"):
        pytest.skip("no os.fork on this system: commands in processes of their own are not tested")
    made = Shell(tmp_path_factory.mktemp("shell"))
    yield made
    made.close()


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


@pytest.fixture(scope="session")
def matrix_file():
    """Writes a matrix of tiny cells: `matrix_file(path, rows, train={...}, ...)`; a row is a name or a table."""

    def write(path: Path, rows: list, **changes: object) -> Path:
        table = {
            "name": path.stem,
            "datasets": ["digits-binary"],
            "model": {"latent": 2, "hidden": [8]},
            "train": {"epochs": 1},
            "evaluate": {"importance_samples": 5, "throughput": False},
            **changes,
            "variants": [{"name": row} if isinstance(row, str) else row for row in rows],
        }
        path.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in table.items()), encoding="utf-8")
        return path

    return write


@dataclass
class Finished:
    """A run by the console script: the matrix, its results folder, and what was printed."""

    matrix: Path
    folder: Path
    done: Done


@pytest.fixture(scope="session")
def finished(shell, tmp_path_factory, matrix_file) -> Finished:
    """Two variants with two seeds each and one timing, by the command `vaezoo run`. Not to be written into."""
    here = tmp_path_factory.mktemp("finished")
    rows = [{"name": "vae", "evaluate": {"throughput": True}}, {"name": "beta-vae", "objective": {"beta": 8}}]
    path = matrix_file(here / "first.toml", rows, seeds=2, train={"epochs": 2})
    done = shell("run", path.name, "--jobs", "1", "--device", "cpu", cwd=here)
    return Finished(path, here / "results" / "first", done)


@pytest.fixture
def threads():
    """Sets the number of torch's threads for one test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def own_registry(monkeypatch):
    """What a test registers is forgotten after it."""
    from vaezoo.registry import SLOTS, register, registry
    from vaezoo.runner.plan import planner as plan

    for slot in SLOTS:
        len(registry(slot))
        monkeypatch.setattr(registry(slot), "_plugins", dict(registry(slot)._plugins))
    monkeypatch.setattr(register, "unavailable", list(register.unavailable))
    monkeypatch.setattr(register, "files", {})
    plan._fingerprint.cache_clear()
    yield register
    plan._fingerprint.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def own_verdicts(tmp_path_factory):
    """The tests neither read nor write the verdicts of this user's checks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEZOO_PROOFS", str(tmp_path_factory.mktemp("verdicts")))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_fork_server():
    """The plans and runs of a test process share one fork server, whose start takes seconds. Each job has a process of
    its own all the same.
    """
    import vaezoo.api
    import vaezoo.conformance.check
    from vaezoo.conformance.beside import Proving
    from vaezoo.runner.children.client import Children

    class Shared(Children):
        def __exit__(self, *ending: object) -> None:
            """Stay."""

    shared = Shared()
    with pytest.MonkeyPatch.context() as patch:
        for module in (vaezoo.api, vaezoo.conformance.check):
            patch.setattr(module, "Children", lambda: shared)
        patch.setattr(Proving, "_is_known", lambda self, plugin, fingerprint: True)
        yield
    shared.close()


def _lacking_data() -> str | None:
    place = os.environ.get("VAEZOO_DATA")
    if not place:
        return "VAEZOO_DATA is not set: no MNIST and no Fashion-MNIST"
    if not (Path(place) / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        return f"no MNIST in VAEZOO_DATA = {place}"
    return None


def _lacking_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


def pytest_configure(config: pytest.Config) -> None:
    """Keep this process, and those that it starts, on one core: cells then use one thread, as many in one run as in
    another. Two workers of pytest-xdist get two cores; the process that only hands tests to them keeps all.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    hands_out = not worker and getattr(config.option, "numprocesses", None)
    if hasattr(os, "sched_setaffinity") and not hands_out:
        cores = sorted(os.sched_getaffinity(0))
        number = int(worker.removeprefix("gw")) if worker else os.getpid()
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine cannot run; and begin with the files that start processes.

    Those take longest, and two workers that are given a file at a time are to end at about the same time.
    """
    slow = {item.path for item in items if "shell" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in slow)
    for marker, lacking in (("data", _lacking_data), ("gpu", _lacking_gpu)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = lacking() if marked else None
        for item in marked if reason else []:
            item.add_marker(pytest.mark.skip(reason=reason))
