"""Which code of a module is from outside of vaezoo: nothing is known about what it does."""

import sys
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from torch import nn

OWN = {"vaezoo", "torch", *sys.stdlib_module_names}
"""The packages whose code is trusted."""


def outside_code(module: nn.Module) -> Iterator[Any]:
    """The classes of a module, and the functions that are assigned to it or hooked on, that are from outside."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    functions = (value for value in vars(module).values() if isinstance(value, FunctionType | MethodType))
    for code in (*type(module).__mro__, *functions, *hooks):
        if not is_own(code):
            yield code


def is_own(code: Any) -> bool:
    """Whether a class or function is vaezoo's, torch's or the standard library's."""
    return str(getattr(code, "__module__", "")).partition(".")[0] in OWN
