"""Steps of a diagonal Gaussian that a compiled loop takes in one pass over the numbers, and torch's operators in many.

In float32 on a CPU, where there is a loop. Elsewhere torch's operators compute the same (`vaezoo/core/gaussian.py`).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import compiled
from vaezoo.core.errors import VaezooError
from vaezoo.core.own_operators import operator
from vaezoo.core.torch_internals import mapped_once, transform_active

LOOP = "vaezoo.core._passes_loop"
"""The module whose loop takes the passes. It rounds otherwise than the operators."""
ALONE = 2**15
"""Fewer numbers are taken by one thread."""
LOG_STD_AS_GIVEN = 7.0
"""Up to this size a log standard deviation is what the network gave; beyond, it approaches 1 more."""
BOUNDED, BOUNDED_BACK, PLACED, PLACED_BACK, KL, KL_BACK = range(6)
"""The passes, with the tensors of each in the loop's order, R rows of N numbers:

BOUNDED: params [R, 2 N] -> mean, log_std [R, N].
BOUNDED_BACK: gradients by mean and by log_std [R, N], params -> by params [R, 2 N].
PLACED: mean, log_std [R / K, N], eps [R, N] -> z [R, N].
PLACED_BACK: gradient by z [R K, N], log_std [R, N], eps [R K, N] -> by mean, by log_std [R, N].
KL: mean, log_std -> KL(q || N(0, I)) of each dimension. [R, N] each.
KL_BACK: gradient by the KL, mean, log_std -> by mean, by log_std. [R, N] each.
"""


def takes(first: Tensor, second: Tensor | None = None, samples: Tensor | None = None) -> bool:
    """Whether the loop computes with a network's output [..., 2 Z], or with a mean and a log_std of one shape, and with
    samples whose last axes have that shape.
    """
    tensors = [each for each in (first, second, samples) if each is not None]
    shape = first.shape
    return (
        all(
            type(each) in (Tensor, nn.Parameter)
            and each.dtype == torch.float32
            and each.device.type == "cpu"
            and each.layout == torch.strided
            and each.numel() > 0
            and not (each.is_inference() and torch.is_grad_enabled())
            for each in tensors
        )
        and (second.shape == shape if second is not None else first.dim() > 0 and shape[-1] % 2 == 0)
        and (samples is None or samples.shape[max(0, samples.dim() - len(shape)) :] == shape)
        and (not transform_active() or any(mapped_once(each) for each in tensors))
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and compiled.loop(LOOP) is not None
        and compiled.loop(LOOP, alone=True) is not None
    )


Sizes = tuple[int, int, int]
"""R, N, and K: how many rows of one tensor share a row of another."""


def _run(which: int, one: Tensor, two: Tensor, three: Tensor, four: int, five: int, sizes: Sizes) -> None:
    """Take one pass over contiguous tensors. four, five: addresses of more, or 0. VaezooError for other numbers."""
    if not one.dtype is two.dtype is three.dtype is torch.float32:
        raise VaezooError(f"a pass takes float32, got {one.dtype}, {two.dtype} and {three.dtype}")
    if 0 in sizes:
        return
    loop = compiled.loop(LOOP, alone=sizes[0] * sizes[1] * sizes[2] < ALONE)
    assert loop is not None
    loop(which, one.data_ptr(), two.data_ptr(), three.data_ptr(), four, five, *sizes)


def _check(fits: bool, *tensors: Tensor) -> None:
    """VaezooError where shapes do not fit: the loop would read what is beside them in memory."""
    if not fits:
        raise VaezooError(f"the shapes {', '.join(str(list(each.shape)) for each in tensors)} do not fit")


@operator("gaussian_bounded(Tensor params) -> (Tensor, Tensor)")
def _bounded(params: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of the last axis, the second one bounded. [..., 2 Z] -> [..., Z] each"""
    _check(params.dim() > 0 and params.shape[-1] % 2 == 0 and params.numel() > 0, params)
    params = params.contiguous()
    *shape, both = params.shape
    shape.append(both // 2)
    mean = torch.empty(shape, dtype=params.dtype, device=params.device)
    log_std = torch.empty_like(mean)
    _run(BOUNDED, params, mean, log_std, 0, 0, (params.numel() // both, both // 2, 1))
    return mean, log_std


@operator("gaussian_bounded_back(Tensor by_mean, Tensor by_log_std, Tensor params) -> Tensor")
def _bounded_back(by_mean: Tensor, by_log_std: Tensor, params: Tensor) -> Tensor:
    """The gradient by the parameters. [..., Z] each, [..., 2 Z] -> [..., 2 Z]"""
    _check(by_mean.shape == by_log_std.shape and 2 * by_mean.numel() == params.numel() > 0, by_mean, by_log_std, params)
    by_mean, by_log_std, params = by_mean.contiguous(), by_log_std.contiguous(), params.contiguous()
    by_params, both = torch.empty_like(params), params.shape[-1]
    sizes = params.numel() // both, both // 2, 1
    _run(BOUNDED_BACK, by_mean, by_log_std, params, by_params.data_ptr(), 0, sizes)
    return by_params


@operator("gaussian_placed(Tensor mean, Tensor log_std, Tensor eps, int groups) -> Tensor")
def _placed(mean: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> Tensor:
    """mean + e^log_std eps. Each group of eps holds K samples of the same group of the mean."""
    _check(mean.shape == log_std.shape and _grouped(mean, eps, groups), mean, log_std, eps)
    mean, log_std, eps = mean.contiguous(), log_std.contiguous(), eps.contiguous()
    z, numbers = torch.empty_like(eps), mean.numel()
    share = eps.numel() // numbers
    _run(PLACED, mean, log_std, eps, z.data_ptr(), 0, (groups * share, numbers // groups, share))
    return z


@operator("gaussian_placed_back(Tensor grad, Tensor log_std, Tensor eps, int groups) -> (Tensor, Tensor)")
def _placed_back(grad: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """The gradients by mean and log_std."""
    _check(grad.shape == eps.shape and _grouped(log_std, eps, groups), grad, log_std, eps)
    grad, log_std, eps = grad.contiguous(), log_std.contiguous(), eps.contiguous()
    by_mean, by_log_std, numbers = torch.empty_like(log_std), torch.empty_like(log_std), log_std.numel()
    sizes = groups, numbers // groups, eps.numel() // numbers
    _run(PLACED_BACK, grad, log_std, eps, by_mean.data_ptr(), by_log_std.data_ptr(), sizes)
    return by_mean, by_log_std


@operator("gaussian_kl(Tensor mean, Tensor log_std) -> Tensor")
def _kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(q || N(0, I)) of each dimension."""
    _check(mean.shape == log_std.shape, mean, log_std)
    mean, log_std = mean.contiguous(), log_std.contiguous()
    kl = torch.empty_like(mean)
    _run(KL, mean, log_std, kl, 0, 0, (1, kl.numel(), 1))
    return kl


@operator("gaussian_kl_back(Tensor grad, Tensor mean, Tensor log_std) -> (Tensor, Tensor)")
def _kl_back(grad: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by mean and log_std."""
    _check(grad.shape == mean.shape == log_std.shape, grad, mean, log_std)
    grad, mean, log_std = grad.contiguous(), mean.contiguous(), log_std.contiguous()
    by_mean, by_log_std = torch.empty_like(mean), torch.empty_like(mean)
    _run(KL_BACK, grad, mean, log_std, by_mean.data_ptr(), by_log_std.data_ptr(), (1, mean.numel(), 1))
    return by_mean, by_log_std


def _grouped(one: Tensor, many: Tensor, groups: int) -> bool:
    """Whether each group of `many` holds whole samples of a group of `one`."""
    return one.numel() > 0 and one.numel() % groups == 0 and many.numel() % one.numel() == 0


def _differentiated_again() -> bool:
    """Whether a gradient is differentiated itself, for which torch's operators compute it."""
    return torch.is_grad_enabled() or transform_active()


def _mapped_first(info: Any, places: Sequence[int | None], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors with the axis that `torch.vmap` maps as their first one."""
    return [
        each.expand(info.batch_size, *each.shape) if at is None else each.movedim(at, 0)
        for each, at in zip(tensors, places, strict=True)
    ]


class Bounded(torch.autograd.Function):
    """A network's output [..., 2 Z] -> mean and bounded log_std [..., Z], see `gaussian.bounded_log_std`."""

    @staticmethod
    def forward(params: Tensor) -> tuple[Tensor, Tensor]:
        """Both, in one pass."""
        return _bounded(params) if params.numel() else _halves(params)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Saves the parameters."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, by_mean: Tensor | None, by_log_std: Tensor | None) -> Tensor | None:
        """1 for the mean and where log_std is the identity; beyond, 1 / (1 + t)^2."""
        [params] = ctx.saved_tensors
        if by_mean is not None and by_log_std is not None and not _differentiated_again() and params.numel():
            return _bounded_back(by_mean, by_log_std, params)
        mean, raw = _halves(params)
        if by_log_std is not None:
            by_log_std = by_log_std / (1 + (raw.abs() - LOG_STD_AS_GIVEN).clamp(min=0)).square()
        halves = zip((by_mean, by_log_std), (mean, raw), strict=True)
        return torch.cat([torch.zeros_like(half) if grad is None else grad for grad, half in halves], -1)

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, ...], params: Tensor) -> tuple[Any, Any]:
        """The mapped axis is one more before the others."""
        return Bounded.apply(*_mapped_first(info, places, [params])), (0, 0)


def _halves(params: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of the last axis."""
    half = params.shape[-1] // 2
    return params[..., :half], params[..., half:]


class Placed(torch.autograd.Function):
    """z = mean + e^log_std eps for K samples of eps: [*N], [*N], [K, *N] -> [K, *N], or without an axis of K.

    groups: how many groups there are along the first axis of all three, 1 where it is no axis of groups. A gradient by
    the mean or by log_std is the sum of those of the K samples, one after another.
    """

    @staticmethod
    def forward(mean: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> Tensor:
        """The samples."""
        return _placed(mean, log_std, eps, groups) if eps.numel() else torch.empty_like(eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        """Saves what the gradients that are needed need."""
        mean, log_std, eps, ctx.groups = inputs
        _, by_log_std, by_eps, _ = ctx.needs_input_grad
        ctx.shape = mean.shape
        ctx.save_for_backward(log_std if by_log_std or by_eps else None, eps if by_log_std else None)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """By mean, log_std and eps: the sum of g over the samples, e^log_std times that of g eps, and g e^log_std."""
        log_std, eps = ctx.saved_tensors
        mean_too, log_std_too, eps_too, _ = ctx.needs_input_grad
        if mean_too and log_std_too and not eps_too and not _differentiated_again() and grad.numel():
            return *_placed_back(grad, log_std, eps, ctx.groups), None, None
        samples = (ctx.groups, -1, math.prod(ctx.shape) // max(1, ctx.groups))
        by_mean = grad.reshape(samples).sum(1).view(ctx.shape) if mean_too and grad.numel() else None
        by_log_std = by_eps = None
        if log_std_too and grad.numel():
            by_log_std = (grad * eps).reshape(samples).sum(1).view(ctx.shape) * log_std.exp()
        if eps_too and grad.numel():
            std = log_std.exp().view(ctx.groups, 1, -1)
            by_eps = (grad.reshape(samples) * std).view(grad.shape)
        return by_mean, by_log_std, by_eps, None

    @staticmethod
    def vmap(
        info: Any, places: tuple[int | None, ...], mean: Tensor, log_std: Tensor, eps: Tensor, groups: int
    ) -> tuple[Tensor, int]:
        """One more axis of groups before the others."""
        tensors = _mapped_first(info, places[:3], [mean, log_std, eps])
        value: Tensor = Placed.apply(*tensors, info.batch_size * groups)
        return value, 0


class StandardKL(torch.autograd.Function):
    """KL(q || N(0, I)) of each dimension: 0.5 (mean^2 + e^(2 log_std) - 1) - log_std. [*N], [*N] -> [*N]"""

    @staticmethod
    def forward(mean: Tensor, log_std: Tensor) -> Tensor:
        """In nats."""
        return _kl(mean, log_std)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Saves those of which a gradient is needed."""
        ctx.save_for_backward(
            *(each if needed else None for each, needed in zip(inputs, ctx.needs_input_grad, strict=True))
        )

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """By the mean: the mean. By log_std: e^(2 log_std) - 1."""
        mean, log_std = ctx.saved_tensors
        if mean is not None and log_std is not None and not _differentiated_again():
            return _kl_back(grad, mean, log_std)
        return None if mean is None else grad * mean, None if log_std is None else grad * ((2 * log_std).exp() - 1)

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, ...], mean: Tensor, log_std: Tensor) -> tuple[Tensor, int]:
        """The mapped axis is one more before the others."""
        value: Tensor = StandardKL.apply(*_mapped_first(info, places, [mean, log_std]))
        return value, 0
