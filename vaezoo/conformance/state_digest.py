"""A digest of everything that a pass of a plugin's code could leave something in, each with its name."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Set
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any
from weakref import ReferenceType

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions.utils import lazy_property

from vaezoo.core.own_code import OWN
from vaezoo.plugin_files import PREFIX

LIMIT = 200_000
"""The most objects that are looked at."""
PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device, torch.Size, Path, range, slice)
OPAQUE = (BuiltinFunctionType, CodeType, logging.Logger)
"""Kinds of objects that are not looked into."""
NUMBERS = (int, float, Tensor)
"""Kinds of globals that are compared in every module."""
KNOWN = {*OWN, "numpy"}
"""The packages whose code holds no plugin's state."""


class StateDigest:
    """Every value reachable from some modules, by its name: `objective.ramp.calls` -> a digest of 12.

    It goes through attributes, slots, containers, plain objects, bound methods, closures, defaults, the classes of
    plugins, and the globals of their modules and of the modules beside them. Beside them stand the global generators,
    torch's defaults, the environment, the working folder, and every tensor or number that is a global of any module.
    Of the code of vaezoo, torch, the standard library and installed packages that hold no plugin, only instances are
    looked into.
    """

    def __init__(self, **roots: nn.Module):
        self.values: dict[str, str] = dict(_of_process())
        self._numbers = _global_numbers()
        self._seen: dict[int, object] = {}
        kinds = [kind for root in roots.values() for part in root.modules() for kind in type(part).__mro__]
        self._plugins = {_top(kind.__module__) for kind in kinds} - KNOWN
        waiting: deque[tuple[str, object]] = deque(roots.items())
        while waiting and len(self._seen) < LIMIT:
            name, value = waiting.popleft()
            while name in self.values:
                name += "'"
            if isinstance(value, PLAIN):
                self.values[name] = repr(value)
            elif id(value) not in self._seen:
                self._seen[id(value)] = value  # held, so that no other object gets its id
                self.values[name] = _own_digest(value)
                waiting.extend(self._inside(name, value))

    def changes(self, after: StateDigest) -> list[str]:
        """The names whose values differ, are new or are gone."""
        names = dict.fromkeys([*self.values, *after.values])
        found = [name for name in names if self.values.get(name) != after.values.get(name)]
        for module, numbers in after._numbers.items():
            known = self._numbers.get(module, numbers)  # one that was imported meanwhile
            for key, value in {**known, **numbers}.items():
                if value is not known.get(key) and value != known.get(key):
                    found.append(f"{module}.{key}")
        return sorted(found, key=lambda name: (self.values.get(name) is None, len(name)))

    def _inside(self, name: str, value: Any) -> Iterator[tuple[str, object]]:
        """What an object holds, by its name."""
        if isinstance(value, OPAQUE):
            return
        if isinstance(value, ModuleType):
            if self._is_looked_into(value):
                yield from _named(_short(value.__name__), vars(value))
        elif isinstance(value, type):
            yield from self._of_class(value)
        elif isinstance(value, FunctionType):
            yield from self._of_function(name, value)
        elif (parts := _parts(name, value)) is not None:
            yield from parts
        else:
            yield from _attributes(name, value)
            yield type(value).__name__, type(value)

    def _of_class(self, kind: type) -> Iterator[tuple[str, object]]:
        """The attributes of a class, its bases and its module; of other classes only tensors that were put there."""
        home = sys.modules.get(kind.__module__)
        if home is not None and self._is_looked_into(home):
            yield from _named(kind.__name__, vars(kind))
            yield _short(kind.__module__), home
        else:
            yield from _named(kind.__name__, {k: v for k, v in vars(kind).items() if isinstance(v, Tensor)})
        yield from ((base.__name__, base) for base in kind.__bases__)

    def _of_function(self, name: str, function: FunctionType) -> Iterator[tuple[str, object]]:
        """What a function keeps: its attributes, defaults, closure, and the globals of its module."""
        home = sys.modules.get(function.__module__ or "")
        if home is None or not self._is_looked_into(home):
            return
        yield from _named(name, vars(function))
        yield f"the defaults of {name}", function.__defaults__
        yield f"the defaults of {name}", function.__kwdefaults__
        for title, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                yield f"{title} in the closure of {name}", cell.cell_contents
            except ValueError:  # an empty cell
                continue
        yield _short(home.__name__), home

    def _is_looked_into(self, module: ModuleType) -> bool:
        """Whether a module is a plugin's, or lies beside one: it is no installed package without a plugin."""
        top = _top(module.__name__)
        if top in KNOWN:
            return False
        parts = Path(getattr(module, "__file__", None) or "").parts
        return top in self._plugins or not {"site-packages", "dist-packages"} & set(parts)


def _global_numbers() -> dict[str, dict[str, object]]:
    """Module -> the numbers and tensors among its globals: there too a plugin may leave what it keeps."""
    found: dict[str, dict[str, object]] = {}
    for name, module in list(sys.modules.items()):
        values = [(key, v) for key, v in list(getattr(module, "__dict__", {}).items()) if type(v) in NUMBERS]
        found[name] = {key: _own_digest(v) if isinstance(v, Tensor) else v for key, v in values if key[0] != "_"}
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _short(module: str) -> str:
    """The name of a plugin's file, or of its module."""
    return module.removeprefix(PREFIX).rpartition("_")[0] if module.startswith(PREFIX) else module


def _named(title: str, values: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The values of a namespace, without those of Python itself."""
    for key, value in list(values.items()):
        if not key.startswith("__") and key != "_abc_impl":
            yield f"{title}.{key}", value


def _parts(name: str, value: Any) -> list[tuple[str, object]] | None:
    """The parts of a tensor, a container or another object that Python's own modules define; None of others."""
    if isinstance(value, Tensor):
        return list(_named(name, vars(value)))
    if isinstance(value, MethodType):
        return [(name, value.__func__), (name, value.__self__)]
    if isinstance(value, partial):
        return [(f"{name}.func", value.func), (f"{name}.args", value.args), (f"{name}.keywords", value.keywords)]
    if isinstance(value, property):
        return [(name, each) for each in (value.fget, value.fset) if each is not None]
    if isinstance(value, staticmethod | classmethod):
        return [(name, value.__func__)]
    if isinstance(value, ReferenceType):
        return [(name, value())]
    if isinstance(value, ContextVar):
        return [(name, value.get(None))]
    if isinstance(value, Mapping):
        return [(f"{name}[{_shown(key)}]", inner) for key, inner in list(value.items())] + _attributes(name, value)
    if isinstance(value, list | tuple | deque):
        return [(f"{name}[{n}]", inner) for n, inner in enumerate(value)]
    if isinstance(value, Set):
        return [(f"{name}[{_shown(inner)}]", inner) for inner in value]
    return None


def _attributes(name: str, value: Any) -> list[tuple[str, object]]:
    """The attributes and slots of an object."""
    found: list[tuple[str, object]] = []
    for key, inner in list(getattr(value, "__dict__", {}).items()):
        if isinstance(getattr(type(value), key, None), lazy_property):  # of torch's distributions: computed when read
            continue
        if isinstance(value, nn.Module) and key in ("_parameters", "_buffers", "_modules"):
            found += [(f"{name}.{each}", held) for each, held in inner.items()]
        else:
            found.append((f"{name}.{key}", inner))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for key in [slots] if isinstance(slots, str) else slots:
            if key not in ("__dict__", "__weakref__") and hasattr(value, key):
                found.append((f"{name}.{key}", getattr(value, key)))
    return found


def _shown(key: object) -> str:
    return repr(key) if isinstance(key, int | float | str | tuple) else type(key).__name__


def _of_process() -> Iterator[tuple[str, str]]:
    """What belongs to the process."""
    yield "torch's global generator", _hashed(torch.get_rng_state().numpy().tobytes())
    yield "numpy's global generator", _hashed(repr(np.random.get_state(legacy=False)).encode())
    yield "the generator of `random`", _hashed(repr(random.getstate()).encode())
    yield "torch's default dtype", str(torch.get_default_dtype())
    yield "torch's gradient mode", str(torch.is_grad_enabled())
    yield "the number of torch's threads", str(torch.get_num_threads())
    yield "the working folder", os.getcwd()
    for name, text in os.environ.items():
        yield f"os.environ[{name!r}]", text


def _hashed(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def _own_digest(value: object) -> str:
    """What an object is itself, without what it holds."""
    kind = type(value).__qualname__
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous()
        content = plain.view(torch.uint8) if plain.dim() else plain.reshape(1).view(torch.uint8)
        return f"{kind} {list(value.shape)} {value.dtype} {_hashed(content.numpy().tobytes())}"
    if isinstance(value, np.ndarray):
        return f"{kind} {value.shape} {value.dtype} {_hashed(np.ascontiguousarray(value).tobytes())}"
    if isinstance(value, torch.Generator):
        return _hashed(value.get_state().numpy().tobytes())
    if isinstance(value, random.Random):
        return _hashed(repr(value.getstate()).encode())
    if isinstance(value, np.random.Generator):
        return _hashed(repr(value.bit_generator.state).encode())
    if isinstance(value, Mapping | Set | list | tuple | deque):
        return f"{kind} of {len(value)}"
    if isinstance(value, GeneratorType):
        frame = value.gi_frame
        return "ended" if frame is None else f"{kind} at {frame.f_lasti} with {frame.f_locals!r}"
    if _top(type(value).__module__) in sys.stdlib_module_names and not hasattr(value, "__dict__"):
        return _hashed(_state_of_builtin(value).encode())
    return kind


def _state_of_builtin(value: object) -> str:
    """What Python tells of an object of its own: an array, an iterator, a text buffer."""
    if type(value).__module__ == "itertools":
        return repr(value)
    try:
        return repr(value.__reduce_ex__(4))
    except Exception:  # it cannot be pickled
        return type(value).__qualname__
