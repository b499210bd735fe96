"""Which rows' numbers may be ranked together, and what is to be said of a row that is unlike the others.

Two rows share a ranking only if what was measured is the same: COMPARED for the ELBO, with ESTIMATED also for the
importance-weighted log-likelihood, the device for speeds. Rows of several precisions share one only where the table
shows how far each is from float32.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vaezoo.reports.statistics import Column, Row, absent, plain

COMPARED = ("checksum", "binarisation", "measure", "split", "images", "conditional")
ESTIMATED = ("estimator", "importance_samples")
_Key = tuple[Any, ...] | None


def rank(rows: Sequence[Row], columns: Sequence[Column]) -> Row | None:
    """Sets what is `bold` and `ranked` among one dataset's rows, and remarks why a row is not ranked with the others.

    The largest set of rows that agree is ranked (of equal ones the first); bold is the best mean, where two rows or
    more compete. A pseudo-likelihood, a row whose seeds disagree and a row with fewer ok seeds than another do not
    compete. Returns a row of the ranked set, or None.
    """
    bounds = [column for column in columns if column.ranking in ("iwll", "elbo")]
    scored = [row for row in rows if row.has(*(column.name for column in bounds))]
    for row in scored:
        if row.pseudo_likelihood:
            row.remark("pseudo-likelihood (a density of other values than these images): not ranked")
    scored = [row for row in scored if not row.pseudo_likelihood]
    compared = COMPARED + ("precision",) * any(_unshown(row) for row in scored)
    fine, coarse = ({row: _key(row, names) for row in scored} for names in (compared + ESTIMATED, compared))
    chosen = _largest(scored, fine, coarse)
    iwll, elbo = (
        [row for row in scored if row.has(*(c.name for c in columns if c.ranking == kind))] for kind in ("iwll", "elbo")
    )
    iwll = [row for row in iwll if chosen and fine[row] == fine[chosen]]
    elbo = [row for row in elbo if chosen and coarse[row] == coarse[chosen]]
    alike = set(elbo)
    for row in scored:
        names = compared + ESTIMATED if row.has("iwll", "bits_per_dim") else compared
        if unlike := _differences(row, chosen, names, iwll or elbo):
            row.remark(f"{'iwll ' if row in alike else ''}not ranked: {unlike}")
    full = max((row.counts["ok"] for row in rows), default=0)
    for row in rows:
        if 0 < row.counts["ok"] < full:
            row.remark(f"not ranked: {row.counts['ok']} ok seeds where others have {full}")
    iwll = _best(iwll, [column for column in bounds if column.ranking == "iwll"], full)
    elbo = _best(elbo, [column for column in bounds if column.ranking == "elbo"], full)
    for row in iwll or elbo:
        row.ranked = True
    _rank_speeds(rows, [column for column in columns if column.ranking == "speed"], full)
    return chosen


def _unshown(row: Row) -> bool:
    """Whether a row is of a coarser precision than float32, and how far that takes it from float32 is not known."""
    coarser = any(name not in (None, "float32") for name in row.facts.get("precision", ()))
    return coarser and not row.has("iwll_minus_float32")


def _rank_speeds(rows: Sequence[Row], columns: Sequence[Column], full: int) -> None:
    """Ranks speeds among the rows of the device that most rows ran on."""
    timed = [row for row in rows if row.has(*(column.name for column in columns))]
    keys = {row: _key(row, ("device",)) for row in timed}
    sizes = Counter(keys.values())
    chosen = max((row for row in timed if keys[row]), key=lambda row: sizes[keys[row]], default=None)
    alike = [row for row in timed if chosen and keys[row] == keys[chosen]]
    for row in timed:
        if unlike := _differences(row, chosen, ("device",), alike):
            row.remark(f"speeds not ranked: {unlike}")
    _best(alike, columns, full)


def _largest(scored: Sequence[Row], fine: Mapping[Row, _Key], coarse: Mapping[Row, _Key]) -> Row | None:
    """The first row of the largest set that agrees in all; of equal sets, of the one with most comparable ELBOs."""
    keys = {row: fine[row] if row.has("iwll", "bits_per_dim") else None for row in scored}
    all_alike, elbos_alike = Counter(keys.values()), Counter(coarse.values())
    all_alike[None] = 0
    able = (row for row in scored if coarse[row])
    return max(able, key=lambda row: (all_alike[keys[row]], elbos_alike[coarse[row]]), default=None)


def _key(row: Row, names: Sequence[str]) -> _Key:
    """What the row was measured with, or None where its seeds disagree."""
    facts = [row.facts.get(name, (None,)) for name in names]
    return None if any(len(values) > 1 for values in facts) else tuple(facts)


def _differences(row: Row, chosen: Row | None, names: Sequence[str], ranked: Sequence[Row]) -> str:
    """In words, how the row was measured unlike the chosen one; empty where it was not."""
    others = "the ranked rows have" if len(ranked) > 1 or not chosen else f"{chosen.label} has"
    words = []
    for name in names:
        values = row.facts.get(name, (None,))
        if len(values) > 1:
            words.append(f"{name} is {' and '.join(map(plain, values))} over its seeds")
        elif chosen and values != (wanted := chosen.facts.get(name, (None,))):
            words.append(f"{name} is {plain(values[0])}, {others} {' and '.join(map(plain, wanted))}")
    return "; ".join(words)


def _best(rows: Sequence[Row], columns: Sequence[Column], full: int) -> list[Row]:
    """Makes the best of each column bold among rows with `full` seeds, and returns those; none if fewer than two."""
    able = [row for row in rows if row.counts["ok"] == full]
    for column in columns:
        fit = []
        for row in able:
            count = row.cells[column.name].count
            if column.ranking != "speed" and 0 < count < full:
                row.remark(f"{column.name} not ranked: {count} of {full} seeds have it")
            elif count and math.isfinite(row.cells[column.name].mean):
                fit.append(row)
        best = max((column.better * row.cells[column.name].mean for row in fit), default=0.0)
        leaders = [row for row in fit if column.better * row.cells[column.name].mean == best]
        if len(leaders) < len(fit):  # where all are equal none is best
            for row in leaders:
                row.bold.add(column.name)
    return able if len(able) > 1 else []


def remark_settings(rows: Sequence[Row]) -> None:
    """Remarks what a row was trained or evaluated with, where most rows have another value."""
    names = [name for name in (rows[0].settings if rows else ()) if name.startswith(("train.", "evaluate."))]
    if not any(name.endswith(".precision") for name in names):
        names.append("precision")
    for name in names:
        given = [" and ".join(map(plain, row.facts.get(name, ()))) or plain(row.settings.get(name)) for row in rows]
        if name == "precision":
            given = [text if row.counts["ok"] else "" for text, row in zip(given, rows, strict=True)]
        counts = Counter(text for text in given if text)
        if len(counts) < 2 or name == "evaluate.images":  # `remark_subset` tells
            continue
        common = counts.most_common(1)[0][0]
        others = "others" if len(counts) == 2 else "most rows"
        for row, text in zip(rows, given, strict=True):
            told = name == "evaluate.importance_samples" and any(
                "importance_samples is" in remark for remark in row.remarks
            )
            if text not in ("", common) and not told:
                row.remark(f"{name} = {text} ({others} {common})")


def remark_subset(rows: Sequence[Row], attrs: Mapping[Any, Any]) -> list[str]:
    """Says which rows used only the first images of the test set: in one note where all did, else row by row."""
    told = {}
    for row in rows:
        limit = row.settings.get("evaluate.images", attrs.get("evaluate.images"))
        if row.counts["ok"] and not absent(limit):
            images = row.facts.get("images", (limit,))
            told[row] = f"on the first {' or '.join(f'{int(n):,}' for n in images if n is not None)} test images"
    if len(set(told.values())) == 1 and len(told) == sum(row.counts["ok"] > 0 for row in rows):
        return [next(iter(told.values()))]
    for row, text in told.items():
        row.remark(text)
    return []
