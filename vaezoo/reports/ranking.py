"""Which rows of a table may be compared, and which of them is best.

Two rows share a ranking only if they were measured alike: MUST_AGREE lists the facts that must agree, for each kind of
column. Rows of different precisions share one only where the table shows how far each is from float32.
reports/contest.py has the rule for what is bold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaezoo.core.columns import MUST_AGREE, Column
from vaezoo.reports.contest import Gap
from vaezoo.reports.rows import TableRow, facts_text
from vaezoo.reports.standings import NumberImages, Standings

Remarks = Mapping[TableRow, Sequence[str]]
"""What a reader must know of each row, a sentence each."""
_Facts = tuple[Any, ...] | None


@dataclass(frozen=True)
class Ranking:
    """The comparison of one data set's rows.

    ranked: the rows whose log-likelihood (or ELBO, where no log-likelihoods compete) competes with another row's.
    bold: (row, column name) of each number that cannot be told from the best. remarks: why a row is not ranked with the
    others, or on which seeds it is. unlike: the facts in which a row differs from the ranked ones. chosen: the row that
    the others are measured like, or None where no row can be ranked. best: the best row of each column that has bold
    numbers. gaps: (row, column name) -> its difference to the best. notes: what holds for the rows of a column.
    places: (row, column name) -> its rank, which rows that cannot be told from the best share (reports/places.py).
    """

    ranked: frozenset[TableRow]
    bold: frozenset[tuple[TableRow, str]]
    remarks: Remarks
    unlike: Mapping[TableRow, frozenset[str]]
    chosen: TableRow | None
    best: Mapping[str, TableRow] = field(default_factory=dict)
    gaps: Mapping[tuple[TableRow, str], Gap] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    places: Mapping[tuple[TableRow, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Difference:
    """A fact in which a row differs from the ranked ones, and the difference in words."""

    fact: str
    words: str


def rank(rows: Sequence[TableRow], columns: Sequence[Column], images: NumberImages | None = None) -> Ranking:
    """Compares one data set's rows.

    The largest set of rows that were measured alike is ranked; of equally large ones, the first. Bold is what cannot be
    told from the best, where two rows or more compete. A pseudo-likelihood and a row whose seeds were measured unlike
    each other do not compete, nor does a row with a proof that fails, whose remark is its own. Rows with other seeds
    are compared on those that they share. images: where the numbers of each test image are.
    """
    estimates, bounds, speeds = (
        [column for column in columns if column.ranked_by == kind] for kind in ("estimate", "data", "device")
    )
    remarks: defaultdict[TableRow, list[str]] = defaultdict(list)
    scored = [row for row in rows if _has(row, estimates + bounds)]
    for row in scored:
        if row.pseudo_likelihood:
            remarks[row].append("pseudo-likelihood (a density of other values than these images): not ranked")
    scored = [row for row in scored if not row.pseudo_likelihood and not row.disproved]
    precision = ("precision",) * any(_differs_unseen(row) for row in scored)
    same_estimate, same_data = MUST_AGREE["estimate"] + precision, MUST_AGREE["data"] + precision
    by_estimate = {row: _facts(row, same_estimate) for row in scored}
    by_data = {row: _facts(row, same_data) for row in scored}
    chosen = _chosen(scored, estimates, by_estimate, by_data)
    in_estimates = [r for r in scored if chosen and by_estimate[r] == by_estimate[chosen] and _has(r, estimates)]
    in_bounds = [r for r in scored if chosen and by_data[r] == by_data[chosen] and _has(r, bounds)]
    comparable = set(in_bounds)
    unlike: dict[TableRow, frozenset[str]] = {}
    for row in scored:
        names = same_estimate if _has(row, estimates) else same_data
        if found := _differences(row, chosen, names, several=len(in_estimates or in_bounds) > 1):
            unlike[row] = frozenset(difference.fact for difference in found)
            remarks[row].append(f"{'iwll ' if row in comparable else ''}not ranked: {_in_words(found)}")
    found_in = Standings(images)
    found_in.compare(in_estimates, estimates)
    found_in.compare(in_bounds, bounds)
    timed = [row for row in rows if _has(row, speeds) and not row.disproved]
    devices = {row: _facts(row, MUST_AGREE["device"]) for row in timed}
    sizes = Counter(devices.values())
    common = max((row for row in timed if devices[row]), key=lambda row: sizes[devices[row]], default=None)
    alike = [row for row in timed if common and devices[row] == devices[common]]
    found_in.compare_speeds(alike, speeds)
    for row, told in found_in.remarks.items():
        remarks[row] += told
    for row in timed:
        if found := _differences(row, common, MUST_AGREE["device"], several=len(alike) > 1):
            remarks[row].append(f"speeds not ranked: {_in_words(found)}")
    return Ranking(
        frozenset(next((each for each in (in_estimates, in_bounds) if len(each) > 1), [])),
        frozenset(found_in.bold),
        dict(remarks),
        unlike,
        chosen,
        found_in.best,
        found_in.gaps,
        tuple(found_in.notes),
        found_in.places,
    )


def _has(row: TableRow, columns: Iterable[Column]) -> bool:
    return row.has(*(column.name for column in columns))


def _differs_unseen(row: TableRow) -> bool:
    """Whether a row has a coarser precision than float32 and no number for the difference that this makes."""
    coarser = any(name not in (None, "float32") for name in row.facts.get("precision", ()))
    return coarser and not row.has("iwll_minus_float32")


def _facts(row: TableRow, names: Sequence[str]) -> _Facts:
    """How the row was measured, or None where its seeds differ."""
    facts = [row.facts.get(name, (None,)) for name in names]
    return None if any(len(values) > 1 for values in facts) else tuple(facts)


def _chosen(
    scored: Sequence[TableRow],
    estimates: Sequence[Column],
    by_estimate: Mapping[TableRow, _Facts],
    by_data: Mapping[TableRow, _Facts],
) -> TableRow | None:
    """The first row of the largest set that agrees in all facts; of equally large sets, the one with most comparable
    ELBOs counts.
    """
    facts = {row: by_estimate[row] if _has(row, estimates) else None for row in scored}
    estimated, bounded = Counter(facts.values()), Counter(by_data.values())
    estimated[None] = 0
    able = (row for row in scored if by_data[row])
    return max(able, key=lambda row: (estimated[facts[row]], bounded[by_data[row]]), default=None)


def _differences(row: TableRow, chosen: TableRow | None, names: Sequence[str], *, several: bool) -> list[_Difference]:
    """The facts in which the row differs from the chosen one or its seeds differ from each other.

    several: whether the chosen row stands for more rows than itself.
    """
    others = "the ranked rows have" if several or not chosen else f"{chosen.label} has"
    found: list[_Difference] = []
    for name in names:
        values = row.facts.get(name, (None,))
        if name == "context_checksum" and "conditional" in (difference.fact for difference in found):
            continue  # log p(x) has no context to compare
        if len(values) > 1:
            found.append(_Difference(name, f"{name} is {facts_text(values)} over its seeds"))
        elif chosen and values != (wanted := chosen.facts.get(name, (None,))):
            found.append(_Difference(name, f"{name} is {facts_text(values)}, {others} {facts_text(wanted)}"))
    return found


def _in_words(differences: Iterable[_Difference]) -> str:
    return "; ".join(difference.words for difference in differences)
