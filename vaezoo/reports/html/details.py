"""What a report tells of each row besides its numbers: failures, the audit, how it was run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vaezoo.evaluation.audit_figures import CLAIMS, Audit
from vaezoo.reports.html.commands import shell_line
from vaezoo.reports.html.folders import Cell
from vaezoo.reports.rows import setting_text
from vaezoo.runner.provenance import Provenance
from vaezoo.runner.records import Record


@dataclass(frozen=True)
class Failure:
    """A cell without results, or a metric that failed in one that has some."""

    label: str
    dataset: str
    seeds: tuple[str, ...]
    status: str
    reason: str
    logs: tuple[str, ...]


def failures(rows: Iterable[tuple[str, str, Sequence[Cell]]]) -> list[Failure]:
    """The failures of (label, data set, cells), one for each reason, in the order of the rows."""
    found: dict[tuple[str, str, str, str], tuple[list[str], list[str]]] = {}
    for label, dataset, cells in rows:
        for cell in cells:
            for status, reason in _failed(cell):
                seeds, logs = found.setdefault((label, dataset, status, reason), ([], []))
                seeds.append(setting_text(cell.plan.seed))
                logs += [cell.record.log] if cell.record is not None and cell.record.log else []
    return [
        Failure(label, dataset, tuple(seeds), status, reason, tuple(dict.fromkeys(logs)))
        for (label, dataset, status, reason), (seeds, logs) in found.items()
    ]


def _failed(cell: Cell) -> Iterator[tuple[str, str]]:
    """(status, reason) of a cell that has no results, and of each metric that failed."""
    record = cell.record
    if cell.plan.skip is not None:
        yield "skipped", cell.plan.skip
    elif record is not None and record.status != "ok":
        yield record.status, record.reason or "no reason was recorded"
    for name, reason in ({} if record is None else record.failed_metrics).items():
        yield "metric failed", f"{name}: {reason}"


@dataclass(frozen=True)
class AuditLine:
    """One figure of the audits of a row: what it is, the largest of its seeds, and the most that it may be."""

    claim: str
    found: str
    most: str
    holds: bool


def audit_lines(cells: Sequence[Cell]) -> list[AuditLine]:
    """The figures of the audits of a row, the worst of its seeds each."""
    audits = [record.audit for record in _records(cells) if record.audit is not None]
    lines = []
    for name in dict.fromkeys(name for audit in audits for name in audit.figures):
        worst = max(
            (a.figures[name] for a in audits if name in a.figures), key=lambda f: (f.found is None, f.found or 0)
        )
        found = "not finite" if worst.found is None else f"{worst.found:.3g}"
        lines.append(AuditLine(CLAIMS.get(name, name).rstrip(":"), found, f"{worst.most:.3g}", worst.holds))
    return lines


def audit_state(cells: Sequence[Cell]) -> str:
    """`passed` where every ok seed has an audit that holds, `failed`, or `none`."""
    audits: list[Audit] = [record.audit for record in _records(cells) if record.audit is not None]
    if any(audit.failures for audit in audits):
        return "failed"
    return "passed" if audits and len(audits) >= sum(cell.is_ok for cell in cells) else "none"


def model_facts(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """(name, values in words) of the sizes, the training and the evaluation of a row, as its first record has them."""
    record = next(iter(_records(cells)), None)
    if record is None:
        return []
    wanted = record.specification
    evaluate = {} if wanted.evaluate is None else dict(vars(wanted.evaluate))
    facts = {
        "sizes": _settings({"latent": wanted.latent, "hidden": wanted.hidden}),
        "training": _settings(wanted.train.to_json()),
        "evaluation": _settings(evaluate),
        "metrics": ", ".join(_call(name, options) for name, options in wanted.metrics or ()),
    }
    return [(name, text) for name, text in facts.items() if text]


def _settings(given: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} = {_value(value)}" for name, value in given.items() if value is not None)


def _call(name: str, options: Mapping[str, Any]) -> str:
    given = ", ".join(f"{key}={_value(value)}" for key, value in options.items())
    return f"{name}({given})" if given else name


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else setting_text(value)


def provenance(cells: Iterable[Cell]) -> list[tuple[str, list[str]]]:
    """(fact, its different values) of where, when and with what some cells were run."""
    found = [record.provenance for record in _records(cells) if record.provenance is not None]
    if not found:
        return []
    facts: list[tuple[str, Iterable[Any]]] = [
        ("vaezoo", (each.vaezoo for each in found)),
        ("commit", (each.git for each in found)),
        ("device", (_device(each) for each in found)),
        ("threads", (each.threads for each in found)),
        ("driver", (each.driver for each in found)),
        ("platform", (each.platform for each in found)),
        ("Python", (each.python for each in found)),
        *(
            (name, [each.versions.get(name) for each in found])
            for name in sorted({n for p in found for n in p.versions})
        ),
        ("plugin files", (name for each in found for name in each.plugins)),
        ("first start", [min((time_text(each.started) for each in found if each.started), default=None)]),
        ("last end", [max(time_text(each.finished) for each in found)]),
    ]
    named = ((name, list(dict.fromkeys(str(value) for value in values if value))) for name, values in facts)
    return [(name, values) for name, values in named if values]


def commands(cells: Iterable[Cell]) -> list[str]:
    """The commands that ran some cells, each once."""
    found = (record.provenance.command for record in _records(cells) if record.provenance is not None)
    return list(dict.fromkeys(shell_line(words) for words in found if words))


def commits(cells: Iterable[Cell]) -> list[str]:
    """The commits of vaezoo that ran some cells, each once."""
    found = (record.provenance.git for record in _records(cells) if record.provenance is not None)
    return list(dict.fromkeys(git for git in found if git))


def time_text(stored: str) -> str:
    """A record's time to read: `2026-11-26 05:41:50 UTC`."""
    return stored.replace("T", " ").replace("+00:00", " UTC")


def _device(given: Provenance) -> str:
    return given.device + (f", {given.memory_bytes / 2**30:.0f} GiB" if given.memory_bytes else "")


def _records(cells: Iterable[Cell]) -> Iterator[Record]:
    return (cell.record for cell in cells if cell.record is not None)
