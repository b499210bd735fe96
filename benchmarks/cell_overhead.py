"""What a cell costs beside its training and evaluation: 2,000 tiny cells, each in a process of its own.

    python benchmarks/cell_overhead.py [--cells 2000] [--jobs 2] [--out FOLDER]

The overhead of a cell is the wall time of the run, times the jobs, over the number of cells, without the seconds that
its record says it took. Beside it: the time of a bare fork of a process with the same imports, and of an fsync, on this
machine. The memory of the run's process is measured at a tenth and at the end, and `vaezoo status` is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import vaezoo.api
from vaezoo.runner.children.client import Children
from vaezoo.runner.children.server import import_all
from vaezoo.runner.run import RunOptions


def matrix(cells: int) -> dict:
    """A matrix of so many cells of a small net, each trained for one epoch of three steps."""
    return {
        "name": "overhead",
        "datasets": ["digits-binary"],
        "seeds": min(cells, 1000),
        "pack": 1,
        "model": {"latent": 2, "hidden": [8]},
        "train": {"epochs": 1, "batch_size": 400},
        "evaluate": {"importance_samples": 2, "images": 20, "throughput": False},
        "variants": [
            {"name": "vae", "label": f"vae {n}", "model": {"latent": 2 + n}} for n in range(max(1, cells // 1000))
        ],
    }


class Meter(vaezoo.api.Silent):
    """Notes the memory of this process after a tenth of the cells and after all."""

    def __init__(self, cells: int):
        self.cells, self.done, self.memory = cells, 0, []

    def finished(self, task, status) -> None:
        """Count a cell."""
        self.done += 1
        if self.done in (self.cells // 10, self.cells):
            self.memory.append(psutil.Process().memory_info().rss)


def bare_fork(times: int = 20) -> float:
    """Seconds of a fork of this process, which has the same imports as the server, and of its end."""
    import_all()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def fsync(folder: Path, times: int = 20) -> float:
    """Seconds of writing and flushing a file of 4 kB there."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        with (folder / "probe").open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        found.append(time.perf_counter() - started)
    (folder / "probe").unlink()
    return statistics.median(found)


def main() -> None:
    """Run the cells and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        out = asked.out or Path(place) / "overhead"
        meter = Meter(asked.cells)
        with Children() as children:
            children.warm_up()
            plan, where = vaezoo.api.plan_of(matrix(asked.cells), children, device="cpu")
            started = time.perf_counter()
            vaezoo.api.execute(plan, where, out, meter, children, RunOptions(jobs=asked.jobs))
            seconds = time.perf_counter() - started
        own = [json.loads(path.read_text())["seconds"] for path in (out / "cells").glob("*.json")]
        whole = seconds * asked.jobs / len(own)
        print(f"{len(own)} cells in {seconds:.0f} s with {asked.jobs} jobs: {whole:.3f} s a cell and job")
        print(
            f"a cell's own seconds: median {statistics.median(own):.3f}; overhead {whole - statistics.fmean(own):.3f}"
        )
        print(f"a bare fork {bare_fork():.3f} s, an fsync {fsync(out):.4f} s")
        early, late = (size / 2**20 for size in (meter.memory[0], meter.memory[-1]))
        print(f"memory of the run: {early:.0f} MiB at a tenth, {late:.0f} MiB at the end")
        left = [
            path.name
            for path in out.iterdir()
            if path.name not in ("cells", "checkpoints", "plan.json", "proofs", "tables", "timings")
        ]
        print(f"left behind: {', '.join(left) or 'nothing'}")
        started = time.perf_counter()
        command = Path(sys.executable).with_name("vaezoo")
        subprocess.run([command, "status", str(out)], check=True, capture_output=True)
        print(f"vaezoo status: {time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
