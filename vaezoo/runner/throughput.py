"""`vaezoo throughput`: how fast a variant trains, is evaluated and sampled from, beside the machine's peak."""

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vaezoo.core import denormals, dense_product, sparse_product
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.precision import computing
from vaezoo.core.torch_internals import onednn_linear
from vaezoo.evaluation.blocks import now
from vaezoo.nets.linear import linear
from vaezoo.runner.machine.device import describe, peak_memory, resolve_device, restart_peak_memory
from vaezoo.runner.machine.sharing import device_use
from vaezoo.runner.machine.timing import (
    DRAWN,
    IMAGES,
    Work,
    estimating,
    first_contexts,
    orders,
    rate,
    sampling,
    training,
)
from vaezoo.runner.matrix.file import load, rows
from vaezoo.runner.plan.cell import Cell, Task
from vaezoo.runner.plan.planner import Plan, make_plan
from vaezoo.runner.work.cell import prepare
from vaezoo.training.loop import NotPacked, make_packed_step, make_step

MATMUL = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192)}
"""Sides of the square matrices whose product gives the peak: the fastest counts."""
Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Speed:
    """One measurement, and what it was measured with.

    work: `train` (images), `iwll` (image-samples) or `sample` (images); seeds: how many train together. per_second: the
    median of seven rounds with its quartiles; cold_seconds: the first call of the work, with all that is set up in it.
    flops_per_second: of matrix products and convolutions (FlopCounterMode); share_of_peak: of the fastest matrix
    product in the same precision, measured in the same run. reason: a remark, or why there is no measurement.
    """

    variant: str
    dataset: str
    work: str
    device: str
    precision: str
    threads: int
    batch_size: int
    seeds: int = 1
    per_second: float | None = None
    per_second_low: float | None = None
    per_second_high: float | None = None
    cold_seconds: float | None = None
    peak_memory_bytes: int | None = None
    flops_per_second: float | None = None
    peak_flops_per_second: float | None = None
    share_of_peak: float | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def throughput(
    names: Sequence[str],
    dataset: str,
    *,
    settings: Mapping[str, Any],
    batch_sizes: Sequence[int],
    threads: Sequence[int],
    precisions: Sequence[str],
    pack: int,
    device: str = "auto",
    data_root: str | None = None,
) -> Iterator[Speed]:
    """A Speed for each work of each variant at each batch size, number of threads and precision: training alone and
    `pack` seeds together (1: alone only), the importance-weighted estimate, and sampling.

    settings: further tables of a matrix row, as {"model": {"latent": 20}}. It times the code that `vaezoo run` uses.
    Raises VaezooError for invalid user input.
    """
    where = resolve_device(device)
    most, train = os.cpu_count() or 1, settings.get("train", {})
    for count in threads:
        if not 1 <= count <= most:
            raise VaezooError(f"threads must be from 1 to {most}, the processors of this machine, got {count}")
    for key in ("precision", "batch_size"):
        if isinstance(train, Mapping) and key in train:
            raise VaezooError(f"--set train.{key} has an option of its own here; write --{key.replace('_', '-')}")
    before = torch.get_num_threads()
    denormals.use_threads(max(threads, default=1))  # before the data start torch's threads
    try:
        plans = []
        for name, precision, batch_size in product(names, precisions, batch_sizes):
            row = {"name": name, **settings}
            if isinstance(train, Mapping):  # the matrix refuses anything else
                row["train"] = {**train, "precision": precision, "batch_size": batch_size}
            matrix = load({"name": "throughput", "datasets": [dataset], "variants": [row]})
            kind = where.partition(":")[0]
            plans.append(make_plan(matrix, data_root=data_root, device=describe(where), kind=kind))
        peaks: dict[tuple[str, int], float] = {}
        for plan, count in product(plans, threads):
            denormals.use_threads(count)
            [cell] = plan.cells
            precision = rows(plan.matrix)[0].train.precision
            if cell.skip is None and (precision, count) not in peaks:
                peaks[precision, count] = matmul_peak(torch.device(where), precision)
            yield from _speeds(plan, cell, where, count, pack, peaks.get((precision, count), 0.0))
    finally:
        torch.set_num_threads(before)


def _speeds(plan: Plan, cell: Cell, device: str, threads: int, pack: int, peak: float) -> Iterator[Speed]:
    train = rows(plan.matrix)[0].train
    facts: dict[str, Any] = {
        "variant": cell.variant,
        "dataset": cell.dataset,
        "device": describe(device),
        "precision": train.precision,
        "threads": threads,
        "batch_size": train.batch_size,
    }
    if cell.skip is not None:
        yield Speed(**facts, work="train", reason=cell.skip)
        return
    for seeds in sorted({1, pack}):
        with device_use(device, alone=True) as disturbed, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VaezooWarning)
            restart_peak_memory(device)
            try:
                step, batch = _step(plan, cell, device, seeds)
            except NotPacked as reason:
                yield Speed(**facts, work="train", seeds=seeds, reason=str(reason))
                continue
            found = _measured(training(step, batch), torch.device(device), device, peak)
        notes = [*disturbed, *(str(each.message) for each in caught if issubclass(each.category, VaezooWarning))]
        yield Speed(**facts, work="train", seeds=seeds, **found, reason="; ".join(notes) or None)
    model, _, data, _ = prepare(_task(plan, cell, 0), device)
    images = data.test.x[:IMAGES]
    estimate = estimating(model, images, context=first_contexts(model, data.test, len(images)))
    sample = sampling(model, first_contexts(model, data.test, DRAWN))
    for work, do in (("iwll", estimate), ("sample", sample)):
        with device_use(device, alone=True) as disturbed, warnings.catch_warnings():
            warnings.simplefilter("ignore", VaezooWarning)  # of an estimate under untrained weights
            restart_peak_memory(device)
            try:
                found = _measured(do, torch.device(device), device, peak)
            except NotImplementedError as reason:
                found, disturbed = {}, [str(reason)]
        yield Speed(**facts, work=work, **found, reason="; ".join(disturbed) or None)


def _task(plan: Plan, cell: Cell, seed: int) -> Task:
    return plan.task(replace(cell, seed=seed, specification=replace(cell.specification, seed=seed)), Path())


def _step(plan: Plan, cell: Cell, device: str, seeds: int) -> tuple[Any, torch.Tensor]:
    made = [prepare(_task(plan, cell, seed), device) for seed in range(seeds)]
    models, objectives, datasets, settings = zip(*made, strict=True)
    if seeds == 1:
        step = make_step(models[0], objectives[0], datasets[0], settings[0], 0)
    else:
        step = make_packed_step(models, objectives, datasets[0], settings[0], range(seeds))
    return step, orders(step, len(datasets[0].train), settings[0].batch_size, list(range(seeds)))


def _measured(work: Work, device: torch.device, name: str, peak: float) -> dict[str, Any]:
    started = now(device)
    work()
    cold = now(device) - started
    median, low, high = rate(work, device)
    memory = peak_memory(name)
    flops = _flops_an_item(work)
    return {
        "per_second": median,
        "per_second_low": low,
        "per_second_high": high,
        "cold_seconds": cold,
        "peak_memory_bytes": memory,
        "flops_per_second": median * flops,
        "peak_flops_per_second": peak,
        "share_of_peak": median * flops / peak,
    }


def _flops_of_product(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """The FLOPs of a layer's product that FlopCounterMode does not know, from the shapes of its tensors. One of images
    that are mostly 0 counts like any other.
    """
    return 2 * math.prod(x) * weight[-2]


def _flops_by_weight(grad: Sequence[int], x: Sequence[int], *_: Any, **__: Any) -> int:
    return 2 * math.prod(x) * grad[-1]


def _flops_an_item(work: Work) -> float:
    forward, by_weight = sparse_product.OPERATORS
    known: dict[Any, Callable[..., int]] = dict.fromkeys((forward, dense_product.OPERATOR), _flops_of_product)
    known[by_weight] = _flops_by_weight
    if (product := onednn_linear()) is not None:
        known[product] = _flops_of_product
    with FlopCounterMode(display=False, custom_mapping=known) as counter:
        items = work()
    return float(counter.get_total_flops()) / items


def matmul_peak(device: torch.device, precision: str) -> float:
    """FLOP/s of the fastest product of two square matrices on this device in this precision, of MATMUL's sizes, by
    torch's operator or by the layers' own.
    """
    best = 0.0
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    for side in MATMUL[device.type]:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

        for operator in (torch.mm, linear):

            def multiply(a: torch.Tensor = a, b: torch.Tensor = b, operator: Product = operator) -> int:
                """One product."""
                operator(a, b)
                return 2 * len(a) ** 3

            with computing("tf32" if precision == "tf32" else "float32", device):
                best = max(best, rate(multiply, device)[0])
    return best
