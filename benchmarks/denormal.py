"""How long a training step takes in the first epochs of MNIST, with denormal numbers and where they count as 0.

    VAEZOO_DATA=... python benchmarks/denormal.py --epochs 4 --threads 1

784-400-20, batch 128, each way in a process of its own, because threads keep how they were started. Prints the
milliseconds of a step and how many of Adam's first moments are denormal at the end of each epoch.
"""

import argparse
import subprocess
import sys
import time
from unittest.mock import patch

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions

BATCH = 128


def epochs(count: int, threads: int, flushed: bool) -> None:
    """Train, and print a line for each epoch."""
    if flushed:
        denormals.use_threads(threads)
    torch.set_num_threads(threads)
    data = vaezoo.load_dataset("mnist-fixed")
    model, objective = construct(resolve("vae", data.spec), Ingredients.of(data, 20, (400,)), seed=0)
    step = make_step(model, objective, data, TrainingOptions(epochs=count, batch_size=BATCH), 0)
    tiny = torch.finfo(torch.float32).tiny
    with patch.object(denormals, "flush", denormals.flush if flushed else lambda on=True: None):
        for epoch in range(count):
            order = epoch_order(len(data.train), BATCH, 0, epoch)
            started = time.perf_counter()
            step.start_epoch(order)
            while step.left:
                step()
            milliseconds = 1000 * (time.perf_counter() - started) / len(order)
            moments = [state["exp_avg"] for state in step.optimizer.state.values()]
            found = sum(int(((m != 0) & (m.abs() < tiny)).sum()) for m in moments)
            print(f"| {epoch + 1} | {'0' if flushed else 'kept'} | {milliseconds:.2f} | {found:,} |", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=["kept", "flushed"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        epochs(given.epochs, given.threads, given.way == "flushed")
        return
    print("| epoch | denormal numbers are | a step, ms | denormal first moments |\n|--:|:--|--:|--:|", flush=True)
    for way in ("kept", "flushed"):
        words = ["--epochs", str(given.epochs), "--threads", str(given.threads), "--way", way]
        subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
