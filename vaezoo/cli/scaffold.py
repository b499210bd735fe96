"""`vaezoo new`: plugin files and packages that pass `vaezoo check` as they are, to start from."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.registry import SLOTS, registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PACKAGE = "package"
FIRST = "prior"
"""The slot of a new package's plugin."""


def _words(name: str) -> dict[str, str]:
    """The words of a template: $name `my-prior`, $identifier `my_prior`, $kind `MyPrior`."""
    if not NAME.fullmatch(name):
        near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        hint = f"; say {near!r}" if NAME.fullmatch(near) else ""
        raise VaezooError(f"a name is lower-case letters and digits with hyphens, as 'my-prior', got {name!r}{hint}")
    identifier = name.replace("-", "_")
    if keyword.iskeyword(identifier):
        raise VaezooError(f"{name!r} is a word of Python; choose another name")
    return {"name": name, "identifier": identifier, "kind": "".join(part.capitalize() for part in name.split("-"))}


def _text(template: str, words: Mapping[str, str]) -> str:
    place = files("vaezoo").joinpath("cli", "templates", *template.split("/"))
    return Template(place.read_text(encoding="utf-8")).substitute(words)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:  # never overwrite a file
            file.write(text)
    except FileExistsError:
        raise VaezooError(f"{path} exists already; remove it, or name another file with --out") from None


def new_plugin(slot: str, name: str, out: Path | None = None) -> Path:
    """Write a complete small plugin of a slot into a file, by default `<name>.py` here; return its path.

    Raises VaezooError for an unknown slot, for a name that is malformed or taken, and for a file that exists.
    """
    slot = slot.removesuffix("s") if slot not in SLOTS else slot
    if slot not in SLOTS:
        raise VaezooError(unknown("slot", slot, (*SLOTS, PACKAGE)))
    words = _words(name)
    if name in registry(slot):
        raise VaezooError(f"{slot} {name!r} exists already, in {registry(slot)[name].place}; choose another name")
    path = Path(f"{words['identifier']}.py") if out is None else out
    if out is None and (hidden := _hidden_by(path)):
        raise VaezooError(f"{path} would hide {hidden}; name a file with --out")
    _write(path, _text(f"{slot}.txt", words))
    return path


def _hidden_by(path: Path) -> str | None:
    """The module that a file of this name would hide from scripts beside it: Python's own, or an installed one."""
    if path.stem in sys.stdlib_module_names:
        return "a module of Python's own"
    spec = importlib.util.find_spec(path.stem)
    if spec is None or spec.origin is None or Path(spec.origin).resolve() == path.resolve():
        return None
    return f"the installed module {path.stem!r}"


def new_package(name: str, out: Path | None = None) -> Path:
    """Write an installable package with a prior, its entry point and its test into a folder, by default `<name>`.

    Raises VaezooError for a name that is malformed or taken by a prior or a module, and for a folder that exists.
    """
    words = _words(name)
    module, taken = words["identifier"], registry(FIRST)
    if name in taken:
        raise VaezooError(f"{FIRST} {name!r} exists already, in {taken[name].place}; choose another name")
    if module in sys.stdlib_module_names or importlib.util.find_spec(module):
        raise VaezooError(f"a module {module!r} can be imported already; choose another name")
    folder = Path(name) if out is None else out
    if folder.exists():
        raise VaezooError(f"{folder} exists already; remove it, or name another folder with --out")
    source, tests = folder / "src" / module, folder / "tests"
    for each in (source, tests):
        each.mkdir(parents=True)
    words["module"] = FIRST
    for template, path in (
        ("package/pyproject.toml.txt", folder / "pyproject.toml"),
        ("package/README.md.txt", folder / "README.md"),
        ("package/__init__.py.txt", source / "__init__.py"),
        (f"{FIRST}.txt", source / f"{FIRST}.py"),
        ("package/test_conformance.py.txt", tests / "test_conformance.py"),
    ):
        _write(path, _text(template, words))
    return folder
