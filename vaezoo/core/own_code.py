"""Which code of a module is from outside of vaezoo: nothing is known about what it does."""

import sys
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import nn

OWN = {"vaezoo", "torch", *sys.stdlib_module_names}
"""The packages whose code is trusted."""


def outside_code(module: nn.Module) -> Iterator[Any]:
    """The classes of a module, and the functions that are assigned to it or hooked on, that are from outside. A
    partial is its function, another object that can be called its class.
    """
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    functions = (value for value in vars(module).values() if isinstance(value, FunctionType | MethodType | partial))
    for code in (*type(module).__mro__, *map(code_of, (*functions, *hooks))):
        if not is_own(code):
            yield code


def code_of(called: Any) -> Any:
    """The class or function that runs where this is called."""
    while isinstance(called, partial):
        called = called.func
    return called if isinstance(called, type | FunctionType | MethodType) else type(called)


def is_own(code: Any) -> bool:
    """Whether a class or function is vaezoo's, torch's or the standard library's."""
    return str(getattr(code, "__module__", "")).partition(".")[0] in OWN
