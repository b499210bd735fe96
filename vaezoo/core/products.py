"""The product of a dense layer, by the library that is quicker at it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ONEDNN: Callable[..., Tensor] | None = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""oneDNN's x W^T + b of float32, where this build of torch has it; what torch.compile lowers a frozen layer to."""
LARGE = 2**16
"""From so many weights on it is the quicker one, whatever the batch."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`torch.nn.functional.linear`, by oneDNN where a large weight of float32 is on a CPU. [..., in] -> [..., out]

    torch has MKL multiply there, which is the slower one on processors that are not Intel's
    (`pytest benchmarks/test_speed.py -k product`). `torch.backends.mkldnn.enabled = False` gives MKL's product back,
    which is rounded otherwise.
    """
    there = ONEDNN is not None and bool(torch.backends.mkldnn.enabled)
    there = there and not torch.is_autocast_enabled("cpu")
    here = x.device.type == weight.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if there and here and weight.numel() >= LARGE and x.shape[-1:] == weight.shape[-1:]:
        value: Tensor = _Product.apply(x, weight, bias)
        return value
    return F.linear(x, weight, bias)


class QuickProducts(TorchFunctionMode):
    """Inside, every `torch.nn.functional.linear`, and so every `torch.nn.Linear`, is `linear`."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (linear if func is F.linear else func)(*args, **(kwargs or {}))


class _Product(torch.autograd.Function):
    """x W^T + b. [..., in], [out, in], [out] or None -> [..., out]"""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One operator, which has no derivatives of its own."""
        assert ONEDNN is not None
        rows = ONEDNN(x.reshape(-1, x.shape[-1]), weight, bias, "none", [], "")
        return rows.view(*x.shape[:-1], len(weight))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        """What the gradients need."""
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """By x: g W; by W: g^T x, where MKL is no slower; by b: the sum of g."""
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            _Product.apply(grad, weight.t(), None) if by_x else None,
            rows.t() @ x.reshape(-1, x.shape[-1]) if by_weight else None,
            rows.sum(0) if by_bias else None,
        )

    @staticmethod
    def jvp(ctx: Any, x_tangent: Tensor | None, weight_tangent: Tensor | None, bias_tangent: Tensor | None) -> Tensor:
        """The same, forwards."""
        x, weight = ctx.saved_tensors
        terms = [] if x_tangent is None else [_Product.apply(x_tangent, weight, None)]
        terms += [] if weight_tangent is None else [_Product.apply(x, weight_tangent, None)]
        terms += [] if bias_tangent is None else [bias_tangent.expand(*x.shape[:-1], -1)]
        return sum(terms[1:], terms[0])

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, ...], *given: Tensor | None) -> tuple[Tensor, int]:
        """Over x alone it is one larger product; else torch's, of batches."""
        x, weight, bias = (
            value if value is None or place is None else value.movedim(place, 0)
            for value, place in zip(given, places, strict=True)
        )
        assert x is not None
        assert weight is not None
        if places[0] is not None and places[1] is None and places[2] is None:
            return _Product.apply(x, weight, bias), 0
        x, weight = (
            value.expand(info.batch_size, *value.shape) if place is None else value
            for value, place in ((x, places[0]), (weight, places[1]))
        )
        rows = x.reshape(info.batch_size, -1, x.shape[-1])
        value = rows @ weight.mT if bias is None else torch.baddbmm(bias.view(-1, 1, bias.shape[-1]), rows, weight.mT)
        return value.view(*x.shape[:-1], value.shape[-1]), 0
