"""How cost grows: evaluation with samples and images, training with epochs, a plan with cells, tables with records.

    VAEZOO_DATA=... python benchmarks/linear_cost.py [--rounds 5] [--threads 1] [--out FILE]

Each size is measured once a round, so that other load on the machine affects all sizes alike; its time is the median.
The line t = a + b n is fitted to relative errors: a is what any size costs, b what a further unit costs, and the
deviation is the farthest a size lies from the line. The exponent is the slope of log t over log n, the fixed cost
included: it is below 1 where a is large.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy
import torch

import vaezoo
from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.columns import QUALITY
from vaezoo.evaluation.estimate import log_likelihood
from vaezoo.reports.tables import write_tables
from vaezoo.runner.machine.device import cores, describe
from vaezoo.runner.plan.cell import Cell
from vaezoo.runner.records import Record
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store, write_json
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions

EPOCHS_IN_A_RECORD = 30


@dataclass
class Cost:
    """A cost that grows with n: its name, its unit, the values of n, and prepare(n), which gives the work to time."""

    what: str
    unit: str
    sizes: Sequence[int]
    prepare: Callable[[int], Callable[[], object]]


def fresh():
    """An untrained vae for the 8 x 8 digits, its objective, and the digits."""
    dataset = vaezoo.load_dataset("digits-binary")
    model, objective = construct(resolve("vae", dataset.spec), Ingredients.of(dataset, 20, (400,)))
    return model, objective, dataset


def evaluation(images: int | None, samples: int | None) -> Callable[[int], Callable[[], object]]:
    """iwll of n samples or of n images, the other one fixed."""
    model, _, dataset = fresh()
    x = torch.cat([dataset.train.x, dataset.test.x, dataset.valid.x])
    return lambda n: lambda: log_likelihood(model, x[: images or n], samples or n)


def training(epochs: int) -> Callable[[], object]:
    """Training as in a cell, for n epochs, without early stopping."""
    model, objective, dataset = fresh()
    return lambda: train(model, objective, dataset, TrainingOptions(epochs=epochs, batch_size=128), seed=0)


def matrix(cells: int, seeds: int) -> dict:
    """A matrix of `cells` cells, each row with `seeds` seeds and a learning rate of its own."""
    rates = [(1 + n) / 1e7 for n in range(cells // seeds)]
    row = {"name": "vae", "sweep": {"train.learning_rate": rates}}
    return {"datasets": ["digits-binary"], "seeds": seeds, "model": {"latent": 20, "hidden": [400]}, "variants": [row]}


def planning(seeds: int) -> Callable[[int], Callable[[], object]]:
    """Names resolved, rows rehearsed, keys and file names computed."""
    return lambda cells: lambda: [cell.stem for cell in plan_of(matrix(cells, seeds), device="cpu")[0].cells]


def tabulating(folder: Path) -> Callable[[int], Callable[[], object]]:
    """Reads a folder of n records, ten seeds a row, and writes its tables."""

    def prepare(records: int) -> Callable[[], object]:
        store = Store(folder / str(records))
        if not (store.folder / "plan.json").exists():
            store.prepare()
            plan, _ = plan_of(matrix(records, 10), device="cpu")
            store.write_plan(plan.stored())
            for place, cell in enumerate(plan.cells):
                write_json(store.path("cells", cell.stem), record(cell, place).to_json(), lasting=False)
        return lambda: write_tables(read_results(store.folder), store.folder / "tables")

    return prepare


def record(cell: Cell, place: int) -> Record:
    """A record as long as that of a cell of EPOCHS_IN_A_RECORD epochs."""
    history = {name: [-100.123456789] * EPOCHS_IN_A_RECORD for name in ("objective", "validation_iwll", "seconds")}
    results = dict.fromkeys((*(column.name for column in QUALITY), "train_seconds"), -100 + place * 7919 % 1000 / 1000)
    return replace(Record.of(cell, "ok"), results=results, history=history)


def measured(costs: Sequence[Cost], rounds: int) -> list[list[float]]:
    """The median seconds of each cost's sizes over rounds that go through all of them in turn."""
    seconds: list[list[list[float]]] = [[[] for _ in cost.sizes] for cost in costs]
    for turn in range(rounds + 1):
        for cost, found in zip(costs, seconds, strict=True):
            for size, times in zip(cost.sizes, found, strict=True):
                work = cost.prepare(size)
                gc.collect()
                start = time.perf_counter()
                work()
                if turn:  # the first round warms up
                    times.append(time.perf_counter() - start)
    return [[median(times) for times in found] for found in seconds]


def fitted(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float, float]:
    """(a, b, exponent, deviation) of t = a + b n."""
    n, t = numpy.array(sizes, float), numpy.array(seconds)
    b, a = numpy.polyfit(n, t, 1, w=1 / t)
    exponent = numpy.polyfit(numpy.log(n), numpy.log(t), 1)[0]
    return float(a), float(b), float(exponent), float(abs((a + b * n) / t - 1).max())


def page(costs: Sequence[Cost], seconds: Sequence[Sequence[float]], threads: int, rounds: int) -> str:
    """The Markdown page."""
    command = f"python benchmarks/linear_cost.py --rounds {rounds} --threads {threads}"
    lines = [
        "# Cost grows linearly",
        "",
        f"`{command}`: medians of {rounds} rounds on {describe('cpu')}, {cores()} cores, {threads} of them used, "
        f"torch {torch.__version__}. The fit is t = a + b n; the exponent is that of t, the fixed cost a included.",
        "",
        "| cost | n | seconds | fixed a | marginal b | exponent | largest deviation from a + b n |",
        "|:--|:--|:--|--:|--:|--:|--:|",
    ]
    for cost, times in zip(costs, seconds, strict=True):
        a, b, exponent, deviation = fitted(cost.sizes, times)
        sizes, told = (
            ", ".join(form(value) for value in values) for form, values in ((_whole, cost.sizes), (_s, times))
        )
        marginal = f"{1e6 * b:.4g} µs per {cost.unit}"
        lines.append(f"| {cost.what} | {sizes} | {told} | {_s(a)} s | {marginal} | {exponent:.2f} | {deviation:.1%} |")
    return "\n".join(lines) + "\n"


def _whole(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _s(value: float) -> str:
    return f"{value:.3g}"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/throughput/linear-cost.md"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cells = (100, 1000, 10_000)
    with tempfile.TemporaryDirectory() as folder:
        costs = [
            Cost("iwll of 100 images, n samples", "sample", (250, 500, 1000, 2000, 4000), evaluation(100, None)),
            Cost("iwll of n images, 250 samples", "image", (100, 200, 400, 800, 1600), evaluation(None, 250)),
            Cost("training, n epochs of 1 197 images", "epoch", (1, 2, 4, 8), training),
            Cost("plan of n cells, 100 seeds a row", "cell", cells, planning(100)),
            Cost("plan of n cells, 10 seeds a row", "cell", cells, planning(10)),
            Cost("tables over n records", "record", cells, tabulating(Path(folder))),
        ]
        text = page(costs, measured(costs, args.rounds), args.threads, args.rounds)
    print(text)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
