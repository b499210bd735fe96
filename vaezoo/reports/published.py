"""Published values beside measured ones: the references of a matrix that name the row which they are about."""

from collections import defaultdict
from collections.abc import Sequence

from vaezoo.core.columns import Column
from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.number_text import number_text
from vaezoo.reports.rows import TableRow
from vaezoo.reports.statistics import NOTHING, Summary

DETAIL = (
    "Measured minus published has the interval of the measured number over its seeds: the uncertainty of the published "
    "one is not known. More importance samples K give a higher iwll of the same model."
)


def compared(rows: Sequence[TableRow], references: Sequence[TableRow]) -> list[tuple[TableRow, TableRow]]:
    """(row, reference) of each reference that is about one of these rows, in the order of the rows."""
    about: defaultdict[str, list[TableRow]] = defaultdict(list)
    for each in references:
        about[each.about].append(each)
    return [(row, each) for row in rows for each in about.get(row.label, ())]


def samples_text(row: TableRow) -> str:
    """The importance samples of a row: `5,000`, `50 and 1,000` where its seeds differ, or nothing."""
    return " and ".join(f"{int(samples):,}" for samples in row.facts.get("importance_samples", ()) if samples)


def source_text(reference: TableRow) -> str:
    """What a table says of a reference that stands in a row of its own."""
    samples = samples_text(reference)
    gone = f"about the row {reference.about!r}, which is not in this table" if reference.about else ""
    told = ", ".join(filter(None, [reference.source, f"K = {samples}" if samples else "", gone]))
    return ": ".join(filter(None, ["from elsewhere, not ranked", told]))


def difference(row: TableRow, reference: TableRow, name: str) -> Summary:
    """Measured minus published in a column, with the interval of the measured number; nothing where one is missing."""
    measured, published = (side.cells.get(name, NOTHING) for side in (row, reference))
    if not measured.count or not published.count:
        return NOTHING
    mean, low, high = (value - published.mean for value in (measured.mean, measured.low, measured.high))
    return Summary(mean, low, high, measured.count, measured.kind)


def published_sheet(pairs: Sequence[tuple[TableRow, TableRow]], columns: Sequence[Column]) -> Sheet:
    """A line for each published number: the measured one, the published one, and measured minus published."""
    sampled = any(samples_text(reference) for _, reference in pairs)
    headings = ["label", "column", "measured here", "published", "difference"]
    headings += ["K here", "published K"] * sampled + ["source"]
    lines = []
    for row, reference in pairs:
        for column in columns:
            if reference.has(column.name):
                found = (row.cells.get(column.name, NOTHING), reference.cells[column.name])
                numbers = (*found, difference(row, reference, column.name))
                texts = [number_text(number, column.style, column.unit) for number in numbers]
                samples = (samples_text(row), samples_text(reference)) * sampled
                source = f"{reference.label} ({reference.source})" if reference.source else reference.label
                lines.append(Line((row.label, column.title, *texts, *samples, source)))
    return Sheet("measured and published", [], headings, lines, [], [], [DETAIL])
