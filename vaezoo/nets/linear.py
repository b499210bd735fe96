"""The product of a dense layer, by the library that is quicker at it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.torch_internals import transformed

ONEDNN: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""oneDNN's x W^T + b of float32, where this build of torch has it; what torch.compile lowers a frozen layer to."""
LARGE = 2**16
"""From so many weights on it is the quicker one, whatever the batch."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`. [..., in] -> [..., out]"""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, by oneDNN where a large weight of float32 is on a CPU. [..., in] -> [..., out]

    torch has MKL multiply there, which is the slower one on processors that are not Intel's
    (`pytest benchmarks/test_speed.py -k product`). `torch.backends.mkldnn.enabled = False` gives MKL's product back,
    which is rounded otherwise. Transforms of `torch.func`, forward derivatives, autocast and compilers see torch's own.
    """
    if _plain(x, weight, bias) and not _watched():
        rows: Tensor = _Product.apply(x if x.dim() == 2 else x.reshape(-1, x.shape[-1]), weight, bias)
        return rows if x.dim() == 2 else rows.view(*x.shape[:-1], len(weight))
    return F.linear(x, weight, bias)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN can be handed these: it takes memory as it is told."""
    given = [x, weight] if bias is None else [x, weight, bias]
    return (
        all(type(each) in (Tensor, nn.Parameter) and each.layout == torch.strided for each in given)
        and not x.is_nested
        and all(each.dtype == torch.float32 and each.device.type == "cpu" for each in given)
        and weight.dim() == 2
        and weight.numel() >= LARGE
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or (bias.shape == weight.shape[:1] and bias.is_contiguous()))
    )


def _watched() -> bool:
    """Whether something wants to see the operators of torch itself, or oneDNN is not there or switched off."""
    return (
        ONEDNN is None
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or transformed()
    )


class _Product(torch.autograd.Function):
    """x W^T + b. [B, in], [out, in], [out] or None -> [B, out]"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One operator, which has no derivatives of its own."""
        assert ONEDNN is not None
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        return ONEDNN(x, weight, bias, "none", [], "")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """By x: g W; by W: g^T x, where MKL is no slower; by b: the sum of g."""
        x, weight = ctx.saved_tensors
        return (
            None if weight is None else linear(grad, weight.t()),
            None if x is None else grad.t() @ x,
            grad.sum(0) if ctx.needs_input_grad[2] else None,
        )
