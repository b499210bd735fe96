"""Imports plugin files. A file may import the modules beside it: while it loads, its import statements find them first.

Each file gets the modules of its own folder, whatever else is imported under their names, because they are imported as
`vaezoo_plugin_...`. Plugin files of one folder share them.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from vaezoo.core.errors import VaezooError

PREFIX = "vaezoo_plugin_"


def neighbour(folder: Path, name: str) -> Path | None:
    """The file of the module or package of this name in a folder, or None."""
    places = (folder / name / "__init__.py", folder / f"{name}.py")
    return next((path for path in places if path.is_file()), None)


def import_plugin_file(path: Path, files: dict[Path, str]) -> None:
    """Run a plugin file as a module of its own, and the modules beside it that it imports, each once.

    files: path -> name of the module, for every file that has run; this call adds the files that it runs. Raises
    whatever these raise, and then removes them again.
    """
    before = dict(files)
    try:
        with _neighbours_importable(files):
            _module(path, files)
    except BaseException:
        for added in files.keys() - before.keys():
            _forget(files.pop(added))
        raise


def _module(path: Path, files: dict[Path, str]) -> ModuleType:
    """The module of a file, which is run if it has not run yet."""
    if path in files:
        return sys.modules[files[path]]
    package = path.name == "__init__.py"
    stem = path.parent.name if package else path.stem
    name = files[path] = f"{PREFIX}{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    _forget(name)
    spec = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[str(path.parent)] if package else None
    )
    if spec is None or spec.loader is None:
        raise VaezooError(f"plugin file {path} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _forget(name: str) -> None:
    """Remove a module and those inside it from the imported ones."""
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]


def folder_beside(module: str, file: Path) -> Path | None:
    """The folder whose modules the code of a plugin may import: that of its file, or of the package that it is in. None
    for an installed module, whose neighbours are other packages.
    """
    top = sys.modules.get(module.partition(".")[0]) if module.startswith(PREFIX) else None
    path = file if top is None or top.__file__ is None else Path(top.__file__)
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    return None if {"site-packages", "dist-packages"} & set(folder.parts) else folder


@contextmanager
def _neighbours_importable(files: dict[Path, str]) -> Iterator[None]:
    """Within the block, the import statements of plugin files find the modules beside them first.

    Import statements of all other modules are unaffected, also where a neighbour has the same name.
    """
    usual = builtins.__import__

    def find(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """`__import__` that turns the name of a neighbour into that of its own module."""
        top, dot, inner = name.partition(".")
        importer, file = (str((globals or {}).get(key, "")) for key in ("__name__", "__file__"))
        folder = None if level or not importer.startswith(PREFIX) else folder_beside(importer, Path(file))
        path = None if folder is None or top == "vaezoo" else neighbour(folder, top)
        if path is not None and not _is_importable(top, path):
            name = f"{_module(path, files).__name__}{dot}{inner}"
        return usual(name, globals, locals, fromlist or (), level)

    builtins.__import__ = find
    try:
        yield
    finally:
        builtins.__import__ = usual


def _is_importable(name: str, path: Path) -> bool:
    """Whether every module imports this same file under this name, for example a package beside an installed file."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == path
