"""A cell of a matrix, what its numbers may be compared with, and the task of the child process that runs it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from vaezoo.runner.json_values import fitted
from vaezoo.runner.plan.specification import Specification
from vaezoo.runner.provenance import RunFacts

Kind = Literal["cells", "timings"]
"""What a cell measures, which is also the folder of its record: the quality of a seed, or the speed of a device."""


@dataclass(frozen=True)
class Comparability:
    """What must agree for two numbers to share a ranking.

    measure, binarisation, checksum: of the data; split, images: which of them are evaluated, and how many; estimator,
    importance_samples, precision: how; conditional: whether the numbers are log p(x|context); context_checksum: of that
    context, None where they are log p(x); pseudo_likelihood: whether the likelihood does not score this measure.
    """

    measure: str
    binarisation: str
    checksum: str
    split: str
    estimator: str
    conditional: bool
    pseudo_likelihood: bool
    images: int
    importance_samples: int
    precision: str
    context_checksum: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Every fact by name; a context_checksum that is None is left out."""
        return {name: value for name, value in vars(self).items() if (name, value) != ("context_checksum", None)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Comparability":
        """The facts of a record or a stored plan."""
        return fitted(cls, value)


def readable(*words: str) -> str:
    """Words as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", "--".join(words))


@dataclass(frozen=True)
class Cell:
    """variant x data set x seed, or (seed None) the timing of variant x data set on this device.

    key: the specification's. settings: the row's settings, for the columns in which rows differ. skip: why the cell
    cannot be run, or None. expected_failure: what its rehearsal raised, or None; such a cell is run all the same.
    search: of which sweep one row is chosen and reported, or None.
    """

    label: str
    variant: str
    dataset: str
    seed: int | None
    key: str
    specification: Specification = field(repr=False)
    comparability: Comparability = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    skip: str | None = None
    expected_failure: str | None = None
    search: str | None = None

    @cached_property
    def stem(self) -> str:
        """The record's file name: readable, and unique by the key's first 12 digits."""
        words = [self.variant, self.dataset, "timing" if self.seed is None else f"s{self.seed}"]
        return readable(*words)[:100] + f"--{self.key[:12]}"

    @property
    def kind(self) -> Kind:
        """The folder of its record."""
        return "timings" if self.seed is None else "cells"

    @property
    def title(self) -> str:
        """`vae on digits, seed 0`, or `vae on digits, timing`."""
        what = "timing" if self.seed is None else f"seed {self.seed}"
        return f"{self.label} on {self.dataset}, {what}"

    def to_json(self) -> dict[str, Any]:
        """The whole cell."""
        names = ("label", "variant", "dataset", "seed", "key", "settings", "skip", "expected_failure", "search")
        value = {name: getattr(self, name) for name in names}
        return value | {"specification": self.specification.to_json(), "comparability": self.comparability.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Cell":
        """The cell that `to_json` wrote."""
        return fitted(cls, value)


@dataclass(frozen=True)
class Task:
    """What a child process needs to run a cell.

    folder: the results folder. plugins, packages: the plugin files and installed packages that the cell needs. data:
    the folder of its decoded data set, or None where it is to be loaded. alone: why a cell of a pack is run by itself,
    or None. lost_metrics: (metric, reason) of those during which an earlier process of the cell ended. pictures:
    whether the process makes the pictures of the cell's model. run: what the cells of a run share, for their records.
    """

    cell: Cell
    folder: Path
    plugins: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    data_root: str | None = None
    data: Path | None = None
    alone: str | None = None
    lost_metrics: tuple[tuple[str, str], ...] = ()
    pictures: bool = False
    run: RunFacts = field(default_factory=RunFacts)

    def to_json(self) -> dict[str, Any]:
        """The whole task."""
        return {
            "cell": self.cell.to_json(),
            "folder": str(self.folder),
            "plugins": [str(path) for path in self.plugins],
            "packages": list(self.packages),
            "data_root": self.data_root,
            "data": None if self.data is None else str(self.data),
            "alone": self.alone,
            "lost_metrics": [list(each) for each in self.lost_metrics],
            "pictures": self.pictures,
            "run": {"command": list(self.run.command), "git": self.run.git},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Task":
        """The task that `to_json` wrote."""
        return cls(
            Cell.from_json(value["cell"]),
            Path(value["folder"]),
            tuple(Path(path) for path in value["plugins"]),
            tuple(value["packages"]),
            value["data_root"],
            None if value["data"] is None else Path(value["data"]),
            value["alone"],
            tuple((metric, reason) for metric, reason in value["lost_metrics"]),
            value["pictures"],
            fitted(RunFacts, value.get("run", {})),
        )
