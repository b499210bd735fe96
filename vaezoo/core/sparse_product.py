"""Products of a dense layer whose inputs are mostly 0, as the pixels of digits are: only the others are multiplied."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import compiled
from vaezoo.core.errors import VaezooError
from vaezoo.core.own_operators import operator

LOOP = "vaezoo.core._sparse_loop"
"""The module whose loop multiplies. In float32 it is as exact as a library, rounded otherwise."""
FEWEST = 32
"""A layer with fewer inputs or outputs is left to the libraries."""
COLUMNS = 16
"""The numbers in a line of the cache: the columns of x of which the loop lists the places at once."""


def takes(x: Tensor, weight: Tensor) -> bool:
    """Whether tensors of float32 on a CPU lie in memory as the loop reads them, and there is a loop: x row by row, the
    weight column by column. [..., B, in], [..., out, in]
    """
    return (
        x.dim() == weight.dim()
        and x.is_contiguous()
        and weight.mT.is_contiguous()
        and min(weight.shape[-2:]) >= FEWEST
        and compiled.loop(LOOP) is not None
    )


def lay_out(weight: Tensor) -> None:
    """Lay a weight [out, in] out in memory as the loop reads it."""
    weight.data = weight.data.t().contiguous().t()


def forward(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, of each of several seeds where there is an axis of them. A 0 of x times a weight that is not finite is
    0 here. [..., B, in], [..., out, in], [..., out] -> [..., B, out]
    """
    product: Tensor = OPERATORS[0](x, weight, bias)
    return product


def by_weight(grad: Tensor, x: Tensor) -> Tensor:
    """g^T x, the gradient by the weight, laid out as the weight is. [..., B, out], [..., B, in] -> [..., out, in]"""
    product: Tensor = OPERATORS[1](grad, x)
    return product


@operator("sparse_forward(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
def _forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`forward`, as an operator."""
    images, inputs = x.shape[-2:]
    product = x.new_empty(*x.shape[:-1], weight.shape[-2])
    start = x.new_zeros(weight.shape[:-1]) if bias is None else bias.contiguous()
    _run(x, weight.mT, start, product, x.new_empty(images, inputs, dtype=torch.int32), False)
    return product


@operator("sparse_by_weight(Tensor grad, Tensor x) -> Tensor")
def _by_weight(grad: Tensor, x: Tensor) -> Tensor:
    """`by_weight`, as an operator. The loop reads rows that begin with a line of the cache faster."""
    images, inputs, outputs = *x.shape[-2:], grad.shape[-1]
    product = x.new_empty(*x.shape[:-2], inputs, outputs)
    lists = x.new_empty(torch.get_num_threads() * COLUMNS, images, dtype=torch.int32)
    lines = F.pad(grad, (0, -outputs % COLUMNS)) if outputs % COLUMNS else grad.contiguous()
    _run(x, lines, x.new_zeros(*x.shape[:-2], outputs), product, lists, True)
    return product.mT


OPERATORS = _forward, _by_weight
"""x W^T + b and g^T x, as operators of torch."""


def _run(x: Tensor, factor: Tensor, start: Tensor, product: Tensor, lists: Tensor, by_weight: bool) -> None:
    """The loop on the tensors of each seed, a piece of the product's rows for each thread. lists: its scratch."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    tensors = (x, factor, start, product)
    if not all(each.is_contiguous() and each.dtype == torch.float32 for each in tensors):
        raise VaezooError(
            "the weight of the first layer has been laid out anew since its training step was made; make the step anew"
        )
    pieces = min(torch.get_num_threads(), product.shape[-2])
    counts = lists.new_empty(len(lists))
    sizes = *x.shape[-2:], product.shape[-1], factor.shape[-1], pieces, by_weight
    addresses = [each.data_ptr() for each in tensors]
    seeds = len(x) if x.dim() == 3 else 1
    for seed in range(seeds):
        own = (begin + 4 * seed * (each.numel() // seeds) for begin, each in zip(addresses, tensors, strict=True))
        loop(*own, lists.data_ptr(), counts.data_ptr(), *sizes)
