"""Our flows beside zuko's: seconds of a forward and backward pass, alone and mapped over two seeds.

    python benchmarks/flows.py [--rounds 15] [--threads 1] [--out FILE]

Needs zuko (the extra `test`). Each case is 4 layers over Z = 20 dimensions, hidden widths (64, 64), B = 128 images and
K = 1 or 64 samples, in float32 on the CPU. A pass is the flow, the mean of |z'|^2 - log_det, and its gradient by every
parameter. The two are timed in turn, once a round, so that other load on the machine affects both; a line of the
result has the median of each and the median of the rounds' ratios, ours / zuko's: below 1 ours is quicker. `mapped` is
the same for two seeds under `torch.func.vmap`, each with its own weights and buffers, as a pack of seeds trains; where
zuko cannot be mapped the line has the error instead.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.lazy import LazyComposedTransform
from zuko.transforms import MonotonicRQSTransform

from vaezoo.flows import AutoregressiveFlow, CouplingFlow, FlowSequence, SplineTransform

LATENT, LAYERS, IMAGES, BINS = 20, 4, 128, 8
Pass = Callable[[], object]


class Zuko(nn.Module):
    """zuko's transform as a module from z to z' and log_det."""

    def __init__(self, layers: Sequence[nn.Module]):
        super().__init__()
        self.transform = LazyComposedTransform(*layers)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z [K, B, Z] -> [K, B, Z], [K, B]"""
        return self.transform(None).call_and_ladj(z)


def pairs() -> dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]]:
    """Name -> (ours, zuko's), the same layers in both."""
    odd = [n % 2 == 1 for n in range(LAYERS)]
    order = torch.arange(LATENT)
    spline = {"univariate": MonotonicRQSTransform, "shapes": [(BINS,), (BINS,), (BINS - 1,)]}
    found = {}
    for kind, transform, theirs in (("affine", lambda: None, {}), ("spline", lambda: SplineTransform(BINS), spline)):
        found[f"coupling {kind}"] = (
            lambda transform=transform: FlowSequence(*(CouplingFlow(LATENT, transform(), swap=swap) for swap in odd)),
            lambda theirs=theirs: Zuko(
                [GeneralCouplingTransform(LATENT, mask=(order < LATENT // 2) != swap, **theirs) for swap in odd]
            ),
        )
        found[f"autoregressive {kind}"] = (
            lambda transform=transform: FlowSequence(
                *(AutoregressiveFlow(LATENT, transform(), reverse=reverse) for reverse in odd)
            ),
            lambda theirs=theirs: Zuko(
                [
                    MaskedAutoregressiveTransform(LATENT, order=order.flip(0) if reverse else order, **theirs)
                    for reverse in odd
                ]
            ),
        )
    return found


def value(flow: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor], z: Tensor) -> Tensor:
    """The number whose gradient is taken."""
    mapped, log_det = functional_call(flow, (parameters, buffers), (z,))
    return (mapped.square().sum(-1) - log_det).mean()


def alone(make: Callable[[], nn.Module], z: Tensor) -> Pass:
    """A pass with autograd, as a single run trains."""
    flow = make()

    def run() -> object:
        mapped, log_det = flow(z)
        (mapped.square().sum(-1) - log_det).mean().backward()
        return flow.zero_grad()

    return run


def mapped(make: Callable[[], nn.Module], z: Tensor) -> Pass:
    """A pass of two seeds under vmap, as a pack trains. Each seed has its own z."""
    flows = [make() for _ in range(2)]
    state, both = stack_module_state(flows), torch.stack([z, z.flip(0)])
    function = vmap(grad(partial(value, copy.deepcopy(flows[0]))))
    return lambda: function(*state, both)


def seconds(run: Pass, least: float = 0.05) -> float:
    """Seconds a pass, over as many as take `least`."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < least or count < 2:
        run()
        count += 1
    return (time.perf_counter() - begin) / count


def compare(makers: Sequence[Callable[[], nn.Module]], way: Callable[..., Pass], z: Tensor, rounds: int) -> dict:
    """Medians in milliseconds of ours and zuko's, and of the ratio; or why zuko's cannot be run."""
    passes = [way(make, z) for make in makers]
    passes[0]()
    try:
        passes[1]()
    except RuntimeError as error:
        return {"error": str(error).splitlines()[0]}
    times = [[seconds(run) for run in passes] for _ in range(rounds)]
    ours, theirs = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    return {"ours_ms": ours, "zuko_ms": theirs, "ratio": statistics.median(a / b for a, b in times)}


def main() -> None:
    """Parse the options, measure, print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = []
    for name, makers in pairs().items():
        for samples in (1, 64):
            z = torch.randn(samples, IMAGES, LATENT)
            for way in (alone, mapped):
                torch.manual_seed(0)
                found = compare(makers, way, z, options.rounds)
                lines.append({"flow": name, "samples": samples, "pass": way.__name__, **found})
                print(json.dumps(lines[-1]), flush=True)
    if options.out:
        options.out.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
