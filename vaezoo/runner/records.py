"""The record of a cell, and the progress that it reports while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from vaezoo.core.errors import VaezooError
from vaezoo.runner.json_values import known_fields
from vaezoo.runner.plan.cell import Cell, Comparability
from vaezoo.runner.plan.specification import Specification

Status = Literal["ok", "failed", "diverged", "timeout", "oom", "skipped", "interrupted"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINAL: tuple[Status, ...] = ("ok", "diverged")
"""A cell with one of these statuses is not run again. Training that diverged would diverge again."""
RESUMED: tuple[Status, ...] = ("interrupted", "timeout")
"""A cell with one of these statuses keeps its checkpoint, from which it goes on when it is run again."""


def reason_of(error: BaseException) -> str:
    """The first line of an error, after its type where it is not one of vaezoo's own."""
    first = next(iter(str(error).strip().splitlines()), "")
    own = isinstance(error, VaezooError) or type(error).__module__.startswith("vaezoo.")
    return first if own and first else f"{type(error).__name__}: {first}" if first else type(error).__name__


@dataclass(frozen=True)
class Provenance:
    """Where, when and with what a cell was run. memory_bytes: the device's memory; plugins: names of plugin files."""

    vaezoo: str
    torch: str
    python: str
    platform: str
    device: str
    threads: int
    memory_bytes: int | None
    plugins: tuple[str, ...]
    finished: str

    def to_json(self) -> dict[str, Any]:
        """Every fact by name."""
        return {**vars(self), "plugins": list(self.plugins)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Provenance":
        """The provenance of a record."""
        return cls(**{**known_fields(cls, value), "plugins": tuple(value["plugins"])})


@dataclass(frozen=True)
class DataFacts:
    """What a model's constructor needs of the data: the fields of DataSpec, and the number of training images."""

    shape: tuple[int, ...]
    measure: str
    levels: int | None
    binarisation: str
    context: int | None
    train_size: int

    def to_json(self) -> dict[str, Any]:
        """Every fact by name."""
        return {**vars(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DataFacts":
        """The facts of a record."""
        return cls(**{**known_fields(cls, value), "shape": tuple(value["shape"])})


@dataclass(frozen=True)
class CellProgress:
    """What a running cell reports after an epoch. seconds: spent in training steps so far; pid: of its process."""

    epoch: int
    epochs: int
    objective: float | None
    validation_iwll: float | None
    seconds: float
    pid: int

    def to_json(self) -> dict[str, Any]:
        """Every fact by name."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CellProgress":
        """The progress that a running cell wrote."""
        return cls(**known_fields(cls, value))


_SELDOM = ("may_pass", "pending_metrics", "failed_metrics")
"""Fields that a record's file has only where they say something."""


@dataclass(frozen=True)
class Record:
    """The record of a cell: its results, or the reason why it has none.

    Identity: label, variant, dataset, seed (None: a timing), key, specification, comparability. Outcome: status, and
    reason where that is not `ok`; may_pass: whether another run may succeed where this one did not; pending_metrics:
    those still to be measured, failed_metrics: why each one that failed did; log: the file of what it printed, relative
    to the results folder, where it failed.
    Measurements: results (columns of the table), best_epoch, history (a value an epoch), vectors (a list each), notes,
    warnings. Circumstances: provenance, seconds of the whole cell, pack: the seeds that were trained together, resumed:
    how often it went on from a checkpoint. data: what is needed to build the model again.
    """

    label: str
    variant: str
    dataset: str
    seed: int | None
    key: str
    specification: Specification = field(repr=False)
    comparability: Comparability = field(repr=False)
    status: Status
    reason: str | None = None
    may_pass: bool = False
    pending_metrics: tuple[str, ...] = ()
    failed_metrics: dict[str, str] = field(default_factory=dict)
    provenance: Provenance | None = None
    pack: tuple[int, ...] | None = None
    resumed: int | None = None
    results: dict[str, Any] = field(default_factory=dict)
    best_epoch: int | None = None
    history: dict[str, list[float | None]] = field(default_factory=dict)
    vectors: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    data: DataFacts | None = None
    seconds: float | None = None
    log: str | None = None

    @classmethod
    def of(cls, cell: Cell, status: Status, reason: str | None = None) -> "Record":
        """The record of a cell that has measured nothing (yet)."""
        return cls(
            cell.label,
            cell.variant,
            cell.dataset,
            cell.seed,
            cell.key,
            cell.specification,
            cell.comparability,
            status,
            reason,
        )

    @property
    def is_final(self) -> bool:
        """Whether the cell is not to be run again."""
        return self.status in FINAL and not self.pending_metrics

    @property
    def device(self) -> str | None:
        """The name of the device that it ran on, where it came to run."""
        return None if self.provenance is None else self.provenance.device

    @property
    def precision(self) -> str:
        """The precision of its encoder and decoder."""
        return self.comparability.precision

    @property
    def pseudo_likelihood(self) -> bool:
        """Whether its likelihood does not score the measure of its data."""
        return self.comparability.pseudo_likelihood

    def to_json(self) -> dict[str, Any]:
        """The record as its file holds it. Fields that are None are left out, except seed and reason."""
        value = {name: each for name, each in vars(self).items() if each is not None or name in ("seed", "reason")}
        value = {name: each for name, each in value.items() if each or name not in _SELDOM}
        for name in ("specification", "comparability", "provenance", "data"):
            if name in value:
                value[name] = value[name].to_json()
        value |= {"pending_metrics": list(self.pending_metrics)} if self.pending_metrics else {}
        value |= {"warnings": list(self.warnings)} | ({} if self.pack is None else {"pack": list(self.pack)})
        value |= {"precision": self.precision, "pseudo_likelihood": self.pseudo_likelihood}
        return value | ({} if self.device is None else {"device": self.device})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Record":
        """The record of a file, also of one that version 0.1.0 wrote.

        Raises KeyError, TypeError, ValueError or AttributeError where the value is no record.
        """
        if value["status"] not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {value['status']!r}")
        typed: dict[str, Any] = {
            "specification": Specification.from_json(value["specification"]),
            "comparability": Comparability.from_json(value["comparability"]),
        }
        if value.get("provenance") is not None:
            typed["provenance"] = Provenance.from_json(value["provenance"])
        if value.get("data") is not None:
            typed["data"] = DataFacts.from_json(value["data"])
        if value.get("pack") is not None:
            typed["pack"] = tuple(value["pack"])
        typed["warnings"] = tuple(value.get("warnings") or ())
        for name in ("results", "history", "vectors", "notes", "failed_metrics"):
            typed[name] = dict(value.get(name) or {})
        typed["pending_metrics"] = tuple(value.get("pending_metrics") or ())
        return cls(**{**known_fields(cls, value), **typed})
