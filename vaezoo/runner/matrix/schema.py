"""The tables of a matrix file. The only file that imports pydantic.

A value of another type than its annotation is an error; nothing is converted. The planner checks the names of variants,
parts, datasets and metrics, and their options.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

from annotated_types import Ge, Gt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Strict,
    ValidationError,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from vaezoo.core.errors import nearest
from vaezoo.registry import PARTS
from vaezoo.runner.matrix.errors import SECTIONS, Loc, Problem, Problems, as_list, expected, not_storable, problems
from vaezoo.training.options import TrainingOptions

Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
LINE = "text in quotes, on one line and not empty"
OneLine = Annotated[str, Field(pattern=r"^[^\p{Cc}\u2028\u2029]*[^\p{Cc}\s][^\p{Cc}\u2028\u2029]*$", description=LINE)]


class MatrixTable(BaseModel):
    """A table with its keys and their types. A value never changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def written(self) -> dict[str, Any]:
        """The keys that the file sets, in plain values, without the defaults."""
        return self.model_dump(mode="json", exclude_unset=True)


AnyTable = TypeVar("AnyTable", bound=MatrixTable)


def with_fields(further: Mapping[str, Any]) -> Callable[[type[AnyTable]], type[AnyTable]]:
    """A decorator that adds fields to a table: (annotation, default) by name."""
    return lambda table: create_model(
        table.__name__, __base__=table, __module__=table.__module__, __doc__=table.__doc__, **dict(further)
    )


class Entry(MatrixTable, extra="allow"):
    """A registered name and its options, from "name" or { name = "...", option = ... }."""

    words: ClassVar[str] = 'a name or a table { name = "...", option = ... }'
    """What an error says that it expected."""

    @model_validator(mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        return as_table(value) if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _plain(self, dump: SerializerFunctionWrapHandler) -> Any:
        table = dump(self)
        return table["name"] if list(table) == ["name"] else table

    @property
    def options(self) -> dict[str, Any]:
        """Every key but the name."""
        return dict(self.model_extra or {})


class PartEntry(Entry):
    """A part of a model. Without a name, its options are hyper-parameters of the part that the variant declares."""

    name: OneLine | None = None


class MetricEntry(Entry):
    """A metric."""

    name: OneLine


class DatasetEntry(Entry):
    """A dataset."""

    name: OneLine
    _parts: int = PrivateAttr(1)

    @property
    def label(self) -> str:
        """The name, with the options where there are any: `mnist-dynamic, labels=true`. Of a `path` its last part, or
        as many parts as tell it from the matrix's other data sets.
        """
        options = {
            key: "/".join(Path(v).parts[-self._parts :]) if key == "path" and isinstance(v, str) else v
            for key, v in self.options.items()
        }
        return ", ".join([self.name, *(f"{key}={shown(value)}" for key, value in options.items())])


def told_apart(entries: Sequence[DatasetEntry]) -> list[DatasetEntry]:
    """The entries with longer labels where those of two files in different folders are equal."""
    found = [entry.model_copy() for entry in entries]
    longest = max((len(Path(str(entry.options.get("path", ""))).parts) for entry in found), default=0)
    for parts in range(2, longest + 1):
        labels = [entry.label for entry in found]
        for entry in [each for each, label in zip(found, labels, strict=True) if labels.count(label) > 1]:
            entry._parts = parts
    return found


PART_FIELDS = dict.fromkeys(PARTS, (PartEntry | None, None))


def as_table(value: Any) -> dict[str, Any]:
    """The table { name = "..." } for a name, and a copy of a table."""
    return {"name": value} if isinstance(value, str) else dict(value)


def shown(value: Any, exact: bool = False) -> str:
    """A value in a label: numbers by %g and text bare, or everything as JSON."""
    if exact or value is None or isinstance(value, bool):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(inner)}' for key, inner in value.items())}}}"
    return value if isinstance(value, str) else f"{value:g}"


def _group_sizes(latent: Any) -> Any:
    """A size, or a list of sizes where there are several groups; a list of one is that number."""

    def wrong(size: Any) -> bool:
        return type(size) is not int or size < 1

    if isinstance(latent, list) and latent:
        found: list[Problem] = [
            ((place,), expected("a whole number >= 1", size)) for place, size in enumerate(latent) if wrong(size)
        ]
        if found:
            raise Problems(found)
        return latent[0] if len(latent) == 1 else list(latent)
    if wrong(latent):
        advice = "write it without the quotes" if isinstance(latent, str) and latent.strip().isdigit() else ""
        raise ValueError(
            expected("a whole number >= 1, or a list of them, one for each latent group, top first", latent, advice)
        )
    return latent


@with_fields(PART_FIELDS)
class ModelTable(MatrixTable):
    """[model]: the sizes, and a field for each part of a model. latent: of the latent group, or of each one, top first;
    a list of one number is that number.
    """

    latent: Annotated[int | list[int], PlainValidator(_group_sizes)] = 20
    hidden: list[Count] = [400]
    allow_pseudo_likelihood: bool = False


_TRAINING = get_type_hints(TrainingOptions, include_extras=True)


@with_fields({each.name: (_TRAINING[each.name], each.default) for each in fields(TrainingOptions)})
class TrainTable(MatrixTable):
    """[train]: the options of TrainingOptions, with its types, ranges and defaults."""


class EvaluateTable(MatrixTable):
    """[evaluate]. images: how many of the test set, None for all. metrics: beyond those of every cell."""

    importance_samples: Count = 1000
    images: Count | None = None
    metrics: list[MetricEntry] = []
    throughput: bool = True


TABLES: dict[str, Any] = dict(zip(SECTIONS, (ModelTable, TrainTable, EvaluateTable), strict=True))


@with_fields(PART_FIELDS)
class SettingsTable(MatrixTable):
    """What a row can change, and a sweep can vary. Only the keys that are set override the matrix's own tables."""

    model: ModelTable = ModelTable()
    train: TrainTable = TrainTable()
    evaluate: EvaluateTable = EvaluateTable()


class VariantTable(SettingsTable):
    """[[variants]]: a variant, what it changes, and lists of settings whose product gives the rows. Where the
    sweep has `select`, one of its rows is chosen and reported.

    datasets: those of the matrix that it runs on, by name or label; None for all.
    """

    name: OneLine
    label: OneLine | None = None
    datasets: Annotated[list[OneLine], Field(min_length=1)] | None = None
    sweep: dict[str, Any] = {}

    @field_validator("sweep")
    @classmethod
    def _sweep(cls, sweep: dict[str, Any]) -> dict[str, Any]:
        swept(sweep)
        return sweep

    @model_validator(mode="after")
    def _each_part_once(self) -> VariantTable:
        twice = [part for part in PARTS if getattr(self, part) is not None and getattr(self.model, part) is not None]
        if twice:
            raise Problems([((part,), f"expected once, got a second one in model.{part}; keep one") for part in twice])
        return self


class ReferenceTable(MatrixTable):
    """[[references]]: numbers from elsewhere, in nats an image but for bits_per_dim. Tables show them beside ours and
    never rank them. row: the label of the row that they are about, of which a table shows the difference.
    """

    label: OneLine
    dataset: OneLine
    iwll: float | None = None
    elbo: float | None = None
    kl: float | None = None
    reconstruction: float | None = None
    bits_per_dim: float | None = None
    source: OneLine | None = None
    importance_samples: Count | None = None
    row: OneLine | None = None

    @model_validator(mode="after")
    def _has_a_number(self) -> ReferenceTable:
        numbers = [name for name, field in type(self).model_fields.items() if field.annotation == float | None]
        if all(getattr(self, name) is None for name in numbers):
            raise ValueError(f"expected at least one number, got none; add one of {', '.join(numbers)}")
        return self


def _counted(value: Any) -> Any:
    """0 .. N-1 for a count N of seeds; any other value as it is."""
    return list(range(value)) if type(value) is int and 1 <= value <= 1000 else value


def _distinct(seeds: list[int]) -> list[int]:
    """The seeds, where none stands twice."""
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ValueError(f"expected distinct seeds, got {', '.join(map(str, twice))} twice; remove one")
    return seeds


FOLDER_NAME = "lower-case letters, digits, '.', '_' and '-', the first a letter or digit"


class Matrix(MatrixTable):
    """A whole matrix file, as `vaezoo.runner.matrix.file.load` reads it.

    plugins: absolute paths. timeout: seconds a cell may take, None for no limit. pack: how many seeds of a row train
    together.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description=FOLDER_NAME)]
    datasets: list[DatasetEntry] = Field(min_length=1)
    seeds: Annotated[
        list[Annotated[int, Ge(0)]],
        BeforeValidator(_counted),
        AfterValidator(_distinct),
        Field(min_length=1, description="a count of seeds from 1 to 1000 or a list of seeds"),
    ] = [0]
    plugins: list[Annotated[Path, Strict(False), Field(description=LINE)]] = []
    timeout: Positive | None = None
    pack: Literal["auto"] | Count = "auto"
    model: ModelTable = ModelTable()
    train: TrainTable = TrainTable()
    evaluate: EvaluateTable = EvaluateTable()
    variants: list[VariantTable] = Field(min_length=1, description="[[variants]] tables")
    references: list[ReferenceTable] = Field([], description="[[references]] tables")

    def dump(self) -> dict[str, Any]:
        """A plain dict that JSON can hold; `load` of it gives an equal matrix."""
        return self.written()


_KEYS = {
    name: tuple(table.model_fields)
    for name, table in {
        "": Matrix,
        **TABLES,
        "variants": VariantTable,
        "sweep": SettingsTable,
        "references": ReferenceTable,
    }.items()
}
SELECT, SELECTIONS = "select", ("validation",)
"""The key of a sweep that says by what one of its rows is chosen, and its values."""
_KEYS["sweep"] += (SELECT,)


def checked(data: Mapping[str, Any]) -> Matrix:
    """The matrix of a file's tables. Raises Problems with every error that is inside one table."""
    found: list[Problem] = []
    try:
        matrix = Matrix.model_validate(data)
    except ValidationError as error:
        found = _problems(error, Matrix)
    found += not_storable(data, [loc for loc, _ in found])
    if found:
        raise Problems(found)
    return matrix


def _problems(error: ValidationError, table: type[MatrixTable], start: Loc = ()) -> list[Problem]:
    return problems([dict(each) for each in error.errors(include_url=False)], table, _KEYS, start)


def swept(sweep: Mapping[str, Any]) -> dict[tuple[str, ...], list[Any]]:
    """The values of each setting of a sweep in the order written, by ("train", "epochs"), ("prior",) or ("prior", "a").
    `select` is no setting.

    Raises Problems with every error in the sweep.
    """
    settings: dict[tuple[str, ...], list[Any]] = {}
    found: list[Problem] = []
    if SELECT in sweep and sweep[SELECT] not in SELECTIONS:
        near = nearest(sweep[SELECT], SELECTIONS)
        found.append(((SELECT,), expected(" or ".join(map(repr, SELECTIONS)), sweep[SELECT], near)))
    for path, values in _leaves({name: each for name, each in sweep.items() if name != SELECT}):
        short = path[1:] if path[0] == "model" and path[1:2] and path[1] in PARTS else path
        head, start = short[0], path[: -len(short)]
        if not isinstance(values, list) and head not in _KEYS["sweep"]:
            found.append((path, f"is not a key; {nearest(head, _KEYS['sweep'])}"))
        elif not isinstance(values, list) or not values:
            found.append((path, expected("a list of one or more values", values, as_list(values))))
        elif short in settings:
            found.append((path, "expected each setting once, got this one twice; remove one"))
        elif (head in SECTIONS and len(short) == 1) or (head in PARTS and len(short) > 2):
            example = {"model": "latent", "train": "epochs", "evaluate": "importance_samples"}.get(head, "NAME")
            text = f"expected {head}.{example} = [...], got {'.'.join(path)} = [...]; sweep one setting a key"
            found.append((path, text))
        else:
            settings[short] = values
            for value in values:
                try:
                    SettingsTable.model_validate(reduce(lambda inner, key: {key: inner}, reversed(short), value))
                except ValidationError as error:
                    errors = _problems(error, SettingsTable, ("variants", "sweep"))
                    found += [((*start, *loc), text) for loc, text in errors]
    if found:
        raise Problems(found)
    return settings


def _leaves(table: Mapping[str, Any], start: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a table and of the tables inside it, each with its path. A dotted key is a path."""
    for key, value in table.items():
        path = (*start, *key.split("."))
        if isinstance(value, dict):
            yield from _leaves(value, path)
        else:
            yield path, value
