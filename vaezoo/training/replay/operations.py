"""The operations on tensors of one run: noted below autograd, and written down as a Python function."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import TensorWeakRef

from vaezoo.training.replay.snapshot import place_of

LOOKS = "it looks at a value (item(), float(), an if)"
CLONE = torch.ops.aten.clone.default
SAME = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)
"""Operators whose result is their argument, below autograd."""


BUILT_IN = (type(torch.mm), type(Tensor.view))
"""What torch's own bindings are."""


@dataclass
class _Operation:
    """A call of an operator. Arguments and result are names, or lists of names. call: what does it in a replay."""

    operator: Any
    call: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any

    @property
    def needed(self) -> bool:
        """Whether it does more than give its result: writes, draws random numbers, or raises."""
        schema, tags = self.operator._schema, self.operator.tags
        random = torch.Tag.nondeterministic_seeded in tags
        return schema.is_mutable or random or not schema.returns or _writes_unsaid(self.operator)


def _writes_unsaid(operator: Any) -> bool:
    """Whether an operator changes arguments though its schema does not say so: running statistics."""
    return "batch_norm" in operator.name() and not operator._schema.is_mutable


class _Heard(TorchDispatchMode):
    """Which operators are called, with what."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def binding(operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """torch's function or method of an operator's name where it calls that operator with the very same arguments, which
    takes Python less time; else the operator. It is tried, so it must do nothing but give its result.
    """
    name = operator._schema.name.removeprefix("aten::")
    function = getattr(torch, name, None) or getattr(Tensor, name, None)
    if _Operation(operator, operator, [], {}, None).needed or not isinstance(function, BUILT_IN):
        return operator
    with _Heard() as heard:
        try:
            function(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError):
            return operator
    return function if _same(heard.calls, [(operator, args, kwargs)]) else operator


def _same(one: Any, other: Any) -> bool:
    """Whether nested arguments are the same: tensors by identity, all else by type and value."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one is other or (type(one) is type(other) and not isinstance(one, Tensor) and one == other)


class Leaves(TorchFunctionMode):
    """Notices what reads a tensor's numbers without any operation."""

    WAYS = (Tensor.tolist, Tensor.numpy, Tensor.__array__)

    def __init__(self, recorder: "Recorder"):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self.WAYS:
            self.recorder.refused = LOOKS
        return func(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Notes each operation below autograd. Tensors that no noted operation made are constants: weights, tables, what
    the optimiser keeps.
    """

    supports_higher_order_operators = True

    def __init__(self, given: Tensor):
        super().__init__()
        self.operations: list[_Operation] = []
        self.constants: dict[str, Any] = {}
        self.written: set[int] = set()
        self.refused = ""
        self._names: dict[int, tuple[TensorWeakRef, str]] = {id(given): (TensorWeakRef(given), "given")}
        self._count = itertools.count()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.refused = self.refused or _cannot_be_repeated(func, args)
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        own, named = [self._name(value) for value in args], {key: self._name(value) for key, value in kwargs.items()}
        result = func(*args, **kwargs)
        if func in SAME:
            self._names[id(result)] = TensorWeakRef(result), own[0]
            return result
        if func is torch.ops.aten.lift_fresh.default:  # a number in the code, torch.tensor(0.0), begins anew each time
            constant = self._constant(result.clone())
            self.operations.append(_Operation(CLONE, CLONE, [constant], {}, self._new("t", result)))
            return result
        if _is_view(func, args, result) and all(name in self.constants for name in _flat(own)):
            self._constant(result)
            return result
        self._note_written(func, args, kwargs)
        if func.namespace != "profiler":
            call = binding(func, args, kwargs)
            self.operations.append(_Operation(func, call, own, named, self._result(result)))
        return result

    def _name(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._name(each) for each in value]
        return (self._known(value) if isinstance(value, Tensor) else None) or self._constant(value)

    def _known(self, value: Tensor) -> str | None:
        reference, name = self._names.get(id(value), (None, None))
        return name if reference is not None and reference() is value else None

    def _constant(self, value: Any) -> str:
        name = self._new("c", value)
        self.constants[name] = value
        return name

    def _new(self, letter: str, value: Any) -> str:
        name = f"{letter}{next(self._count)}"
        if isinstance(value, Tensor):
            self._names[id(value)] = TensorWeakRef(value), name
        return name

    def _result(self, result: Any) -> Any:
        if isinstance(result, list | tuple):
            return [self._result(each) for each in result]
        return (self._known(result) if isinstance(result, Tensor) else None) or self._new("t", result)

    def _note_written(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        if _writes_unsaid(func):
            self.written |= {place_of(each) for each in _flat(args) if isinstance(each, Tensor)}
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[place] if place < len(args) else kwargs.get(argument.name)
                self.written |= {place_of(each) for each in _flat([value]) if isinstance(each, Tensor)}


def _cannot_be_repeated(func: Any, args: Sequence[Any]) -> str:
    """Why this operation forbids a replay; "" where it does not."""
    if not isinstance(func, torch._ops.OpOverload):
        return f"it uses {func}"
    if torch.Tag.data_dependent_output in func.tags:
        return LOOKS
    if torch.Tag.inplace_view in func.tags:
        return f"it changes a tensor's shape in place ({func.name()})"
    tensors = [each for each in _flat(args) if isinstance(each, Tensor)]
    masks = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors[1:])
    if torch.Tag.dynamic_output_shape in func.tags and (masks or func is not torch.ops.aten.index.Tensor):
        return f"a shape depends on values ({func.name()}, a mask)"
    return "it uses a sparse tensor" if any(tensor.layout != torch.strided for tensor in tensors) else ""


def _is_view(func: Any, args: Sequence[Any], result: Any) -> bool:
    """Whether an operator only looked at its argument's numbers in another shape."""
    schema, results = func._schema, list(_flat([result]))
    if schema.is_mutable or all(returned.alias_info is None for returned in schema.returns):
        return False
    return isinstance(args[0], Tensor) and all(place_of(each) == place_of(args[0]) for each in results)


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


class Recording:
    """The operations of one run as a Python function of the tensor it was given.

    written, generators: the constants that it changes or draws from. operations: how many it takes.
    """

    def __init__(self, recorder: Recorder):
        constants = recorder.constants
        tensors = {id(value): value for value in constants.values() if isinstance(value, Tensor)}
        self.written = [tensor for tensor in tensors.values() if place_of(tensor) in recorder.written]
        self.generators = [value for value in constants.values() if isinstance(value, torch.Generator)]
        kept = self._kept(recorder.operations)
        self.operations = len(kept)
        operators = {f"o{number}": operation.call for number, (operation, _) in enumerate(kept)}
        scope = {**constants, **operators}
        exec("\n".join(["def replay(given):", *self._lines(kept), " return"]), scope)
        self._replay: Callable[[Tensor], None] = scope["replay"]

    @staticmethod
    def _kept(operations: list[_Operation]) -> list[tuple[_Operation, set[str]]]:
        """Those whose result is read or that write, each with the names that are not read after it."""
        read: set[str] = set()
        kept = []
        for operation in reversed(operations):
            results = set(_flat([operation.result]))
            if operation.needed or results & read:
                used = set(_flat([operation.args, list(operation.kwargs.values())])) | results
                kept.append((operation, {name for name in used - read if name.startswith("t")}))
                read |= used
        return kept[::-1]

    @staticmethod
    def _lines(kept: list[tuple[_Operation, set[str]]]) -> Iterator[str]:
        for number, (operation, last) in enumerate(kept):
            args = [_written(arg) for arg in operation.args]
            args += [f"{key}={_written(arg)}" for key, arg in operation.kwargs.items()]
            made = any(name.startswith("t") for name in _flat([operation.result]))
            yield f" {f'{_assigned(operation.result)} = ' if made else ''}o{number}({', '.join(args)})"
            if last:
                yield f" del {', '.join(sorted(last))}"

    def __call__(self, value: Tensor) -> None:
        """Do it all again, on another tensor."""
        with torch.inference_mode():
            self._replay(value)


def _assigned(names: Any) -> str:
    """What a result is assigned to: of a result that was there before, changed in place, only what is new."""
    if isinstance(names, list):
        return f"[{', '.join(_assigned(name) for name in names)}]"
    return str(names) if names.startswith("t") else "_"


def _written(names: Any) -> str:
    return f"[{', '.join(_written(name) for name in names)}]" if isinstance(names, list) else str(names)
