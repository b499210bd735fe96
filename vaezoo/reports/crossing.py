"""Which settings of a data set's rows are crossed with each other: the axes of an effects table.

An axis is a slot whose part differs between rows (a level is a part with its options), an option of a part that all
rows have, a size of the model or an option of training. A setting that follows from another one is no axis of its own:
its effect is part of the other's.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vaezoo.registry import PARTS
from vaezoo.reports.rows import TableRow, is_missing, setting_text

FILLED, LEVEL_FILLED = 0.75, 0.5
"""More than these shares of all combinations, and of those of each level, must be there. 2 x 2 must be whole."""
_Levels = dict[TableRow, str]


@dataclass(frozen=True)
class Axis:
    """A setting and its levels, in the order of the matrix. also: settings that follow from it."""

    name: str
    levels: tuple[str, ...]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crossing:
    """The axes of some rows, two or more, or none where the rows cross nothing.

    places: of each row that takes part, its level on each axis. left_out: why a row does not take part.
    """

    axes: tuple[Axis, ...]
    places: Mapping[TableRow, tuple[int, ...]]
    left_out: Mapping[TableRow, str]

    @property
    def size(self) -> int:
        """How many combinations of levels there are."""
        return math.prod(len(axis.levels) for axis in self.axes)


NO_CROSSING = Crossing((), {}, {})


def crossing(rows: Sequence[TableRow]) -> Crossing:
    """The axes of these rows. Rows with a level that few combinations have are left out until the product is filled to
    more than FILLED, and each level to more than LEVEL_FILLED.
    """
    kept, left_out = list(rows), {}
    while len(kept) > 3:
        axes = _axes(kept)
        if len(axes) < 2:
            break
        seen: dict[tuple[str, ...], TableRow] = {}
        for row in kept:
            first = seen.setdefault(tuple(levels[row] for _, levels in axes), row)
            if first is not row:
                left_out[row] = f"it has the same levels as {first.label}"
        kept = list(seen.values())
        orders = [tuple(dict.fromkeys(levels[row] for row in kept)) for _, levels in axes]
        size = math.prod(map(len, orders))
        share, name, level, alone = _rarest(axes, orders, kept)
        if len(kept) > FILLED * size and share > LEVEL_FILLED * size:
            found = [Axis(names[0], order, names[1:]) for (names, _), order in zip(axes, orders, strict=True)]
            places = {
                row: tuple(order.index(levels[row]) for (_, levels), order in zip(axes, orders, strict=True))
                for row in kept
            }
            return Crossing(tuple(found), places, left_out)
        left_out |= dict.fromkeys(alone, f"few rows cross {name} {level} with other settings")
        kept = [row for row in kept if row not in alone]
    return NO_CROSSING


def _rarest(
    axes: Sequence[tuple[tuple[str, ...], _Levels]], orders: Sequence[tuple[str, ...]], rows: Sequence[TableRow]
) -> tuple[int, str, str, set[TableRow]]:
    """The level of an axis that has fewest rows (of equally few the last one), and these rows. A level's rows are
    counted once for each level of its axis, so that a full product has as many for each level as it has combinations.
    """
    found = []
    for (names, levels), order in zip(axes, orders, strict=True):
        counts = Counter(levels[row] for row in rows)
        found += [(counts[level] * len(order), -place, names[0], level, levels) for place, level in enumerate(order)]
    share, _, name, level, levels = min(found, key=lambda each: each[:2])
    return share, name, level, {row for row in rows if levels[row] == level}


def _axes(rows: Sequence[TableRow]) -> list[tuple[tuple[str, ...], _Levels]]:
    """The name of each setting that differs between rows, after it those that follow from it, and each row's level."""
    settings = dict.fromkeys(name for row in rows for name in row.settings if not name.startswith("evaluate."))
    found: dict[str, _Levels] = {}
    for part in PARTS:
        options = [name for name in settings if name.startswith(f"{part}.")]
        if len({_text(row, part) for row in rows}) > 1:
            found[part] = _parts(rows, part, options)
            settings = {name: None for name in settings if name not in options}
    for name in settings:
        if name not in found and len({_text(row, name) for row in rows}) > 1:
            found[name] = {row: _text(row, name) for row in rows}
    follows: dict[str, list[str]] = {}
    for name, levels in found.items():
        if (other := _ruler(name, levels, found)) is not None:
            follows.setdefault(other, []).append(name)
    ruled = {name for names in follows.values() for name in names}
    return [((name, *follows.get(name, ())), levels) for name, levels in found.items() if name not in ruled]


def _ruler(name: str, levels: _Levels, found: Mapping[str, _Levels]) -> str | None:
    """The setting that decides this one: the one with most levels, and the first of those with as many."""
    able = [other for other in found if other != name and _decides(found[other], levels)]
    able.sort(key=lambda other: -len(set(found[other].values())))
    names = list(found)
    for other in able:
        equal = _decides(levels, found[other])
        if not equal or names.index(other) < names.index(name):
            return other
    return None


def _decides(levels: _Levels, others: _Levels) -> bool:
    """Whether rows with the same level of one setting have the same level of the other one."""
    return len(set(zip(levels.values(), others.values(), strict=True))) == len(set(levels.values()))


def _text(row: TableRow, name: str) -> str:
    value = row.settings.get(name)
    return "not set" if is_missing(value) else setting_text(value)


def _parts(rows: Sequence[TableRow], part: str, options: Sequence[str]) -> _Levels:
    """Each row's part: its name, with the options that differ between rows with a part of this name."""
    named: dict[str, list[TableRow]] = {}
    for row in rows:
        named.setdefault(_text(row, part), []).append(row)
    levels = {}
    for name, members in named.items():
        told = [each for each in options if len({_text(row, each) for row in members}) > 1]
        for row in members:
            levels[row] = ", ".join([name, *(f"{each.removeprefix(f'{part}.')}={_text(row, each)}" for each in told)])
    return {row: levels[row] for row in rows}
