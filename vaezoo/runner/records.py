"""The record of a cell, and the progress that it reports while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge

from vaezoo.core.errors import VaezooError, one_line, text_of
from vaezoo.core.overlaps import Overlap
from vaezoo.evaluation.audit_figures import Audit
from vaezoo.runner.formats import opened, sealed
from vaezoo.runner.json_values import LARGEST_NUMBER, fitted, json_value
from vaezoo.runner.plan.cell import Cell, Comparability
from vaezoo.runner.plan.specification import Specification, key_of
from vaezoo.runner.plan.stored import StoredCell, is_plain_name
from vaezoo.runner.provenance import Provenance

Status = Literal["ok", "failed", "diverged", "timeout", "oom", "skipped", "interrupted"]
STATUSES: tuple[Status, ...] = get_args(Status)
FINAL: tuple[Status, ...] = ("ok", "diverged")
"""A cell with one of these statuses is not run again. Training that diverged would diverge again."""
RESUMED: tuple[Status, ...] = ("interrupted", "timeout")
"""A cell with one of these statuses keeps its checkpoint, from which it goes on when it is run again."""


def reason_of(error: BaseException) -> str:
    """The first line of an error, after its type where it is not one of vaezoo's own; a long one is cut."""
    first = next(iter(text_of(error).strip().splitlines()), "")
    own = isinstance(error, VaezooError) or type(error).__module__.startswith("vaezoo.")
    named = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return one_line(first if own and first else named)


@dataclass(frozen=True)
class DataFacts:
    """What a model's constructor needs of the data: the fields of DataSpec, and the number of training images; and the
    images that splits share.
    """

    shape: tuple[Annotated[int, Ge(1)], ...]
    measure: str
    levels: int | None
    binarisation: str
    context: int | None
    train_size: Annotated[int, Ge(1)]
    overlaps: tuple[Overlap, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Every fact by name; overlaps are left out where there are none."""
        value = {**vars(self), "shape": list(self.shape), "overlaps": [vars(each) for each in self.overlaps]}
        return {name: each for name, each in value.items() if name != "overlaps" or each}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "DataFacts":
        """The facts of a record."""
        return fitted(cls, value)


@dataclass(frozen=True)
class CellProgress:
    """What a running cell reports after an epoch. seconds: spent in training steps so far; pid: of its process."""

    epoch: Annotated[int, Ge(1)]
    epochs: Annotated[int, Ge(1)]
    objective: float | None
    validation_iwll: float | None
    seconds: Annotated[float, Ge(0)]
    pid: int

    def to_json(self) -> dict[str, Any]:
        """Every fact by name."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CellProgress":
        """The progress that a running cell wrote. Raises ValueError for any other value."""
        return fitted(cls, value)


_SELDOM = ("may_pass", "pending_metrics", "failed_metrics", "validation")
"""Fields that a record's file has only where they say something."""


@dataclass(frozen=True)
class Record:
    """The record of a cell: its results, or the reason why it has none.

    Identity: label, variant, dataset, seed (None: a timing), key, specification, comparability. Outcome: status, and
    reason where that is not `ok`; may_pass: whether another run may succeed where this one did not; pending_metrics:
    those still to be measured, failed_metrics: why each one that failed did; log: the file of what it printed, relative
    to the results folder, where it failed.
    Measurements: results (columns of the table), best_epoch, history (a value an epoch), validation (images and samples
    of the choice of the epoch), vectors (a list each), notes, warnings. Circumstances: provenance, seconds of the whole
    cell, pack: the seeds that were trained together, resumed: how often it went on from a checkpoint. data: what is
    needed to build the model again. files: the sha256 of each file that belongs to it (weights, per-image values), by
    its path relative to the results folder. digest: of the whole content, as it was read.
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
    results: Mapping[str, float | None] = field(default_factory=dict)
    best_epoch: int | None = None
    history: dict[str, list[float | None]] = field(default_factory=dict)
    validation: dict[str, int] = field(default_factory=dict)
    vectors: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    data: DataFacts | None = None
    audit: Audit | None = None
    seconds: float | None = None
    log: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    digest: str | None = field(default=None, compare=False)

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
    def is_verified(self) -> bool:
        """Whether it was read from a file whose content agreed with its digest. Those of format 1 have none."""
        return self.digest is not None

    @property
    def device(self) -> str | None:
        """The name of the device that it ran on, where it came to run."""
        return None if self.provenance is None else self.provenance.device

    @property
    def precision(self) -> str:
        """The precision of its encoder and decoder."""
        return self.comparability.precision

    @property
    def validation_iwll(self) -> float | None:
        """The validation iwll of the chosen epoch, in nats an image, where it is known."""
        history = self.history.get("validation_iwll", [])
        return history[self.best_epoch - 1] if self.best_epoch and self.best_epoch <= len(history) else None

    @property
    def pseudo_likelihood(self) -> bool:
        """Whether its likelihood does not score the measure of its data."""
        return self.comparability.pseudo_likelihood

    def to_json(self) -> dict[str, Any]:
        """The record as its file holds it, without format and digest. Fields that are None are left out, except seed
        and reason.
        """
        value = {name: each for name, each in vars(self).items() if each is not None or name in ("seed", "reason")}
        value = {name: each for name, each in value.items() if each or name not in _SELDOM}
        for name in ("specification", "comparability", "provenance", "data", "audit"):
            if name in value:
                value[name] = value[name].to_json()
        value |= {"pending_metrics": list(self.pending_metrics)} if self.pending_metrics else {}
        value |= {"warnings": list(self.warnings)} | ({} if self.pack is None else {"pack": list(self.pack)})
        value |= {"precision": self.precision, "pseudo_likelihood": self.pseudo_likelihood}
        for name in ("digest", *([] if self.files else ["files"])):
            value.pop(name, None)
        return value | ({} if self.device is None else {"device": self.device})

    def file_content(self) -> dict[str, Any]:
        """What the file of the record holds. NaN and infinities become null, except in the specification, whose hash is
        the key; texts are cut to one line each.
        """
        kept = replace(
            self,
            reason=None if self.reason is None else one_line(self.reason),
            warnings=tuple(map(one_line, self.warnings)),
        )
        return sealed(json_value(kept.to_json()) | {"specification": self.specification.to_json()})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Record":
        """The record of a file, also of one that version 0.1.0 wrote.

        Raises ValueError, in one line, where the value is no record, a newer vaezoo wrote it, it has been changed, or
        it contradicts itself.
        """
        content, digest = opened(value)
        record = replace(fitted(cls, content), digest=digest)
        if key_of(value["specification"]) != record.key:
            raise ValueError("its key is not the sha256 of its specification")
        if (record.seed, record.variant) != (record.specification.seed, record.specification.variant):
            raise ValueError("its seed or its variant is not its specification's")
        if not (_is_finite(record.vectors) and _is_finite(record.notes)):
            raise ValueError(f"vectors and notes must hold finite numbers of at most {LARGEST_NUMBER:g}")
        if record.status == "ok" and record.seed is not None and record.results.get("iwll") is None:
            raise ValueError("its status is ok, and it has no iwll")
        if record.status == "ok" and record.audit is not None and record.audit.failures:
            raise ValueError(f"its status is ok, and its audit failed: {record.audit.failures[0]}")
        for path in (*record.files, *([] if record.log is None else [record.log])):
            folder, _, name = path.partition("/")
            if folder not in ("cells", "checkpoints", "logs", "timings") or not is_plain_name(name):
                raise ValueError(f"it names the file {path[:60]!a}, which is not one of a record")
        return replace(
            record,
            reason=None if record.reason is None else one_line(record.reason),
            warnings=tuple(map(one_line, record.warnings)),
        )

    def refuse_other(self, cell: Cell | StoredCell) -> None:
        """Raise ValueError where this is not the record of a cell of a plan.

        The key tells: it covers the specification, hence the seed, the variant, the data and the protocol. A row or a
        data set may have been given another label since, which only a record without a digest may not have.
        """
        names = ["key", *([] if self.is_verified else ["label", "dataset", "comparability"])]
        for name in names:
            if getattr(self, name) != getattr(cell, name):
                raise ValueError(f"it is another cell's: its {name} is not that of the plan")


def _is_finite(value: Any) -> bool:
    """Whether all numbers within a value are finite and at most LARGEST_NUMBER."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float | int) or -LARGEST_NUMBER <= value <= LARGEST_NUMBER
