"""Steps of a diagonal Gaussian that a compiled loop takes in one pass over the numbers, and torch's operators in many.

In float32 on a CPU, where there is a loop. Elsewhere torch's operators compute the same (`vaezoo/core/gaussian.py`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.core import compiled
from vaezoo.core.own_operators import operator
from vaezoo.core.torch_internals import mapped_once, transform_active

LOOP = "vaezoo.core._passes_loop"
"""The module whose loop takes the passes. It is as exact as the operators, and rounds otherwise."""
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


def takes(first: Tensor, *others: Tensor) -> bool:
    """Whether the loop computes with these tensors, each of which ends with the first one's shape."""
    tensors = (first, *others)
    return (
        all(
            type(each) in (Tensor, nn.Parameter)
            and each.dtype == torch.float32
            and each.device.type == "cpu"
            and each.layout == torch.strided
            for each in tensors
        )
        and all(each.shape[max(0, each.dim() - first.dim()) :] == first.shape for each in others)
        and tensors[-1].numel() > 0
        and (not transform_active() or any(mapped_once(each) for each in tensors))
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and compiled.loop(LOOP) is not None
    )


Sizes = tuple[int, int, int]
"""R, N, and K: how many rows of one tensor share a row of another."""


def _run(which: int, one: Tensor, two: Tensor, three: Tensor, four: int, five: int, sizes: Sizes) -> None:
    """Take one pass over contiguous tensors. four, five: addresses of more, or 0."""
    loop = compiled.loop(LOOP, alone=sizes[0] * sizes[1] * sizes[2] < ALONE)
    assert loop is not None
    assert one.dtype is two.dtype is three.dtype is torch.float32
    loop(which, one.data_ptr(), two.data_ptr(), three.data_ptr(), four, five, *sizes)


@operator("gaussian_bounded(Tensor params) -> (Tensor, Tensor)")
def _bounded(params: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of the last axis, the second one bounded. [..., 2 Z] -> [..., Z] each"""
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
    by_mean, by_log_std, params = by_mean.contiguous(), by_log_std.contiguous(), params.contiguous()
    by_params, both = torch.empty_like(params), params.shape[-1]
    sizes = params.numel() // both, both // 2, 1
    _run(BOUNDED_BACK, by_mean, by_log_std, params, by_params.data_ptr(), 0, sizes)
    return by_params


@operator("gaussian_placed(Tensor mean, Tensor log_std, Tensor eps, int groups) -> Tensor")
def _placed(mean: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> Tensor:
    """mean + e^log_std eps, where each group of eps has K times the numbers of one of the mean."""
    mean, log_std, eps = mean.contiguous(), log_std.contiguous(), eps.contiguous()
    z, numbers = torch.empty_like(eps), mean.numel()
    share = eps.numel() // numbers
    _run(PLACED, mean, log_std, eps, z.data_ptr(), 0, (groups * share, numbers // groups, share))
    return z


@operator("gaussian_placed_back(Tensor grad, Tensor log_std, Tensor eps, int groups) -> (Tensor, Tensor)")
def _placed_back(grad: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """The gradients by mean and log_std."""
    grad, log_std, eps = grad.contiguous(), log_std.contiguous(), eps.contiguous()
    by_mean, by_log_std, numbers = torch.empty_like(log_std), torch.empty_like(log_std), log_std.numel()
    sizes = groups, numbers // groups, eps.numel() // numbers
    _run(PLACED_BACK, grad, log_std, eps, by_mean.data_ptr(), by_log_std.data_ptr(), sizes)
    return by_mean, by_log_std


@operator("gaussian_kl(Tensor mean, Tensor log_std) -> Tensor")
def _kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(q || N(0, I)) of each dimension."""
    mean, log_std = mean.contiguous(), log_std.contiguous()
    kl = torch.empty_like(mean)
    _run(KL, mean, log_std, kl, 0, 0, (1, kl.numel(), 1))
    return kl


@operator("gaussian_kl_back(Tensor grad, Tensor mean, Tensor log_std) -> (Tensor, Tensor)")
def _kl_back(grad: Tensor, mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by mean and log_std."""
    grad, mean, log_std = grad.contiguous(), mean.contiguous(), log_std.contiguous()
    by_mean, by_log_std = torch.empty_like(mean), torch.empty_like(mean)
    _run(KL_BACK, grad, mean, log_std, by_mean.data_ptr(), by_log_std.data_ptr(), (1, mean.numel(), 1))
    return by_mean, by_log_std


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
        return _bounded(params)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        """Saves the parameters."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, by_mean: Tensor, by_log_std: Tensor) -> Tensor:
        """1 for the mean and where log_std is the identity; beyond, 1 / (1 + t)^2."""
        [params] = ctx.saved_tensors
        if not _differentiated_again():
            return _bounded_back(by_mean, by_log_std, params)
        raw = params[..., params.shape[-1] // 2 :]
        beyond = (raw.abs() - LOG_STD_AS_GIVEN).clamp(min=0)
        return torch.cat([by_mean, by_log_std / (1 + beyond).square()], -1)

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, ...], params: Tensor) -> tuple[Any, Any]:
        """The mapped axis is one more before the others."""
        return Bounded.apply(*_mapped_first(info, places, [params])), (0, 0)


class Placed(torch.autograd.Function):
    """z = mean + e^log_std eps for K samples of eps: [*N], [*N], [K, *N] -> [K, *N], or without an axis of K.

    groups: how many groups there are along the first axis of all three, 1 where it is no axis of groups.
    """

    @staticmethod
    def forward(mean: Tensor, log_std: Tensor, eps: Tensor, groups: int) -> Tensor:
        """The samples."""
        return _placed(mean, log_std, eps, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int], output: Tensor) -> None:
        """Saves log_std and eps."""
        _, log_std, eps, ctx.groups = inputs
        ctx.save_for_backward(log_std, eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """By the mean: the sum of g over the samples. By log_std: e^log_std times the sum of g eps."""
        log_std, eps = ctx.saved_tensors
        if not _differentiated_again():
            return *_placed_back(grad, log_std, eps, ctx.groups), None, None
        samples = (ctx.groups, -1, log_std.numel() // ctx.groups)
        by_mean, by_std = (each.reshape(samples).sum(1).view_as(log_std) for each in (grad, grad * eps))
        return by_mean, by_std * log_std.exp(), None, None

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
        """Saves both."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """By the mean: the mean. By log_std: e^(2 log_std) - 1."""
        mean, log_std = ctx.saved_tensors
        if not _differentiated_again():
            return _kl_back(grad, mean, log_std)
        return grad * mean, grad * ((2 * log_std).exp() - 1)

    @staticmethod
    def vmap(info: Any, places: tuple[int | None, ...], mean: Tensor, log_std: Tensor) -> tuple[Tensor, int]:
        """The mapped axis is one more before the others."""
        value: Tensor = StandardKL.apply(*_mapped_first(info, places, [mean, log_std]))
        return value, 0
