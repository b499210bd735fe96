"""The tables of a matrix file, checked. The only file that imports pydantic.

Names of variants, parts and datasets and their hyper-parameters are for the planner to check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

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

from vaezoo.registry import PARTS
from vaezoo.runner.matrix.errors import (
    SECTIONS,
    Problem,
    Problems,
    choice,
    flag,
    number,
    one_of,
    pack_size,
    problems,
    refused,
    seed_list,
    storable,
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
        return ", ".join([self.name, *(f"{key}={shown(value)}" for key, value in self.options.items())])

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
    table = as_table(choice(value, nameless=False))
    return kind(table.pop("name"), table)


def as_table(value: Any) -> dict[str, Any]:
    return {"name": value} if isinstance(value, str) else dict(value or {})


def shown(value: Any, exact: bool = False) -> str:
    """A value in a label: numbers by %g and text bare, or all of it as JSON."""
    if exact or value is None or isinstance(value, bool):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {shown(inner)}' for key, inner in value.items())}}}"
    return value if isinstance(value, str) else f"{value:g}"


_Precision = Literal["float32", "tf32", "bfloat16"]
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
    compile: Annotated[bool | None, BeforeValidator(lambda value: flag(value) or None)] = None
    precision: Annotated[_Precision, BeforeValidator(one_of(*get_args(_Precision)))] = "float32"


class Evaluate(_Table):
    """[evaluate]. images: how many of the test set, None: all of them."""

    importance_samples: _Count = 1000
    images: _CountOrNone = None
    metrics: list[_Metric] = []
    throughput: _Flag = True


TABLES: dict[str, Any] = {"model": Model, "train": Train, "evaluate": Evaluate}


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
        if found := swept(sweep)[1]:
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
    """A whole matrix file. `load` makes it; seeds are listed, plugins are absolute, timeout is in seconds a cell; pack:
    how many seeds of a row train together.
    """

    name: Annotated[str, BeforeValidator(word)]
    datasets: list[_Dataset] = Field(min_length=1)
    seeds: Annotated[list[int], BeforeValidator(seed_list)] = [0]
    plugins: list[_Plugin] = []
    timeout: _PositiveOrNone = None
    pack: Annotated[int | Literal["auto"], BeforeValidator(pack_size)] = "auto"
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
    **{name: tuple(table.model_fields) for name, table in TABLES.items()},
    "variants": tuple(VariantRow.model_fields),
    "references": tuple(Reference.model_fields),
    "sweep": (*PARTS, *SECTIONS),
}


def checked(data: Mapping[str, Any]) -> Matrix:
    """The matrix of what stands in a file. Raises Problems with all that is wrong in single tables."""
    try:
        return Matrix.model_validate(data)
    except ValidationError as error:
        raise Problems(_problems(error)) from None


def _problems(error: ValidationError) -> list[Problem]:
    return problems([dict(each) for each in error.errors(include_url=False)], _KEYS)


def swept(sweep: dict[str, Any]) -> tuple[list[tuple[tuple[str, ...], list[Any]]], list[Problem]]:
    """The leaves of a sweep in the order written, (path, values), and what is wrong with them."""
    leaves: list[tuple[tuple[str, ...], list[Any]]] = []
    found: list[Problem] = []

    def walk(prefix: tuple[str, ...], table: dict[str, Any]) -> None:
        """Collect the leaves below a prefix."""
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
        table, key = (TABLES[head], rest[0]) if head in SECTIONS else (Parts, head)
        try:
            table.model_validate({key: {"name": value} if rest == ["name"] else value})
        except ValidationError as error:
            start = (head,) if head in SECTIONS else ()
            found += [((*start, *loc), said) for loc, said in _problems(error)]
    return found
