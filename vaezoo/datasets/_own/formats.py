"""Turns a format's reader into the function of a data set, with the options that all formats have."""

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from vaezoo.core.data import Dataset
from vaezoo.datasets._own.options import OwnOptions, shared_parameters
from vaezoo.datasets._own.parts import Parts

Example = Callable[[Path], dict[str, Any]]
"""Writes a small file into a folder; gives the options that read it, for `vaezoo check`."""


def own_data(example: Example) -> Callable[[Callable[..., Parts]], Callable[..., Dataset]]:
    """A decorator: `(options, *, own options) -> parts of a file` becomes `(root, seed, *, all options) -> Dataset`."""

    def decorate(read: Callable[..., Parts]) -> Callable[..., Dataset]:
        """The data set's function."""
        shared = shared_parameters()
        own = list(inspect.signature(read, eval_str=True).parameters.values())[1:]

        def load(root: Path, seed: int, **chosen: Any) -> Dataset:
            """The data set of a file; its docstring and its signature become those of the format."""
            from vaezoo.datasets._own.assembly import assembled

            options = OwnOptions(**{name: value for name, value in chosen.items() if name in shared})
            further = {name: value for name, value in chosen.items() if name not in shared}
            return assembled(read(options, **further), options, seed)

        places = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("root", "seed")]
        load.__signature__ = Signature([*places, *shared.values(), *own])  # type: ignore[attr-defined]
        load.__doc__, load.__name__, load.__module__ = read.__doc__, read.__name__, read.__module__
        load.example = example  # type: ignore[attr-defined]
        return load

    return decorate
