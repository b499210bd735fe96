"""The results folder: one atomic JSON record a cell, weights and per-image values beside it, the plan, and the frame of
it all.
"""

import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from vaezoo.core.columns import COSTS, QUALITY, SAME_DATA, SAME_ESTIMATE, TIMED, Column, table_columns
from vaezoo.core.errors import VaezooError

if TYPE_CHECKING:
    import pandas as pd

PROTOCOL = 2
"""Raised by one whenever a change to core, training or evaluation changes what a cell measures: every cell is then run
again.
"""

FINAL = ("ok", "diverged")
"""Statuses that stand: the rest is run again on resume."""

PROVENANCE = ("pseudo_likelihood", "device", "precision", "seconds")
"""Further columns of the results frame, from a record or else from its plan."""


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to the disk, rename: a reader sees the old file or the new
    one.
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
    """One JSON file, atomically. What JSON cannot say (NaN) becomes null."""
    write_atomically(path, (json.dumps(_plain(value), indent=1) + "\n").encode(), lasting=lasting)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def read_json(path: Path) -> dict[str, Any] | None:
    """The record at a path, or None where there is none or it is broken."""
    try:
        value = json.loads(path.read_bytes().decode())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


class Store:
    """The results folder of one matrix: plan.json, cells/, timings/, checkpoints/, logs/, running/, tables/."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder; VaezooError where it cannot be written to."""
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

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder: two runs never write to the same one."""
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout:
            raise VaezooError(
                f"another run is writing to {self.folder}; wait for it, or give another folder with --out"
            ) from None

    def is_held(self) -> bool:
        """Whether a run holds the folder; so it is said, too, of one that cannot be written to."""
        try:
            with self.lock():
                return False
        except (VaezooError, OSError):
            return True

    def path(self, kind: str, stem: str) -> Path:
        """Where something of a cell lies: kind is cells, timings, checkpoints, logs or running."""
        suffix = {"checkpoints": ".safetensors", "logs": ".log"}.get(kind, ".json")
        return self.folder / kind / f"{stem}{suffix}"

    def record(self, kind: str, stem: str) -> dict[str, Any] | None:
        """A cell's record, or None."""
        return read_json(self.path(kind, stem))

    def write(self, kind: str, stem: str, record: Mapping[str, Any], *, lasting: bool = True) -> None:
        """Write something of a cell as JSON, atomically; what need not outlive a power cut (progress) is not flushed to
        the disk.
        """
        write_json(self.path(kind, stem), record, lasting=lasting)

    def write_images(self, stem: str, values: Mapping[str, np.ndarray]) -> None:
        """Per-image values beside the record, as .npz of float32, without pickles."""
        path = self.folder / "cells" / f"{stem}.npz"
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **{k: np.asarray(v, np.float32) for k, v in values.items()})
        write_atomically(path, file.getvalue())

    def write_plan(self, plan: Mapping[str, Any]) -> None:
        """Keep the plan, atomically: a cell a line, as there may be many."""
        cells = ",\n".join(json.dumps(_plain(cell)) for cell in plan["cells"])
        rest = json.dumps(_plain({name: value for name, value in plan.items() if name != "cells"}), indent=1)
        write_atomically(self.folder / "plan.json", f'{rest[:-2]},\n "cells": [\n{cells}\n]}}\n'.encode())

    def plan(self) -> dict[str, Any]:
        """The stored plan; VaezooError where the folder holds no results."""
        plan = read_json(self.folder / "plan.json")
        if plan is None:
            raise VaezooError(
                f"{self.folder} holds no results of a matrix (no plan.json); give the folder that `vaezoo run` wrote to"
            )
        return plan


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
    timed = dict.fromkeys(cell["timing"] for cell in plan["cells"] if cell["timing"])
    timings = {stem: store.record("timings", stem) or {} for stem in timed}
    speeds = {stem: _speeds(timing) for stem, timing in timings.items()}
    declared = [Column.from_json(column) for column in plan.get("columns", [])]  # 0.1.0 stored none
    standard = [column.name for column in (*QUALITY, *TIMED, *COSTS)]
    further = dict.fromkeys(column.name for column in declared if column.name not in standard and column.is_one)
    rows = []
    for cell in plan["cells"]:
        record = store.record("cells", cell["stem"]) or {}  # one at a time: they may be large
        results, facts = record.get("results", {}), cell["comparability"] | record.get("comparability", {})
        further |= dict.fromkeys(name for name in results if name not in standard)
        row = {name: cell[name] for name in ("label", "variant", "dataset", "seed")}
        row["status"] = "skipped" if cell["skip"] else record.get("status", "missing")
        row["reason"] = cell["skip"] or record.get("reason")
        measured = results | speeds.get(cell["timing"], {})
        row |= {name: measured.get(name) for name in standard}
        row |= {name: facts.get(name) for name in (*SAME_DATA, *SAME_ESTIMATE)}
        row |= {name: record.get(name, cell["comparability"].get(name)) for name in PROVENANCE}
        warned = [*record.get("warnings", []), *timings.get(cell["timing"], {}).get("warnings", [])]
        row["warnings"] = "\n".join(warned) or None
        rows.append(row | {name: results.get(name) for name in further} | cell["settings"])
    frame = pd.DataFrame(rows)
    for name in (*standard, *further):
        if name in frame:
            frame[name] = pd.to_numeric(frame[name])
    frame.attrs |= {
        "name": plan["name"],
        "settings": plan["settings"],
        "columns": [column.to_json() for column in table_columns(declared, further)],
        "references": plan["references"],
    }
    return frame


def _speeds(timing: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of TIMED that a timing's record has."""
    results = timing.get("results", {})
    return {column.name: results[column.name] for column in TIMED if column.name in results}
