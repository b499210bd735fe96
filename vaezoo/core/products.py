"""What multiplies the matrices of a dense layer on a CPU: torch's own library (MKL in its builds for x86), oneDNN, or
vaezoo's loop (`core/dense_product.py`).

None is the fastest one everywhere: it depends on the processor, on which of a layer's products it is, and on the number
of rows. So each is timed once a machine, in less than a second, and the choice is kept in the user's cache, by
processor, torch version and number of threads: the numbers of two runs with as many threads on one machine are the
same, bit for bit. VAEZOO_PRODUCTS = torch, onednn or loop sets it for every product; where nothing can be kept, it is
torch. In the same way it is measured whether a loop is faster in a first layer whose images are mostly 0
(`core/sparse_product.py`).
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from vaezoo.core import compiled, dense_product, sparse_product
from vaezoo.core.errors import VaezooError
from vaezoo.core.freed_memory import keep_freed_memory
from vaezoo.core.paths import user_cache
from vaezoo.core.processor import processor_name
from vaezoo.core.torch_internals import onednn_layout, onednn_linear

SETTING = "VAEZOO_PRODUCTS"
LIBRARIES = ("torch", "loop", "onednn")
"""By preference, where they are as fast as each other: the loop does the ReLU after a layer too."""
PRODUCTS = ("forward", "by input", "by weight")
"""Of a layer y = x W^T + b with the gradient g of y: x W^T + b, g W and g^T x."""
BATCH, BLOCK = 128, 512
"""The rows that are timed: of a batch in training, and of a block of samples in an estimate."""
BOUNDARY = 256
"""The rows from which on the choice for a block holds."""
SHAPES = {"": (784, 400), " in a small layer": (400, 40)}
"""The inputs and outputs of the layers that are timed."""
LARGE = 2**16
"""The weights from which on the choice for a large layer holds; below, that for a small one."""
LEAST = {"torch": 0, "onednn": 2**13, "loop": 2**12}
"""The weights from which on each one multiplies. In a smaller layer torch does: the call of another one takes more time
than its product could save.
"""
SPARSE, SHARE = "of images that are mostly 0", 0.2
"""The products forward and by weight of a large layer, and the share of an image's numbers that are not 0 with which
they are timed: the largest of images that are mostly 0.
"""
ROUNDS, SECONDS = 5, 0.7
"""Rounds in which all products are timed in turn, at most for so many seconds."""
MARGIN = 0.97
"""A later one is chosen where it takes less than this share of the time, so that no choice hangs on noise."""

_ROWS = {"": BATCH, " of a block": BLOCK}
_ONE_AT_A_TIME = Lock()

Times = dict[str, dict[str, float]]
Choice = Mapping[str, str]
"""product -> library. The product's name is followed by "of a block" where it has many rows, and then by "in a small
layer" where the layer has few weights.
"""
_asked: dict[int, Choice] = {}


def names() -> list[str]:
    """Of all choices: each product of few rows and of many, in a large layer and in a small one."""
    return [product + of + layer for layer in SHAPES for of in _ROWS for product in PRODUCTS]


def library(product: str, rows: int, weights: int) -> str:
    """The library of one of PRODUCTS for so many rows and weights. VaezooError where VAEZOO_PRODUCTS is none."""
    if weights < LEAST["loop"]:  # the least of all
        return "torch"
    of, layer = "" if rows < BOUNDARY else " of a block", "" if weights >= LARGE else " in a small layer"
    name = choice()[product + of + layer]
    return name if weights >= LEAST[name] else "torch"


def leaves_torch(rows: int, weights: int) -> bool:
    """Whether another library than torch multiplies any of the products of so many rows and weights."""
    return any(library(product, rows, weights) != "torch" for product in PRODUCTS)


def available() -> tuple[str, ...]:
    """Those of LIBRARIES that this installation has."""
    there = {"onednn": onednn_linear() is not None, "loop": compiled.loop(dense_product.LOOP) is not None}
    return tuple(name for name in LIBRARIES if there.get(name, True))


def multiplied(name: str, x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """x W^T + b, or its ReLU, by a library, of float32 on a CPU, without a gradient. [B, in], [out, in], [out] ->
    [B, out]

    oneDNN takes the weight in its own layout too (`arranged`). What the loop does not take, torch multiplies.
    torch's `addmm` copies the bias into each row before it multiplies; it takes less time to add it afterwards.
    """
    if name == "loop" and dense_product.takes(x, weight):
        return dense_product.multiplied(x, weight, bias, relu)
    if name == "onednn" and (onednn := onednn_linear()) is not None:
        value = onednn(_without_overlap(x), _without_overlap(weight), bias, "none", [], "")
    else:
        value = torch.mm(x, weight.t())
        if bias is not None:
            value.add_(bias)
    return torch.relu_(value) if relu else value


def arranged(name: str, weight: Tensor) -> Tensor:
    """A weight as a library reads it fastest in the product forward, which is the same, bit for bit. [out, in]"""
    if name == "loop" and dense_product.takes_weight(weight):
        return weight.t().contiguous().t()
    arrange = onednn_layout() if name == "onednn" else None
    return weight if arrange is None else arrange(weight)


def _without_overlap(matrix: Tensor) -> Tensor:
    """A copy where the rows lie over each other in memory, as those of `unfold` do: oneDNN refuses them."""
    if matrix.is_mkldnn:
        return matrix
    (rows, columns), (down, right) = matrix.shape, matrix.stride()
    lies_apart = (right == 1 and down >= columns) or (down == 1 and right >= rows)
    return matrix if lies_apart or 0 in (down, right) else matrix.contiguous()


def setting() -> str:
    """What VAEZOO_PRODUCTS is, or nothing. VaezooError where it is no library."""
    given = os.environ.get(SETTING, "")
    name = given.strip().lower()
    if name and name not in LIBRARIES:
        raise VaezooError(f"{SETTING} is {given!r}; set it to torch, onednn or loop, or leave it unset")
    return name


def choice() -> Choice:
    """The library of each product on this machine, with the threads that torch has now."""
    with _ONE_AT_A_TIME:
        return _choice(setting(), torch.get_num_threads())


def loop_is_faster() -> bool:
    """Whether the loop of `core/sparse_product.py` multiplies in a large layer of images that are mostly 0: where it is
    faster than the libraries on this machine, and no library is set.
    """
    threads = torch.get_num_threads()
    if setting() or compiled.loop(sparse_product.LOOP) is None:
        return False
    libraries = choice()
    with _ONE_AT_A_TIME:
        _asked[threads] = _sparse_choice(threads, (libraries["forward"], libraries["by weight"]))
    return _asked[threads][SPARSE] == "loop"


def all_chosen() -> Choice:
    """`choice`, and that for images that are mostly 0 where this process has asked for it."""
    return {**choice(), **({} if setting() else _asked.get(torch.get_num_threads(), {}))}


@lru_cache(maxsize=64)
def _choice(given: str, threads: int) -> Choice:
    there = available()
    if given or there == ("torch",):
        return dict.fromkeys(names(), given if given in there else "torch")
    return _measured_once(f"{threads}, {' or '.join(there)}", dict.fromkeys(names(), there), measured)


@lru_cache(maxsize=64)
def _sparse_choice(threads: int, libraries: tuple[str, str]) -> Choice:
    of = f"{threads}, {SPARSE} instead of {' and '.join(libraries)}"
    return _measured_once(of, {SPARSE: ("libraries", "loop")}, partial(measured_sparse, libraries))


def _measured_once(of: str, ways: Mapping[str, tuple[str, ...]], measure: Callable[[], Times]) -> Choice:
    """The fastest way of each product on this machine, as it is kept, or else measured and kept; where nothing can be
    kept, the first way of each.
    """
    machine = f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, {of}"
    with suppress(VaezooError, OSError):  # there is no home folder, no working folder, or nothing can be written
        path = user_cache() / "products" / f"{sha256(machine.encode()).hexdigest()[:16]}.json"
        return _kept(path, ways) or _measured_and_kept(path, machine, ways, measure)
    return {name: each[0] for name, each in ways.items()}


def _kept(path: Path, ways: Mapping[str, tuple[str, ...]]) -> Choice | None:
    """The choice in a file; None where there is none, or anything else is in it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))["libraries"]
        return {name: each[each.index(value[name])] for name, each in ways.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _measured_and_kept(
    path: Path, machine: str, ways: Mapping[str, tuple[str, ...]], measure: Callable[[], Times]
) -> Choice:
    """Time the products and keep the choice. Of several processes that do so at once, the first one decides for all.
    OSError where nothing can be kept; then nothing is timed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, own = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            times = measure()
            found = {name: fastest(each) for name, each in times.items()}
            rounded = {name: {which: round(1000 * s, 4) for which, s in each.items()} for name, each in times.items()}
            json.dump({"machine": machine, "libraries": found, "milliseconds": rounded}, file, indent=1)
        with suppress(OSError):  # it is there, or the file system has no links
            os.link(own, path)
        if _kept(path, ways) is None:  # it has no links, or the file is damaged
            os.replace(own, path)
        return _kept(path, ways) or found
    finally:
        with suppress(OSError):
            os.unlink(own)


def fastest(seconds: Mapping[str, float]) -> str:
    """The first way, or a later one where it is clearly faster."""
    chosen, *others = seconds
    for name in others:
        if seconds[name] < MARGIN * seconds[chosen]:
            chosen = name
    return chosen


def measured() -> Times:
    """product -> library -> the least seconds of one product of a layer of SHAPES."""
    return _timed(
        {
            (product + of + layer, name): _product(product, rows, name, *SHAPES[layer])
            for layer in SHAPES
            for of, rows in _ROWS.items()
            for product in PRODUCTS
            for name in available()
        }
    )


def measured_sparse(libraries: tuple[str, str]) -> Times:
    """SPARSE -> "libraries" or "loop" -> the least seconds of both products. libraries: those chosen."""
    inputs, outputs = SHAPES[""]
    forward, by_weight = libraries
    both = [
        _product("forward", BATCH, forward, inputs, outputs),
        _product("by weight", BATCH, by_weight, inputs, outputs),
    ]
    return _timed(
        {
            (SPARSE, "libraries"): lambda: [multiply() for multiply in both],
            (SPARSE, "loop"): _sparse_products(inputs, outputs),
        }
    )


def _timed(work: Mapping[tuple[str, str], Callable[[], Any]]) -> Times:
    """product -> way -> the least seconds of several rounds, in which all take turns, in memory that is kept, as that
    of steps and estimates is.
    """
    keep_freed_memory()
    times: dict[str, dict[str, float]] = {product: {} for product, _ in work}
    end = time.perf_counter() + SECONDS
    with torch.no_grad():
        for number in range(ROUNDS + 1):
            for (product, name), multiply in work.items():
                seconds = seconds_of(product, name, multiply)
                if number:  # the first one warms up
                    times[product][name] = min(seconds, times[product].get(name, seconds))
            if number and time.perf_counter() > end:
                break
    return times


def seconds_of(product: str, name: str, multiply: Callable[[], Any]) -> float:
    """How long one product takes, the second one in a row: as in a training step, its factors have been read not long
    before. product, name: for a test that gives other times.
    """
    multiply()
    start = time.perf_counter()
    multiply()
    return time.perf_counter() - start


def _product(product: str, rows: int, name: str, inputs: int, outputs: int) -> Callable[[], Tensor]:
    x, weight, bias, grad = (
        torch.full(shape, 0.5, dtype=torch.float32, device="cpu")
        for shape in ((rows, inputs), (outputs, inputs), (outputs,), (rows, outputs))
    )
    given: tuple[Tensor, Tensor, Tensor | None] = {
        "forward": (x, weight, bias),
        "by input": (grad, weight.t(), None),
        "by weight": (grad.t(), x.t(), None),
    }[product]
    if rows >= BOUNDARY and product == "forward":
        given = x, arranged(name, weight), bias  # as in an estimate
    return lambda: multiplied(name, *given)


def _sparse_products(inputs: int, outputs: int) -> Callable[[], Tensor]:
    chance = torch.rand(BATCH, inputs, generator=torch.Generator().manual_seed(0))
    x, weight, bias = (chance < SHARE).float(), torch.full((inputs, outputs), 0.5).t(), torch.full((outputs,), 0.5)
    grad = torch.full((BATCH, outputs), 0.5)

    def multiply() -> Tensor:
        """x W^T + b and g^T x."""
        sparse_product.forward(x, weight, bias)
        return sparse_product.by_weight(grad, x)

    return multiply
