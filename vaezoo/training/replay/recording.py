"""The operations on tensors of one run of a function: recorded below autograd, then replayed as a Python function."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaezoo.core.torch_internals import intercepted_operators, is_overload, operator_schema, tensor_reference
from vaezoo.training.replay.bindings import python_binding
from vaezoo.training.replay.comparison import NotReplayable
from vaezoo.training.snapshot import storage_address

READS_VALUE = "it reads a value (item(), float(), an if)"
CLONE = torch.ops.aten.clone.default
IDENTITIES = (torch.ops.aten.detach.default, torch.ops.aten.alias.default)
"""Operators whose result is their argument, below autograd."""


@dataclass
class Operation:
    """One call of an operator. Arguments and results are names of values, or nested lists of names.

    call: the function that repeats it in a replay, which may be faster than the operator.
    """

    operator: Any
    call: Callable[..., Any]
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any


def _has_effect(operator: Any) -> bool:
    """Whether an operator does more than compute its result: it writes, draws random numbers, or only raises errors."""
    schema = operator_schema(operator)
    random = torch.Tag.nondeterministic_seeded in operator.tags
    return schema.is_mutable or random or not schema.returns or _has_undeclared_writes(operator)


def _has_undeclared_writes(operator: Any) -> bool:
    """Whether an operator changes arguments that its schema does not mark: batch normalisation's statistics."""
    return "batch_norm" in operator.name() and not operator_schema(operator).is_mutable


class OperationRecorder:
    """Records each operation of a run below autograd.

    Tensors that no recorded operation made are constants of the recording: weights, tables, the optimiser's state.

    It cannot see Python: a branch, a counter or a list that a step keeps outside of tensors is recorded as it was in
    this one run. So the replay rule (`replay/rule.py`) reads the code from outside before it is recorded, and
    `RecordedStep` compares replays with eager steps. Neither notices what other libraries compute in memory that they
    share with a tensor.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.constants: dict[str, Any] = {}
        self.written: set[int] = set()
        self.refusal = ""
        self._names: dict[int, tuple[Callable[[], Tensor | None], str]] = {}
        self._count = itertools.count()

    def run(self, operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run an operator, record it, and return its result."""
        self.refusal = self.refusal or _why_not_repeatable(operator, args)
        if self.refusal:
            return operator(*args, **kwargs)
        arg_names = [self._name(value) for value in args]
        kwarg_names = {key: self._name(value) for key, value in kwargs.items()}
        result = operator(*args, **kwargs)
        if operator in IDENTITIES:
            self._names[id(result)] = tensor_reference(result), arg_names[0]
            return result
        if operator is torch.ops.aten.lift_fresh.default:  # a number in the code, torch.tensor(0.0), is new in each run
            constant = self._constant(result.clone())
            self.operations.append(Operation(CLONE, CLONE, [constant], {}, self._new_name("t", result)))
            return result
        if _is_view(operator, args, result) and all(name in self.constants for name in _flat(arg_names)):
            self._constant(result)
            return result
        self._note_writes(operator, args, kwargs)
        if operator.namespace != "profiler":
            unbound = _has_effect(operator) and not operator_schema(operator).is_mutable
            call = operator if unbound else python_binding(operator, args, kwargs)
            self.operations.append(Operation(operator, call, arg_names, kwarg_names, self._result_names(result)))
        return result

    def _name(self, value: Any) -> Any:
        """The name of a value, or the names in a list. An unknown value becomes a constant."""
        if isinstance(value, list | tuple):
            return [self._name(each) for each in value]
        return (self._known_name(value) if isinstance(value, Tensor) else None) or self._constant(value)

    def _known_name(self, value: Tensor) -> str | None:
        reference, name = self._names.get(id(value), (None, None))
        return name if reference is not None and reference() is value else None

    def _constant(self, value: Any) -> str:
        name = self._new_name("c", value)
        self.constants[name] = value
        return name

    def _new_name(self, letter: str, value: Any) -> str:
        """A fresh name: c1, c2, ... for constants, t1, t2, ... for results."""
        name = f"{letter}{next(self._count)}"
        if isinstance(value, Tensor):
            self._names[id(value)] = tensor_reference(value), name
        return name

    def _result_names(self, result: Any) -> Any:
        if isinstance(result, list | tuple):
            return [self._result_names(each) for each in result]
        return (self._known_name(result) if isinstance(result, Tensor) else None) or self._new_name("t", result)

    def _note_writes(self, operator: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Note the storages that an operator changes."""
        if _has_undeclared_writes(operator):
            self.written |= {storage_address(each) for each in _flat(args) if isinstance(each, Tensor)}
        for place, argument in enumerate(operator_schema(operator).arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[place] if place < len(args) else kwargs.get(argument.name)
                self.written |= {storage_address(each) for each in _flat([value]) if isinstance(each, Tensor)}


class _ValueReads(TorchFunctionMode):
    """Refuses the recording where Python reads a tensor's numbers without any operator."""

    READS = (Tensor.tolist, Tensor.numpy, Tensor.__array__)

    def __init__(self, recorder: OperationRecorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self.READS:
            self.recorder.refusal = self.recorder.refusal or READS_VALUE
        return func(*args, **(kwargs or {}))


def _why_not_repeatable(operator: Any, args: Sequence[Any]) -> str:
    """Why a replay of this operation would be wrong; "" where it would be right."""
    if not is_overload(operator):
        return f"it uses {operator}"
    if operator_schema(operator) is None:
        return f"this version of torch does not tell what the operator {operator.name()} writes to"
    if torch.Tag.data_dependent_output in operator.tags:
        return READS_VALUE
    if torch.Tag.inplace_view in operator.tags:
        return f"it changes a tensor's shape in place ({operator.name()})"
    tensors = [each for each in _flat(args) if isinstance(each, Tensor)]
    masks = any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors[1:])
    if torch.Tag.dynamic_output_shape in operator.tags and (masks or operator is not torch.ops.aten.index.Tensor):
        return f"a shape depends on values ({operator.name()}, a mask)"
    return "it uses a sparse tensor" if any(tensor.layout != torch.strided for tensor in tensors) else ""


def _is_view(operator: Any, args: Sequence[Any], result: Any) -> bool:
    """Whether an operator gives a view of its first argument and changes nothing."""
    schema, results = operator_schema(operator), list(_flat([result]))
    if schema.is_mutable or all(returned.alias_info is None for returned in schema.returns):
        return False
    first = args[0]
    return isinstance(first, Tensor) and all(storage_address(each) == storage_address(first) for each in results)


def _flat(values: Any) -> Iterator[Any]:
    """The items of nested lists."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


class Recording:
    """The operations of one run as a Python function, without unused operations.

    written, generators: the constants that it changes or draws from. operations: their number.
    """

    def __init__(self, recorder: OperationRecorder):
        constants = recorder.constants
        tensors = {id(value): value for value in constants.values() if isinstance(value, Tensor)}
        self.written = [tensor for tensor in tensors.values() if storage_address(tensor) in recorder.written]
        self.generators = [value for value in constants.values() if isinstance(value, torch.Generator)]
        used = _used_operations(recorder.operations)
        self.operations = len(used)
        calls = {f"o{number}": operation.call for number, (operation, _) in enumerate(used)}
        scope = {**constants, **calls}
        exec("\n".join(["def replay():", *_source_lines(used), " return"]), scope)
        self._replay: Callable[[], None] = scope["replay"]

    def __call__(self) -> None:
        """Repeat the operations."""
        with torch.inference_mode():
            self._replay()


def record(function: Callable[[], None]) -> Recording:
    """Run a function and record its operations. Raises NotReplayable, after the run, where a replay would be wrong."""
    recorder = OperationRecorder()
    interception = intercepted_operators(recorder.run)
    if interception is None:
        function()
        raise NotReplayable("this version of torch cannot show which operators a step runs")
    with _ValueReads(recorder), interception:
        function()
    if recorder.refusal:
        raise NotReplayable(recorder.refusal)
    return Recording(recorder)


def _used_operations(operations: list[Operation]) -> list[tuple[Operation, set[str]]]:
    """The operations that have an effect or whose result is read, each with the results that are last read by it."""
    read: set[str] = set()
    used = []
    for operation in reversed(operations):
        results = set(_flat([operation.result]))
        if _has_effect(operation.operator) or results & read:
            names = set(_flat([operation.args, list(operation.kwargs.values())])) | results
            used.append((operation, {name for name in names - read if name.startswith("t")}))
            read |= names
    return used[::-1]


def _source_lines(used: list[tuple[Operation, set[str]]]) -> Iterator[str]:
    """A line of Python for each operation, and one that deletes the results that no later operation reads."""
    for number, (operation, finished) in enumerate(used):
        args = [_expression(arg) for arg in operation.args]
        args += [f"{key}={_expression(arg)}" for key, arg in operation.kwargs.items()]
        has_new_result = any(name.startswith("t") for name in _flat([operation.result]))
        target = f"{_assignment_target(operation.result)} = " if has_new_result else ""
        yield f" {target}o{number}({', '.join(args)})"
        if finished:
            yield f" del {', '.join(sorted(finished))}"


def _assignment_target(names: Any) -> str:
    """The left side of a result's assignment. A constant that was changed in place is not assigned again."""
    if isinstance(names, list):
        return f"[{', '.join(_assignment_target(name) for name in names)}]"
    return str(names) if names.startswith("t") else "_"


def _expression(names: Any) -> str:
    """A name, or nested lists of names, in Python."""
    return f"[{', '.join(_expression(name) for name in names)}]" if isinstance(names, list) else str(names)
