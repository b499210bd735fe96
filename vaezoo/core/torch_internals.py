"""The private parts of torch that vaezoo uses, each with a fall-back. No other file names them.

Private parts change without notice. So each one is looked up inside the function that needs it, and where a version of
torch does not have it, the function gives an answer that is right, though slower.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from inspect import unwrap
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

OperatorHandler = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""(operator, arguments, keyword arguments) -> the operator's result."""
_HOOKS = ("forward", "forward_pre", "backward", "backward_pre")
_OVERLOAD = type(torch.ops.aten.detach.default)


def transform_active() -> bool:
    """Whether `torch.func` maps or differentiates the current code, or forward derivatives are taken.

    True where this torch does not tell: callers then use torch's own operators, which all transforms understand.
    """
    try:
        return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0
    except AttributeError:
        return True


def forward_derivative_active() -> bool:
    """Whether a forward derivative is taken here: by `torch.func.jvp`, by what is built on it, or by dual numbers.

    The forward rule of an `autograd.Function` gives wrong numbers, without an error, where such derivatives are nested.
    True where this torch does not tell: callers then use torch's own operators.
    """
    try:
        from torch._C._functorch import TransformType, get_interpreter_stack

        stack = get_interpreter_stack() or ()
        return forward_ad._current_level >= 0 or any(layer.key() == TransformType.Jvp for layer in stack)
    except (ImportError, AttributeError):
        return True


def mapped_once(tensor: Tensor) -> bool:
    """Whether one `torch.vmap` is active, no other transform is, and it maps over this tensor.

    False where this torch does not tell: callers then use torch's own operators.
    """
    try:
        from torch._C._functorch import TransformType, get_interpreter_stack, is_batchedtensor

        stack = get_interpreter_stack() or ()
        only = len(stack) == 1 and stack[0].key() == TransformType.Vmap
        return only and forward_ad._current_level < 0 and bool(is_batchedtensor(tensor))
    except (ImportError, AttributeError):
        return False


@lru_cache(maxsize=1)
def onednn_linear() -> Callable[..., Tensor] | None:
    """oneDNN's x W^T + b of float32, the operator that `torch.compile` uses for a frozen layer. None where this build
    of torch does not have it.
    """
    return cast("Callable[..., Tensor] | None", getattr(torch.ops.mkldnn, "_linear_pointwise", None))


@lru_cache(maxsize=1)
def onednn_layout() -> Callable[[Tensor], Tensor] | None:
    """Arranges a float32 weight [out, in] as `onednn_linear` reads it. None where this build of torch does not."""
    arrange = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    return None if onednn_linear() is None else cast("Callable[[Tensor], Tensor] | None", arrange)


def watched(module: nn.Module) -> bool:
    """Whether anything sees what goes into a module or comes out of it, or their gradients: hooks, a `forward` that was
    replaced, a compiler, or a transform of `torch.func`. True where this torch does not tell.
    """
    if torch.compiler.is_compiling():
        return True
    try:
        from torch.nn.modules import module as every

        hooks = [getattr(module, f"_{each}_hooks") for each in _HOOKS]
        hooks += [getattr(every, f"_global_{each}_hooks") for each in _HOOKS]
    except (ImportError, AttributeError):
        return True
    return any(hooks) or "forward" in vars(module) or transform_active()


def intercepted_operators(handler: OperatorHandler) -> AbstractContextManager[Any] | None:
    """A context in which each operator below autograd is handed to `handler`, which runs it and returns its result.

    None where this torch offers no such context.
    """
    try:
        from torch.utils._python_dispatch import TorchDispatchMode
    except ImportError:
        return None

    class Interceptor(TorchDispatchMode):
        """Passes every operator to the handler."""

        supports_higher_order_operators = True

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return handler(func, args, kwargs or {})

    Interceptor.__torch_dispatch__ = unwrap(Interceptor.__torch_dispatch__)  # type: ignore[method-assign]  # unmarked
    return Interceptor()  # type: ignore[no-untyped-call]


def is_overload(operator: Any) -> bool:
    """Whether an operator is one overload with a schema, such as `torch.ops.aten.detach.default`. (Operators of higher
    order, which take functions, are not.)
    """
    return isinstance(operator, _OVERLOAD)


def operator_schema(operator: Any) -> Any:
    """The signature of an operator overload: which arguments it writes to, and what it returns. None where this torch
    does not tell.
    """
    return getattr(operator, "_schema", None)


def tensor_reference(tensor: Tensor) -> Callable[[], Tensor | None]:
    """A weak reference to a tensor that stays valid while autograd alone holds the tensor.

    Where this torch has none, the reference keeps the tensor alive, which takes more memory.
    """
    try:
        from torch.utils.weak import TensorWeakRef
    except ImportError:
        return lambda: tensor
    return cast("Callable[[], Tensor | None]", TensorWeakRef(tensor))
