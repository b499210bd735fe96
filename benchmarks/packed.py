"""What a pack of seeds costs beside the same seeds one by one, and how near its losses come to theirs.

    python benchmarks/packed.py --seeds 8 --threads 1 --rounds 15

The net is 784-400-20 on 2,560 random binary images, batch 128. In each round the pack takes its steps, then each seed
alone; the ratio is the pack's time over the sum of theirs. Before that, an epoch of both is compared step by step. It
says too whether a run would pack them.
"""

import argparse
import json
import statistics

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals
from vaezoo.evaluation.blocks import now
from vaezoo.runner.machine.timing import orders
from vaezoo.training.loop import make_packed_step, make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import slower
from vaezoo.training.step import TrainingStep

SETTINGS = TrainingOptions(epochs=100, batch_size=128)
IMAGES = 2560


def main() -> None:
    """Measure, and print a line for people and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--variant", default="vae")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    denormals.use_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(IMAGES, 1, 28, 28, generator=generator) < 0.13).to(torch.uint8)
    data = vaezoo.Dataset(images, images[:100], images[:100], measure="binary")
    seeds = list(range(args.seeds))
    pairs = [made(data, args, seed) for seed in seeds]
    one_by_one = slower(*pairs[0], torch.device(args.device))
    pack = make_packed_step(*zip(*pairs, strict=True), data, SETTINGS, seeds)
    alone = [make_step(*made(data, args, seed), data, SETTINGS, seed) for seed in seeds]
    together, single = orders(pack, IMAGES, 128, seeds), [orders(alone[n], IMAGES, 128, [n]) for n in seeds]

    run(pack, together)
    for step, order in zip(alone, single, strict=True):
        run(step, order)
    losses = torch.stack([step.values for step in alone], 1)
    apart = float(((pack.values - losses).abs() / losses.abs()).max())
    ratios = []
    for _ in range(args.rounds):
        start = now(pack.device)
        run(pack, together)
        middle = now(pack.device)
        for step, order in zip(alone, single, strict=True):
            run(step, order)
        ratios.append((middle - start) / (now(pack.device) - middle))
    low, median, high = statistics.quantiles(ratios, n=4)
    title = f"{args.seeds} seeds packed / one by one, {args.variant}, {args.precision}, {args.threads} threads"
    print(f"{title}: {median:.3f} ({low:.3f} to {high:.3f}); losses of an epoch agree to {apart:.1g}, relatively")
    print("a run packs them" if one_by_one is None else f"a run trains them one by one: {one_by_one}")
    print(json.dumps(vars(args) | {"ratio": median, "quartiles": [low, high], "losses": apart}))


def made(data: vaezoo.Dataset, args: argparse.Namespace, seed: int) -> tuple[vaezoo.LatentModel, vaezoo.Objective]:
    """The model and objective of a seed."""
    slots = resolve(args.variant, data.spec)
    model, objective = construct(slots, Ingredients.of(data, 20, (400,)), seed=seed)
    model.precision = args.precision
    return model.to(args.device), objective.to(args.device)


def run(step: TrainingStep, order: torch.Tensor) -> None:
    """An epoch of steps."""
    step.start_epoch(order)
    for _ in range(len(order)):
        step()


if __name__ == "__main__":
    main()
