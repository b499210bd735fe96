"""The results folder: one atomic JSON record a cell, weights and per-image values beside it, the plan, and the frame of
all results.
"""

import glob
import io
import json
import os
import tempfile
from collections.abc import Container, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaezoo.core.columns import (
    COSTS,
    DESCRIBING,
    IDENTITY,
    PROVENANCE,
    QUALITY,
    SAME_DATA,
    SAME_ESTIMATE,
    TIMED,
    table_columns,
)
from vaezoo.core.errors import VaezooError
from vaezoo.runner.json_values import json_value
from vaezoo.runner.plan.cell import Cell, Kind
from vaezoo.runner.plan.stored import StoredPlan
from vaezoo.runner.records import RESUMED, CellProgress, Record

if TYPE_CHECKING:
    import pandas as pd


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to the disk, rename: a reader sees the old file or the new
    one. lasting: whether the file must survive a power cut; only then it is flushed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write one JSON file atomically. NaN and infinities become null."""
    write_atomically(path, (json.dumps(json_value(value), indent=1) + "\n").encode(), lasting=lasting)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file, or it holds something else."""
    try:
        value = json.loads(path.read_bytes().decode())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def read_record(path: Path) -> Record | None:
    """The record in a file, or None where there is no file, or it holds something else."""
    value = read_json(path)
    if value is None:
        return None
    try:
        return Record.from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError):  # what from_json raises for another JSON object
        return None


class Store:
    """A matrix's results folder: plan.json, cells/, timings/, checkpoints/, logs/, running/, resume/, tables/."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Create the folder and those inside it; VaezooError where it cannot be written to."""
        try:
            for name in ("cells", "timings", "checkpoints", "logs", "running", "tables"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise VaezooError(
                f"results cannot be written to {self.folder}: {reason}; give another folder with --out"
            ) from error

    def stamp(self, kind: Kind, stem: str) -> object:
        """A value that changes whenever the record of a cell is written; None where there is none."""
        try:
            found = self.path(kind, stem).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def tidy(self, running: Container[str]) -> None:
        """Remove the progress of cells that do not run any more, and folders that are empty. running: the stems of
        those that do.
        """
        for path in (self.folder / "running").glob("*.json"):
            if path.stem not in running:
                path.unlink(missing_ok=True)
        for path in (self.folder / "resume").glob("*.state"):  # left by a kill after the record was written
            if (record := self.record("cells", path.stem)) is not None and record.is_final:
                self.remove_checkpoint(path.stem)
        for name in ("running", "logs", "resume"):
            with suppress(OSError):
                (self.folder / name).rmdir()

    def path(self, kind: str, stem: str) -> Path:
        """The file of a cell: kind is cells, timings, checkpoints, logs, running or resume."""
        suffix = {"checkpoints": ".safetensors", "logs": ".log", "resume": ".state"}.get(kind, ".json")
        return self.folder / kind / f"{stem}{suffix}"

    def record(self, kind: Kind, stem: str) -> Record | None:
        """A cell's record, or None where it has no readable one."""
        return read_record(self.path(kind, stem))

    def write(self, cell: Cell, record: Record) -> None:
        """Write a cell's record atomically; the cell is no longer one that runs. Its checkpoint is removed, except
        where the cell is to go on from it.
        """
        write_json(self.path(cell.kind, cell.stem), record.to_json())
        self.path("running", cell.stem).unlink(missing_ok=True)
        if record.status not in RESUMED and not record.may_pass:
            self.remove_checkpoint(cell.stem)

    def remove_checkpoint(self, stem: str) -> None:
        """Remove the checkpoint of a cell's training, and what a killed process left of writing it."""
        path = self.path("resume", stem)
        for each in (path, *path.parent.glob(f".{glob.escape(path.name)}.*")):
            with suppress(OSError):  # it is a folder, or the disk is read-only: no cell is to fail of that
                each.unlink(missing_ok=True)

    def progress(self, stem: str) -> CellProgress | None:
        """What a running cell last reported, or None."""
        value = read_json(self.path("running", stem))
        return None if value is None else CellProgress.from_json(value)

    def write_progress(self, stem: str, progress: CellProgress) -> None:
        """Write what a running cell reports."""
        write_json(self.path("running", stem), progress.to_json(), lasting=False)

    def write_images(self, stem: str, values: Mapping[str, np.ndarray], *, exact: bool = False) -> None:
        """Per-image values beside the record, as .npz of float32, without pickles. exact: as they are."""
        path = self.folder / "cells" / f"{stem}.npz"
        file = io.BytesIO()
        dtype = None if exact else np.float32
        np.savez_compressed(file, allow_pickle=False, **{k: np.asarray(v, dtype) for k, v in values.items()})
        write_atomically(path, file.getvalue())

    def images(self, stem: str) -> dict[str, np.ndarray]:
        """The per-image values beside a cell's record, [images] each; none where there is no readable file."""
        path = self.folder / "cells" / f"{stem}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except Exception:  # numpy and zipfile raise many kinds for a file that is none of ours
            return {}

    def write_plan(self, plan: StoredPlan, *, shared: bool = False) -> None:
        """Write the plan atomically, a cell a line, because there may be many. shared: whether another run is at work
        in the folder; VaezooError where its plan has other cells.
        """
        if shared and (self.folder / "plan.json").is_file() and self.plan().cells != plan.cells:
            raise VaezooError(
                f"another run is writing another matrix to {self.folder}; "
                "wait for it, or give another folder with --out"
            )
        value = json_value(plan.to_json())
        cells = ",\n".join(json.dumps(cell) for cell in value.pop("cells"))
        rest = json.dumps(value, indent=1)
        write_atomically(self.folder / "plan.json", f'{rest[:-2]},\n "cells": [\n{cells}\n]}}\n'.encode())

    def plan(self) -> StoredPlan:
        """The stored plan; VaezooError where the folder holds no results, or its plan.json is damaged."""
        path = self.folder / "plan.json"
        if not path.is_file():
            raise VaezooError(
                f"{self.folder} holds no results of a matrix (no plan.json); give the folder that `vaezoo run` wrote to"
            )
        damaged = f"{path} is damaged: it holds no plan; run the matrix again into this folder: finished cells stay"
        value = read_json(path)
        if value is None:
            raise VaezooError(damaged)
        try:
            return StoredPlan.from_json(value)
        except (KeyError, TypeError, ValueError, AttributeError):  # what from_json raises for another JSON object
            raise VaezooError(damaged) from None


def read_results(path: str | Path) -> "pd.DataFrame":
    """The results of a folder that `vaezoo run` wrote: one row a cell in the order of the matrix, failures included.

    Log-likelihoods are in nats an image, higher is better. The column warnings holds vaezoo's warnings, a line each.
    frame.attrs holds the matrix's name, the settings that differ between rows, the references, and `columns`: the
    measured columns in the order of a table, each as `vaezoo.Column.to_json` gives it. Raises VaezooError where the
    folder holds no results.
    """
    import pandas as pd

    store = Store(path)
    plan = store.plan()
    timed = dict.fromkeys(cell.timing for cell in plan.cells if cell.timing)
    timings = {stem: record for stem in timed if (record := store.record("timings", stem)) is not None}
    standard = [column.name for column in (*QUALITY, *TIMED, *COSTS)]
    further = dict.fromkeys(column.name for column in plan.columns if column.name not in standard and column.is_one)
    rows = []
    for cell in plan.cells:
        record = store.record("cells", cell.stem)  # one at a time: they may be large
        timing = timings.get(cell.timing or "")
        results, warned = _numbers(record)
        speeds, disturbed = _numbers(timing)
        facts = cell.comparability if record is None else record.comparability
        further |= dict.fromkeys(name for name in results if name not in standard)
        row: dict[str, Any] = {name: getattr(cell, name) for name in IDENTITY}
        row["status"] = "skipped" if cell.skip else "missing" if record is None else record.status
        row["reason"] = cell.skip or (None if record is None else record.reason)
        measured = results | {column.name: speeds[column.name] for column in TIMED if column.name in speeds}
        row |= {name: measured.get(name) for name in standard}
        row |= {name: getattr(facts, name) for name in (*SAME_DATA, *SAME_ESTIMATE)}
        row |= {name: getattr(record or cell.comparability, name, None) for name in PROVENANCE}
        row["warnings"] = "\n".join([*warned, *disturbed]) or None
        rows.append(row | {name: results.get(name) for name in further} | cell.settings)
    frame = pd.DataFrame(rows)
    for name in (*standard, *further):
        if name in frame:
            frame[name] = pd.to_numeric(frame[name])
    frame.attrs |= {
        "name": plan.name,
        "settings": list(plan.settings),
        "columns": [column.to_json() for column in table_columns(plan.columns, further)],
        "references": list(plan.references),
    }
    return frame


def _numbers(record: Record | None) -> tuple[dict[str, Any], list[str]]:
    """The columns of a record that hold a number or null, and the record's warnings. A column that holds something
    else, or has the name of one of the frame's DESCRIBING columns, is left out, and a warning says so.
    """
    if record is None:
        return {}, []
    numbers: dict[str, Any] = {}
    warned = [str(warning) for warning in record.warnings]
    for name, value in record.results.items():
        if value is not None and not isinstance(value, int | float):
            warned.append(f"the column {name!r} of the record holds no number, so it is missing: {repr(value)[:60]}")
        elif name in DESCRIBING:
            warned.append(f"the column {name!r} of the record has the name of another column, so it is missing")
        else:
            numbers[name] = value
    return numbers, warned
