"""From the tables of a matrix file to its rows: overrides, sweeps and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.registry import PARTS
from vaezoo.runner.matrix.errors import SECTIONS
from vaezoo.runner.matrix.schema import (
    SELECT,
    TABLES,
    EvaluateTable,
    Matrix,
    VariantTable,
    as_table,
    shown,
    swept,
)
from vaezoo.training.options import TrainingOptions

PartOverride = tuple[str | None, dict[str, Any]]
"""A part's name and hyper-parameters. Without a name they are those of the part that the variant declares."""


@dataclass(frozen=True)
class MatrixRow:
    """One row of the matrix: a variant with all of its settings.

    slots: the parts that the file overrides. latent: a list, top first, where there are several groups. place: where in
    the file the row is written, `variants[2]`. datasets: the labels of those that it runs on, or None for all. search:
    the place of the sweep of whose rows one is chosen and reported, or None.
    """

    label: str
    variant: str
    slots: dict[str, PartOverride]
    latent: int | list[int]
    hidden: list[int]
    allow_pseudo_likelihood: bool
    train: TrainingOptions
    evaluate: EvaluateTable
    place: str
    datasets: tuple[str, ...] | None = None
    search: str | None = None

    def settings(self) -> dict[str, Any]:
        """Every setting by dotted key, defaults included: `prior.components`, `model.latent`, `train.epochs`, ..."""
        flat: dict[str, Any] = {}
        for part, (name, hyper) in self.slots.items():
            flat |= {part: name} if name is not None else {}
            flat |= {f"{part}.{key}": value for key, value in hyper.items()}
        flat |= {f"model.{key}": getattr(self, key) for key in ("latent", "hidden", "allow_pseudo_likelihood")}
        flat |= {f"train.{key}": value for key, value in vars(self.train).items()}
        return flat | {f"evaluate.{key}": value for key, value in self.evaluate.model_dump(mode="json").items()}


def rows(matrix: Matrix) -> list[MatrixRow]:
    """The rows in the file's order, with unique labels. A sweep is the product of its settings, its last key fastest.

    Raises VaezooError where two rows are the same or have the same label; `load` does so, too.
    """
    found, lines = labelled(matrix)
    if lines:
        raise VaezooError("\n".join(lines))
    return found


def _merged(slot: PartOverride, *overrides: Mapping[str, Any]) -> PartOverride:
    """A part after overrides. A new name drops the hyper-parameters of the one before."""
    name, options = slot
    for override in overrides:
        further = dict(override)
        new = further.pop("name", None)
        if new is not None and new != name:
            name, options = new, {}
        options = options | further
    return name, deepcopy(options)


def _expanded(matrix: Matrix, place: int, variant: VariantTable) -> Iterator[MatrixRow]:
    """The rows of one [[variants]] table. All still have one label: the written one, or the variant's name."""
    sweep = swept(variant.sweep)
    written = {name: {**getattr(matrix, name).written(), **getattr(variant, name).written()} for name in SECTIONS}
    slots = {}
    for part in PARTS:
        entries = (getattr(matrix.model, part), getattr(variant.model, part), getattr(variant, part))
        slots[part] = _merged((None, {}), *(dict(entry) for entry in entries if entry is not None))
    for values in product(*sweep.values()):
        chosen: dict[str, dict[str, Any]] = {}
        for path, value in sorted(zip(sweep, values, strict=True), key=lambda setting: len(setting[0])):
            chosen.setdefault(path[0], {}).update({path[1]: value} if path[1:] else as_table(value))
        tables = {name: TABLES[name].model_validate({**written[name], **chosen.get(name, {})}) for name in SECTIONS}
        merged = {part: _merged(slot, chosen.get(part, {})) for part, slot in slots.items()}
        yield MatrixRow(
            label=variant.label or variant.name,
            variant=variant.name,
            slots={part: slot for part, slot in merged.items() if any(slot)},
            latent=tables["model"].latent,
            hidden=list(tables["model"].hidden),
            allow_pseudo_likelihood=tables["model"].allow_pseudo_likelihood,
            train=TrainingOptions(**dict(tables["train"])),
            evaluate=tables["evaluate"],
            place=f"variants[{place + 1}]",
            datasets=None if variant.datasets is None else tuple(variant.datasets),
            search=f"variants[{place + 1}]" if SELECT in variant.sweep else None,
        )


def labelled(matrix: Matrix) -> tuple[list[MatrixRow], list[str]]:
    """The rows with their labels, and a line for each pair that is the same or has the same label.

    A label is the variant's name or the label written in the file, and the settings that differ: between all rows of
    the variant without a written label, or between the rows of one [[variants]] table with a written label.
    """
    found: list[MatrixRow] = []
    groups: dict[str | int, list[int]] = {}
    for place, variant in enumerate(matrix.variants):
        for row in _expanded(matrix, place, variant):
            groups.setdefault(variant.name if variant.label is None else place, []).append(len(found))
            found.append(row)
    settings = [row.settings() for row in found]
    for members in groups.values():
        stem, own = found[members[0]].label, [settings[index] for index in members]
        labels = _labels(stem, own, exact=False)
        if len(set(labels)) < len(labels):
            labels = _labels(stem, own, exact=True)
        for index, label in zip(members, labels, strict=True):
            found[index] = replace(found[index], label=label)
    return found, _twins(found, settings)


def _twins(found: list[MatrixRow], settings: list[dict[str, Any]]) -> list[str]:
    """A line for each row that is the same as an earlier one, or has its label, on one data set."""
    same: dict[Any, list[MatrixRow]] = {}
    named: dict[str, list[MatrixRow]] = {}
    lines: dict[str, None] = {}
    for row, own in zip(found, settings, strict=True):
        twins, namesakes = same.setdefault((row.variant, _frozen(own)), []), named.setdefault(row.label, [])
        if (first := _on_shared_data(row, twins)) is not None:
            what = "a value stands twice in its sweep" if first.place == row.place else "remove one or change a setting"
            lines[f"{first.place} and {row.place} are the same row, {row.variant!r} with equal settings; {what}"] = None
        elif (first := _on_shared_data(row, namesakes)) is not None:
            what = f"{first.place} and {row.place} have the same label {row.label!r}"
            lines[f"{what}; give one of them another label"] = None
        twins.append(row)
        namesakes.append(row)
    return list(lines)


def _on_shared_data(row: MatrixRow, others: list[MatrixRow]) -> MatrixRow | None:
    """The first of the other rows that runs on a data set on which the row runs."""
    for other in others:
        if row.datasets is None or other.datasets is None or set(row.datasets) & set(other.datasets):
            return other
    return None


def _labels(stem: str, settings: list[dict[str, Any]], exact: bool) -> list[str]:
    """The stem and the settings that differ. exact: values are written as JSON, and None is written, too."""
    order = (*PARTS, *SECTIONS)
    keys = sorted({key: 0 for each in settings for key in each}, key=lambda key: order.index(key.split(".")[0]))
    keys = [key for key in keys if len({_frozen(each.get(key, order)) for each in settings}) > 1]
    shared = Counter(key.rpartition(".")[2] for key in keys)
    names = {key: last if shared[last := key.rpartition(".")[2]] == 1 else key for key in keys}
    labels = []
    for each in settings:
        told = [key for key in keys if key in each and (exact or each[key] is not None)]
        labels.append(", ".join([stem, *(f"{names[key]}={shown(each[key], exact)}" for key in told)]))
    return labels


def _frozen(value: Any) -> Any:
    """A hashable copy of a value, in which 1 equals 1.0 but not true."""
    if value is None or type(value) in (int, float, str):
        return value
    if isinstance(value, dict):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return (bool, value) if isinstance(value, bool) else value
