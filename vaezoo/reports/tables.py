"""One table a data set, quality beside speed, from a results frame.

Only `ok` cells give numbers, all cells are counted, and no row is dropped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas

from vaezoo.core.columns import Column, table_columns
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.reports import formats
from vaezoo.reports.across import across
from vaezoo.reports.csv_text import csv_text
from vaezoo.reports.errors import with_error_columns, with_errors
from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.images import ImageSource, ImageValues
from vaezoo.reports.number_text import number_text, ten_digits
from vaezoo.reports.origin import data_line, measured_line, origin_lines
from vaezoo.reports.published import compared, difference, published_sheet, source_text
from vaezoo.reports.ranking import Ranking, rank
from vaezoo.reports.remarks import merged, setting_remarks, subset_remarks
from vaezoo.reports.rows import FACTS, TableRow, dataset_rows, reference_row
from vaezoo.reports.search import searches
from vaezoo.reports.statistics import NOTHING
from vaezoo.runner.files import write_atomically

_LETTERS = "abcdefghijklmnopqrstuvwyz"  # Markdown reads "- [x]" as a ticked box
_LEGEND = (
    "± is the 95 % Student interval of the mean over seeds; with two seeds the range is shown, with one the value. "
    "Three standard errors of the iwll stand apart: the Monte-Carlo error of a seed's mean over the images, from its "
    "importance samples, the error of the row's mean over the test images, and that over the seeds. The effective "
    "samples of K are a mean over the images. "
    "Likelihoods are in nats per image, higher is better (a published NLL is the negative)."
)
_PARETO_K = (
    "Pareto k measures how heavy the tail of an image's importance weights is. The column shows the k that 95 % of the "
    "images do not exceed: where it is above 0.7 the iwll is a lower bound, and its Monte-Carlo error is too small. "
    "More importance samples or a better posterior help, and the metric ais gives another estimate; the records' "
    "warnings have the figures."
)
_MEMORY = (
    "Peak memory is what the cell itself took, beyond what its process held before data and model were loaded; on a "
    "GPU it is what torch allocated there."
)
_PROCESS_MEMORY = "Process memory is the peak of the whole process, torch included."
_BOLD = (
    "Bold is every number that cannot be told from the best of the rows that are ranked together: the interval of its "
    "paired difference to the best, over the shared seeds and the test images, contains 0. The intervals of one column "
    "hold together: rows that are equally good are all bold in 95 of 100 tables. Bold rows share rank 1; the rank of "
    "another row is 1 + the number of rows that are told above it."
)
_BOLD_SPEEDS = "Bold speeds are within 5 % of the fastest, or their quartiles overlap."
_ONE_SEED = "One seed is compared over the test images alone: bold speaks of these trained models, not of new ones."
_NO_IMAGES = "Without values of each image the seeds alone decide: bold speaks of these test images."
_IMPORTANT = (
    *("rank", "iwll", "marks", "elbo"),
    *("train_images_per_second", "iwll_samples_per_second", "sample_images_per_second", "seeds"),
)
"""The columns that a narrow terminal shows first; those that rank rows follow, then the others."""


@dataclass(frozen=True)
class Table:
    """The rows of one data set in the order of the matrix, then its references, and the comparison of these rows.

    lead: how the rows were measured, in one line. columns: those with a number. remarks: what a reader must know of
    each row. details: what the columns and bold mean, and what holds for all rows. chosen: the names of the columns
    that are shown, or None for all; the CSV has all.
    """

    dataset: str
    title: str
    lead: str
    rows: list[TableRow]
    columns: list[Column]
    ranking: Ranking
    remarks: Mapping[TableRow, tuple[str, ...]]
    details: list[str]
    chosen: tuple[str, ...] | None = None

    def with_columns(self, names: Sequence[str]) -> "Table":
        """The table that shows these columns alone, in this order, beside labels and marks.

        Raises VaezooError for a name that no column has.
        """
        known = [column.name for column in self.columns]
        for name in names:
            if name not in (*known, "seeds"):
                raise VaezooError(f"{self.dataset}: {unknown('column', name, [*known, 'seeds'])}")
        return replace(self, chosen=tuple(dict.fromkeys(names)))

    @cached_property
    def letters(self) -> dict[str, str]:
        """The mark of each remark: `[a]`, `[b]`, in the order of the rows."""
        told = dict.fromkeys(remark for row in self.rows for remark in self.remarks.get(row, ()))
        return {remark: f"[{_letters(place)}]" for place, remark in enumerate(told)}

    def marks(self, row: TableRow) -> list[str]:
        """The marks of a row's remarks."""
        return [self.letters[remark] for remark in self.remarks.get(row, ())]

    @cached_property
    def notes(self) -> list[str]:
        """The lines below the table: each remark after its mark."""
        return [f"{letter} {remark}" for remark, letter in self.letters.items()]

    @cached_property
    def sheets(self) -> tuple[Sheet, ...]:
        """The texts of Markdown, LaTeX and the terminal: the rows, then published values beside measured ones."""
        columns = {column.name: column for column in self.columns}
        titles = {"rank": "rank", "seeds": "seeds", "marks": "marks"}
        titles |= {name: column.title for name, column in columns.items()}
        ranks = self._ranks()
        shown = [*columns] if self.chosen is None else [*self.chosen]
        shown = ["rank", *shown] if ranks and self.chosen is None else shown
        shown += ["seeds"] * (self.chosen is None) + ["marks"] * bool(self.letters)

        def text(row: TableRow, name: str) -> str:
            """One cell."""
            if column := columns.get(name):
                return number_text(row.cells.get(name, NOTHING), column.style, column.unit)
            further = {"rank": str(ranks.get(row, "")), "seeds": row.seeds, "marks": " ".join(self.marks(row))}
            return further[name]

        def line(row: TableRow) -> Line:
            """One row as texts."""
            best = (place for place, name in enumerate(shown, start=1) if (row, name) in self.ranking.bold)
            return Line((row.label, *(text(row, name) for name in shown)), frozenset(best))

        own, elsewhere = ([row for row in self.rows if row.reference is side] for side in (False, True))
        pairs = compared(own, elsewhere)
        alone = [row for row in elsewhere if row not in {reference for _, reference in pairs}]
        ranking = [name for name, column in columns.items() if column.ranked_by]
        important = (*_IMPORTANT, *ranking) if self.chosen is None else (*self.chosen[:1], "marks", *self.chosen[1:])
        headings = ["label", *(titles[name] for name in shown)]
        names = ("label", *shown)
        lines, further = ([line(row) for row in rows] for rows in (own, alone))
        main = Sheet(self.title, [self.lead], headings, lines, further, self.notes, self.details, names, important)
        return (main, published_sheet(pairs, self.columns)) if pairs else (main,)

    def _ranks(self) -> dict[TableRow, int]:
        """The rank of each row in the first column that ranks rows; empty where none does."""
        names = (column.name for column in self.columns)
        name = next((name for name in names if any((row, name) in self.ranking.places for row in self.rows)), None)
        places = self.ranking.places
        return {row: places[row, name] for row in self.rows if name is not None and (row, name) in places}

    def markdown(self) -> str:
        """A Markdown page: title, how it was measured, the table, the remarks, published values, the details."""
        return formats.markdown(*self.sheets)

    def latex(self) -> str:
        r"""A tabular for `\input`, with a second one where there are published values; needs booktabs only."""
        return formats.latex(*self.sheets)

    def terminal(self, *, details: bool = False) -> formats.Terminal:
        """The table for a rich console: `console.print(table.terminal())`."""
        return formats.Terminal(self.sheets[0], self.sheets[1:], details)

    def frame(self) -> pandas.DataFrame:
        """The plain numbers: `x_mean`, `x_low`, `x_high` of each measured column x, in the results frame's units."""
        rows = self.rows
        columns: dict[str, Any] = {
            "label": [row.label for row in rows],
            "variant": [row.variant for row in rows],
            "dataset": [self.dataset] * len(rows),
            "status": [row.status for row in rows],
            "seeds": [row.counts["ok"] for row in rows],
            "seeds_planned": [row.counts.total() for row in rows],
        }
        for name in dict.fromkeys(name for row in rows for name in row.cells):
            cells = [row.cells.get(name, NOTHING) for row in rows]
            columns[f"{name}_mean"] = [cell.mean for cell in cells]
            columns[f"{name}_low"] = [cell.low for cell in cells]
            columns[f"{name}_high"] = [cell.high for cell in cells]
        columns |= self._comparison() | self._published()
        columns["ranked"] = [row in self.ranking.ranked for row in rows]
        columns["proved"] = [row.proved for row in rows]
        columns["reference"] = [row.reference for row in rows]
        columns["pseudo_likelihood"] = [row.pseudo_likelihood for row in rows]
        for name in FACTS:
            facts = [row.facts.get(name, ()) for row in rows]
            if name == "context_checksum" and not any(map(any, facts)):
                continue  # which only conditional rows have
            columns[name] = [fact[0] if len(fact) == 1 else " and ".join(map(str, fact)) or None for fact in facts]
        columns["reason"] = ["; ".join(row.reasons) for row in rows]
        for name in dict.fromkeys(name for row in rows for name in row.settings):
            if name not in columns:
                columns[name] = [row.settings.get(name, math.nan) for row in rows]
        return pandas.DataFrame(columns)

    def _comparison(self) -> dict[str, Any]:
        """For each ranked column x: `x_best`, whether a number is bold, `x_rank`, and `x_gap`, `x_gap_low`,
        `x_gap_high`, its mean difference to the best with the interval that decides.
        """
        columns: dict[str, Any] = {}
        for column in self.columns:
            name = column.name
            if name in self.ranking.best:
                columns[f"{name}_best"] = [(row, name) in self.ranking.bold for row in self.rows]
            if any(ranks := [self.ranking.places.get((row, name)) for row in self.rows]):
                columns[f"{name}_rank"] = pandas.array(ranks, dtype="Int64")
            gaps = [self.ranking.gaps.get((row, name)) for row in self.rows]
            if any(gap is not None for gap in gaps):
                for end, part in (("", "mean"), ("_low", "low"), ("_high", "high")):
                    columns[f"{name}_gap{end}"] = [
                        math.nan if gap is None else ten_digits(getattr(gap, part)) for gap in gaps
                    ]
        return columns

    def _published(self) -> dict[str, list[Any]]:
        """`about`, the row that a reference is about, and `x_beyond`, `x_beyond_low`, `x_beyond_high`: by how much the
        row's number exceeds the reference's in each column x that the two share.
        """
        pairs = {reference: row for row, reference in compared(self.rows, self.rows) if reference.reference}
        columns: dict[str, list[Any]] = {"about": [row.about or None for row in self.rows]} if pairs else {}
        for column in self.columns if pairs else ():
            found = [difference(pairs[r], r, column.name) if r in pairs else NOTHING for r in self.rows]
            if any(each.count for each in found):
                for end, part in (("", "mean"), ("_low", "low"), ("_high", "high")):
                    columns[f"{column.name}_beyond{end}"] = [ten_digits(getattr(each, part)) for each in found]
        return columns

    def csv(self) -> str:
        """`frame` as CSV, whose texts no spreadsheet computes."""
        return csv_text(self.frame())


def tables(
    frame: pandas.DataFrame, columns: Sequence[str] | None = None, images: ImageSource | None = None
) -> list[Table]:
    """One table for each data set of a results frame, in the order of the frame.

    columns: names of the columns that are shown, in this order; all that have a number where it is None.

    frame.attrs["columns"] says which columns were measured; a frame without it has the standard ones.
    frame.attrs["folder"] is the results folder, whose values of each test image rankings use; without them the seeds
    alone decide. images: where these values are, in place of that folder. Raises VaezooError where the frame lacks
    `label`, `dataset` or `status`, or has a cell twice, and for a column that a table has not.
    """
    stored = frame.attrs.get("columns")
    known = table_columns() if stored is None else [Column.from_json(column) for column in stored]
    ranked = tuple(column.name for column in known if column.ranked_by and column.ranked_by != "device")
    images = images or ImageValues(frame.attrs.get("folder"), ranked)
    made = [_table(dataset, rows, known, frame.attrs, images) for dataset, rows in dataset_rows(frame, known)]
    return made if columns is None else [table.with_columns(columns) for table in made]


def write_tables(made: pandas.DataFrame | Sequence[Table], folder: Path) -> list[Path]:
    """Writes each data set's `.md`, `.csv` and `.tex` into the folder, and `across.*` where rows are ranked on several
    data sets, each file atomically; returns the paths. made: a results frame, or its tables.
    """
    taken: set[str] = set()
    paths = []
    made = tables(made) if isinstance(made, pandas.DataFrame) else made
    texts = [(table.dataset, (table.markdown(), table.csv(), table.latex())) for table in made]
    if (found := across(made)) is not None:
        sheet = found.sheet
        texts.append(("across", (formats.markdown(sheet), csv_text(found.frame), formats.latex(sheet))))
    for title, written in texts:
        name = formats.file_name(title, taken)
        for ending, text in zip(("md", "csv", "tex"), written, strict=True):
            path = folder / f"{name}.{ending}"
            write_atomically(path, text.encode(), lasting=False)
            paths.append(path)
    return paths


def _table(
    dataset: str, rows: list[TableRow], columns: list[Column], attrs: Mapping[Any, Any], images: ImageSource
) -> Table:
    """The table of these rows: ranked, with remarks, and with the references below."""
    rows, columns = with_errors(rows, partial(images.of, dataset)), with_error_columns(columns)
    found = searches(rows)
    ranking = rank([row for row in rows if row not in found.searched], columns, partial(images.of, dataset))
    few_images, footnotes = subset_remarks(rows, attrs)
    given = [reference for reference in attrs.get("references", []) if reference.get("dataset") == dataset]
    references = [reference_row(reference, columns) for reference in given]
    labels = {row.label for row in rows}
    remarks: dict[TableRow, tuple[str, ...]] = {
        **merged(rows, found.remarks, ranking.remarks, setting_remarks(rows, ranking), few_images),
        **{reference: (source_text(reference),) for reference in references if reference.about not in labels},
    }
    shown = [column for column in columns if any(row.has(column.name) for row in rows + references)]
    title = f"{attrs['name']}: {dataset}" if attrs.get("name") else dataset
    told = {"pareto_k": _PARETO_K, "own_memory_bytes": _MEMORY, "peak_memory_bytes": _PROCESS_MEMORY}
    legend = [_LEGEND, *(told[column.name] for column in shown if column.name in told)]
    further = [*footnotes, *filter(None, [attrs.get("overlaps", {}).get(dataset)]), *origin_lines(rows)]
    details = [*_bold_legend(ranking), " ".join(legend), data_line(rows, ranking.chosen), *further]
    lead = measured_line(rows, ranking.chosen, bool(ranking.bold))
    return Table(dataset, title, lead, rows + references, shown, ranking, remarks, [text for text in details if text])


def _bold_legend(ranking: Ranking) -> list[str]:
    """What bold means, and what the seeds can tell; nothing where nothing is ranked."""
    told = []
    if tested := [gap for gap in ranking.gaps.values() if gap.is_tested]:
        told.append(_BOLD)
        if any(len(gap.seeds) == 1 for gap in tested):
            told.append(_ONE_SEED)
        if any(not gap.images for gap in tested):
            told.append(_NO_IMAGES)
    if any(column not in {name for _, name in ranking.gaps} for column in ranking.best):
        told.append(_BOLD_SPEEDS)
    return [text for text in (" ".join(told), " ".join(f"{note}." for note in ranking.notes)) if text]


def _letters(place: int) -> str:
    """a, b, .. z, aa, ab, .. without x."""
    more, letter = divmod(place, len(_LETTERS))
    return (_letters(more - 1) if more else "") + _LETTERS[letter]
