"""The lines of `vaezoo plan`: each row on each data set, what will be skipped or fail, and what is to run."""

from collections import Counter
from collections.abc import Iterator

from vaezoo.runner.estimate import Estimate, estimate
from vaezoo.runner.machine.device import describe
from vaezoo.runner.plan.planner import Plan
from vaezoo.runner.run import chosen, packs, workers
from vaezoo.runner.selection import Selection
from vaezoo.runner.store import Store


def plan_lines(plan: Plan, store: Store, selection: Selection, device: str) -> Iterator[str]:
    """What a run of a plan into a results folder would do, a line each."""
    counts: dict[tuple[str, str], list[str]] = {}
    notes: dict[str, None] = {}
    shard = {cell.stem for pack in selection.own(packs(chosen(plan.cells, selection), plan, device)) for cell in pack}
    for cell in plan.cells:
        record = store.record(cell.kind, cell.stem, cell)
        state = selection.state(cell, record)
        if state == "to run" and cell.stem not in shard:
            state = "left out"
        counts.setdefault((cell.label, cell.dataset), []).append(state)
        where, warmup = f"{cell.label!r} on {cell.dataset}", cell.specification.train.unfinished_warmup
        if cell.skip:
            notes[f"skipped: {cell.label} on {cell.dataset}: {cell.skip}"] = None
        elif state == "failed" and record is not None:
            notes[f"failed: {cell.title}: {record.reason}"] = None
        elif cell.expected_failure and state == "to run":
            notes[f"row {where}: expected to fail: {cell.expected_failure}"] = None
        elif warmup is not None and state != "left out":
            notes[f"row {where}: {warmup}"] = None
    for (label, dataset), states in counts.items():
        yield f"{label} on {dataset}: " + ", ".join(f"{n} {state}" for state, n in Counter(states).items())
    yield from notes
    measured = [cell for cell in plan.timings.values() if selection.timings]
    shard |= {cell.stem for pack in selection.own(packs(chosen(measured, selection), plan, device)) for cell in pack}
    timings = [cell for cell in selection.pending(measured, store) if cell.stem in shard]
    cells = [cell for cell in selection.pending(plan.cells, store) if cell.stem in shard]
    yield f"{_count(len(cells), 'cell')} and {_count(len(timings), 'timing')} to run on {device}, into {store.folder}"
    if cells or timings:
        found = estimate([*cells, *timings], store.folder, describe(device), plan.train_images)
        yield estimate_line(found, len(workers(device, None, len(cells))[0]))


def estimate_line(found: Estimate, at_a_time: int) -> str:
    """The time and the disk that a run will take, in words."""
    if not found.known:
        return "no estimate: no past record"
    minutes = found.seconds / 60
    span = (
        f"{found.seconds:.0f} s" if minutes < 1 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    )
    disk = found.size / 1e6
    room = "under 1 MB" if disk < 1 else f"about {disk:,.0f} MB" if disk < 1e4 else f"about {disk / 1e3:,.0f} GB"
    line = f"about {span} of processor time on {_count(at_a_time, 'cell')} at a time, {room} of disk"
    missing = f"; no estimate for {found.unknown} of them: no past record"
    return line + (missing if found.unknown else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
