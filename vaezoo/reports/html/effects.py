"""The effects of a crossed matrix as a section of the report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vaezoo.reports.effect_sheets import effect_sheets
from vaezoo.reports.effects import Effect, effects_of
from vaezoo.reports.formats import Sheet
from vaezoo.reports.html.strips import Difference, Side, Strip, strips
from vaezoo.reports.rows import TableRow


@dataclass(frozen=True)
class EffectSection:
    """lead: what is crossed, and the best combination. bars, zero: the main effects; shares: (name, share, text) of the
    variance; sheets: the tables.
    """

    lead: tuple[str, ...]
    bars: tuple[Strip, ...]
    zero: float
    shares: tuple[tuple[str, float, str], ...]
    sheets: tuple[Sheet, ...]


def effect_section(dataset: str, rows: Sequence[TableRow]) -> EffectSection | None:
    """The effects of the rows of a data set; None where the rows cross nothing."""
    found = effects_of(dataset, [row for row in rows if not row.reference])
    sheets = effect_sheets(found)
    if not sheets:
        return None
    texts = [line.texts[3] for line in sheets[0].lines]
    bars, zero = strips([_difference(effect, text) for effect, text in zip(found.main, texts, strict=True)])
    shares = tuple((each.name, round(each.share, 4), f"{100 * each.share:.1f} %") for each in found.shares)
    *lead, meaning = sheets[0].lead
    first = replace(sheets[0], lead=[meaning])
    return EffectSection(tuple(lead), bars, zero, shares, (first, *sheets[1:]))


def _difference(effect: Effect, text: str) -> Difference:
    name = f"{' x '.join(effect.axes)} = {' x '.join(effect.levels)}"
    side: Side = "untested" if effect.p is None else "told" if effect.is_told else "alike"
    return Difference(name, "", "", text, side, effect.found.mean, effect.found.low, effect.found.high)
