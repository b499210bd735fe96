"""What a reader must know of single rows: settings unlike those of most rows, and evaluation on few images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaezoo.reports.ranking import Ranking, Remarks
from vaezoo.reports.rows import TableRow, facts_text, is_missing, setting_text


def setting_remarks(rows: Sequence[TableRow], ranking: Ranking) -> Remarks:
    """The settings of training and evaluation in which a row differs from most rows."""
    names = [name for name in (rows[0].settings if rows else ()) if name.startswith(("train.", "evaluate."))]
    names = [name for name in names if name != "evaluate.images"]  # `subset_remarks` tells
    if not any(name.endswith(".precision") for name in names):
        names.append("precision")
    remarks: defaultdict[TableRow, list[str]] = defaultdict(list)
    for name in names:
        given = [facts_text(row.facts.get(name, ())) or setting_text(row.settings.get(name)) for row in rows]
        if name == "precision":
            given = [text if row.counts["ok"] else "" for text, row in zip(given, rows, strict=True)]
        counts = Counter(text for text in given if text)
        if len(counts) < 2:
            continue
        common = counts.most_common(1)[0][0]
        others = "others" if len(counts) == 2 else "most rows"
        for row, text in zip(rows, given, strict=True):
            told = name.startswith("evaluate.") and name.removeprefix("evaluate.") in ranking.unlike.get(row, ())
            if text not in ("", common) and not told:
                remarks[row].append(f"{name} = {text} ({others} {common})")
    return remarks


def subset_remarks(rows: Sequence[TableRow], attrs: Mapping[Any, Any]) -> tuple[Remarks, list[str]]:
    """Which rows used only the first images of the test set: (remarks, notes), one note where all rows used the same.

    attrs: of the results frame, whose `evaluate.images` holds for rows without this setting.
    """
    told = {}
    for row in rows:
        limit = row.settings.get("evaluate.images", attrs.get("evaluate.images"))
        if row.counts["ok"] and not is_missing(limit):
            images = row.facts.get("images", (limit,))
            told[row] = f"on the first {' or '.join(f'{int(n):,}' for n in images if n is not None)} test images"
    if len(set(told.values())) == 1 and len(told) == sum(row.counts["ok"] > 0 for row in rows):
        return {}, [next(iter(told.values()))]
    return {row: [text] for row, text in told.items()}, []


def merged(rows: Iterable[TableRow], *parts: Remarks) -> dict[TableRow, tuple[str, ...]]:
    """All remarks on each row, each once: the messages of its cells first, then the parts in their order."""
    return {
        row: tuple(dict.fromkeys([*row.messages, *(text for part in parts for text in part.get(row, ()))]))
        for row in rows
    }
