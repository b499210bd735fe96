"""The lines of `vaezoo plan`: each row on each data set, what will be skipped or fail, and what is to run."""

from collections import Counter
from collections.abc import Iterator

from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store


def plan_lines(plan: Plan, store: Store, selection: Selection, device: str) -> Iterator[str]:
    """What a run of a plan into a results folder would do, a line each."""
    counts: dict[tuple[str, str], list[str]] = {}
    notes: dict[str, None] = {}
    for cell in plan.cells:
        record = store.record(cell.kind, cell.stem, cell)
        state = selection.state(cell, record)
        counts.setdefault((cell.label, cell.dataset), []).append(state)
        if cell.skip:
            notes[f"skipped: {cell.label} on {cell.dataset}: {cell.skip}"] = None
        elif state == "failed" and record is not None:
            notes[f"failed: {cell.title}: {record.reason}"] = None
        elif cell.expected_failure and state == "to run":
            failure = f"expected to fail: {cell.expected_failure}"
            notes[f"row {cell.label!r} on {cell.dataset}: {failure}"] = None
    for (label, dataset), states in counts.items():
        yield f"{label} on {dataset}: " + ", ".join(f"{n} {state}" for state, n in Counter(states).items())
    yield from notes
    timings = selection.pending(list(plan.timings.values()), store) if selection.timings else []
    cells = selection.pending(plan.cells, store)
    yield f"{_count(len(cells), 'cell')} and {_count(len(timings), 'timing')} to run on {device}, into {store.folder}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
