"""Estimates of the time and the disk that cells will take, from past records of the same variant, data and device."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaezoo.runner.files import DamagedFile
from vaezoo.runner.plan.cell import Cell, readable
from vaezoo.runner.records import Record
from vaezoo.runner.store import Store, read_record

MOST = 5
"""Records of which an estimate is the mean."""
MOST_READ = 50
"""Records that are read for it, the newest first."""


@dataclass
class Estimate:
    """seconds: of all cells for which there is a past record, one after the other. size: their bytes on the disk.
    known, unknown: how many cells have one, and how many have none.
    """

    seconds: float = 0.0
    size: float = 0.0
    known: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class _Past:
    """A past record, and the bytes that it takes with its files."""

    record: Record
    size: int


def estimate(cells: Sequence[Cell], folder: Path, device: str, train_images: Mapping[str, int]) -> Estimate:
    """What these cells will take. folder: of the results, whose records are used; where it has none, those of the
    folders beside it. device: its name. train_images: of each data set, by its label.

    The time of a past record is scaled by epochs x training images, that of a timing is not.
    """
    found, pasts = Estimate(), dict[tuple[str, ...], list[_Past]]()
    for cell in cells:
        alike = (cell.kind, cell.label, cell.variant, cell.dataset)
        if alike not in pasts:
            pasts[alike] = _past_records(cell, folder, device)
        known = pasts[alike]
        if not known:
            found.unknown += 1
            continue
        found.known += 1
        scales = [_scale(cell, past.record, train_images.get(cell.dataset)) for past in known]
        times = [(past.record.seconds or 0.0) * scale for past, scale in zip(known, scales, strict=True)]
        found.seconds += sum(times) / len(times)
        found.size += sum(past.size for past in known) / len(known)
    return found


def _scale(cell: Cell, past: Record, images: int | None) -> float:
    if cell.kind == "timings":
        return 1.0
    epochs = cell.specification.train.epochs / past.specification.train.epochs
    return epochs * (images / past.data.train_size if images and past.data else 1.0)


def _past_records(cell: Cell, folder: Path, device: str) -> list[_Past]:
    """The newest records of a cell's variant on its data set and device: of the cell's label where there are any."""
    beside = sorted(folder.absolute().parent.glob(f"*/{cell.kind}"))
    for places in ([folder / cell.kind], beside):
        found = list(_records(cell, places, device))
        own = [past for past in found if past.record.label == cell.label]
        if found:
            return (own or found)[:MOST]
    return []


def _records(cell: Cell, places: Sequence[Path], device: str) -> Iterator[_Past]:
    last = "timing--*" if cell.kind == "timings" else "s*"
    pattern = f"{readable(cell.variant, cell.dataset, '')[:100]}{last}.json"
    paths = [path for place in places if not place.is_symlink() for path in place.glob(pattern) if path.is_file()]
    newest = sorted(paths, key=lambda path: (-path.stat().st_mtime_ns, path))
    for path in newest[:MOST_READ]:
        try:
            record = read_record(path)
        except DamagedFile:
            continue
        if record is None or record.status != "ok" or record.resumed or record.seconds is None:
            continue
        if (record.variant, record.dataset, record.device) == (cell.variant, cell.dataset, device):
            yield _Past(record, _size(path))


def _size(path: Path) -> int:
    store = Store(path.parent.parent)
    files = [path, *(store.path(kind, path.stem) for kind in ("images", "checkpoints"))]
    return sum(each.stat().st_size for each in files if each.is_file())
