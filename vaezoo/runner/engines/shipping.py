"""The files that a cell needs on another machine, and those that come back from there."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import vaezoo
from vaezoo.core.errors import VaezooError
from vaezoo.plugin_files import folder_beside
from vaezoo.runner.files import LARGEST_LOG, LARGEST_WEIGHTS, cut_log, read_file, write_atomically
from vaezoo.runner.json_values import parsed
from vaezoo.runner.plan.cell import Task
from vaezoo.runner.plan.imports import Dependencies
from vaezoo.runner.records import Record
from vaezoo.runner.store import LARGEST_IMAGES, LARGEST_PICTURES, LARGEST_RECORD, Store

HOUSE = Path(vaezoo.__file__).parent
RECORDS = {"cells": LARGEST_RECORD, "timings": LARGEST_RECORD}
FILES = {
    "checkpoints": LARGEST_WEIGHTS,
    "images": LARGEST_IMAGES,
    "resume": LARGEST_WEIGHTS,
    "figures": LARGEST_PICTURES,
}
"""The kinds of a cell's files that its next process may need, or a reader, and the bytes that each may have."""
REPORTS = {"running": LARGEST_RECORD, "logs": 2 * LARGEST_LOG}
Change = tuple[str, str, bytes | None]
"""A kind and a stem, as `Store.path` takes them, and the content; None where the file is gone."""


class Mirror:
    """Tells how the files of tasks' cells change in a results folder."""

    def __init__(self, tasks: Sequence[Task]):
        self.store = Store(tasks[0].folder)
        self.stems = [task.cell.stem for task in tasks]
        self.kinds = {**FILES, tasks[0].cell.kind: RECORDS[tasks[0].cell.kind]}
        self._seen: dict[Path, object] = {}

    def changes(self, *also: str) -> list[Change]:
        """The files that have changed since the last call, at the first call all of them; the records come last.

        also: `running`, for the progress of cells that run; `logs`, of those that have ended. A file that cannot be
        read is left out.
        """
        kinds = {**{kind: REPORTS[kind] for kind in also}, **self.kinds}
        asked = [(kind, stem, most) for kind, most in kinds.items() for stem in self.stems]
        return [change for one in asked for change in self._change(*one)]

    def _change(self, kind: str, stem: str, most: int) -> Iterator[Change]:
        path = self.store.path(kind, stem)
        try:
            found = path.stat()
            stamp: object = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            stamp = None
        if stamp == self._seen.get(path):
            return
        self._seen[path] = stamp
        with suppress(VaezooError, OSError):
            if kind == "logs":
                cut_log(path)
            yield kind, stem, read_file(path, most)


def receive(tasks: Sequence[Task], changes: Iterable[Change]) -> None:
    """Make the changes of these tasks' files in their results folder. A record is checked and written by the store; one
    that is damaged, or another cell's, is left out.
    """
    cells = {task.cell.stem: task.cell for task in tasks}
    store = Store(tasks[0].folder)
    for kind, stem, content in changes:
        if stem not in cells:
            continue
        if kind in RECORDS:
            with suppress(ValueError):
                record = Record.from_json(parsed(content or b""))
                record.refuse_other(cells[stem])
                store.write(cells[stem], record)
        elif content is None:
            store.path(kind, stem).unlink(missing_ok=True)
        else:
            write_atomically(store.path(kind, stem), content, lasting=kind != "running")


def place(tasks: Sequence[Task], changes: Iterable[Change]) -> None:
    """Write files into the results folder of these tasks as they are."""
    store = Store(tasks[0].folder)
    store.prepare()
    for kind, stem, content in changes:
        if content is not None:
            write_atomically(store.path(kind, stem), content, lasting=False)


def bundle(plugin: Path) -> tuple[str, dict[str, bytes]]:
    """A plugin file with the modules beside it that it imports: its path in the bundle, and each file's content.

    Modules keep their places beside one another, so imports work as they do here. Where a file cannot be parsed, which
    its import will say, the bundle has all the Python files of the folder.
    """
    beside = folder_beside("", plugin)
    try:
        needed = {path for path in Dependencies().of([plugin], beside) if not path.is_relative_to(HOUSE)}
    except (SyntaxError, ValueError):
        needed = {plugin, *plugin.parent.glob("*.py")}
    except OSError:
        needed = {plugin}
    home, files = beside or plugin.parent, {}
    for path in sorted(needed):
        with suppress(OSError):  # it is gone, which its import will say
            files[path.relative_to(home).as_posix()] = path.read_bytes()
    return plugin.relative_to(home).as_posix(), files


def unpack(files: dict[str, bytes], folder: Path) -> Path:
    """Write the files of a bundle below a folder, in one that their content names, and return that one."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    home = folder / digest.hexdigest()[:16]
    for name, content in files.items():
        if not (home / name).exists():
            write_atomically(home / name, content, lasting=False)
    return home


def code_digest() -> str:
    """A sha256 of the code of vaezoo, by which two machines know that they run the same."""
    digest = hashlib.sha256()
    for path in sorted(HOUSE.rglob("*.py")):
        digest.update(path.relative_to(HOUSE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
