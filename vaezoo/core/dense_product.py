"""Products of a dense layer by a loop of vaezoo's own, which multiplies matrices as they lie in memory."""

import torch
from torch import Tensor

from vaezoo.core import compiled
from vaezoo.core.errors import VaezooError
from vaezoo.core.own_operators import operator

LOOP = "vaezoo.core._dense_loop"
"""The module whose loop multiplies in float32."""
FEWEST_ROWS, FEWEST_COLUMNS = 8, 16
"""A product with fewer rows or columns is left to the libraries."""
PANEL, TERMS, LINES = 48, 400, 128
"""The columns of a tile, and the terms and rows of which the sums are made before others are read, at most."""


def takes(x: Tensor, weight: Tensor) -> bool:
    """Whether tensors of float32 on a CPU have sizes and layouts that the loop reads, and there is a loop: the weight
    row by row or column by column, x in any layout. [..., B, in], [..., out, in]
    """
    return x.shape[-2] >= FEWEST_ROWS and takes_weight(weight)


def takes_weight(weight: Tensor) -> bool:
    """`takes` for an x of many rows."""
    return weight.shape[-2] >= FEWEST_COLUMNS and 1 in weight.stride()[-2:] and compiled.loop(LOOP) is not None


def multiplied(x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """x W^T + b, or its ReLU, of each of several seeds where there is an axis of them. [..., B, in], [..., out, in],
    [..., out] -> [..., B, out]

    Each number is b and the sums of x_1 w_1 + x_2 w_2 + ... from left to right in parts of at most TERMS terms,
    whatever the layouts, the number of rows and of columns, and the threads. x, weight, bias: float32, on a CPU.
    """
    return OPERATOR(x, weight, bias, relu)


@operator("dense_product(Tensor x, Tensor weight, Tensor? bias, bool relu=False) -> Tensor")
def _product(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool = False) -> Tensor:
    """`multiplied`, as an operator. Threads share the columns where each must arrange its part of the weight first."""
    loop = compiled.loop(LOOP)
    assert loop is not None
    (*seeds, images, inputs), (*_, outputs, terms) = x.shape, weight.shape
    plain = x.dtype is weight.dtype is torch.float32 and (bias is None or bias.dtype is torch.float32)
    if not plain or inputs != terms or (bias is not None and bias.shape != weight.shape[:-1]):
        raise VaezooError(f"the factors are {_named(x, weight, bias)}; give [B, in], [out, in] and [out] of float32")
    (*_, down, right), (*_, beside, stride) = x.stride(), weight.stride()
    by_column = beside != 1 and outputs > images
    pieces = min(torch.get_num_threads(), outputs // FEWEST_COLUMNS if by_column else images // FEWEST_ROWS)
    product = x.new_empty(*seeds, images, outputs)
    memory = x.new_empty(pieces, TERMS + LINES, PANEL)
    sizes = images, inputs, outputs, 4 * down, 4 * right, 4 * stride, 4 * beside, pieces, by_column, relu
    bias = None if bias is None else bias.contiguous()
    all_seeds = zip(x, weight, len(x) * [None] if bias is None else bias, product, strict=True) if seeds else []
    for one, other, own_bias, own in all_seeds or [(x, weight, bias, product)]:
        start = 0 if own_bias is None else own_bias.data_ptr()
        loop(one.data_ptr(), other.data_ptr(), start, own.data_ptr(), memory.data_ptr(), *sizes)
    return product


OPERATOR = _product
"""x W^T + b, or its ReLU, as an operator of torch."""


def _named(*tensors: Tensor | None) -> str:
    """Their shapes and types."""
    return ", ".join(f"{list(each.shape)} of {each.dtype}" for each in tensors if each is not None)
