"""How fast the training step and the estimator of two checkouts of vaezoo are, beside each other on one machine.

    python benchmarks/same_speed.py /path/to/other/checkout [--rounds 15] [--threads 1]

Each checkout runs in a process of its own, which waits while the other one measures, so that the rounds interleave. A
round is about a second of training steps (784-400-20, batch 128) or of importance-weighted estimates (100 images x 250
samples) on random binary images. Prints the median of this checkout's speed over the other's, round by round, with
quartiles.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
WORKER = """
import sys, time
import torch, vaezoo
from vaezoo.builder import Ingredients, construct, resolve
try:
    from vaezoo.runner.machine.timing import estimating, orders, training
    from vaezoo.training.loop import make_step
    from vaezoo.training.options import TrainingOptions
except ImportError:  # version 0.1.0
    from vaezoo.runner.timing import estimating, orders, training
    from vaezoo.training.train import Settings as TrainingOptions, make_step
torch.set_num_threads(int(sys.argv[1]))
generator = torch.Generator().manual_seed(0)
x = (torch.rand(10_000, 1, 28, 28, generator=generator) < 0.2).to(torch.uint8)
dataset = vaezoo.Dataset(x, x[:500], x[:500], measure="binary")
model, objective = construct(resolve("vae", dataset.spec), Ingredients.of(dataset, 20, (400,)))
step = make_step(model, objective, dataset, TrainingOptions(epochs=1000, batch_size=128), seed=0)
works = {"training step": training(step, orders(step, len(x), 128, [0])), "estimator": estimating(model, x[:100])}
for work in works.values():
    work()
print("ready", flush=True)
for line in sys.stdin:
    work, items, started = works[line.strip()], 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < 1.0:
        items += work()
    print(items / seconds, flush=True)
"""


class Checkout:
    """A process that measures one checkout's code when it is asked to."""

    def __init__(self, folder: Path, threads: int):
        environment = {**os.environ, "PYTHONPATH": str(folder.resolve()), "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )
        self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def measure(self, work: str) -> float:
        """Items a second of one round."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{work}\n")
        self.process.stdin.flush()
        return float(self._line())


def main() -> None:
    """Measure, and print a line for each work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    pair = [Checkout(folder, given.threads) for folder in (HERE, given.other)]
    for work in ("training step", "estimator"):
        ratios, speeds = [], []
        for number in range(given.rounds):
            order = pair if number % 2 else pair[::-1]
            found = {checkout: checkout.measure(work) for checkout in order}
            ratios.append(found[pair[0]] / found[pair[1]])
            speeds.append(found[pair[0]])
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{work}: {median:.3f} ({low:.3f} .. {high:.3f}) of the other's speed, {statistics.median(speeds):,.0f}/s"
        )


if __name__ == "__main__":
    main()
