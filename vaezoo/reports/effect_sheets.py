"""The effects of a data set as sheets, as one frame of plain numbers, and as files."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas

from vaezoo.reports import formats
from vaezoo.reports.csv_text import csv_text
from vaezoo.reports.effects import IWLL, Effect, Effects, Interaction
from vaezoo.reports.formats import Line, Sheet
from vaezoo.reports.number_text import number_text, ten_digits
from vaezoo.reports.statistics import Summary
from vaezoo.runner.files import write_atomically

_MAIN = (
    "A main effect is the mean iwll of the rows with this level minus the mean of all levels of its axis, each level "
    "with the same weight. ± is its 95 % Student interval over the seeds, each of which gives one effect. Bold effects "
    "are told from 0 at 5 % after Holm's correction for all main effects of this table."
)
_TOGETHER = (
    "An interaction is the mean iwll of the rows with both levels minus what the mean and the two main effects add up "
    "to; interval and p as for the main effects, with Holm's correction for all interactions. Shown are those that are "
    "told from 0, and else the largest one of each pair of axes; the CSV file has all."
)
_SHARES = (
    "The share of the variance of a single number (one combination of levels, one new seed): variance components from "
    "which what the seeds add by chance is subtracted, as in omega squared; a component below 0 counts as 0."
)


def effect_sheets(found: Effects) -> list[Sheet]:
    """Main effects, interactions and shares; none where there are no effects."""
    if not found.axes:
        return []
    title = f"{found.name}: {found.dataset}" if found.name else found.dataset
    main = [_line(effect) for effect in found.main]
    notes = [*found.notes, *_left_out(found)]
    headings = ["axis", "level", "rows", "effect (nats)", "p (Holm)", "verdict"]
    sheets = [Sheet(f"{title}: main effects on the iwll", [*_lead(found), _MAIN], headings, main, [], notes)]
    if found.interactions:
        together = [_line(effect) for effect in _shown(found.interactions)]
        sheets.append(Sheet(f"{title}: interactions", [_TOGETHER], headings, together, [], []))
    if found.shares:
        lines = [Line((each.name, f"{100 * each.share:.1f} %")) for each in found.shares]
        sheets.append(Sheet(f"{title}: what explains the variance", [_SHARES], ["axis", "share"], lines, [], []))
    return sheets


def effect_frame(found: Effects) -> pandas.DataFrame:
    """The plain numbers: a row for each effect (every interaction, too), each share, and the best combination."""
    rows: list[dict[str, Any]] = []
    for effect in (*found.main, *found.interactions):
        kind = "interaction" if isinstance(effect, Interaction) else "main effect"
        interval = {"low": effect.found.low, "high": effect.found.high}
        rows.append({"kind": kind, "axis": " x ".join(effect.axes), "level": " x ".join(effect.levels)})
        rows[-1] |= {"rows": effect.rows, "seeds": effect.found.count, "mean": effect.found.mean, **interval}
        rows[-1] |= {"p": effect.found.p, "p_holm": effect.p, "verdict": effect.verdict}
    rows += [{"kind": "share of variance", "axis": each.name, "share": each.share} for each in found.shares]
    if found.best is not None:
        for kind, number in (("best by validation", found.best.validation), ("its test value", found.best.test)):
            rows.append({"kind": kind, "level": found.best.label, "seeds": number.count})
            rows[-1] |= {"mean": number.mean, "low": number.low, "high": number.high}
    names = ["kind", "axis", "level", "rows", "seeds", "mean", "low", "high", "p", "p_holm", "verdict", "share"]
    short = [{n: ten_digits(each) if isinstance(each, float) else each for n, each in row.items()} for row in rows]
    frame = pandas.DataFrame(short, columns=names)
    return frame.astype(dict.fromkeys(("rows", "seeds"), "Int64"))


def write_effects(found: Sequence[Effects], folder: Path) -> list[Path]:
    """Writes `DATASET-effects` as `.md`, `.csv` and `.tex` into the folder, for each data set that has effects."""
    taken: set[str] = set()
    for each in found:
        formats.file_name(each.dataset, taken)  # the names of the other tables
    paths = []
    for each in found:
        if sheets := effect_sheets(each):
            name = formats.file_name(f"{each.dataset[:90]}-effects", taken)
            text = {"md": "\n".join(map(formats.markdown, sheets)), "csv": csv_text(effect_frame(each))}
            text["tex"] = "\n".join(map(formats.latex, sheets))
            for ending, content in text.items():
                paths.append(folder / f"{name}.{ending}")
                write_atomically(paths[-1], content.encode(), lasting=False)
    return paths


def _lead(found: Effects) -> Iterator[str]:
    """What is crossed, and the best combination."""
    also = {axis: f"; with it {', '.join(axis.also)}" if axis.also else "" for axis in found.axes}
    axes = " x ".join(f"{axis.name} ({len(axis.levels)}{text})" for axis, text in also.items())
    seeds = len(found.seeds)
    yield f"{found.rows} of {found.combinations} combinations of {axes} · {seeds} seed{'s' * (seeds != 1)}"
    if found.best is None:
        yield "No record has a validation iwll by which a combination could be chosen."
    else:
        validation, test = (
            number_text(each, IWLL.style, IWLL.unit) for each in (found.best.validation, found.best.test)
        )
        chosen = f"chosen on validation (iwll {validation}) and reported on test"
        yield f"Best combination, {chosen}: {found.best.label}, {test}"


def _shown(every: Sequence[Interaction]) -> Iterator[Interaction]:
    """The interactions that are told from 0, and of each pair without one the largest."""
    pairs: dict[tuple[str, ...], list[Interaction]] = {}
    for effect in every:
        pairs.setdefault(effect.axes, []).append(effect)
    for members in pairs.values():
        yield from [e for e in members if e.is_told] or [max(members, key=lambda e: round(abs(e.found.mean), 9))]


def _line(effect: Effect) -> Line:
    """An effect as texts."""
    found = effect.found
    is_one = not math.isfinite(found.low)
    ends = (found.mean, found.mean) if is_one else (found.low, found.high)
    text = number_text(Summary(found.mean, *ends, found.count, "single" if is_one else "interval"), IWLL.style)
    sign = "+" if found.mean > 0 else ""
    p = "" if effect.p is None else f"{effect.p:.2g}"
    texts = (" x ".join(effect.axes), " x ".join(effect.levels), str(effect.rows), sign + text, p, effect.verdict)
    return Line(texts, frozenset([3] if effect.is_told else []))


def _left_out(found: Effects) -> Iterator[str]:
    """The rows that take no part, those with the same reason in one line."""
    reasons: dict[str, list[str]] = {}
    for label, reason in found.left_out.items():
        reasons.setdefault(reason, []).append(label)
    for reason, labels in reasons.items():
        yield f"left out: {'; '.join(labels)}: {reason}"
