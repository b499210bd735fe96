"""A training step taken apart: the milliseconds of each part beside the least that this machine could take for it.

    python benchmarks/step_parts.py [--threads 1] [--hidden 400] [--latent 20]

The step of `vae` on binarised MNIST-sized images, batch 128, replayed. Each operation of the recording is timed and
belongs to a part by its name and the size of its tensors. Sparse products: those of the images, which are mostly 0,
where a loop computes them (`core/sparse_product.py`). Pixels: the Bernoulli likelihood, the images' conversion and
the last bias. Noise: it is drawn for many steps at once. Layers: other biases and activations. Small: the latents. The
floor of products is their FLOPs at the rate of the fastest square product; that of the others is the bytes that must be
read and written once, at the rate of a copy in the cache (pixels) or of one as large as the parameters (Adam).
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals
from vaezoo.runner.machine.device import describe
from vaezoo.runner.throughput import matmul_peak
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.step import TrainingStep

BATCH, PIXELS, IMAGES = 128, 784, 5120
PRODUCTS = ("mm", "addmm", "bmm", "_linear_pointwise.default", "dense_product")
GATHERS = ("index_select", "index")
PARTS = ("products", "sparse products", "Adam", "pixels", "gathers", "noise", "layers", "small")


def step_of(hidden: Sequence[int], latent: int) -> TrainingStep:
    """The step, on random binary images."""
    generator = torch.Generator().manual_seed(0)
    images = (torch.rand(IMAGES, 1, 28, 28, generator=generator) < 0.13).to(torch.uint8)
    data = vaezoo.Dataset(images, images[:100], images[:100], measure="binary")
    model, objective = construct(resolve("vae", data.spec), Ingredients.of(data, latent, tuple(hidden)))
    return make_step(model, objective, data, TrainingOptions(epochs=1000, batch_size=BATCH), 0)


def epoch(step: TrainingStep, number: int) -> float:
    """Take an epoch of steps; milliseconds a step."""
    order = epoch_order(IMAGES, BATCH, 0, number)
    started = time.perf_counter()
    step.module.train()
    step.start_epoch(order)
    for _ in range(len(order)):
        step()
    return (time.perf_counter() - started) / len(order) * 1e3


def part_of(name: str, tensors: Sequence[Tensor], hidden: Sequence[int]) -> str:
    """The part that an operation belongs to, by its name and the size of its largest tensor."""
    largest = max((tensor.numel() for tensor in tensors), default=0)
    if name in PRODUCTS:
        return "products"
    if name.startswith("sparse_"):
        return "sparse products"
    if "adam" in name:
        return "Adam"
    if name in GATHERS and largest >= BATCH * PIXELS:
        return "gathers"
    if largest >= BATCH * PIXELS:
        return "pixels"
    return "layers" if largest >= BATCH * min(hidden) else "small"


def parts(step: TrainingStep, hidden: Sequence[int]) -> dict[str, float]:
    """Milliseconds of each part in a step: every operation of the recording is timed, in an epoch of steps."""
    calls = step._run.recording._replay.__globals__  # type: ignore[attr-defined]
    times: dict[tuple[str, str], list[float]] = defaultdict(list)

    def timed(place: str, call: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(call, "__name__", str(call))

        def run(*args: Any, **more: Any) -> Any:
            started = time.perf_counter()
            result = call(*args, **more)
            seconds = time.perf_counter() - started
            tensors = [each for each in args if isinstance(each, Tensor)]
            times[place, part_of(name, tensors, hidden)].append(1e3 * seconds)
            return result

        return run

    before, draw, drawing = dict(calls), step.prefetched_noise._draw, [0.0]

    def timed_draw(*args: Any) -> None:
        started = time.perf_counter()
        draw(*args)
        drawing[0] += time.perf_counter() - started

    calls.update({name: timed(name, call) for name, call in before.items() if name[0] == "o" and name[1:].isdigit()})
    step.prefetched_noise._draw = timed_draw  # type: ignore[method-assign]
    epoch(step, 9)
    calls.update(before)
    total: dict[str, float] = defaultdict(float, noise=1e3 * drawing[0] / (IMAGES // BATCH))
    for (_, part), each in times.items():
        total[part] += statistics.median(each)
    return total


def copied(elements: int) -> float:
    """Bytes a second that a copy of so many numbers reads and writes."""
    one, other = torch.ones(elements), torch.empty(elements)
    best = float("inf")
    for _ in range(30):
        started = time.perf_counter()
        for _ in range(10):
            other.copy_(one)
        best = min(best, (time.perf_counter() - started) / 10)
    return 8 * elements / best


def floors(parameters: int, hidden: Sequence[int], latent: int, sparse: bool) -> dict[str, float]:
    """The least milliseconds of the parts that have a floor, and of all products, if none is sparse."""
    inner = sum(a * b for a, b in pairwise(hidden))
    encoder = [PIXELS * hidden[0], inner, hidden[-1] * 2 * latent]
    decoder = [latent * hidden[-1], inner, hidden[0] * PIXELS]
    # forward, by weight and by input; the images need no gradient
    flops = 2 * BATCH * (3 * sum(encoder + decoder) - encoder[0])
    peak = matmul_peak(torch.device("cpu"), "float32") / 1e3
    pixels = 4 * BATCH * PIXELS * (2 + 3)  # forward reads x and the logits; backward reads them and writes a gradient
    return {
        "all products": flops / peak,
        "products": (flops - sparse * 2 * BATCH * 2 * encoder[0]) / peak,
        "Adam": 4 * 7 * parameters / copied(parameters) * 1e3,  # reads p, g, m, v; writes p, m, v
        "pixels": pixels / copied(BATCH * PIXELS) * 1e3,
        "gathers": 5 * BATCH * PIXELS / copied(BATCH * PIXELS) * 1e3,  # reads bytes, writes floats
    }


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, nargs="+", default=[400])
    parser.add_argument("--latent", type=int, default=20)
    given = parser.parse_args()
    denormals.use_threads(given.threads)
    step = step_of(given.hidden, given.latent)
    times = [epoch(step, number) for number in range(1, 17)][1:]
    median = statistics.median(times)
    found = parts(step, given.hidden)
    parameters = sum(p.numel() for p in step.module.parameters())
    least = floors(parameters, given.hidden, given.latent, found["sparse products"] > 0)
    net = "-".join(map(str, (PIXELS, *given.hidden, given.latent)))
    print(f"{describe('cpu')}, threads: {given.threads}, torch {torch.__version__}, {net}, batch {BATCH}\n")
    print("| part of a step | ms | floor, ms |\n|:--|--:|--:|")
    for part in PARTS:
        print(f"| {part} | {found[part]:.2f} | {f'{least[part]:.2f}' if part in least else ''} |")
    rest = median - sum(found.values())
    print(f"| Python and dispatch: the step less its operators | {rest:.2f} | |")
    share = least["all products"] / median
    print(f"| the step, median of {len(times)} epochs | {median:.2f} | all products: {share:.0%} of the step |")


if __name__ == "__main__":
    main()
