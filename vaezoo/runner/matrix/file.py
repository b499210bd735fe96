"""Reads a matrix file: TOML, its tables, and what holds between tables. All errors are reported together."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.core.paths import expanded
from vaezoo.runner.matrix.errors import Problem, Problems, line
from vaezoo.runner.matrix.rows import MatrixRow, labelled, rows
from vaezoo.runner.matrix.schema import DatasetEntry, Matrix, ReferenceTable, VariantTable, checked, told_apart

__all__ = ["DatasetEntry", "Matrix", "MatrixRow", "load", "parse_setting", "rows"]

TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"""|\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\''  # text, or its open quotes
    r"|#[^\n]*"
    r"|(?m:^)[ \t]*(?P<header>\[\[[A-Za-z_][^][\n\"']*\]\]|\[[A-Za-z_][^][\n\"']*\])(?=[ \t]*(?:[#\n]|\Z))"
    r"|(?m:^)[ \t]*(?P<key>[\w.-]+)[ \t]*="
    r"|[][{}\"']",
    re.DOTALL,
)
"""The tokens that decide which brackets of a TOML text are open: strings, comments, beginnings of tables and keys,
brackets.
"""
CLOSING = {"[": "]", "{": "}"}
POSITION = re.compile(r"^(.*) \(at (?:line (\d+), column (\d+)|end of document)\)$", re.DOTALL)
ADVICE = {
    "invalid value": "write text in quotes, and true and false in lower case",
    "cannot overwrite a value": "a key or a table is given twice",
    "cannot mutate immutable": "a table is given twice, once as { ... } and once as [table]",
    "cannot declare": "a table is given twice; a row of the matrix starts with [[variants]], in two pairs of brackets",
    "unclosed array": "a comma between two values is missing, or a closing ]",
    "unclosed inline table": "a comma between two keys is missing, or a closing }",
}


def load(source: str | Path | Mapping[str, Any], plugins: Sequence[Path] = ()) -> Matrix:
    """The matrix of a TOML file or of a dict of the same shape. plugins: files beyond its own.

    A reference's dataset becomes the label of the entry that it names: `digits` is `digits, labels=true` where there is
    no other. A plugin's path and the option `path` of a data set are relative to the matrix file; in a dict and in
    `plugins`, to the working folder. Raises VaezooError with one line for each error, which begins with the file's name
    and the path of the key.
    """
    if isinstance(source, Mapping):
        data, folder, prefix, stem = _as_toml(source), Path.cwd(), "", "matrix"
    else:
        path = expanded(source)
        data, folder, prefix, stem = _read(path), path.resolve().parent, f"{path.name}: ", path.stem
    data.setdefault("name", stem)
    _with_whole_paths(data, folder)
    try:
        matrix = checked(data)
    except Problems as error:
        raise VaezooError("\n".join(prefix + line(*problem) for problem in error.found)) from None
    files = [folder / expanded(each) for each in matrix.plugins] + [Path.cwd() / each for each in plugins]
    matrix = matrix.model_copy(update={"plugins": list(dict.fromkeys(each.resolve() for each in files))})
    matrix = matrix.model_copy(update={"datasets": told_apart(matrix.datasets)})
    references, found = _with_dataset_labels(matrix)
    if references:
        matrix = matrix.model_copy(update={"references": references})
    variants, wrong = _with_own_datasets(matrix)
    matrix, found = matrix.model_copy(update={"variants": variants}), [*found, *wrong]
    labels = [entry.label for entry in matrix.datasets]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            found.append((("datasets", place), f"expected each dataset once, got {label!r} twice; remove one"))
    made, twins = labelled(matrix)
    found += _unknown_rows(references, made)
    lines = [line(*problem) for problem in found] + twins
    if lines:
        raise VaezooError("\n".join(prefix + each for each in lines))
    return matrix


def parse_setting(text: str) -> tuple[list[str], Any]:
    """A command line's `train.epochs=5` as (["train", "epochs"], 5). The value is TOML; a bare word or a date is text.

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
    return key.split("."), written if isinstance(value, (date, time)) else value


def _with_whole_paths(data: dict[str, Any], folder: Path) -> None:
    """Write the whole path in place of each data set's option `path`."""
    datasets = data.get("datasets")
    for entry in datasets if isinstance(datasets, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("path"), str):
            entry["path"] = str(folder / expanded(entry["path"]))


def _with_dataset_labels(matrix: Matrix) -> tuple[list[ReferenceTable], list[Problem]]:
    """The references, each with its dataset's label in place of a bare name, and what is wrong with them."""
    labels: dict[str, list[str]] = {}
    for entry in matrix.datasets:
        labels.setdefault(entry.name, []).append(entry.label)
    labels |= {entry.label: [entry.label] for entry in matrix.datasets}
    references: list[ReferenceTable] = []
    found: list[Problem] = []
    for place, reference in enumerate(matrix.references):
        name = reference.dataset
        fit = list(dict.fromkeys(labels.get(name, [])))
        if len(fit) == 1:
            reference = reference.model_copy(update={"dataset": fit[0]})
        elif fit:
            text = f"expected one of {' or '.join(map(repr, fit))}, got {name!r}, which is the name of each; write one"
            found.append((("references", place, "dataset"), text))
        else:
            text = f"expected one of this matrix's datasets, got {name!r}; {nearest(name, labels)}"
            found.append((("references", place, "dataset"), text))
        references.append(reference)
    return references, found


def _unknown_rows(references: Sequence[ReferenceTable], made: Sequence[MatrixRow]) -> list[Problem]:
    """What is wrong with the rows that references name."""
    found: list[Problem] = []
    for place, reference in enumerate(references):
        named = [row for row in made if row.label == reference.row]
        if reference.row is None or any(row.datasets is None or reference.dataset in row.datasets for row in named):
            continue
        if named:
            own = " and ".join(label for row in named for label in row.datasets or ())
            text = f"row {reference.row!r} does not run on {reference.dataset!r}, but on {own}"
        else:
            known = nearest(reference.row, [row.label for row in made])
            text = f"expected the label of one of this matrix's rows, got {reference.row!r}; {known}"
        found.append((("references", place, "row"), text))
    return found


def _with_own_datasets(matrix: Matrix) -> tuple[list[VariantTable], list[Problem]]:
    """The variants, each with the labels of the data sets that it names, and what is wrong with these names."""
    variants: list[VariantTable] = []
    found: list[Problem] = []
    for place, variant in enumerate(matrix.variants):
        named: dict[str, None] = {}
        for number, name in enumerate(variant.datasets or ()):
            fit = [entry.label for entry in matrix.datasets if name in (entry.name, entry.label)]
            if not fit:
                known = nearest(name, [entry.label for entry in matrix.datasets])
                text = f"expected one of this matrix's datasets, got {name!r}; {known}"
                found.append((("variants", place, "datasets", number), text))
            named |= dict.fromkeys(fit)
        variants.append(variant if variant.datasets is None else variant.model_copy(update={"datasets": list(named)}))
    return variants, found


def _as_toml(value: Any) -> Any:
    """A copy with dicts for mappings, lists for tuples and text for paths, as TOML gives them."""
    if isinstance(value, Mapping):
        return {str(key): _as_toml(inner) for key, inner in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_as_toml(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _read(path: Path) -> dict[str, Any]:
    """The TOML file as a dict; VaezooError for a file that does not exist, or is not text or not TOML."""
    if path.is_dir():
        inside = sorted(each.name for each in path.glob("*.toml"))
        raise VaezooError(
            f"{path} is a folder; give a matrix file" + (f" in it: {', '.join(inside)}" if inside else "")
        )
    if not path.exists():
        raise VaezooError(f"{path} does not exist; {_similar(path)}")
    try:
        raw = path.read_bytes()
        source = raw.decode("utf-8-sig")
        return tomllib.loads(source)
    except OSError as error:
        raise VaezooError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise VaezooError(f"{path.name}: line {row} is not UTF-8 text; save the file as UTF-8") from None
    except ValueError as error:  # of tomllib, or of a number with too many digits
        raise VaezooError(f"{path.name}: {_syntax(source, error)}") from None


def _similar(path: Path) -> str:
    """The matrix files beside a missing file that have a similar name, or that there are none."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent.resolve()}"
    beside = {each.stem: each.name for each in path.parent.glob("*.toml")}
    if near := get_close_matches(path.name.removesuffix(".toml"), beside, n=3, cutoff=0.6):
        return f"did you mean {' or '.join(repr(beside[stem]) for stem in near)}?"
    folder = path.parent.resolve()
    return f"no .toml file in {folder} has a similar name" if beside else f"there is no .toml file in {folder}"


def _syntax(source: str, error: ValueError) -> str:
    """`line 4, column 9: what is wrong`, from tomllib's error about a text that is not TOML."""
    source = source.replace("\r\n", "\n")
    match = POSITION.match(str(error))
    if not match:
        return f"not TOML: {str(error).partition(':')[0]}"
    lines = source.split("\n")
    row, column = (int(match[2]), int(match[3])) if match[2] else (len(lines), len(lines[-1]) + 1)
    offset = sum(len(each) + 1 for each in lines[: row - 1]) + column - 1
    never_closed = _open_brackets(source)
    if never_closed and never_closed[-1] <= offset:
        return _never_closed(source, never_closed)
    what = match[1][:1].lower() + match[1][1:]
    braces = [place for place in _open_brackets(source[:offset]) if source[place] == "{"]
    rest = source[offset:].lstrip(" \t")
    if braces and rest.startswith(("\n", "#")):
        what = f"an inline table {{ ... }} stands on one line; {_as_sub_table(source[: braces[0]])}"
    elif braces and rest.startswith("}") and source[:offset].rstrip().endswith(","):
        what = "an inline table does not end with a comma; remove it"
    elif re.match(r"\s*\[\[variants\]\]", lines[row - 1]) and re.search(r"^\s*\[variants\]", source, re.MULTILINE):
        what = "[variants] and [[variants]] are mixed; start each row of the matrix with [[variants]]"
    else:
        what = "; ".join([what, *(advice for start, advice in ADVICE.items() if what.startswith(start))])
    return f"line {row}, column {column}: {what}"


def _open_brackets(source: str) -> list[int]:
    """Where the brackets and quotation marks stand that are not closed, the innermost last.

    A line that begins a table, or in a list a key, ends the scan: a bracket that is still open there is never closed.
    """
    opened: list[int] = []
    for token in TOKEN.finditer(source):
        if token["header"] or token["key"]:
            if opened and (token["header"] or source[opened[-1]] == "["):
                break
        elif token[0] in CLOSING:
            opened.append(token.start())
        elif token[0] in CLOSING.values() and opened:
            if token[0] != CLOSING[source[opened[-1]]]:
                break
            opened.pop()
        elif token[0] in ('"', "'", '"""', "'''"):
            return [*opened, token.start()]
    return opened


def _never_closed(source: str, opened: list[int]) -> str:
    """The line, column and remedy of the innermost bracket that is never closed."""
    place = opened[-1]
    start = source.rfind("\n", 0, place) + 1
    header = re.match(r"[ \t]*(\[\[?)([\w.-]+)", source[start:])
    if header and len(opened) <= len(header[1]):
        place = start + header.start(1)
        what, advice = header[1], f"write {header[1]}{header[2]}{']' * len(header[1])}"
    else:
        what = next(mark for mark in ('"""', "'''", *"\"'[{") if source.startswith(mark, place))
        advice = f"a closing {CLOSING.get(what, what)} is missing"
    row, column = source.count("\n", 0, place) + 1, place - (source.rfind("\n", 0, place) + 1) + 1
    return f"line {row}, column {column}: {what} is never closed; {advice}"


def _as_sub_table(before: str) -> str:
    """How to write an inline table that takes several lines. before: the text up to its bracket."""
    header = re.findall(r"^[ \t]*\[+([^\[\]\n]+)\]+", before, re.MULTILINE)
    key = re.search(r"([\w.-]+)\s*=\s*$", before)
    if not key:
        return "join its lines"
    return f"write a sub-table [{'.'.join([*header[-1:], key[1]])}] with one key on each line"
