"""In a child: makes the pictures of trained models and stores them beside their records. A failure costs no cell."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from vaezoo.core import heartbeat
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.pictures import pictures
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.plan.specification import DatasetChoice
from vaezoo.runner.records import Record, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.checkpoint import trained_model
from vaezoo.runner.work.evaluate import globals_restored
from vaezoo.runner.work.mapped import read_dataset
from vaezoo.runner.work.reevaluate import fingerprint_of
from vaezoo.training.checkpoint import Interrupted


def draw(store: Store, stem: str, record: Record, dataset: Dataset, device: str) -> None:
    """Make the pictures of a record's model, built anew from its weights, on the test images."""
    model, test = trained_model(record, store, stem).to(device), dataset.test
    with globals_restored():
        found = pictures(model, test.x, test.y, test.context if model.conditional else None)
    store.write_pictures(stem, found)


def draw_cells(tasks: Sequence[Task], device: str) -> None:
    """Make the pictures of those tasks that ask for them and have a complete result.

    They are made after the records of all the tasks have been written: whatever happens here, it changes no record, and
    one line says what it was.
    """
    for task in tasks:
        store, stem = Store(task.folder), task.cell.stem
        try:
            record = store.record("cells", stem, task.cell) if task.pictures else None
            if record is None or record.status != "ok" or record.pending_metrics:
                continue
            choice = record.specification.dataset
            data = read_dataset(task.data) if task.data is not None else None
            draw(store, stem, record, data or load_dataset(choice.name, task.data_root, options=choice.options), device)
        except Interrupted:
            return
        except BaseException as error:
            traceback.print_exc()
            line = f"no pictures of {task.cell.title}: {reason_of(error)}"
            print(line, file=sys.stderr)
            heartbeat.tell(say=line)


def draw_stored(
    send: Any,
    folder: str,
    sources: Mapping[str, Sequence[str]],
    dataset: Mapping[str, Any],
    stems: Sequence[str],
    device: str,
    data_root: str | None,
) -> None:
    """Load the sources and a data set, and make the pictures of the cells of these stems. Sends for each `stem` and
    `failed`, the reason or None.
    """
    heartbeat.listen(lambda message: send(**message))
    no_hidden_tf32()
    Sources.from_json(sources).load()
    store, choice = Store(folder), DatasetChoice(**dataset)
    try:
        data = load_dataset(choice.name, data_root, options=choice.options)
        if data.checksum != choice.checksum:
            raise VaezooError(f"dataset {choice.name!r} has changed since it was trained")
    except VaezooError as error:
        for stem in stems:
            send(stem=stem, failed=reason_of(error))
        return
    for stem in stems:
        heartbeat.beat()
        failed = None
        try:
            record = store.read("cells", stem)
            if record is None:
                raise VaezooError("its record is gone")
            code = record.specification.code
            parts = [title for title in code if not title.startswith("metric/")]
            if changed := [title for title in parts if fingerprint_of(title) != code[title]]:
                slot, _, name = changed[0].partition("/")
                raise VaezooError(f"{slot} {name!r} has changed since it was trained")
            draw(store, stem, record, data, device)
        except Exception as error:  # whatever a plugin raises is said of this cell alone
            failed = reason_of(error)
        send(stem=stem, failed=failed)
