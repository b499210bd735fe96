"""One table a dataset, quality beside speed, from a results frame.

Only `ok` cells give numbers, all cells are counted, and no row is dropped.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas

from vaezoo.core.errors import VaezooError
from vaezoo.reports import formats
from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.ranking import COMPARED, ESTIMATED, rank, remark_settings, remark_subset
from vaezoo.reports.statistics import COSTS, NOTHING, QUALITY, Column, Row, absent, plain, summarise

_FACTS = (*COMPARED, *ESTIMATED, "device", "precision")
_LETTERS = "abcdefghijklmnopqrstuvwyz"  # "- [x]" is a ticked box in Markdown
_NUMBERS = re.compile(r"\d[\d.,]*")
_LEGEND = (
    "± is the 95 % Student interval of the mean over seeds; with two seeds the range is shown, with one the value. "
    "The Monte-Carlo error is that of a seed's mean iwll over the images, from its importance samples; the effective "
    "samples of K are a mean over the images. "
    "Likelihoods are in nats per image, higher is better (a published NLL is the negative). "
    "Bold is the best of the rows that are ranked together."
)


@dataclass(frozen=True)
class Table:
    """The rows of one dataset in matrix order, then its references; the columns with a number; the notes below."""

    dataset: str
    title: str
    lead: list[str]
    rows: list[Row]
    columns: list[Column]
    notes: list[str]

    @cached_property
    def sheet(self) -> Sheet:
        """The texts that Markdown, LaTeX and the terminal show."""
        marked = any(row.marks for row in self.rows)
        headings = ["label", *(column.heading for column in self.columns), "seeds", *["marks"] * marked]

        def line(row: Row) -> Line:
            """One row as texts."""
            texts = [formats.number(row.cells.get(c.name, NOTHING), c.style, c.unit) for c in self.columns]
            bold = frozenset(place for place, column in enumerate(self.columns, start=1) if column.name in row.bold)
            label = f"{row.label} ({row.source})" if row.source else row.label
            return Line((label, *texts, row.seeds, *[" ".join(row.marks)] * marked), bold)

        own, elsewhere = ([line(row) for row in self.rows if row.reference is side] for side in (False, True))
        return Sheet(self.title, self.lead, headings, own, elsewhere, self.notes)

    def markdown(self) -> str:
        """A Markdown page: title, what was measured, the table, the notes."""
        return formats.markdown(self.sheet)

    def latex(self) -> str:
        r"""A tabular to `\input`; needs the package booktabs only."""
        return formats.latex(self.sheet)

    def terminal(self) -> formats.Terminal:
        """The table for a rich console: `console.print(table.terminal())`."""
        return formats.Terminal(self.sheet)

    def frame(self) -> pandas.DataFrame:
        """The plain numbers: `x_mean`, `x_low`, `x_high` of each measured column x, in the results frame's units."""
        return _frame(self.dataset, self.rows)

    def csv(self) -> str:
        """`frame` as CSV."""
        return self.frame().to_csv(index=False, lineterminator="\n")


def tables(frame: pandas.DataFrame) -> list[Table]:
    """One table for each dataset of a results frame, in its order.

    Raises VaezooError where the frame lacks `label`, `dataset` or `status`, or has a cell twice: one seed counted as
    two would make an interval narrower than it is.
    """
    lacking = [name for name in ("label", "dataset", "status") if name not in frame]
    if lacking:
        raise VaezooError(
            f"a results frame has one row a cell with label, dataset and status; it lacks {', '.join(lacking)}"
        )
    if "seed" in frame and (twice := frame.duplicated(["label", "dataset", "seed"])).any():
        label, dataset, seed = frame.loc[twice, ["label", "dataset", "seed"]].iloc[0]
        raise VaezooError(
            f"the cell {label!r} on {dataset!r} with seed {seed} is there twice; give each row of results its own label"
        )
    known = [column.name for column in (*QUALITY, *COSTS)]
    metrics = [Column(name, name) for name in frame.attrs.get("metrics", []) if name in frame and name not in known]
    columns = [*QUALITY, *metrics, *COSTS]
    measured = [column.name for column in columns]
    numbers = {name: _numbers(frame[name]) if name in frame else [] for name in measured}
    values = {str(name): frame[name].tolist() for name in frame.columns if name not in numbers}
    for name in set(_FACTS) & set(values):
        values[name] = [None if gone else fact for fact, gone in zip(values[name], frame[name].isna(), strict=True)]
    settings = frame.attrs.get("settings", [name for name in values if "." in name])
    settings = [name for name in dict.fromkeys([*settings, "evaluate.images"]) if name in values]
    places: dict[str, dict[str, list[int]]] = {}
    for place, (dataset, label) in enumerate(zip(values["dataset"], values["label"], strict=True)):
        places.setdefault(str(dataset), {}).setdefault(str(label), []).append(place)
    found = []
    for dataset, labels in places.items():
        rows = [_row(label, at, values, numbers, settings) for label, at in labels.items()]
        found.append(_table(dataset, rows, columns, frame.attrs))
    return found


def write_tables(frame: pandas.DataFrame, folder: Path) -> list[Path]:
    """Writes each dataset's `.md`, `.csv` and `.tex` into the folder, each whole or not at all; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    paths = []
    for table in tables(frame):
        name = formats.file_name(table.dataset, taken)
        for ending, text in (("md", table.markdown()), ("csv", table.csv()), ("tex", table.latex())):
            path = folder / f"{name}.{ending}"
            part = folder / f".{path.name}.{os.getpid()}.tmp"
            try:
                part.write_text(text, encoding="utf-8", newline="\n")
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
            paths.append(path)
    return paths


def _numbers(series: pandas.Series) -> list[float]:
    return pandas.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=math.nan).tolist()


def _row(
    label: str, at: list[int], values: Mapping[str, list], numbers: Mapping[str, list], settings: Sequence[str]
) -> Row:
    """The row of these places of the frame; its remarks are why seeds failed."""
    ok = [place for place in at if values["status"][place] == "ok"]
    speeds = [numbers[column.name] for column in COSTS if column.ranking == "speed" and numbers[column.name]]
    timed = [place for place in ok if any(not math.isnan(column[place]) for column in speeds)]
    facts = {}
    for name in _FACTS:
        if name in values and ok:
            column = values[name]
            asked = timed if name == "device" and timed else ok
            facts[name] = tuple(dict.fromkeys([column[place] for place in asked]))
    pseudo = [values["pseudo_likelihood"][place] for place in ok] if "pseudo_likelihood" in values else []
    row = Row(
        label,
        {name: summarise([column[place] for place in ok]) if column else NOTHING for name, column in numbers.items()},
        str(values["variant"][at[0]]) if "variant" in values else "",
        facts=facts,
        counts=Counter(str(values["status"][place]) for place in at),
        settings={name: values[name][at[0]] for name in settings},
        pseudo_likelihood=any(_is_true(value) for value in pseudo),
    )
    failures: dict[tuple[str, str], list[str]] = {}
    for place in at:
        reason = values["reason"][place] if "reason" in values else None
        if values["status"][place] != "ok" and not absent(reason) and str(reason).strip():
            seed = plain(values["seed"][place]) if "seed" in values else ""
            failures.setdefault((str(values["status"][place]), " ".join(str(reason).split())), []).append(seed)
    for place in ok:
        if "warnings" in values and not absent(values["warnings"][place]):
            _warn(row, str(values["warnings"][place]))
    for (status, reason), seeds in failures.items():
        row.reasons.append(reason)
        which = "" if len(seeds) == len(at) else f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} "
        row.remark(f"{which}{status}: {reason if len(reason) <= 120 else reason[:119].rstrip() + '…'}")
    return row


def _warn(row: Row, warnings: str) -> None:
    """Says a record's warnings (one a line), of which other seeds' differ only in their numbers."""
    told = {_NUMBERS.sub("#", remark) for remark in row.remarks}
    for warning in warnings.splitlines():
        if _NUMBERS.sub("#", warning) not in told:
            row.remark(warning)


def _is_true(value: Any) -> bool:
    """Whether a frame's cell says yes, also in the words of a file: `True`, `1`, but not `False` or nothing."""
    return not absent(value) and str(value).strip().lower() not in ("", "false", "0", "0.0", "none", "nan")


def _table(dataset: str, rows: list[Row], columns: list[Column], attrs: Mapping[Any, Any]) -> Table:
    """The table of these rows: ranked, remarked upon, with the references below."""
    chosen = rank(rows, columns)
    remark_settings(rows)
    notes = remark_subset(rows, attrs)
    references = [
        _reference(given, columns) for given in attrs.get("references", []) if given.get("dataset") == dataset
    ]
    letters: dict[str, str] = {}
    for row in rows:
        for remark in row.remarks:
            row.marks.append(letters.setdefault(remark, f"[{_letters(len(letters))}]"))
    notes = [f"{letter} {remark}" for remark, letter in letters.items()] + notes
    if references:
        notes.append("references are numbers from elsewhere: shown, not ranked")
    shown = [column for column in columns if any(row.has(column.name) for row in rows + references)]
    title = f"{attrs['name']}: {dataset}" if attrs.get("name") else dataset
    return Table(dataset, title, [_measured(rows, chosen), _LEGEND], rows + references, shown, notes)


def _reference(given: Mapping[str, Any], columns: Sequence[Column]) -> Row:
    """A number from elsewhere as a row."""
    samples = given.get("importance_samples")
    cells = {c.name: summarise([] if absent(given.get(c.name)) else [float(given[c.name])]) for c in columns}
    source = [str(given["source"])] if given.get("source") else []
    source += [] if absent(samples) else [f"K = {samples:,}"]
    facts = {"importance_samples": (samples,)}
    return Row(str(given["label"]), cells, facts=facts, reference=True, source=", ".join(source))


def _measured(rows: Sequence[Row], chosen: Row | None) -> str:
    """One line: how many seeds, and what the ranked rows were measured with."""

    def fact(name: str, pool: Sequence[Row]) -> list[Any]:
        return [v for v in dict.fromkeys(v for row in pool for v in row.facts.get(name, ())) if v is not None]

    pool = rows if chosen is None else [chosen]
    seeds = max((row.counts.total() for row in rows), default=0)
    split = " or ".join(map(str, fact("split", pool))) or "test"
    parts = [f"{seeds} seed{'s' * (seeds != 1)}"]
    parts += [f"K = {int(samples):,}" for samples in fact("importance_samples", pool)]
    parts += [f"{int(images):,} {split} images" for images in fact("images", pool)]
    precisions = fact("precision", rows)  # remarks tell of several
    parts += [f"precision {name}" for name in precisions if len(precisions) == 1 and name != "float32"]
    parts += [f"{measure} data" for measure in fact("measure", pool)]
    parts += [f"binarisation {binarisation}" for binarisation in fact("binarisation", pool)]
    parts += [f"checksum {str(checksum)[:12]}" for checksum in fact("checksum", pool)]
    return " · ".join([*parts, *map(str, fact("device", rows))])


def _letters(place: int) -> str:
    """a, b, .. z, aa, ab, .. without x."""
    more, letter = divmod(place, len(_LETTERS))
    return (_letters(more - 1) if more else "") + _LETTERS[letter]


def _frame(dataset: str, rows: Sequence[Row]) -> pandas.DataFrame:
    """What the CSV file holds, a column at a time."""
    columns: dict[str, list[Any]] = {
        "label": [row.label for row in rows],
        "variant": [row.variant for row in rows],
        "dataset": [dataset] * len(rows),
        "status": ["reference" if row.reference else _status(row.counts) for row in rows],
        "seeds": [row.counts["ok"] for row in rows],
        "seeds_planned": [row.counts.total() for row in rows],
    }
    for name in dict.fromkeys(name for row in rows for name in row.cells):
        cells = [row.cells.get(name, NOTHING) for row in rows]
        columns[f"{name}_mean"] = [cell.mean for cell in cells]
        columns[f"{name}_low"] = [cell.low for cell in cells]
        columns[f"{name}_high"] = [cell.high for cell in cells]
    for name in ("ranked", "reference", "pseudo_likelihood"):
        columns[name] = [getattr(row, name) for row in rows]
    for name in _FACTS:
        facts = [row.facts.get(name, ()) for row in rows]
        columns[name] = [fact[0] if len(fact) == 1 else " and ".join(map(str, fact)) or None for fact in facts]
    columns["reason"] = ["; ".join(row.reasons) for row in rows]
    for name in dict.fromkeys(name for row in rows for name in row.settings):
        if name not in columns:
            columns[name] = [row.settings.get(name, math.nan) for row in rows]
    return pandas.DataFrame(columns)


def _status(counts: Counter[str]) -> str:
    """The one status of all seeds, or how many have which."""
    return "".join(counts) if len(counts) < 2 else ", ".join(f"{count} {status}" for status, count in counts.items())
