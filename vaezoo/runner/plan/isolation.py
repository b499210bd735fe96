"""Plans a matrix with plugins from outside, which run only in child processes.

Rows of vaezoo's own plugins are planned in this process, unless their model may be large. All others are planned in
children, one for each set of sources that rows share, so that nothing a plugin does reaches the plan of another row. A
row whose plugins end, hang or crash their process is planned all the same: its cells are expected to fail.
"""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError, VaezooWarning, unknown
from vaezoo.registry import package_names, register
from vaezoo.runner.children.client import Children, outcomes
from vaezoo.runner.limits import PLANNING
from vaezoo.runner.matrix.file import Matrix, MatrixRow, load, rows
from vaezoo.runner.plan.catalogue import Catalogue, Name, catalogue
from vaezoo.runner.plan.cell import Cell, Comparability
from vaezoo.runner.plan.planner import (
    STANDARD_METRICS,
    Machine,
    Plan,
    PlannedRow,
    Unit,
    assembled,
    planned_rows,
    settings_of,
    units,
)
from vaezoo.runner.plan.sizes import may_be_large
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.plan.specification import PROTOCOL, DatasetChoice, EvaluationOptions, Specification


def plan_in_children(
    matrix: Matrix, children: Children, machine: Machine, data_root: str | None = None, seconds: float = PLANNING
) -> Plan:
    """The plan of a matrix. seconds: those that an import or a rehearsal may take.

    Raises VaezooError for invalid user input, and for a plugin file that is not importable.
    """
    with register.without_packages():
        wanted, every = units(matrix), rows(matrix)
        names = {unit: _names(matrix, every[unit[0]], unit[1]) for unit in wanted}
        first = Catalogue()
        unfamiliar = not all(first.knows(name) for found in names.values() for name in found)
        files = [str(path) for path in matrix.plugins if path not in register.files]
        missing = [path for path in matrix.plugins if not path.is_file()]
        if missing:
            raise VaezooError(
                f"plugin file {missing[0]} does not exist; a plugin's path is relative to the matrix file"
            )
        known = catalogue(children, files, package_names() if unfamiliar else (), seconds)
        for reason in [*known.unavailable.values(), *known.broken_packages]:
            warnings.warn(reason, VaezooWarning, stacklevel=2)
        groups: dict[Sources, list[Unit]] = {}
        planned: list[PlannedRow] = []
        for unit in wanted:
            found = _with_parts(names[unit], every[unit[0]], known)
            if lost := [name for name in found if not known.knows(name)]:
                planned.append(_lost(matrix, every[unit[0]], unit, lost[0], known))
            else:
                groups.setdefault(known.sources(found), []).append(unit)
        own = groups.pop(Sources(), [])
        large = [unit for unit in own if _may_be_large(every[unit[0]])]
        planned += planned_rows(matrix, [unit for unit in own if unit not in large], machine, data_root)
        planned += _planned_in_child(matrix, children, machine, data_root, Sources(), large, seconds)
        for sources, members in groups.items():
            planned += _planned_in_child(matrix, children, machine, data_root, sources, members, seconds)
        return assembled(matrix, planned, data_root)


def _may_be_large(row: MatrixRow) -> bool:
    return may_be_large(row.latent, row.hidden, {slot: values for slot, (_, values) in row.slots.items()})


def _names(matrix: Matrix, row: MatrixRow, dataset: int) -> list[Name]:
    """The names that a row itself uses on a data set."""
    named = [(slot, name) for slot, (name, _) in row.slots.items() if name is not None]
    metrics = [("metric", name) for name in (*STANDARD_METRICS, *(entry.name for entry in row.evaluate.metrics))]
    found = [("variant", row.variant), ("dataset", matrix.datasets[dataset].name), *named, *metrics]
    return [name for name in found if name != ("likelihood", "auto")]


def _with_parts(names: Sequence[Name], row: MatrixRow, known: Catalogue) -> list[Name]:
    """The names, and those of the parts that the row's variant declares and the row does not override."""
    declared = known.parts_of(row.variant)
    return [*names, *(part for part in declared if (row.slots.get(part[0]) or (None,))[0] is None)]


def _lost(matrix: Matrix, row: MatrixRow, unit: Unit, name: Name, known: Catalogue) -> PlannedRow:
    """A row with a name that nothing registers: one that is expected to fail, where a source that may register it could
    not be imported. VaezooError where there is no such source.
    """
    if not known.broken:
        unavailable = "; ".join(f"{title} is unavailable: {reason}" for title, reason in known.unavailable.items())
        message = unknown(*name, known.names(name[0]))
        where = "" if name[0] == "dataset" else f"row {row.label!r}: "
        raise VaezooError(f"{where}{message}{f' ({unavailable})' if unavailable else ''}")
    sources, titles = known.suspects(name[1])
    reason = f"{name[0]} {name[1]!r} is not registered, and {'; '.join(known.broken[title] for title in titles)}"
    return _unresolved(matrix, row, unit, sources, reason)


def _planned_in_child(
    matrix: Matrix,
    children: Children,
    machine: Machine,
    data_root: str | None,
    sources: Sources,
    members: list[Unit],
    seconds: float,
) -> list[PlannedRow]:
    """Plan the rows that share these sources. After a row that ends the child, the next ones get a new child."""
    every, found, left = rows(matrix), list[PlannedRow](), list(members)
    reasons: dict[Unit, str] = {}
    while left:
        asked = left[:1] if left[0] in reasons else left
        arguments = {
            "matrix": matrix.dump(),
            "units": asked,
            "machine": vars(machine),
            "data_root": data_root,
            "sources": vars(sources),
            "rehearse": left[0] not in reasons,
        }
        job = children.start(f"{__name__}:plan_units", arguments)
        [(_, outcome)] = outcomes(children, [job], seconds)
        for message in outcome.messages:
            if "invalid" in message:
                raise VaezooError(message["invalid"])
            if "planned" in message:
                row = PlannedRow.from_json(message["planned"])
                if (own := (row.row, row.dataset)) in left:  # a plugin may write into the pipe
                    left.remove(own)
                    found.append(_expecting(row, reasons.get(own)))
        unit = left[0] if left else None
        if unit is None or unit not in asked:
            continue
        if unit in reasons:  # not even its names could be resolved
            found.append(_unresolved(matrix, every[unit[0]], unit, sources, reasons[unit]))
            left.remove(unit)
        else:
            reasons[unit] = outcome.reason("when its plugins were rehearsed")
    return found


def _expecting(row: PlannedRow, reason: str | None) -> PlannedRow:
    """The row with a reason for which its cells are expected to fail, which has no timing."""
    if reason is None:
        return row
    cells = tuple(replace(cell, expected_failure=reason) for cell in row.cells)
    return replace(row, cells=cells, timing=None)


def plan_units(
    send: Any,
    matrix: dict[str, Any],
    units: list[list[int]],
    machine: dict[str, Any],
    data_root: str | None,
    sources: dict[str, list[str]],
    rehearse: bool,
) -> None:
    """In a child: import the sources and send each of these rows as it is planned, or the error of an invalid one."""
    try:
        Sources.from_json(sources).load()
        wanted = [(row, dataset) for row, dataset in units]
        for planned in planned_rows(load(matrix), wanted, Machine(**machine), data_root, rehearse):
            send(planned=planned.to_json())
    except VaezooError as error:
        send(invalid=str(error))


def _unresolved(matrix: Matrix, row: MatrixRow, unit: Unit, sources: Sources, reason: str) -> PlannedRow:
    """The cells of a row whose plugins cannot even be asked for their hyper-parameters. They are expected to fail."""
    entry = matrix.datasets[unit[1]]
    code = {f"file/{Path(file).name}": hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sources.files}
    specification = Specification(
        protocol=PROTOCOL,
        variant=row.variant,
        slots={slot: (name or "", dict(options)) for slot, (name, options) in row.slots.items()},
        latent=row.latent if isinstance(row.latent, int) else tuple(row.latent),
        hidden=tuple(row.hidden),
        allow_pseudo_likelihood=row.allow_pseudo_likelihood,
        dataset=DatasetChoice(entry.name, entry.options, ""),
        code=code | {f"package/{name}": "" for name in sources.packages},
        train=row.train,
        metrics=tuple((name, {}) for name in STANDARD_METRICS),
        evaluate=EvaluationOptions(row.evaluate.importance_samples, row.evaluate.images),
    )
    comparability = Comparability(
        measure="",
        binarisation="",
        checksum="",
        split="test",
        estimator="iwll",
        conditional=False,
        pseudo_likelihood=False,
        images=row.evaluate.images or 0,
        importance_samples=row.evaluate.importance_samples,
        precision=row.train.precision,
    )
    settings = settings_of(row, specification.slots)
    cells = tuple(
        Cell(row.label, row.variant, entry.label, own.seed, key, own, comparability, settings, expected_failure=reason)
        for key, own in specification.with_seeds(matrix.seeds)
    )
    return PlannedRow(*unit, cells, None, sources, None, {})
