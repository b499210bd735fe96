"""Measures training on a set that is mapped from a file beside the same set in memory: speed, and the process's memory.

    python benchmarks/streamed.py [--gib 8] [--steps 300] [--device cpu]

Writes synthetic 3x32x32 images (uint8) to a file in TMPDIR, trains `vae` on it as a cell does, in turn from the mapped
file and from memory (where only the first --resident GiB may fit), and prints images a second (median of the rounds),
their ratio, and how the process's own memory (RssAnon) grew. On CUDA "mapped" leaves the images on the CPU, and
"resident" has them on the device.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.data import Split
from vaezoo.datasets import load_dataset
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.step import TrainingStep

ROW = 3 * 32 * 32


def own_memory() -> float:
    """MiB of the process that are no pages of a file."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024


def write(path: Path, images: int) -> None:
    """Smooth random images, block by block."""
    file = np.lib.format.open_memmap(path, "w+", np.uint8, (images, 3, 32, 32))
    rng = np.random.default_rng(0)
    for start in range(0, images, 8192):
        count = min(8192, images - start)
        coarse = rng.integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
        fine = rng.integers(0, 8, (count, 1, 32, 32), np.uint8)
        file[start : start + count] = coarse.repeat(8, 2).repeat(8, 3) ^ fine
    file.flush()


def main() -> None:
    """Write, read, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=8.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--order", default="file", help="file: the file itself is mapped; shuffled: a copy of it")
    parser.add_argument(
        "--resident", type=float, default=None, help="GiB that the resident set has; all where left out"
    )
    asked = parser.parse_args()
    images = int(asked.gib * 2**30 / ROW)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npy"
        write(path, images)
        print(f"{path.stat().st_size / 2**30:.2f} GiB, {images:,} images; own memory {own_memory():.0f} MiB")
        started = time.perf_counter()
        sizes = {"valid": 1000, "test": 1000, "order": asked.order}
        dataset = load_dataset("npy", options={"path": str(path), "measure": "discrete", "levels": 256, **sizes})
        print(f"read in {time.perf_counter() - started:.0f} s; own memory {own_memory():.0f} MiB")
        device = torch.device(asked.device)
        steps = {"mapped": step_on(dataset.train, dataset, device)}
        x = dataset.train.x[: None if asked.resident is None else int(asked.resident * 2**30 / ROW)]
        x = x.clone() if device.type == "cpu" else x.to(device)
        steps["resident"] = step_on(Split(x, None, dataset.spec), dataset, device)
        measure(steps, images - 2000, asked.steps, asked.rounds)


def step_on(split: Split, dataset: object, device: torch.device) -> TrainingStep:
    """The training step of `vae` with 400 hidden units and 40 latents on these images, 100 a batch."""
    slots = resolve("vae", split.spec, {})
    model, objective = construct(slots, Ingredients.of(dataset, 40, (400,)))
    module = TrainingModule(model.to(device), objective.to(device))
    return TrainingStep(module, split, TrainingOptions(batch_size=100))


def measure(steps: dict[str, TrainingStep], images: int, count: int, rounds: int) -> None:
    """Train on other images in each round, in turn; print the medians, and the growth of the process's memory."""
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    before = None
    for number in range(rounds + 1):
        order = torch.randint(images, (count, 100), generator=torch.Generator().manual_seed(number))
        for name, step in steps.items():
            step.start_epoch(order % len(step.split))
            started = time.perf_counter()
            while step.left:
                step()
            step.values.cpu()
            if number:  # the first round warms up
                speeds[name].append(100 * count / (time.perf_counter() - started))
        before = own_memory() if before is None else before
    for name, found in speeds.items():
        print(f"{name}: {statistics.median(found):,.0f} images/s ({min(found):,.0f} to {max(found):,.0f})")
    print(f"ratio {statistics.median(speeds['mapped']) / statistics.median(speeds['resident']):.3f}")
    print(f"own memory grew by {own_memory() - before:.0f} MiB over {rounds} rounds of {count} steps")


if __name__ == "__main__":
    main()
