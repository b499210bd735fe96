"""What changed between two results folders in one column of one row, and whether it is a loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vaezoo.core.columns import TIMED, Column
from vaezoo.reports.images import SCALED
from vaezoo.reports.pairs import Folder, Key, Pair, image_differences
from vaezoo.reports.statistics import (
    NOTHING,
    ROUNDING,
    SIGNIFICANT,
    Paired,
    Summary,
    holm,
    over_images,
    over_seeds,
    summarise,
)

Verdict = Literal["same", "loss", "gain", "no significant change", "too few seeds", "not comparable", "not judged"]
TOLERANCE = 0.05
"""The share of a speed that may be lost."""


@dataclass(frozen=True)
class Change:
    """One column of one label on one data set in both folders.

    before, after: the number over the shared seeds of each folder; a speed is its median with the quartiles.
    seeds: after - before over the seeds, paired, where there are two or more. images: the same over the test images, of
    the mean over the seeds. ratio: after / before, of speeds and memory. p: of the test that decides, after Holm's
    correction. reason: why it is not comparable.
    """

    label: str
    variant: str
    dataset: str
    column: Column
    verdict: Verdict
    before: Summary = NOTHING
    after: Summary = NOTHING
    seeds: Paired | None = None
    images: Paired | None = None
    ratio: float | None = None
    p: float | None = None
    reason: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether it is a significant loss."""
        return self.verdict == "loss"

    @property
    def deciding(self) -> Paired | None:
        """The differences that decide: those over the seeds where there are two or more, else those over the images."""
        return self.seeds or self.images


def quality_changes(
    pairs: Sequence[Pair], columns: Sequence[Column], before: Folder, after: Folder
) -> tuple[Change, ...]:
    """The changes of these columns for each label and data set of the pairs, judged together."""
    groups: dict[Key, list[Pair]] = {}
    for pair in pairs:
        if pair.both_ok:
            groups.setdefault((*pair.key[:3], None), []).append(pair)
    found = [
        change
        for key, group in groups.items()
        for column in columns
        if (change := _quality(key, group, column, before, after)) is not None
    ]
    return judged(found)


def _quality(key: Key, pairs: Sequence[Pair], column: Column, before: Folder, after: Folder) -> Change | None:
    """The change of one column, not yet judged. None where no pair has both numbers."""
    name = column.name
    measured = [pair for pair in pairs if name in pair.before.numbers and name in pair.after.numbers]
    if not measured:
        return None
    alike = [pair for pair in measured if not pair.unlike(column)]
    if not alike:
        return Change(*key[:3], column, "not comparable", reason=measured[0].unlike(column))
    old, new = ([getattr(pair, side).numbers[name] for pair in alike] for side in ("before", "after"))
    differences = [b - a for a, b in zip(old, new, strict=True)]
    change = Change(*key[:3], column, "same", summarise(old), summarise(new))
    images = image_differences(alike, name, before.store, after.store) if any(differences) else None
    return replace(
        change,
        verdict="no significant change" if any(differences) else "same",
        seeds=over_seeds(differences) if len(differences) > 1 else None,
        images=None if images is None else over_images(images),
    )


def judged(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes with their verdicts. Rows whose numbers are the same need no test and take no part in Holm's
    correction. A column that is another one in other units (bits per dimension) shares its test.
    """
    able = [c for c in changes if c.verdict == "no significant change" and c.deciding is not None]
    sources = {(c.label, c.dataset, c.column.name): c for c in able}
    shared = {id(c): sources.get((c.label, c.dataset, SCALED.get(c.column.name, ""))) for c in able}
    tested = [c for c in able if shared[id(c)] is None]
    adjusted = dict(zip(map(id, tested), holm([c.deciding.p for c in tested if c.deciding]), strict=True))
    adjusted |= {name: adjusted[id(source)] for name, source in shared.items() if source is not None}
    judged = []
    for change in changes:
        if id(change) in adjusted:
            change = replace(change, p=adjusted[id(change)])
            change = replace(change, verdict=_verdict(change))
        elif change.verdict == "no significant change":
            change = replace(change, verdict="too few seeds")
        judged.append(change)
    return tuple(judged)


def _verdict(change: Change) -> Verdict:
    """A loss where the interval lies wholly on the worse side and the corrected p-value is significant.

    Two seeds whose interval holds 0 are too few: their factor is 12.7.
    """
    found = change.deciding
    if found is None or change.p is None or abs(found.mean) <= ROUNDING * abs(change.before.mean):
        return "no significant change"
    if change.p > SIGNIFICANT or not (found.low > 0 or found.high < 0):
        return "too few seeds" if found.count == 2 and found is change.seeds else "no significant change"
    return "gain" if found.mean * change.column.better > 0 else "loss"


def speed_changes(timings: Sequence[Pair], tolerance: float) -> tuple[Change, ...]:
    """The changes of the speeds and of the memory of each timing.

    A speed is lost where it is below 1 - tolerance of what it was and the quartiles of the two do not overlap.
    """
    return tuple(
        _speed(pair, column, tolerance)
        for pair in timings
        if pair.both_ok
        for column in TIMED
        if column.name in pair.before.numbers and column.name in pair.after.numbers
    )


def _speed(pair: Pair, column: Column, tolerance: float) -> Change:
    old, new = (_median(side.numbers, column.name) for side in (pair.before, pair.after))
    change = Change(*pair.key[:3], column, "not judged", old, new)
    if unlike := pair.other_device:
        return replace(change, verdict="not comparable", reason=unlike)
    ratio = new.mean / old.mean if old.mean else None
    change = replace(change, ratio=ratio)
    if not column.better or ratio is None:
        return change
    if ratio == 1:
        return replace(change, verdict="same")
    if "single" in (old.kind, new.kind):
        return replace(change, reason="no quartiles")
    if is_slower(new, old, tolerance):
        return replace(change, verdict="loss")
    if ratio > 1 + tolerance and new.low > old.high:
        return replace(change, verdict="gain")
    return replace(change, verdict="no significant change")


def is_slower(speed: Summary, than: Summary, tolerance: float = TOLERANCE) -> bool:
    """Whether a speed is below 1 - tolerance of another, and the quartiles of the two (the ends) do not overlap."""
    return bool(than.mean) and speed.mean / than.mean < 1 - tolerance and speed.high < than.low


def _median(numbers: Mapping[str, float], name: str) -> Summary:
    """A speed as its median, with the quartiles as ends where the record has them."""
    middle = numbers[name]
    ends = numbers.get(f"{name}_low"), numbers.get(f"{name}_high")
    if ends[0] is None or ends[1] is None:
        return Summary(middle, middle, middle, 1, "single")
    return Summary(middle, ends[0], ends[1], 2, "range")
