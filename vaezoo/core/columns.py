"""The columns of a results table: how each measured number is called, written and ranked. Needs no torch.

A metric declares its columns where it is registered: `@vaezoo.register.metric("fid", columns=(vaezoo.Column("fid"),))`.
The columns that every cell or its timing has are declared here, so that results are read without torch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, Literal, get_args

from vaezoo.core.errors import VaezooError, unknown

Style = Literal["nats", "bits", "count", "speed", "plain"]
RankedBy = Literal["data", "estimate", "device", ""]

SAME_DATA = ("checksum", "binarisation", "measure", "split", "images", "conditional", "context_checksum")
SAME_ESTIMATE = ("estimator", "importance_samples")
MUST_AGREE: Mapping[RankedBy, tuple[str, ...]] = {
    "data": SAME_DATA,
    "estimate": SAME_DATA + SAME_ESTIMATE,
    "device": ("device",),
}
"""What two rows must have in common for a column that is `ranked_by` this to rank them."""

_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


@dataclass(frozen=True)
class Column:
    """One measured column: its name in the results frame, its heading, and how it is written and ranked.

    A `*` in the name stands for any text, and the heading repeats it: `Column("kl_group_*", "kl of group *")` declares
    every such column that a record has. heading: the name where it is left out. style: how its numbers are written
    (`plain` has four significant digits). better: 1 where higher is better, -1 where lower is better, 0 where neither.
    ranked_by: a key of MUST_AGREE, what rows must have in common for the best of them to be bold; a column without it
    ranks no row. unit: tables show the number divided by it; the frame and CSV keep the number as it is.

    Raises VaezooError for any other value.
    """

    name: str
    heading: str = ""
    style: Style = "plain"
    better: Literal[1, -1, 0] = 0
    ranked_by: RankedBy = ""
    unit: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or self.name.count("*") > 1:
            raise VaezooError(f"a column's name must be a word with at most one *, got {self.name!r}")
        if not isinstance(self.heading, str):
            raise VaezooError(f"column {self.name!r}: heading must be a text, got {self.heading!r}")
        if self.style not in get_args(Style):
            raise VaezooError(f"column {self.name!r}: {unknown('style', self.style, get_args(Style))}")
        if self.better not in (1, -1, 0):
            raise VaezooError(
                f"column {self.name!r}: better must be 1 (higher is better), -1 (lower is better) or 0, "
                f"got {self.better!r}"
            )
        if self.ranked_by not in get_args(RankedBy):
            raise VaezooError(f"column {self.name!r}: {unknown('ranked_by', self.ranked_by, MUST_AGREE)}")
        if self.ranked_by and not self.better:
            raise VaezooError(f"column {self.name!r} has ranked_by={self.ranked_by!r}: add better=1 or better=-1")
        if not isinstance(self.unit, int | float) or not 0 < self.unit < math.inf:
            raise VaezooError(f"column {self.name!r}: unit must be a positive number, got {self.unit!r}")

    @property
    def title(self) -> str:
        """The heading with an arrow that says which direction is better: `iwll (nats) ↑`."""
        return (self.heading or self.name) + _ARROWS[self.better]

    @property
    def is_one(self) -> bool:
        """Whether it is one column, and not a family with a `*` in its name."""
        return "*" not in self.name

    def member(self, name: str) -> "Column | None":
        """The column of this name where it is this column or one of this family, else None."""
        if self.is_one:
            return self if name == self.name else None
        start, _, end = self.name.partition("*")
        middle = name[len(start) : len(name) - len(end)]
        if not middle or name != start + middle + end:
            return None
        return replace(self, name=name, heading=self.heading.replace("*", middle))

    def to_json(self) -> dict[str, Any]:
        """The column as a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Column":
        """The column that `to_json` gave. VaezooError where the dictionary is none."""
        known = {field.name for field in fields(cls)}
        if not isinstance(stored, Mapping) or "name" not in stored:
            raise VaezooError(f"a column must be an object with a name, got {stored!r}")
        return cls(**{str(name): value for name, value in stored.items() if name in known})


QUALITY = (
    Column("iwll", "iwll (nats)", "nats", 1, "estimate"),
    Column("iwll_standard_error", "Monte-Carlo error (nats)"),
    Column("effective_samples", "effective samples", "count"),
    Column("pareto_k", "Pareto k (95th percentile)"),
    Column("elbo", "elbo (nats)", "nats", 1, "data"),
    Column("kl", "kl (nats)", "nats"),
    Column("reconstruction", "reconstruction (nats)", "nats"),
    Column("active_units", "active units", "count"),
    Column("bits_per_dim", "bits/dim", "bits", -1, "estimate"),
)
"""The columns of the metrics that every cell has, `likelihood` and `active-units`."""
TIMED = (
    Column("train_images_per_second", "train images/s", "speed", 1, "device"),
    Column("iwll_samples_per_second", "iwll samples/s", "speed", 1, "device"),
    Column("sample_images_per_second", "sample images/s", "speed", 1, "device"),
    Column("own_memory_bytes", "peak memory (MiB)", "count", unit=2**20),
    Column("peak_memory_bytes", "process memory (MiB)", "count", unit=2**20),
)
"""The columns that a timing cell measures. Where it ran, its memory stands in place of the training cell's.

own_memory_bytes: on a CPU the peak of resident memory while the cell trained and was evaluated (a timing: while its
speeds were measured), beyond what its process held before data and model were loaded; pages of files (libraries, mapped
data) do not count. On a GPU the peak of what torch allocated. peak_memory_bytes: the peak of the whole process, torch
included, in records of before own_memory_bytes.
"""
COSTS = (
    Column("parameters", "parameters", "count"),
    Column("train_seconds", "train seconds", "count"),
)
"""The costs that every training cell has."""

TEST_ERRORS = (
    Column("iwll_test_set_error", "test-set error (nats)"),
    Column("iwll_seed_error", "seed error (nats)"),
)
"""The columns that a table adds to a row: the standard errors of its mean iwll over the test images and over seeds."""

MOST_COLUMNS = 1000
"""The columns that one metric may measure."""
IDENTITY = ("label", "variant", "dataset", "seed")
"""The columns of the results frame that say which cell a row is."""
PROVENANCE = ("pseudo_likelihood", "device", "precision", "seconds")
"""Further columns of the results frame, from a record or else from its plan."""
ORIGIN = ("command", "commit")
"""The columns of the results frame that say which command ran a cell, and with which code of vaezoo."""
PROOFS = ("unproved", "disproved")
"""The columns of the results frame that say which plugins of a cell have no passing check."""
CHOOSING = ("validation_iwll", "search")
"""The columns of the results frame that choose a row of a sweep: the validation iwll of the chosen epoch, and which
search the row belongs to.
"""
DESCRIBING = frozenset(
    (*IDENTITY, *PROVENANCE, *ORIGIN, *PROOFS, *CHOOSING, "status", "reason", "warnings", *SAME_DATA, *SAME_ESTIMATE)
)
"""The columns of the results frame that hold no measurement."""
RESERVED = DESCRIBING | {
    *(column.name for column in (*TIMED, *COSTS, *TEST_ERRORS)),
    *("true_log_likelihood", "iwll_minus_float32", "iwll_minus_float32_standard_error"),
}
"""DESCRIBING and what a cell measures without a metric: no metric may measure a column of such a name."""


def standard(*names: str) -> tuple[Column, ...]:
    """The columns of QUALITY with these names, for the metrics that measure them."""
    known = {column.name: column for column in QUALITY}
    return tuple(known[name] for name in names)


def table_columns(declared: Iterable[Column] = (), found: Iterable[str] = ()) -> list[Column]:
    """The columns of a table in order: QUALITY, the declared ones, the further names that were found, TIMED, COSTS.

    A further name that no column declares has a column of its own, without a direction.
    """
    always = {column.name for column in (*QUALITY, *TIMED, *COSTS)}
    declared = [column for column in declared if column.name not in always]
    exact = {column.name for column in declared}
    remaining = dict.fromkeys(name for name in found if name not in always | exact)
    further: list[Column] = []
    for column in declared:
        if column.is_one:
            further.append(column)
            continue
        members = [member for name in remaining if (member := column.member(name))]
        further += members
        for member in members:
            del remaining[member.name]
    return [*QUALITY, *further, *map(Column, remaining), *TIMED, *COSTS]


def checked_columns(metric: str, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns that a metric declares. VaezooError where they are not Columns with a name of their own each."""
    wrong = [c for c in columns if not isinstance(c, Column)] if isinstance(columns, list | tuple) else [columns]
    if wrong:
        raise VaezooError(
            f"metric {metric!r}: columns must be a tuple of vaezoo.Column, got {wrong[0]!r}; "
            'write columns=(vaezoo.Column("NAME"),)'
        )
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise VaezooError(f"metric {metric!r} declares the column {name!r} twice; remove one of them")
        if name in RESERVED:
            raise VaezooError(f"metric {metric!r} declares the column {name!r}, which every cell has; rename it")
    return tuple(columns)


def declared_columns(metrics: Mapping[str, Iterable[Column]]) -> list[Column]:
    """The columns of several metrics (name -> its columns), in their order.

    VaezooError where two metrics declare the same column: a cell holds one number of that name.
    """
    owners: dict[str, str] = {}
    found = []
    for metric, columns in metrics.items():
        for column in columns:
            owner = owners.setdefault(column.name, metric)
            if owner != metric:
                raise VaezooError(_both(owner, metric, column.name))
            found.append(column)
    return found


def _both(owner: str, metric: str, column: str) -> str:
    return (
        f"metrics {owner!r} and {metric!r} both measure the column {column!r}; "
        "rename it in one of them, or remove one of the metrics"
    )


def measured_columns(metric: str, found: object, owners: Mapping[str, str]) -> dict[str, int | float]:
    """The numbers that a metric returned, by column. A column whose number is None is left out.

    owners: the metric that each column belongs to. VaezooError where the metric returned anything but a dict of column
    -> number or None, more than MOST_COLUMNS, or a column that the cell itself or another metric has.
    """
    wanted = f"metric {metric!r}: expected a dict of column -> number or None, got"
    if not isinstance(found, Mapping):
        raise VaezooError(f"{wanted} {_shown(found)}")
    numbers: dict[str, int | float] = {}
    for place, (column, value) in enumerate(found.items()):
        if place == MOST_COLUMNS:
            raise VaezooError(
                f"metric {metric!r} returned more than {MOST_COLUMNS} columns; "
                "store many numbers together: context.vectors[NAME] = a tensor"
            )
        if not isinstance(column, str):
            raise VaezooError(f"{wanted} {_shown(column)} as the name of a column")
        if value is not None and not isinstance(value, Real):
            raise VaezooError(f"{wanted} {_shown(value)} for {column!r}; write float(...) for a tensor of one number")
        if column in RESERVED:
            raise VaezooError(f"metric {metric!r} returned the column {column!r}, which every cell has; rename it")
        if (owner := owners.get(column, metric)) != metric:
            raise VaezooError(_both(owner, metric, column))
        if value is not None:
            numbers[column] = int(value) if isinstance(value, Integral) else float(value)
    return numbers


def _shown(value: object) -> str:
    """The type of a value, and for text and other short values the value itself."""
    text = repr(value) if isinstance(value, str | int | float | tuple | list | type(None)) else ""
    return type(value).__name__ + (f" {text}" if text and len(text) <= 40 else "")
