"""How near `vaezoo.log_likelihood` comes to its ceiling: the decoder's products and the likelihood alone.

    python benchmarks/iwll_ceiling.py --threads 1 --rounds 15 --samples 5000

The net is 784-400-20 on 100 binary images. Each round times the estimate, then the decoder alone and
`likelihood.log_prob` alone at each of five block sizes, a fifth of the samples each; the ceiling takes the size with
the best median of either. The ratio is the ceiling's time an image-sample over the estimate's in the same round.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable

import torch

import vaezoo
from vaezoo.evaluation import blocks
from vaezoo.evaluation.estimate import evaluating

IMAGES = 100
SIZES = (4, 8, 16, 32, 64)
"""Samples a block."""


def main() -> None:
    """Measure, and print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", vaezoo.VaezooWarning)  # the net is not trained
    with evaluating(model := made(args.precision)):
        times = measured(model, args.rounds, args.samples)
    decoder, likelihood = (best({size: times[part, size] for size in SIZES}) for part in ("decoder", "likelihood"))
    estimate = times["estimate", 0]
    ceiling = [sum(both) for both in zip(times["decoder", decoder], times["likelihood", likelihood], strict=True)]
    ratio = [high / real for high, real in zip(ceiling, estimate, strict=True)]
    low, middle, high = statistics.quantiles(ratio, n=4)
    microseconds = {
        "estimate": statistics.median(estimate),
        f"decoder alone, {decoder} samples a block": statistics.median(times["decoder", decoder]),
        f"likelihood alone, {likelihood} samples a block": statistics.median(times["likelihood", likelihood]),
        "ceiling": statistics.median(ceiling),
    }
    print(f"{IMAGES} images x {args.samples:,} samples, {args.precision}, {args.threads} threads")
    print("\n| | us an image-sample |\n|---|---:|")
    print("\n".join(f"| {name} | {value:.2f} |" for name, value in microseconds.items()))
    print(f"| **ceiling / estimate** (quartiles) | **{middle:.3f}** ({low:.3f} to {high:.3f}) |\n")
    facts = {"ratio": middle, "quartiles": [low, high], "microseconds": microseconds, "torch": torch.__version__}
    print(json.dumps(vars(args) | facts | {"block": list(blocks._chosen.values()), "images": IMAGES}))


def made(precision: str) -> vaezoo.LatentModel:
    """The net, and its precision."""
    x = images().to(torch.uint8)
    model = vaezoo.build("vae", vaezoo.Dataset(x, x, x, measure="binary"), latent=20, hidden=(400,))
    model.precision = precision
    return model


def images() -> torch.Tensor:
    """Binary images, a fifth of the pixels set. [100, 1, 28, 28]"""
    return (torch.rand(IMAGES, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.2).float()


def measured(model: vaezoo.LatentModel, rounds: int, samples: int) -> dict[tuple[str, int], list[float]]:
    """(part, samples a block) -> microseconds an image-sample in each round."""
    x, batch = images(), model.batch(images())
    work: dict[tuple[str, int], Callable[[], object]] = {
        ("estimate", 0): lambda: vaezoo.log_likelihood(model, x, samples)
    }
    for size in SIZES:
        z = (torch.randn(size, IMAGES, 20),)
        parameters = decoded(model, batch, z).float()
        work["decoder", size] = lambda z=z: decoded(model, batch, z)
        work["likelihood", size] = lambda parameters=parameters: model.likelihood.log_prob(batch.x, parameters)
    times: dict[tuple[str, int], list[float]] = {name: [] for name in work}
    for number in range(-1, rounds):  # the round before the first warms up
        for (part, size), run in work.items():
            repeats = 1 if part == "estimate" else max(1, samples // (len(SIZES) * size))
            done = samples if part == "estimate" else repeats * size
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            if number >= 0:
                times[part, size].append((time.perf_counter() - start) / (done * IMAGES) * 1e6)
    return times


def decoded(model: vaezoo.LatentModel, batch: vaezoo.Batch, z: tuple[torch.Tensor]) -> torch.Tensor:
    """The decoder's products in the model's precision, without what comes after. [K, B, 1, 28, 28]"""
    return model.decoder_output(batch, z)


def best(times: dict[int, list[float]]) -> int:
    """The block size with the smallest median."""
    return min(times, key=lambda size: statistics.median(times[size]))


if __name__ == "__main__":
    main()
