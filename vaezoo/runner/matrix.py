"""The matrix file: TOML -> checked objects -> rows. The only file that imports pydantic.

All that is wrong in a file is said at once, each with its path. Names of variants, parts and datasets and their
hyper-parameters are for the planner to check.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from vaezoo.core.errors import VaezooError
from vaezoo.registry import PARTS
from vaezoo.runner.matrix_errors import (
    SECTIONS,
    Problem,
    Problems,
    choice,
    flag,
    line,
    nearest,
    number,
    one_of,
    problems,
    refused,
    seed_list,
    storable,
    syntax,
    text,
    unknown_key,
    word,
)


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset's name and options, from "name" or { name = "...", option = ... }."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name, with the options where there are any: `mnist-dynamic, labels=true`."""
        return ", ".join([self.name, *(f"{key}={_shown(value)}" for key, value in self.options.items())])

    @property
    def plain(self) -> str | dict[str, Any]:
        """As it is written in the file."""
        return {"name": self.name, **self.options} if self.options else self.name


@dataclass(frozen=True)
class MetricEntry(DatasetEntry):
    """A metric's name and options, from "name" or { name = "...", option = ... }."""


def _entry(kind: type[DatasetEntry], value: Any) -> DatasetEntry:
    if isinstance(value, kind):
        return value
    table = _table(choice(value, nameless=False))
    return kind(table.pop("name"), table)


def _table(value: Any) -> dict[str, Any]:
    return {"name": value} if isinstance(value, str) else dict(value or {})


_Count = Annotated[int, BeforeValidator(number(minimum=1, whole=True))]
_CountOrNone = Annotated[int | None, BeforeValidator(number(minimum=1, whole=True, optional=True))]
_Positive = Annotated[float, BeforeValidator(number(above=0))]
_PositiveOrNone = Annotated[float | None, BeforeValidator(number(above=0, optional=True))]
_NumberOrNone = Annotated[float | None, BeforeValidator(number(optional=True))]
_Flag = Annotated[bool, BeforeValidator(flag)]
_Text = Annotated[str, BeforeValidator(text)]
_TextOrNone = Annotated[str | None, BeforeValidator(lambda value: None if value is None else text(value))]
_Part = Annotated[str | dict[str, Any] | None, BeforeValidator(lambda value: None if value is None else choice(value))]
_as_written = PlainSerializer(lambda entry: entry.plain)
_Dataset = Annotated[DatasetEntry, BeforeValidator(lambda value: _entry(DatasetEntry, value)), _as_written]
_Metric = Annotated[MetricEntry, BeforeValidator(lambda value: _entry(MetricEntry, value)), _as_written]
_Plugin = Annotated[Path, BeforeValidator(lambda value: value if isinstance(value, Path) else Path(text(value)))]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def written(self) -> dict[str, Any]:
        """What was set in the file, without the defaults."""
        return self.model_dump(mode="json", exclude_unset=True)


class Parts(_Table):
    """The six slots of a variant: None, "name", { name = "...", hyper = ... }, or a table of hyper-parameters alone."""

    encoder: _Part = None
    posterior: _Part = None
    prior: _Part = None
    decoder: _Part = None
    likelihood: _Part = None
    objective: _Part = None


class Model(Parts):
    """[model]: the sizes, and any slot."""

    latent: _Count = 20
    hidden: list[_Count] = [400]
    allow_pseudo_likelihood: _Flag = False


class Train(_Table):
    """[train]. kl_warmup and patience are in epochs; validation_images None: all of them."""

    epochs: _Count = 100
    batch_size: _Count = 128
    learning_rate: _Positive = 1e-3
    schedule: Annotated[
        Literal["constant", "cosine", "stages"], BeforeValidator(one_of("constant", "cosine", "stages"))
    ] = "constant"
    kl_warmup: Annotated[float, BeforeValidator(number(minimum=0))] = 0.0
    gradient_clip: _PositiveOrNone = None
    patience: _CountOrNone = None
    validation_images: _CountOrNone = None
    precision: Annotated[Literal["float32"], BeforeValidator(one_of("float32"))] = "float32"


class Evaluate(_Table):
    """[evaluate]. images: how many of the test set, None: all of them."""

    importance_samples: _Count = 1000
    images: _CountOrNone = None
    metrics: list[_Metric] = []
    throughput: _Flag = True


_TABLES: dict[str, type[_Table]] = {"model": Model, "train": Train, "evaluate": Evaluate}


class VariantRow(Parts):
    """[[variants]]: a variant and what it changes. In model, train and evaluate only the fields that were set count."""

    name: _Text
    label: _TextOrNone = None
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    sweep: dict[str, Any] = {}

    @field_validator("sweep")
    @classmethod
    def _sweep(cls, sweep: dict[str, Any]) -> dict[str, Any]:
        if found := _swept(sweep)[1]:
            raise Problems(found)
        return sweep

    @model_validator(mode="after")
    def _once(self) -> VariantRow:
        twice = [part for part in PARTS if getattr(self, part) is not None and getattr(self.model, part) is not None]
        if twice:
            raise Problems([((part,), f"expected once, got a second one in model.{part}; keep one") for part in twice])
        return self


class Reference(_Table):
    """[[references]]: numbers from elsewhere, shown beside ours and never ranked; nats an image, bits apart."""

    label: _Text
    dataset: _Text
    iwll: _NumberOrNone = None
    elbo: _NumberOrNone = None
    kl: _NumberOrNone = None
    reconstruction: _NumberOrNone = None
    bits_per_dim: _NumberOrNone = None
    source: _TextOrNone = None
    importance_samples: _CountOrNone = None

    @model_validator(mode="after")
    def _a_number(self) -> Reference:
        numbers = ("iwll", "elbo", "kl", "reconstruction", "bits_per_dim")
        if all(getattr(self, name) is None for name in numbers):
            raise ValueError(f"expected at least one number, got none; add one of {', '.join(numbers)}")
        return self


class Matrix(_Table):
    """A whole matrix file. `load` makes it; seeds are listed, plugins are absolute, timeout is in seconds a cell."""

    name: Annotated[str, BeforeValidator(word)]
    datasets: list[_Dataset] = Field(min_length=1)
    seeds: Annotated[list[int], BeforeValidator(seed_list)] = [0]
    plugins: list[_Plugin] = []
    timeout: _PositiveOrNone = None
    model: Model = Model()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    variants: list[VariantRow] = Field(min_length=1)
    references: list[Reference] = []

    def dump(self) -> dict[str, Any]:
        """A plain dict that JSON can hold; `load` of it gives an equal matrix."""
        return self.written()


_KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(Matrix.model_fields),
    **{name: tuple(table.model_fields) for name, table in _TABLES.items()},
    "variants": tuple(VariantRow.model_fields),
    "references": tuple(Reference.model_fields),
    "sweep": (*PARTS, *SECTIONS),
}


def load(source: str | Path | Mapping[str, Any], plugins: Sequence[Path] = ()) -> Matrix:
    """The matrix of a TOML file or of a dict of the same shape; `plugins` are files beyond its own.

    A plugin's path is relative to the matrix file; in a dict and in `plugins`, to the working folder. Raises
    VaezooError with one line for each thing wrong, which begins with the file's name and the path of the key.
    """
    if isinstance(source, Mapping):
        data, folder, prefix, stem = _plain(source), Path.cwd(), "", "matrix"
    else:
        path = Path(source).expanduser()
        data, folder, prefix, stem = _read(path), path.resolve().parent, f"{path.name}: ", path.stem
    data.setdefault("name", stem)
    try:
        matrix = Matrix.model_validate(data)
    except ValidationError as error:
        lines = [line(*problem) for problem in _problems(error)]
        raise VaezooError("\n".join(prefix + each for each in lines)) from None
    files = [folder / each.expanduser() for each in matrix.plugins] + [Path.cwd() / each for each in plugins]
    matrix = matrix.model_copy(update={"plugins": list(dict.fromkeys(each.resolve() for each in files))})
    known = list(dict.fromkeys(name for entry in matrix.datasets for name in (entry.name, entry.label)))
    found: list[Problem] = [
        (("references", place, "dataset"), f"expected one of this matrix's datasets, got {reference.dataset!r}; {hint}")
        for place, reference in enumerate(matrix.references)
        if reference.dataset not in known and (hint := nearest(reference.dataset, known))
    ]
    labels = [entry.label for entry in matrix.datasets]
    for place, label in enumerate(labels):
        if label in labels[:place]:
            found.append((("datasets", place), f"expected each dataset once, got {label!r} twice; remove one"))
    lines = [line(*problem) for problem in found] + _labelled(matrix)[1]
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


def _problems(error: ValidationError) -> list[Problem]:
    return problems([dict(each) for each in error.errors(include_url=False)], _KEYS)


# Rows


@dataclass(frozen=True)
class Row:
    """One row of the matrix, resolved. A slot is (name, hyper-parameters); name None: what the variant declares.

    Slots that nobody overrides are not in `slots`. `place` is where the row was written: `variants[2]`.
    """

    label: str
    variant: str
    slots: dict[str, tuple[str | None, dict[str, Any]]]
    latent: int
    hidden: list[int]
    allow_pseudo_likelihood: bool
    train: Train
    evaluate: Evaluate
    place: str

    def settings(self) -> dict[str, Any]:
        """All but variant and label by dotted key, defaults included: `prior.components`, `model.latent`, ..."""
        flat: dict[str, Any] = {}
        for part, (name, hyper) in self.slots.items():
            flat |= {part: name} if name is not None else {}
            flat |= {f"{part}.{key}": value for key, value in hyper.items()}
        flat |= {f"model.{key}": getattr(self, key) for key in ("latent", "hidden", "allow_pseudo_likelihood")}
        for table in ("train", "evaluate"):
            flat |= {f"{table}.{key}": value for key, value in getattr(self, table).model_dump(mode="json").items()}
        return flat


def rows(matrix: Matrix) -> list[Row]:
    """The rows in the file's order, labels unique; a sweep is the product in the order written, its last key fastest.

    Raises VaezooError where two rows are the same or have one label; `load` has looked at that already.
    """
    found, lines = _labelled(matrix)
    if lines:
        raise VaezooError("\n".join(lines))
    return found


def _swept(sweep: dict[str, Any]) -> tuple[list[tuple[tuple[str, ...], list[Any]]], list[Problem]]:
    """The leaves of a sweep in the order written, (path, values), and what is wrong with them."""
    leaves: list[tuple[tuple[str, ...], list[Any]]] = []
    found: list[Problem] = []

    def walk(prefix: tuple[str, ...], table: dict[str, Any]) -> None:
        for key, value in table.items():
            path = prefix + tuple(str(key).split("."))
            if path[0] not in _KEYS["sweep"]:
                found.append((path, unknown_key(("variants", "sweep", path[0]), _KEYS)))
            elif isinstance(value, dict):
                walk(path, value)
            elif not isinstance(value, list) or not value:
                simple = isinstance(value, (str, int, float))
                advice = f"write [{json.dumps(value)}]" if simple else ""
                found.append((path, str(refused("a list of one or more values", value, advice))))
            else:
                found.extend(_unfit(path, value))
                short = path[1:] if path[0] == "model" and path[1:2] and path[1] in PARTS else path
                if short in dict(leaves):
                    found.append((path, "expected each setting once, got this one twice; remove one"))
                leaves.append((short, value))

    walk((), sweep)
    return leaves, found


def _unfit(path: tuple[str, ...], values: list[Any]) -> list[Problem]:
    """What is wrong with the values at one leaf of a sweep."""
    head, *rest = path
    if head == "model" and rest and rest[0] in PARTS:
        return [(("model", *loc), said) for loc, said in _unfit(path[1:], values)]
    if len(rest) != (1 if head in SECTIONS else min(len(rest), 1)):
        example = {"model": "latent", "train": "epochs", "evaluate": "importance_samples"}.get(head, "NAME")
        return [(path, f"expected {head}.{example} = [...], got {'.'.join(path)} = [...]; sweep one setting a key")]
    if head in SECTIONS and rest[0] not in _KEYS[head]:
        return [(path, unknown_key(("variants", "sweep", *path), _KEYS))]
    if rest and head not in SECTIONS and rest != ["name"]:
        return storable(values, path)
    found: list[Problem] = []
    for value in values:
        table, key = (_TABLES[head], rest[0]) if head in SECTIONS else (Parts, head)
        try:
            table.model_validate({key: {"name": value} if rest == ["name"] else value})
        except ValidationError as error:
            start = (head,) if head in SECTIONS else ()
            found += [((*start, *loc), said) for loc, said in _problems(error)]
    return found


def _merged(*overrides: Any) -> tuple[str | None, dict[str, Any]]:
    """A slot's value after its overrides; another name drops the hyper-parameters of the one before."""
    name: str | None = None
    hyper: dict[str, Any] = {}
    for override in overrides:
        table = _table(override)
        new = table.pop("name", None)
        if new is not None and new != name:
            name, hyper = new, {}
        hyper = hyper | deepcopy(table)
    return name, hyper


def _expanded(matrix: Matrix, place: int, variant: VariantRow) -> Iterator[Row]:
    """The rows of one [[variants]] table, labelled with nothing yet."""
    leaves = _swept(variant.sweep)[0]
    for values in product(*(values for _, values in leaves)):
        swept: dict[str, dict[str, Any]] = {}
        for (path, _), value in sorted(zip(leaves, values, strict=True), key=lambda leaf: len(leaf[0][0])):
            swept.setdefault(path[0], {}).update({path[1]: value} if path[1:] else _table(value))
        tables = {
            name: {**getattr(matrix, name).written(), **getattr(variant, name).written(), **swept.get(name, {})}
            for name in SECTIONS
        }
        merged = {
            part: _merged(
                getattr(matrix.model, part), getattr(variant.model, part), getattr(variant, part), swept.get(part)
            )
            for part in PARTS
        }
        model = Model.model_validate(tables["model"])
        yield Row(
            label="",
            variant=variant.name,
            slots={part: value for part, value in merged.items() if value != (None, {})},
            latent=model.latent,
            hidden=model.hidden,
            allow_pseudo_likelihood=model.allow_pseudo_likelihood,
            train=Train.model_validate(tables["train"]),
            evaluate=Evaluate.model_validate(tables["evaluate"]),
            place=f"variants[{place + 1}]",
        )


def _labelled(matrix: Matrix) -> tuple[list[Row], list[str]]:
    """The rows with their labels, and a line for each two that are the same or have one label."""
    entries = [list(_expanded(matrix, place, variant)) for place, variant in enumerate(matrix.variants)]
    groups: dict[tuple[str, Any], tuple[str, list[tuple[int, int]]]] = {}
    for place, (variant, entry) in enumerate(zip(matrix.variants, entries, strict=True)):
        key, stem = (("name", variant.name), variant.name) if variant.label is None else (("row", place), variant.label)
        groups.setdefault(key, (stem, []))[1].extend((place, index) for index in range(len(entry)))
    for stem, members in groups.values():
        settings = [entries[place][index].settings() for place, index in members]
        labels = _labels(stem, settings, exact=False)
        if len(set(labels)) < len(labels):
            labels = _labels(stem, settings, exact=True)
        for (place, index), label in zip(members, labels, strict=True):
            entries[place][index] = replace(entries[place][index], label=label)
    found = [row for entry in entries for row in entry]
    same: dict[Any, Row] = {}
    named: dict[str, Row] = {}
    lines = []
    for row in found:
        first = same.setdefault((row.variant, _frozen(row.settings())), row)
        if first is not row:
            what = f"{first.place} and {row.place} are the same row, {row.variant!r} with equal settings"
            inside = first.place == row.place
            lines.append(
                f"{what}; {'a value stands twice in its sweep' if inside else 'remove one or change a setting'}"
            )
        elif (first := named.setdefault(row.label, row)) is not row:
            what = f"{first.place} and {row.place} have the same label {row.label!r}"
            lines.append(f"{what}; give one of them another label")
    return found, list(dict.fromkeys(lines))


def _labels(stem: str, settings: list[dict[str, Any]], exact: bool) -> list[str]:
    """The stem and the settings that differ; `exact` writes values as JSON and also says what is set to nothing."""
    order = (*PARTS, *SECTIONS)
    keys = sorted({key: 0 for each in settings for key in each}, key=lambda key: order.index(key.split(".")[0]))
    keys = [key for key in keys if len({_frozen(each.get(key, order)) for each in settings}) > 1]
    shared = Counter(key.rpartition(".")[2] for key in keys)
    names = {key: last if shared[last := key.rpartition(".")[2]] == 1 else key for key in keys}
    labels = []
    for each in settings:
        told = [key for key in keys if key in each and (exact or each[key] is not None)]
        labels.append(", ".join([stem, *(f"{names[key]}={_shown(each[key], exact)}" for key in told)]))
    return labels


def _shown(value: Any, exact: bool = False) -> str:
    """A value in a label: numbers by %g and text bare, or all of it as JSON."""
    if exact or value is None or isinstance(value, bool):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(inner)}' for key, inner in value.items())}}}"
    return value if isinstance(value, str) else f"{value:g}"


def _frozen(value: Any) -> Any:
    """A value as something hashable, in which 1 equals 1.0 but not true."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return (bool, value) if isinstance(value, bool) else value
