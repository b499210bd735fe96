"""The results folder: one atomic JSON record a cell, weights and per-image values beside it, and the plan."""

import glob
import io
import json
import os
import tempfile
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.npz import arrays_of
from vaezoo.evaluation.picture_arrays import LARGEST, Pictures
from vaezoo.runner.files import (
    ABANDONED_SECONDS,
    DamagedFile,
    checked_blocks,
    cut_log,
    read_blocks,
    read_file,
    remove_abandoned,
    sha256_of,
    write_atomically,
)
from vaezoo.runner.formats import NewerFormat
from vaezoo.runner.json_values import json_value, parsed
from vaezoo.runner.plan.cell import Cell, Kind
from vaezoo.runner.plan.stored import StoredCell, StoredPlan
from vaezoo.runner.records import RESUMED, CellProgress, Record
from vaezoo.runner.verdicts import FOLDER as VERDICTS
from vaezoo.runner.verdicts import Verdict, path_of, provable, stored

FOLDERS = ("cells", "timings", "checkpoints", "logs", "running", "resume", "claims", "tables", "figures", VERDICTS)
LARGEST_RECORD = 2**26
LARGEST_PLAN = 2**29
LARGEST_IMAGES = 2**31
"""Bytes of the largest record, plan and file of per-image values that are read."""
LARGEST_PICTURES = LARGEST


def write_json(path: Path, value: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write one JSON file atomically. NaN and infinities become null."""
    write_atomically(path, _text(json_value(value)), lasting=lasting)


def _text(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def read_json(path: Path, most: int = LARGEST_RECORD) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is no file. DamagedFile where it is anything else."""
    content = read_file(path, most)
    try:
        return None if content is None else parsed(content)
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None


def read_record(path: Path) -> Record | None:
    """The record in a file, or None where there is no file.

    Raises DamagedFile where it is no regular file, no record, of a newer format, or has been changed.
    """
    value = read_json(path)
    try:
        return None if value is None else Record.from_json(value)
    except ValueError as error:
        raise _damaged(path, error) from None


class NewerFile(DamagedFile):
    """A newer version of vaezoo wrote the file: it is left as it is."""


def _damaged(path: Path, error: ValueError) -> DamagedFile:
    if isinstance(error, NewerFormat):
        return NewerFile(f"{path}: {error}")
    return DamagedFile(f"{path} is damaged: {error}")


class Store:
    """The results folder of one matrix: plan.json and FOLDERS, and damaged/ for what was set aside."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Create the folder and those inside it; VaezooError where it cannot be written to."""
        self.refuse_links()
        try:
            for name in FOLDERS:
                if os.path.lexists(path := self.folder / name) and not path.is_dir():
                    raise VaezooError(f"{path} is no folder; move it away, or give another folder with --out")
                path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise VaezooError(
                f"results cannot be written to {self.folder}: {reason}; give another folder with --out"
            ) from error

    def refuse_links(self) -> None:
        """Raise VaezooError where a folder inside the results folder is a link: what it leads to is not read or
        written.
        """
        for name in (*FOLDERS, "damaged"):
            path = self.folder / name
            if path.is_symlink():
                raise VaezooError(f"{path} is a link, expected a folder; put the folder itself there")

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
        for name in ("running", "logs", "resume", "figures"):
            with suppress(OSError):
                (self.folder / name).rmdir()

    def path(self, kind: str, stem: str) -> Path:
        """The file of a cell: kind is cells, timings, checkpoints, logs, running, resume, images or figures."""
        if kind == "images":
            return self.folder / "cells" / f"{stem}.npz"
        suffix = {"checkpoints": ".safetensors", "logs": ".log", "resume": ".state", "figures": ".npz"}
        return self.folder / kind / f"{stem}{suffix.get(kind, '.json')}"

    def _inside(self, kind: str, stem: str) -> Path:
        """The file of a cell, to be read. DamagedFile where its folder is a link."""
        path = self.path(kind, stem)
        if path.parent.is_symlink():
            raise DamagedFile(f"{path} is damaged: its folder is a link, expected a folder")
        return path

    def record(self, kind: Kind, stem: str, cell: Cell | StoredCell | None = None) -> Record | None:
        """A cell's record, or None where it has none.

        A record that is damaged, or is not that of `cell`, is left out: a VaezooWarning names it and says why.
        """
        try:
            return self.read(kind, stem, cell)
        except DamagedFile as error:
            then = "" if isinstance(error, NewerFile) else ", and `vaezoo run` sets it aside and runs the cell again"
            left_out = f"{error}; it is left out{then}"
            warnings.warn(left_out, VaezooWarning, stacklevel=2)
            return None

    def read(self, kind: Kind, stem: str, cell: Cell | StoredCell | None = None) -> Record | None:
        """A cell's record, or None where it has none. Raises DamagedFile where `record` leaves it out."""
        path = self._inside(kind, stem)
        record = read_record(path)
        if record is None:
            return None
        if (record.seed is None) != (kind == "timings") or (cell is None and not stem.endswith(record.key[:12])):
            raise DamagedFile(f"{path} is damaged: it is another cell's: its key is not that of its name")
        try:
            if cell is not None:
                record.refuse_other(cell)
        except ValueError as error:
            raise _damaged(path, error) from None
        return record

    def verdict(self, plugin: str, fingerprint: str) -> Verdict | None:
        """The verdict that the folder has of a plugin's code, or None. A damaged one is left out with a VaezooWarning
        that names it.
        """
        try:
            return stored(self.folder / VERDICTS, plugin, fingerprint)
        except DamagedFile as error:
            warnings.warn(f"{error}; it is left out", VaezooWarning, stacklevel=2)
            return None

    def set_aside_damaged(self, cells: Iterable[Cell]) -> list[str]:
        """Move every record of these cells that is damaged, or is not theirs, to damaged/, every damaged verdict on
        their plugins, and plan.json where it is damaged, and warn of each; the lines of the warnings. The cells then
        have no record, so they run again. VaezooError, and nothing is moved, where a newer vaezoo wrote one of them.

        The folder must be prepared and held. Files in damaged/ are never overwritten.
        """
        lines = []
        damaged: list[tuple[Path, DamagedFile, str]] = []
        try:
            self._stored_plan()
        except NewerFile as error:
            raise _refused(error) from None
        except DamagedFile as error:
            damaged.append((self.folder / "plan.json", error, ""))
        every = {cell.stem: cell for cell in cells}.values()
        for cell in every:
            try:
                self.read(cell.kind, cell.stem, cell)
            except NewerFile as error:
                raise _refused(error) from None
            except DamagedFile as error:
                damaged.append((self.path(cell.kind, cell.stem), error, ", and the cell runs again"))
        for plugin, fingerprint in provable(cell.specification.code for cell in every):
            try:
                stored(self.folder / VERDICTS, plugin, fingerprint)
            except DamagedFile as error:
                damaged.append((path_of(self.folder / VERDICTS, plugin, fingerprint), error, ""))
        for path, why, then in damaged:
            lines.append(f"{why}; it is now {self.set_aside(path)}{then}")
            warnings.warn(lines[-1], VaezooWarning, stacklevel=2)
        return lines

    def set_aside(self, path: Path) -> Path:
        """Move a file, whatever it is, to a name in damaged/ that is free; the new path."""
        aside = self.folder / "damaged"
        aside.mkdir(exist_ok=True)
        target, number = aside / path.name, 1
        while os.path.lexists(target):
            number += 1
            target = aside / f"{path.stem}.{number}{path.suffix}"
        os.rename(path, target)
        return target

    def remove_abandoned(self, older_than: float = ABANDONED_SECONDS) -> int:
        """Remove the temporary files of processes that were killed; how many there were. older_than: seconds since the
        last write; 0 only where no other process writes to the folder.
        """
        folders = [path for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink()]
        return sum(remove_abandoned(each, older_than=older_than) for each in [self.folder, *folders])

    def write(self, cell: Cell, record: Record) -> Record:
        """Write a cell's record atomically, with the digests of its files; the cell is no longer one that runs. Its
        checkpoint is removed, except where the cell is to go on from it.

        Returns the record as it was written: one that could not be read again (a metric's notes hold no JSON, its
        vectors are too long) is written as failed. A long log is cut.
        """
        cut_log(self.path("logs", cell.stem) if record.log is None else self.folder / record.log)
        record = replace(record, files=self._digests(cell, record))
        try:
            content = _text(record.file_content())
            if len(content) > LARGEST_RECORD:
                raise ValueError(f"it has {len(content):,} bytes, expected {LARGEST_RECORD:,} at most")
            Record.from_json(parsed(content)).refuse_other(cell)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            reason = f"its record could not be stored: {error or type(error).__name__}"
            record = replace(Record.of(cell, "failed", reason), log=record.log)
            content = _text(record.file_content())
        write_atomically(self.path(cell.kind, cell.stem), content)
        self.path("running", cell.stem).unlink(missing_ok=True)
        if record.status not in RESUMED and not record.may_pass:
            self.remove_checkpoint(cell.stem)
        return record

    def remove_checkpoint(self, stem: str) -> None:
        """Remove the checkpoint of a cell's training, and what a killed process left of writing it."""
        path = self.path("resume", stem)
        for each in (path, *path.parent.glob(f".{glob.escape(path.name)}.*")):
            with suppress(OSError):  # it is a folder, or the disk is read-only: no cell is to fail of that
                each.unlink(missing_ok=True)

    def _digests(self, cell: Cell, record: Record) -> dict[str, str]:
        """The sha256 of each file that belongs to a record, by its path relative to the folder."""
        kinds = ["checkpoints", "images"] if record.status == "ok" and cell.kind == "cells" else []
        kinds = ["checkpoints"] if record.status != "ok" and record.audit is not None else kinds
        found = {self.path(kind, cell.stem): sha256_of(self.path(kind, cell.stem)) for kind in kinds}
        return {
            path.relative_to(self.folder).as_posix(): digest for path, digest in found.items() if digest is not None
        }

    def blocks(self, kind: str, stem: str, record: Record, most: int) -> Iterator[bytes] | None:
        """The content of a file that belongs to a record, in blocks, or None where it is not there.

        Raises DamagedFile where it is no regular file or has more than `most` bytes, and after the last block where its
        content is not that of the record's digest.
        """
        path = self._inside(kind, stem)
        found = read_blocks(path, most)
        what = {"checkpoints": "weights", "images": "per-image values"}.get(kind, "lines")
        digest = record.files.get(path.relative_to(self.folder).as_posix())
        if record.is_verified and found is not None and digest is None:
            raise DamagedFile(f"the {what} {path} are not those of the record: it names no such file")
        said = f"the {what} {path} are not those of the record: they have been changed, or are damaged"
        return None if found is None else checked_blocks(found, digest, said)

    def progress(self, stem: str) -> CellProgress | None:
        """What a running cell last reported, or None."""
        try:
            value = read_json(self._inside("running", stem))
            return None if value is None else CellProgress.from_json(value)
        except ValueError:  # damaged; the next report replaces it
            return None

    def write_progress(self, stem: str, progress: CellProgress) -> None:
        """Write what a running cell reports."""
        write_json(self.path("running", stem), progress.to_json(), lasting=False)

    def write_images(self, stem: str, values: Mapping[str, np.ndarray], *, exact: bool = False) -> None:
        """Per-image values beside the record, as .npz of float32, without pickles. exact: as they are."""
        file = io.BytesIO()
        dtype = None if exact else np.float32
        np.savez_compressed(file, allow_pickle=False, **{k: np.asarray(v, dtype) for k, v in values.items()})
        write_atomically(self.path("images", stem), file.getvalue())

    def images(self, stem: str, record: Record, names: Container[str] | None = None) -> dict[str, np.ndarray]:
        """The per-image values of a record, name -> [N], or those of `names` alone; empty where there are none.

        Raises DamagedFile where the file holds anything else, or is not that of the record.
        """
        blocks = self.blocks("images", stem, record, LARGEST_IMAGES)
        if blocks is None:
            return {}
        content = b"".join(blocks)
        try:
            values = arrays_of(content, LARGEST_IMAGES, names)
            if not all(value.ndim == 1 and value.dtype in (np.float32, np.float64) for value in values.values()):
                raise ValueError("expected floats [N] of each name")
        except ValueError as error:
            raise _damaged(self.path("images", stem), error) from None
        return values

    def write_pictures(self, stem: str, pictures: Pictures) -> None:
        """Write the pictures of a cell's model. They are no part of its record."""
        write_atomically(self.path("figures", stem), pictures.to_bytes())

    def pictures(self, stem: str) -> Pictures | None:
        """The pictures of a cell's model, or None where it has none. Raises DamagedFile for anything else."""
        content = read_file(self._inside("figures", stem), LARGEST_PICTURES)
        try:
            return None if content is None else Pictures.from_bytes(content)
        except ValueError as error:
            raise _damaged(self.path("figures", stem), error) from None

    def write_plan(self, plan: StoredPlan, *, shared: bool = False) -> None:
        """Write the plan atomically, a cell a line, because there may be many. shared: whether another run is at work
        in the folder; VaezooError where its plan has other cells.
        """
        if shared and (self.folder / "plan.json").is_file() and self.plan().cells != plan.cells:
            raise VaezooError(
                f"another run is writing another matrix to {self.folder}; "
                "wait for it, or give another folder with --out"
            )
        value = plan.file_content()
        cells = ",\n".join(json.dumps(cell) for cell in value.pop("cells"))
        rest = json.dumps(value, indent=1)
        write_atomically(self.folder / "plan.json", f'{rest[:-2]},\n "cells": [\n{cells}\n]}}\n'.encode())

    def plan(self) -> StoredPlan:
        """The stored plan; VaezooError where the folder holds no results, or its plan.json is damaged."""
        self.refuse_links()
        found = self._stored_plan()
        if found is None:
            raise VaezooError(
                f"{self.folder} holds no results of a matrix (no plan.json); give the folder that `vaezoo run` wrote to"
            )
        return found

    def _stored_plan(self) -> StoredPlan | None:
        path = self.folder / "plan.json"
        try:
            value = read_json(path, LARGEST_PLAN)
            return None if value is None else StoredPlan.from_json(value)
        except DamagedFile as error:
            raise DamagedFile(f"{error}; {_AGAIN}") from None
        except NewerFormat as error:
            raise _damaged(path, error) from None
        except ValueError as error:
            raise DamagedFile(f"{_damaged(path, error)}; {_AGAIN}") from None


def _refused(error: NewerFile) -> VaezooError:
    return VaezooError(f"{error}, or give another folder with --out")


_AGAIN = "run the matrix again into this folder: finished cells stay"
