"""The rows of a table: the cells of one variant on one data set, summarised over its seeds."""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas

from vaezoo.core.columns import ORIGIN, PROOFS, SAME_DATA, SAME_ESTIMATE, TIMED, Column
from vaezoo.core.errors import VaezooError
from vaezoo.reports.statistics import NOTHING, Summary, summarise

FACTS = (*SAME_DATA, *SAME_ESTIMATE, "device", "precision", *ORIGIN)
"""The columns of a results frame that say how a cell was measured."""
LOWER_BOUND = (
    "the iwll is a lower bound: Pareto k > 0.7 for more than 5 % of the images, or its mean still rises with K"
)
"""The one remark in place of all warnings of the estimator."""
_ESTIMATOR = "log_likelihood: "
"""How the estimator's warnings begin."""
_NUMBERS = re.compile(r"\d[\d.,]*")


@dataclass(frozen=True, eq=False)
class TableRow:
    """One variant on one data set over its seeds, or a number from elsewhere (`reference`).

    cells: column name -> Summary. numbers: ranked column, and `iwll_standard_error` -> the number of each ok seed that
    has one. quartiles: speed -> the quartiles of its timing, where they are known. facts: how its ok seeds were
    measured, each fact once (several where seeds differ). counts: how many seeds have each status. reasons: why seeds
    failed. messages: the warnings of its seeds, and each failure in one line. source: where a reference is from; about:
    the label of the row that it is about. made: of each fact, how many ok seeds have each value. proved: whether all of
    its plugins have a passing check; disproved: whether a proof of a part or the objective fails. validation: the
    validation iwll of each ok seed that has one. search: the sweep of whose rows one is chosen by it.
    """

    label: str
    cells: Mapping[str, Summary]
    variant: str = ""
    facts: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    settings: Mapping[str, Any] = field(default_factory=dict)
    pseudo_likelihood: bool = False
    reference: bool = False
    source: str = ""
    about: str = ""
    made: Mapping[str, Counter[Any]] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    messages: tuple[str, ...] = ()
    proved: bool = False
    disproved: bool = False
    numbers: Mapping[str, Mapping[Hashable, float]] = field(default_factory=dict)
    quartiles: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    validation: Mapping[Hashable, float] = field(default_factory=dict)
    search: str | None = None

    @property
    def seeds(self) -> str:
        """How many seeds gave numbers: `3`, or `2 of 3 (1 diverged)`."""
        bad = ", ".join(f"{count} {status}" for status, count in self.counts.items() if status != "ok")
        return f"{self.counts['ok']} of {self.counts.total()} ({bad})" if bad else f"{self.counts['ok'] or ''}"

    @property
    def status(self) -> str:
        """The one status of all seeds, or the number of seeds with each status, or `reference`."""
        if self.reference:
            return "reference"
        counts = self.counts
        return "".join(counts) if len(counts) < 2 else ", ".join(f"{n} {status}" for status, n in counts.items())

    def speed(self, column: str) -> Summary:
        """A speed, with the quartiles of its timing as ends where they are known."""
        mean = self.cells[column].mean
        low, high = self.quartiles.get(column, (mean, mean))
        return Summary(mean, low, high, 1, "range")

    def has(self, *columns: str) -> bool:
        """Whether there is a number in any of these columns."""
        cells = self.cells
        return any(column in cells and cells[column].count for column in columns)


def is_missing(value: Any) -> bool:
    """Whether a cell of a frame is empty: None, NaN, NA or NaT."""
    return bool(pandas.api.types.is_scalar(value) and pandas.isna(value))


def setting_text(value: Any) -> str:
    """A setting or a fact as text: `1000` for 1000.0, `0123456789ab` for a checksum, `not given` for a missing one."""
    if is_missing(value):
        return "not given"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{40,}", text) else text


def facts_text(values: Iterable[Any]) -> str:
    """Several settings or facts as text: `50 and 1000`."""
    return " and ".join(map(setting_text, values))


def dataset_rows(frame: pandas.DataFrame, columns: Sequence[Column]) -> Iterator[tuple[str, list[TableRow]]]:
    """(data set, its rows) of a results frame, both in the order of the frame.

    Raises VaezooError where the frame lacks `label`, `dataset` or `status`, or has a cell twice: a seed that counts
    twice would make an interval too narrow.
    """
    lacking = [name for name in ("label", "dataset", "status") if name not in frame]
    if lacking:
        raise VaezooError(
            f"a results frame has one row a cell with label, dataset and status; it lacks {', '.join(lacking)}"
        )
    refuse_twice(frame)
    cells = _Cells(frame, columns)
    places: dict[str, dict[str, list[int]]] = {}
    for place, (dataset, label) in enumerate(zip(cells.values["dataset"], cells.values["label"], strict=True)):
        places.setdefault(str(dataset), {}).setdefault(str(label), []).append(place)
    for dataset, labels in places.items():
        yield dataset, [cells.row(label, at) for label, at in labels.items()]


def refuse_twice(frame: pandas.DataFrame) -> None:
    """VaezooError where the frame has a cell twice."""
    if "seed" in frame and (twice := frame.duplicated(["label", "dataset", "seed"])).any():
        label, dataset, seed = frame.loc[twice, ["label", "dataset", "seed"]].iloc[0]
        raise VaezooError(
            f"the cell {label!r} on {dataset!r} with seed {seed} is there twice; give each row of results its own label"
        )


def reference_row(given: Mapping[str, Any], columns: Sequence[Column]) -> TableRow:
    """A number from elsewhere as a row."""
    samples = given.get("importance_samples")
    cells = {c.name: summarise([] if is_missing(given.get(c.name)) else [float(given[c.name])]) for c in columns}
    facts = {} if is_missing(samples) else {"importance_samples": (samples,)}
    source, about = (str(given.get(name) or "") for name in ("source", "row"))
    return TableRow(str(given["label"]), cells, facts=facts, reference=True, source=source, about=about)


class _Cells:
    """The columns of a results frame as lists, from which rows are made."""

    def __init__(self, frame: pandas.DataFrame, columns: Sequence[Column]) -> None:
        self.numbers = {c.name: _floats(frame[c.name]) if c.name in frame else [] for c in columns}
        self.values = {str(name): frame[name].tolist() for name in frame.columns if name not in self.numbers}
        for name in set(FACTS) & set(self.values):
            gone = frame[name].isna()
            self.values[name] = [None if g else fact for fact, g in zip(self.values[name], gone, strict=True)]
        self.ranked = [c.name for c in columns if c.ranked_by and c.ranked_by != "device"]
        self.by_seed = [*self.ranked, "iwll_standard_error"]
        self.speeds = [c.name for c in TIMED if f"{c.name}_low" in frame and f"{c.name}_high" in frame]
        self.ends = {f"{n}_{end}": _floats(frame[f"{n}_{end}"]) for n in self.speeds for end in ("low", "high")}
        self.validation = _floats(frame["validation_iwll"]) if "validation_iwll" in frame else []
        names = frame.attrs.get("settings", [name for name in self.values if "." in name])
        self.settings = [name for name in dict.fromkeys([*names, "evaluate.images"]) if name in self.values]

    def row(self, label: str, at: list[int]) -> TableRow:
        """The row of the cells at these places of the frame."""
        values = self.values
        ok = [place for place in at if values["status"][place] == "ok"]
        failures = self._failures(at)
        pseudo = [values["pseudo_likelihood"][place] for place in ok] if "pseudo_likelihood" in values else []
        unproved, disproved = (self._texts(name, ok) for name in PROOFS)
        return TableRow(
            label,
            {
                name: summarise([column[place] for place in ok]) if column else NOTHING
                for name, column in self.numbers.items()
            },
            str(values["variant"][at[0]]) if "variant" in values else "",
            facts=self._facts(ok),
            made={name: Counter(values[name][place] for place in ok) for name in FACTS if name in values and ok},
            counts=Counter(str(values["status"][place]) for place in at),
            settings={name: values[name][at[0]] for name in self.settings},
            pseudo_likelihood=any(_is_true(value) for value in pseudo),
            reasons=tuple(reason for _, reason in failures),
            messages=tuple(
                dict.fromkeys([*disproved, *unproved, *self._warnings(ok), *_failure_lines(failures, len(at))])
            ),
            proved=bool(ok) and "unproved" in values and not unproved and not disproved,
            disproved=bool(disproved),
            numbers={name: self._of_seeds(self.numbers[name], ok) for name in self.by_seed if self.numbers.get(name)},
            quartiles={name: ends for name in self.speeds if (ends := self._quartiles(name, ok))},
            validation=self._of_seeds(self.validation, ok),
            search=next(iter(self._texts("search", at)), None),
        )

    def _of_seeds(self, column: list[float], ok: list[int]) -> dict[Hashable, float]:
        """The number of each ok seed in a column, which may be empty; seeds without a name are counted."""
        seeds = self.values.get("seed")
        numbered = ((n if seeds is None else seeds[at], column[at]) for n, at in enumerate(ok if column else ()))
        return {seed: number for seed, number in numbered if not math.isnan(number)}

    def _quartiles(self, name: str, ok: list[int]) -> tuple[float, float] | None:
        """The mean quartiles of a speed, which all seeds share; None where they are not known."""
        low, high = (summarise(self.ends[f"{name}_{end}"][place] for place in ok) for end in ("low", "high"))
        return (low.mean, high.mean) if low.count and high.count else None

    def _texts(self, name: str, at: list[int]) -> tuple[str, ...]:
        """The texts of a column at these places, each once."""
        found = [self.values[name][place] for place in at] if name in self.values else []
        return tuple(dict.fromkeys(str(text) for text in found if not is_missing(text)))

    def _facts(self, ok: list[int]) -> dict[str, tuple[Any, ...]]:
        """How the ok cells were measured. The device is that of the cells with speeds where there are such cells."""
        speeds = [self.numbers[c.name] for c in TIMED if c.ranked_by and self.numbers.get(c.name)]
        timed = [place for place in ok if any(not math.isnan(column[place]) for column in speeds)]
        facts = {}
        for name in FACTS:
            if name in self.values and ok:
                column = self.values[name]
                facts[name] = tuple(dict.fromkeys([column[p] for p in (timed or ok if name == "device" else ok)]))
        return facts

    def _failures(self, at: list[int]) -> dict[tuple[str, str], list[str]]:
        """(status, reason) of the cells that failed -> their seeds."""
        failures: dict[tuple[str, str], list[str]] = {}
        for place in at:
            status = str(self.values["status"][place])
            reason = self.values["reason"][place] if "reason" in self.values else None
            if status != "ok" and not is_missing(reason) and str(reason).strip():
                seed = setting_text(self.values["seed"][place]) if "seed" in self.values else ""
                failures.setdefault((status, " ".join(str(reason).split())), []).append(seed)
        return failures

    def _warnings(self, ok: list[int]) -> list[str]:
        """The warnings of the ok cells, one of each kind: those of two seeds may differ in their numbers only, and
        those of the estimator are one kind.
        """
        told: dict[str, str] = {}
        for place in ok if "warnings" in self.values else []:
            given = self.values["warnings"][place]
            earlier = set(told.values())  # all warnings of one cell are kept
            for line in [] if is_missing(given) else str(given).splitlines():
                warning = LOWER_BOUND if line.startswith(_ESTIMATOR) else line
                kind = _NUMBERS.sub("#", warning)
                if kind not in earlier:
                    told[warning] = kind
        return list(told)


def _failure_lines(failures: Mapping[tuple[str, str], list[str]], cells: int) -> list[str]:
    """A line for each reason, with its seeds where not all cells of the row share it; long reasons are cut."""
    lines = []
    for (status, reason), seeds in failures.items():
        which = "" if len(seeds) == cells else f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} "
        lines.append(f"{which}{status}: {reason if len(reason) <= 120 else reason[:119].rstrip() + '…'}")
    return lines


def _floats(series: pandas.Series) -> list[float]:
    numbers: list[float] = pandas.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=math.nan).tolist()
    return numbers


def _is_true(value: Any) -> bool:
    """Whether a cell of a frame means yes, also as text of a file: `True`, `1`, but not `False` or an empty cell."""
    return not is_missing(value) and str(value).strip().lower() not in ("", "false", "0", "0.0", "none", "nan")
