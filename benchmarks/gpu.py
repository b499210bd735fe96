"""The four figures of a GPU, in one run: captured step, packed seeds, a whole test set's likelihood, share of the peak.

    python benchmarks/gpu.py --out results/throughput

It needs no data set. Writes gpu-<name>.json and .md there. `--device cpu` tries it out with small sizes.

1. The captured training step beside a plain DataLoader loop: 784-400-20, batch 128, interleaved rounds.
2. The time of 16 packed seeds over that of one, in float32 and TF32, interleaved.
3. Seconds of the likelihood of 10,000 images with K = 5,000 under a 784-300-300-40 net, in float32.
4. `vaezoo throughput` of both nets in each precision, with the share of the matmul peak.
"""

import argparse
import json
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import VaezooWarning
from vaezoo.evaluation.blocks import now
from vaezoo.runner.machine.device import describe
from vaezoo.runner.machine.timing import orders, training
from vaezoo.runner.throughput import throughput
from vaezoo.training.loop import make_packed_step, make_step
from vaezoo.training.options import TrainingOptions

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from loops import BATCH, Loop, Net

PACKED = 16


def main() -> None:
    """Measure, print a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    precisions = ("float32", "tf32", "bfloat16") if device.type == "cuda" else ("float32", "bfloat16")
    warnings.simplefilter("ignore", VaezooWarning)  # of estimates under untrained weights
    data = binary(args.images)
    rows: list[dict[str, Any]] = [against_the_plain_loop(data, device, args.rounds)]
    rows += [packed(data, device, precision, args.rounds) for precision in precisions if precision != "bfloat16"]
    rows += [likelihood(data, device, precision, args.samples) for precision in precisions]
    for hidden, latent in (([400], 20), ([300, 300], 40)):
        net = {"model": {"hidden": hidden, "latent": latent}}
        how = {
            "batch_sizes": [128],
            "threads": [1],
            "precisions": precisions,
            "pack": PACKED,
            "device": args.device,
        }
        for speed in throughput(["vae"], "digits-binary", settings=net, **how):
            rows.append({"what": f"throughput, {hidden}-{latent}", **speed.as_dict()})
    for row in rows:
        print(json.dumps(row), flush=True)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", describe(args.device).lower()).strip("-")
        facts = {"device": describe(args.device), "torch": torch.__version__, "command": " ".join(sys.argv)}
        (args.out / f"gpu-{name}.json").write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
        (args.out / f"gpu-{name}.md").write_text(markdown(facts, rows))


def binary(count: int) -> vaezoo.Dataset:
    """Random 28x28 images, which cost what real ones cost."""
    x = (torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.13).to(torch.uint8)
    return vaezoo.Dataset(x, x[:100], x, measure="binary")


def made(data: vaezoo.Dataset, device: torch.device, precision: str, seed: int = 0, latent: int = 20, hidden=(400,)):
    """A variational autoencoder and its objective."""
    model, objective = construct(resolve("vae", data.spec), Ingredients.of(data, latent, hidden), seed=seed)
    model.precision = precision
    return model.to(device), objective.to(device)


def interleaved(first: Callable, second: Callable, device: torch.device, rounds: int) -> list[float]:
    """seconds of first / seconds of second, in each round: lower quartile, median, upper quartile."""
    ratios = []
    for each in range(rounds + 2):  # two to warm up
        start = now(device)
        first()
        middle = now(device)
        second()
        if each > 1:
            ratios.append((middle - start) / (now(device) - middle))
    return statistics.quantiles(ratios, n=4)


def against_the_plain_loop(data: vaezoo.Dataset, device: torch.device, rounds: int) -> dict[str, Any]:
    """The time of an epoch of a plain loop over that of an epoch of captured steps."""
    step = make_step(*made(data, device, "float32"), data, TrainingOptions(epochs=1000, batch_size=BATCH), 0)
    work = training(step, orders(step, len(data.train), BATCH, [0]))
    images = len(orders(step, len(data.train), BATCH, [0])) * BATCH
    loop = Loop(Net().to(device), data.train.x[:images].float().flatten(1).to(device))
    low, median, high = interleaved(loop.epoch, work, device, rounds)
    captured = getattr(step._run, "graph", None) is not None
    return {"what": "plain loop / step", "ratio": median, "low": low, "high": high, "captured": captured}


def packed(data: vaezoo.Dataset, device: torch.device, precision: str, rounds: int) -> dict[str, Any]:
    """The time of the steps of PACKED seeds over that of one seed's."""
    settings, seeds = TrainingOptions(epochs=1000, batch_size=BATCH), list(range(PACKED))
    one = make_step(*made(data, device, precision), data, settings, 0)
    pairs = [made(data, device, precision, seed) for seed in seeds]
    many = make_packed_step(*zip(*pairs, strict=True), data, settings, seeds)
    works = [training(s, orders(s, len(data.train), BATCH, own)) for s, own in ((many, seeds), (one, [0]))]
    low, median, high = interleaved(*works, device, rounds)
    return {"what": f"{PACKED} seeds / one", "precision": precision, "ratio": median, "low": low, "high": high}


def likelihood(data: vaezoo.Dataset, device: torch.device, precision: str, samples: int) -> dict[str, Any]:
    """Seconds of one estimate over all images, after one that warms up."""
    model, _ = made(data, device, precision, latent=40, hidden=(300, 300))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        vaezoo.log_likelihood(model, data.test.x, samples)
        seconds.append(time.perf_counter() - start)
    title = f"likelihood, {len(data.test.x):,} x {samples:,}"
    return {"what": title, "precision": precision, "seconds": min(seconds[1:]), "first": seconds[0]}


def markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """A table of the rows."""
    lines = [f"# {facts['device']}", "", f"torch {facts['torch']}, `python {facts['command']}`", ""]
    lines += ["| what | precision | figure | share of matmul peak |", "|:--|:--|--:|--:|"]
    for row in rows:
        if "ratio" in row:
            figure = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        elif "seconds" in row:
            figure = f"{row['seconds']:.2f} s"
        elif row["per_second"] is None:
            figure = str(row["reason"])
        else:
            figure = f"{row['per_second']:,.0f} a second"
        work = f", {row['work']}, {row['seeds']} seeds" if "work" in row else ""
        share = f"{row['share_of_peak']:.1%}" if row.get("share_of_peak") else ""
        lines.append(f"| {row['what']}{work} | {row.get('precision', 'float32')} | {figure} | {share} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
