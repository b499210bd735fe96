"""The replay rule: which steps may run without their Python.

A replay runs none of the step's Python, so it is right only where that Python does the same in every step. vaezoo's own
code and torch's do. A class from outside runs eagerly unless it declares `replayable = True`. Then its source is read,
with all that its methods reach by name, and a store to anything but a local name is refused. Besides, one random step
of every epoch is compared bit for bit with the eager one.
"""

import ast
import inspect
import linecache
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import nn

from vaezoo.core.contracts import Objective
from vaezoo.core.errors import described
from vaezoo.core.model import LatentModel
from vaezoo.core.own_code import OWN, is_own, outside_code
from vaezoo.training.module import parts_of

OUTSIDE_THE_PASS = ("__init__", "__new__", "__post_init__", "update", "refit")
"""Methods that may store: they make a new object, or run beside the pass."""
MUTATORS = {"append", "appendleft", "extend", "insert", "pop", "popleft", "popitem", "setdefault"}
"""Methods of containers that change them."""


@dataclass(frozen=True)
class ReplayRule:
    """Whether a step is replayed.

    reason: why it runs eagerly, or None. watched: whether code from outside is replayed, so that one step of every
    epoch is compared with the eager one.
    """

    reason: str | None
    watched: bool


def replay_rule(model: LatentModel, objective: Objective) -> ReplayRule:
    """The rule for the training steps of a model and its objective."""
    groups: list[tuple[str, nn.Module, list[nn.Module]]] = [("model", model, [model])]
    for name, part in parts_of(model, objective).items():
        groups.append((name.removeprefix("model.").removesuffix("_net"), part, list(part.modules())))
    watched = False
    for slot, part, modules in groups:
        outside = list(dict.fromkeys(code for module in modules for code in outside_code(module)))
        if not outside:
            continue
        watched = True
        first = type(part) if type(part) in outside else outside[0]
        if not getattr(first, "replayable", False):
            return ReplayRule(f"{slot} {described(first)} does not declare replayable = True", False)
        if (store := first_store(outside)) is not None:
            return ReplayRule(f"{slot} {described(first)} {store}", False)
    return ReplayRule(None, watched)


def first_store(code: Iterable[Any]) -> str | None:
    """Where these classes and functions, or what they reach by name, first store to something that is not a local
    name: "stores to self.calls (mine.py:12)"; None where they store to nothing else.
    """
    waiting, seen = list(code), set()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen or is_own(found):
            continue
        seen.add(id(found))
        if isinstance(found, type):
            waiting += [each for value in vars(found).values() for each in _functions_in(value)]
            waiting += found.__bases__
        for function in _functions_in(found):
            if (store := _store_of(function)) is not None:
                return store
            waiting += _reached(function)
    return None


def _functions_in(value: Any) -> Iterator[FunctionType]:
    """The plain functions behind a method, a property, a partial or a decorated function."""
    if isinstance(value, staticmethod | classmethod | MethodType):
        yield from _functions_in(value.__func__)
    elif isinstance(value, property):
        yield from (each for each in (value.fget, value.fset) if isinstance(each, FunctionType))
    elif isinstance(value, cached_property | partial):
        yield from _functions_in(value.func)
    elif isinstance(inner := inspect.unwrap(value) if callable(value) else value, FunctionType):
        yield inner


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _reached(function: FunctionType) -> Iterator[Any]:
    """The functions and classes that a function names: globals, members of modules, and values in its closure."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    for module in [value for value in values if isinstance(value, ModuleType)]:
        if module.__name__.partition(".")[0] not in OWN:
            values += [vars(module)[name] for name in names if name in vars(module)]
    values += [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    for value in values:
        if isinstance(value, type):
            yield value
        else:
            yield from _functions_in(value)


def _is_empty(cell: Any) -> bool:
    try:
        return cell.cell_contents is cell
    except ValueError:
        return True


def _store_of(function: FunctionType) -> str | None:
    """The first store of a function to anything but local names."""
    code = function.__code__
    name = code.co_filename.replace("\\", "/").rpartition("/")[2]
    nodes = _definitions(code.co_filename).get((code.co_name, code.co_firstlineno), [])
    if not nodes:
        generated = code.co_name.startswith("__") and code.co_name.endswith("__")  # a dataclass's methods
        return None if generated else f"cannot be read: there is no source of {code.co_name} ({name})"
    for node in nodes:
        inside = [node]
        if code.co_name in OUTSIDE_THE_PASS:
            inside = [each for each in ast.walk(node) if each is not node and isinstance(each, _FUNCTIONS)]
        for each in (each for root in inside for each in ast.walk(root)):
            if (target := _target(each)) is not None:
                return f"stores to {target} ({name}:{each.lineno})"  # type: ignore[attr-defined]
    return None


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@lru_cache(maxsize=64)
def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _definitions(filename: str) -> dict[tuple[str, int], list[ast.AST]]:
    """(name, first line) -> the functions of a source file, or of a notebook's cell."""
    linecache.checkcache(filename)
    tree = _parsed("".join(linecache.getlines(filename)))
    found: dict[tuple[str, int], list[ast.AST]] = {}
    for node in () if tree is None else ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            line = min(each.lineno for each in (node, *node.decorator_list))
            found.setdefault((node.name, line), []).append(node)
        elif isinstance(node, ast.Lambda):
            found.setdefault(("<lambda>", node.lineno), []).append(node)
    return found


def _target(node: ast.AST) -> str | None:
    """What a node stores to, where that is no local name."""
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        return ast.unparse(node)
    if isinstance(node, ast.Global | ast.Nonlocal):
        return ", ".join(node.names)
    if not isinstance(node, ast.Call):
        return None
    called = node.func
    if isinstance(called, ast.Name) and called.id in ("setattr", "delattr", "next") and node.args:
        outside = called.id != "next" or isinstance(node.args[0], ast.Attribute | ast.Subscript)
        return ast.unparse(node.args[0]) if outside else None
    if isinstance(called, ast.Attribute) and called.attr in MUTATORS and not isinstance(called.value, ast.Name):
        return ast.unparse(called.value)
    return None
