"""A dense layer whose products are computed by torch's own library, oneDNN or a loop, whichever is the fastest here."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core import dense_product, products, sparse_product
from vaezoo.core.fixed_weights import laid_out
from vaezoo.core.torch_internals import mapped_once, transform_active

SPARSE = "sparse"
"""The product forward of an x that is mostly 0."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, computed by `linear`. [..., in] -> [..., out]

    sparse: whether its inputs are mostly 0 and its weight is laid out for them; the training step sets it.
    """

    sparse = False

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias, self.sparse)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, sparse: bool = False, relu: bool = False) -> Tensor:
    """x W^T + b, or with relu max(x W^T + b, 0). Where a float32 weight is on a CPU, by the library that is the fastest
    one on this machine (`core/products.py`), and its gradients too; else by torch. [..., in] -> [..., out]

    The libraries round differently. `torch.backends.mkldnn.enabled = False` leaves all products to torch, and so do
    transforms of `torch.func`, forward derivatives, autocast and compilers. Mapped over the weights of
    several seeds, the gradients come as they lie in memory, without a copy. Where torch multiplies without gradients,
    the bias is added in place; torch's own layer copies it into each row first.

    sparse: with gradients, only the numbers of x that are not 0 are multiplied (`core/sparse_product.py`), where the
    weight is laid out for that. An x that needs a gradient is no image: learned pseudo-inputs have few zeros.
    """
    compiling = torch.compiler.is_compiling()
    if not compiling and mapped_once(weight) and _accepted(x, weight, bias) and not torch.is_autocast_enabled("cpu"):
        kind = SPARSE if sparse and torch.is_grad_enabled() else "forward"
        stacked: Tensor = _Stacked.apply(x.reshape(-1, x.shape[-1]), weight, bias, kind)
        stacked = stacked.view(*x.shape[:-1], len(weight))
        return torch.relu(stacked) if relu else stacked
    if _accepted(x, weight, bias) and not _torch_must_multiply():
        rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
        images, weights = len(rows), weight.numel()
        if not torch.is_grad_enabled():
            name = products.library("forward", images, weights)
            fixed = laid_out(name, weight) if name != "torch" and images >= products.BOUNDARY else weight
            rows = products.multiplied(name, rows, fixed, bias, relu)
        elif sparse and not x.requires_grad and sparse_product.takes(rows, weight):
            rows = _SparseProduct.apply(rows, weight, bias, relu)
        elif weights >= products.LARGE or products.leaves_torch(images, weights):
            rows = _Product.apply(rows, weight, bias, "forward", relu)
        else:
            return _by_torch(x, weight, bias, relu)
        return rows if x.dim() == 2 else rows.view(*x.shape[:-1], len(weight))
    return _by_torch(x, weight, bias, relu)


def _by_torch(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """`linear`, by torch's operators."""
    value = F.linear(x, weight, bias)
    return torch.relu(value) if relu else value


def _accepted(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether type, layout and shapes are ones that oneDNN multiplies rightly. oneDNN does not check them itself."""
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return (
        all(type(each) in (Tensor, nn.Parameter) and each.layout == torch.strided for each in tensors)
        and not x.is_nested
        and x.numel() > 0
        and all(each.dtype == torch.float32 and each.device.type == "cpu" for each in tensors)
        and weight.dim() == 2
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or (bias.shape == weight.shape[:1] and bias.is_contiguous()))
    )


def _torch_must_multiply() -> bool:
    """Whether a transform, autocast or a compiler needs torch's operators, or oneDNN is switched off."""
    return (
        not torch.backends.mkldnn.enabled
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or transform_active()
    )


def _product(kind: str, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b as one of the products of a layer. [B, in], [out, in], [out] -> [B, out]"""
    if _accepted(x, weight, bias) and not _torch_must_multiply():
        value: Tensor = _Product.apply(x, weight, bias, kind, False)
        return value
    return F.linear(x, weight, bias)


def _stacked_product(kind: str, x: Tensor, weight: Tensor) -> Tensor:
    """x W^T of each seed, whose derivatives are such products again. Under a transform by torch, which maps its own."""
    value: Tensor = torch.bmm(x, weight.mT) if transform_active() else _Stacked.apply(x, weight, None, kind)
    return value


def _each_product(kind: str, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b of each of S seeds as one of the products of a layer. [S, B, in], [S, out, in], [S, out] -> [S, B, out]

    Where it is oneDNN, it multiplies seed by seed: torch's product of all seeds is its own library's.
    """
    factors = [x, weight] if bias is None else [x, weight, bias]
    seeds = list(zip(*(tensor.unbind() for tensor in factors), strict=True))
    if seeds and all(_accepted(*one) for one in seeds) and not _torch_must_multiply():
        name = products.library(kind, *_sizes(kind, x[0], weight[0]))
        if name == "loop" and dense_product.takes(x, weight):
            return dense_product.multiplied(x, weight, bias)
        if name == "onednn":
            value = x.new_empty(len(x), x.shape[1], weight.shape[1])
            for own, one in zip(value, seeds, strict=True):
                own.copy_(products.multiplied(name, *one))
            return value
    value = torch.bmm(x, weight.mT)
    return value if bias is None else value.add_(bias.unsqueeze(1))


def _sizes(kind: str, x: Tensor, weight: Tensor) -> tuple[int, int]:
    """The rows and the weights of a layer, of one of whose products these are the factors."""
    return (x.shape[1], len(x) * len(weight)) if kind == "by weight" else (len(x), weight.numel())


class _Product(torch.autograd.Function):
    """x W^T + b, or its ReLU, by the chosen library, and its derivatives by theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, kind: str, relu: bool) -> Tensor:
        """The product. It saves x only where the weight needs a gradient, and the weight only where x does."""
        by_x, by_weight, *_ = ctx.needs_input_grad
        name = products.library(kind, *_sizes(kind, x, weight))
        value = products.multiplied(name, x, weight, bias, relu)
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None, value if relu else None)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of the gradient g, which is 0 where the ReLU is: by x: g W. By W: g^T x. By b: the sum of g."""
        x, weight, value = ctx.saved_tensors
        grad = _through_relu(grad, value)
        return (
            None if weight is None else _product("by input", grad, weight.t()),
            None if x is None else _product("by weight", grad.t(), x.t()),
            grad.sum(0) if ctx.needs_input_grad[2] else None,
            None,
            None,
        )


class _SparseProduct(torch.autograd.Function):
    """x W^T + b, or its ReLU, of images that are mostly 0, with a weight that is laid out for them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        """The product. It saves x only where the weight needs a gradient."""
        value = sparse_product.forward(x, weight, bias)
        value = torch.relu_(value) if relu else value
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, value if relu else None)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """As in `_Product`. By W: g^T x, by a library where it is differentiated again."""
        x, value = ctx.saved_tensors
        grad = _through_relu(grad, value)
        by_weight = None
        if x is not None:
            again = torch.is_grad_enabled() or transform_active()
            by_weight = _product("by weight", grad.t(), x.t()) if again else sparse_product.by_weight(grad, x)
        return None, by_weight, grad.sum(0) if ctx.needs_input_grad[2] else None, None


def _through_relu(grad: Tensor, value: Tensor | None) -> Tensor:
    """The gradient before a ReLU with this value; there is none where it is None."""
    if value is None:
        return grad
    before: Tensor = torch.ops.aten.threshold_backward(grad, value, 0)
    return before


class _Stacked(torch.autograd.Function):
    """x W^T + b of each of S seeds at once. It is applied under `torch.vmap`, whose rule gives it all seeds."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, kind: str) -> Tensor:
        """[S, B, in], [S, out, in], [S, out] -> [S, B, out]"""
        if kind == SPARSE and sparse_product.takes(x, weight):
            return sparse_product.forward(x, weight, bias)
        return _each_product("forward" if kind == SPARSE else kind, x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None, str], output: Tensor) -> None:
        """Saves x only where the weight needs a gradient, and the weight only where x does."""
        by_x, by_weight, *_ = ctx.needs_input_grad
        x, weight, _, kind = inputs
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        ctx.sparse = kind == SPARSE and sparse_product.takes(x, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """By x: g W. By W: g^T x. By b: the sum of g."""
        x, weight = ctx.saved_tensors
        by_weight = None
        if x is not None:
            sparse = ctx.sparse and not torch.is_grad_enabled() and not transform_active()
            by_weight = sparse_product.by_weight(grad, x) if sparse else _stacked_product("by weight", grad.mT, x.mT)
        return (
            None if weight is None else _stacked_product("by input", grad, weight.mT),
            by_weight,
            grad.sum(1) if ctx.needs_input_grad[2] else None,
            None,
        )

    @staticmethod
    def vmap(
        info: Any, places: tuple[int | None, ...], x: Tensor, weight: Tensor, bias: Tensor | None, kind: str
    ) -> tuple[Tensor, int]:
        """All seeds at once. places: of the axis of seeds of each tensor; None where all seeds share it."""
        first = [
            each
            if each is None
            else each.movedim(at, 0)
            if at is not None
            else each.expand(info.batch_size, *each.shape)
            for each, at in zip((x, weight, bias), places[:3], strict=True)
        ]
        if kind == SPARSE and x.requires_grad:
            kind = "forward"
        value: Tensor = _Stacked.apply(*first, kind)
        return value, 0
