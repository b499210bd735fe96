"""Results folders made by hand: a plan, its records, and values of each image."""

import zlib
from dataclasses import replace

from small_tasks import a_cell

from vaezoo.core.columns import Column
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.provenance import Provenance
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store
from vaezoo.runner.verdicts import FOLDER, Verdict, keep

DEVICE = "a processor"
ODDNESS = (Column("oddness", better=-1),)


def a_record(label, seed, results, *, status="ok", dataset="digits", device=DEVICE, epochs=7, reason=None, **facts):
    """The record of a cell, or with seed None of a timing. facts: what differs in its Comparability."""
    cell = a_cell(0 if seed is None else seed)
    specification = replace(
        cell.specification,
        slots={**cell.specification.slots, "prior": ("mixture", {"components": zlib.crc32(repr(label).encode())})},
        dataset=replace(cell.specification.dataset, name=dataset),
        train=replace(cell.specification.train, epochs=epochs),
        seed=seed,
    )
    cell = replace(
        cell,
        label=label,
        dataset=dataset,
        seed=seed,
        key=specification.key,
        specification=specification,
        comparability=replace(cell.comparability, **facts),
    )
    provenance = Provenance("0.1.0", "2.14", "3.11", "Linux", device, 1, 2**30, (), "2026-01-01T00:00:00+00:00")
    return cell, replace(Record.of(cell, status, reason), results=results, provenance=provenance)


def timing(label, train, *, spread=0.01, device=DEVICE, **others):
    """The record of a timing with one speed and its quartiles."""
    speeds = {"train_images_per_second": train, "own_memory_bytes": 2**30}
    if spread is not None:
        speeds |= {f"train_images_per_second_{end}": train * (1 + s * spread) for end, s in (("low", -1), ("high", 1))}
    return a_record(label, None, speeds, device=device, **others)


def rows(label, values, **others):
    """One row: a record for each iwll."""
    return [a_record(label, seed, {"iwll": value}, **others) for seed, value in enumerate(values)]


def write(folder, records, images=None, columns=ODDNESS, missing=(), failure=None):
    """The folder with these records. images: (label, seed) -> the iwll of each image. missing: labels not run yet.
    failure: the proof of each plugin that fails.
    """
    store, stored = Store(folder), []
    for plugin, digest in a_cell().specification.code.items():
        keep(store.folder / FOLDER, Verdict(plugin, digest, failure, False, "", "2026-01-01", "0.1.0"))
    timed = {(cell.label, cell.dataset): cell.stem for cell, _ in records if cell.seed is None}
    for cell, record in records:
        if images and (cell.label, cell.seed) in images:
            store.write_images(cell.stem, {"iwll": images[cell.label, cell.seed]})
        if cell.label not in missing:
            store.write(cell, record)
        if cell.seed is None:
            continue
        stem, skip = timed.get((cell.label, cell.dataset)), None
        facts = (cell.label, cell.variant, cell.dataset, cell.seed, skip, cell.comparability, {})
        stored.append(StoredCell(cell.stem, cell.key, stem, *facts))
    store.write_plan(StoredPlan(3, "made", (), (), tuple(columns), {}, tuple(stored)))
    return folder
