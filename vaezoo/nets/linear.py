"""A dense layer whose product is computed by oneDNN or by torch's own library, whichever is faster."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.torch_internals import onednn_linear, transform_active

LARGE = 2**16
"""Number of weights from which on oneDNN is faster at every batch size."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`. [..., in] -> [..., out]"""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, by oneDNN where a large float32 weight is on a CPU, else by torch. [..., in] -> [..., out]

    torch multiplies with MKL there, which is slower on processors that Intel did not make
    (`pytest benchmarks/test_speed.py -k product`). `torch.backends.mkldnn.enabled = False` brings MKL back; the two
    round differently. Transforms of `torch.func`, forward derivatives, autocast and compilers get torch's operators.
    """
    if _onednn_accepts(x, weight, bias) and not _torch_must_multiply():
        rows: Tensor = _Product.apply(x if x.dim() == 2 else x.reshape(-1, x.shape[-1]), weight, bias)
        return rows if x.dim() == 2 else rows.view(*x.shape[:-1], len(weight))
    return F.linear(x, weight, bias)


def _onednn_accepts(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether type, layout and shapes are ones that oneDNN multiplies rightly. oneDNN does not check them itself."""
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        all(type(each) in (Tensor, nn.Parameter) and each.layout == torch.strided for each in tensors)
        and not x.is_nested
        and all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
        and weight.dim() == 2
        and weight.numel() >= LARGE
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or (bias.shape == weight.shape[:1] and bias.is_contiguous()))
    )


def _torch_must_multiply() -> bool:
    """Whether a transform, autocast or a compiler needs torch's operators, or oneDNN is missing or switched off."""
    return (
        onednn_linear() is None
        or not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or transform_active()
    )


class _Product(torch.autograd.Function):
    """oneDNN's x W^T + b, with the derivatives that its operator lacks. [B, in], [out, in], [out] -> [B, out]"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product. It saves x only where the weight needs a gradient, and the weight only where x does."""
        multiply = onednn_linear()
        assert multiply is not None
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        return multiply(x, weight, bias, "none", [], "")

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """By x: g W. By W: g^T x, computed by MKL, which is as fast there. By b: the sum of g."""
        x, weight = ctx.saved_tensors
        return (
            None if weight is None else linear(grad, weight.t()),
            None if x is None else grad.t() @ x,
            grad.sum(0) if ctx.needs_input_grad[2] else None,
        )
