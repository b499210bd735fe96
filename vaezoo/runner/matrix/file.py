"""The matrix file: TOML -> checked tables -> rows.

All that is wrong in a file is said at once, each with its path.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.runner.matrix.errors import Problem, Problems, line, nearest, storable, syntax
from vaezoo.runner.matrix.rows import Row, labelled, rows
from vaezoo.runner.matrix.schema import (
    DatasetEntry,
    Evaluate,
    Matrix,
    MetricEntry,
    Model,
    Reference,
    Train,
    VariantRow,
    checked,
)

__all__ = [
    "DatasetEntry",
    "Evaluate",
    "Matrix",
    "MetricEntry",
    "Model",
    "Reference",
    "Row",
    "Train",
    "VariantRow",
    "load",
    "parse_setting",
    "rows",
]


def load(source: str | Path | Mapping[str, Any], plugins: Sequence[Path] = ()) -> Matrix:
    """The matrix of a TOML file or of a dict of the same shape; `plugins` are files beyond its own.

    A reference's dataset becomes the label of the entry that it names: `digits` is `digits, labels=true` where there is
    no other. A plugin's path is relative to the matrix file; in a dict and in `plugins`, to the working folder. Raises
    VaezooError with one line for each thing wrong, which begins with the file's name and the path of the key.
    """
    if isinstance(source, Mapping):
        data, folder, prefix, stem = _plain(source), Path.cwd(), "", "matrix"
    else:
        path = Path(source).expanduser()
        data, folder, prefix, stem = _read(path), path.resolve().parent, f"{path.name}: ", path.stem
    data.setdefault("name", stem)
    try:
        matrix = checked(data)
    except Problems as error:
        raise VaezooError("\n".join(prefix + line(*problem) for problem in error.found)) from None
    files = [folder / each.expanduser() for each in matrix.plugins] + [Path.cwd() / each for each in plugins]
    matrix = matrix.model_copy(update={"plugins": list(dict.fromkeys(each.resolve() for each in files))})
    references, found = _referred(matrix)
    if references:
        matrix = matrix.model_copy(update={"references": references})
    labels = [entry.label for entry in matrix.datasets]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            found.append((("datasets", place), f"expected each dataset once, got {label!r} twice; remove one"))
    lines = [line(*problem) for problem in found] + labelled(matrix)[1]
    if lines:
        raise VaezooError("\n".join(prefix + each for each in lines))
    return matrix


def parse_setting(text: str) -> tuple[list[str], Any]:
    """A command line's `train.epochs=5` as (["train", "epochs"], 5): the value is TOML, and a bare word is text.

    Raises VaezooError where there is no `=`, or a key or value that cannot be read.
    """
    key, equals, written = (part.strip() for part in text.partition("="))
    if not equals or not written:
        raise VaezooError(f"expected KEY=VALUE, got {text!r}; write for example train.epochs=5")
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        raise VaezooError(f"expected a key like train.epochs before the '=', got {key!r} in {text!r}")
    try:
        parsed = tomllib.loads(f"value = {written}")
    except ValueError:
        if not re.fullmatch(r"\w[\w./+-]*", written):
            advice = f"quote text: {key}='\"...\"'"
            raise VaezooError(f"{key}: expected a number, true, a list or a word, got {written}; {advice}") from None
        return key.split("."), written
    value = parsed.pop("value")
    if parsed:
        raise VaezooError(f"expected one KEY=VALUE on one line, got {text!r}")
    return key.split("."), written if storable(value) and not isinstance(value, (dict, list, float)) else value


def _referred(matrix: Matrix) -> tuple[list[Reference], list[Problem]]:
    """The references with their datasets' labels for bare names, which is what tables look for; and what is wrong."""
    labels: dict[str, list[str]] = {}
    for entry in matrix.datasets:
        labels.setdefault(entry.name, []).append(entry.label)
    labels |= {entry.label: [entry.label] for entry in matrix.datasets}
    references: list[Reference] = []
    found: list[Problem] = []
    for place, reference in enumerate(matrix.references):
        name = reference.dataset
        fit = list(dict.fromkeys(labels.get(name, [])))
        if len(fit) == 1:
            reference = reference.model_copy(update={"dataset": fit[0]})
        elif fit:
            said = f"expected one of {' or '.join(map(repr, fit))}, got {name!r}, which is the name of each; write one"
            found.append((("references", place, "dataset"), said))
        else:
            said = f"expected one of this matrix's datasets, got {name!r}; {nearest(name, labels)}"
            found.append((("references", place, "dataset"), said))
        references.append(reference)
    return references, found


def _read(path: Path) -> dict[str, Any]:
    """The TOML file as a dict; VaezooError for one that is not there, not text or not TOML."""
    folder = path if path.is_dir() else path.parent
    beside = sorted(each.name for each in folder.glob("*.toml")) if folder.is_dir() else []
    if path.is_dir():
        raise VaezooError(
            f"{path} is a folder; give a matrix file" + (f" in it: {', '.join(beside)}" if beside else "")
        )
    if not path.exists():
        hint = nearest(path.name, beside) if beside else f"there is no .toml file in {folder.resolve()}"
        raise VaezooError(f"{path} does not exist; {hint}")
    try:
        raw = path.read_bytes()
        source = raw.decode("utf-8-sig")
        return tomllib.loads(source)
    except OSError as error:
        raise VaezooError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise VaezooError(f"{path.name}: line {row} is not UTF-8 text; save the file as UTF-8") from None
    except ValueError as error:  # tomllib's own, and that of a number with too many digits
        raise VaezooError(f"{path.name}: {syntax(source, error)}") from None


def _plain(value: Any) -> Any:
    """A copy with dicts for mappings and lists for tuples, as tomllib would have made it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value
