"""The user's own pictures in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vaezoo.core.errors import VaezooError
from vaezoo.core.paths import files_below
from vaezoo.datasets._own import example
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import NO_LABELS, OwnOptions
from vaezoo.datasets._own.parts import Part, Parts
from vaezoo.datasets._own.pictures import Fit, Pictures, decoded
from vaezoo.datasets._own.single import split_files
from vaezoo.registry import register

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
SUBFOLDERS = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test", "testing")}
"""Subfolders that are splits, where there is one of train."""


def _example(folder: Path) -> dict[str, Any]:
    from PIL import Image

    for number, image in enumerate(example.images()):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    return {"path": str(folder), **example.OPTIONS}


@register.dataset("images", paper="PNG (ISO/IEC 15948), JPEG and others; Pillow")
@own_data(_example)
def images(
    options: OwnOptions,
    *,
    size: tuple[int, int] | None = None,
    fit: Literal["stretch", "crop", "pad"] | None = None,
    channels: Literal[1, 3] | None = None,
) -> Parts:
    """Own data: the pictures of a folder and of its subfolders, sorted by name, 8 bits a colour, [C, H, W].

    size: height and width. fit: how a picture of another size comes to it: `stretch` it, `crop` the longer side of its
    middle, or `pad` the shorter side with black; where left out, every picture must have that size, or the first one's.
    channels: 1 (gray) or 3 (colours); where left out, every picture must be as the first. labels = "folders" are the
    names of the folders that the pictures are in. Subfolders train, valid (or val) and test are the splits; valid and
    test may be further folders. Raises VaezooError in one line that names the picture.
    """
    if size is None and fit is not None:
        raise VaezooError(f"fit = {fit!r} needs the size to come to: size = [height, width]")
    if options.layout is not None or options.shape is not None:
        raise VaezooError("pictures are [C, H, W] by themselves; leave layout and shape out")
    folders = split_files(options, folder=True)
    top, inside = folders["train"], _subfolders(folders["train"])
    inside = {
        split: folder for split, folder in inside.items() if not isinstance(getattr(options, split, None), int | float)
    }
    remarks = _left_out(top, inside) if inside else ()
    folders |= {split: folder for split, folder in inside.items() if split == "train" or split not in folders}
    first: Fit | None = None
    parts: Parts = {}
    for split, folder in folders.items():
        files = _files(folder)
        first = first or Fit.of(files[0], folder, size, fit, channels)
        named = [file.relative_to(folder).parts[:-1] for file in files]
        labels = _labels(options, named, folder)
        x = decoded(Pictures(files, folder, first))
        parts[split] = Part(x, folder.name, _namer(files, folder), labels, remarks=remarks if split == "train" else ())
    return parts


def _subfolders(folder: Path) -> dict[str, Path]:
    """The subfolders that are splits, in small letters or in capitals. VaezooError where that of training lacks."""
    found: dict[str, Path] = {}
    for each in sorted(each for each in folder.iterdir() if each.is_dir()):
        for split, names in SUBFOLDERS.items():
            if each.name.lower() in names:
                if split in found:
                    raise VaezooError(f"{folder.name} has the subfolders {found[split].name} and {each.name}; keep one")
                found[split] = each
    if found and "train" not in found:
        others = " and ".join(each.name for each in found.values())
        raise VaezooError(
            f"{folder.name} has {others} and no subfolder train; name that of the training pictures train"
        )
    return found


def _left_out(folder: Path, splits: dict[str, Path]) -> tuple[str, ...]:
    """A line where there are pictures beside the subfolders of the splits."""
    beside = [each for each in _pictures(folder) if not any(split in each.parents for split in splits.values())]
    if not beside:
        return ()
    said = f"{folder.name}: {len(beside)} pictures beside {splits['train'].name} are left out"
    return (f"{said}, as {beside[0].relative_to(folder)}",)


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, of its subfolders, and of folders that links lead to; hidden ones are none."""
    every = (each for each in files_below(folder) if each.suffix.lower() in SUFFIXES and each.is_file())
    return sorted(each for each in every if not any(part[0] == "." for part in each.relative_to(folder).parts))


def _files(folder: Path) -> list[Path]:
    found = _pictures(folder)
    if not found:
        raise VaezooError(f"{folder} holds no picture; expected files that end in {', '.join(sorted(SUFFIXES))}")
    return found


def _namer(files: Sequence[Path], folder: Path) -> Any:
    return lambda row: str(files[row].relative_to(folder))


def _labels(options: OwnOptions, named: Sequence[tuple[str, ...]], folder: Path) -> Any:
    if options.labels == NO_LABELS or (options.labels is None and "labels" not in options.contexts):
        return None
    if options.labels not in (None, "folders"):
        raise VaezooError(f"labels of pictures are their folders: labels = 'folders', got {options.labels!r}")
    if not all(named):
        raise VaezooError(
            f"labels = 'folders': {folder.name} holds pictures outside its subfolders; give each a folder"
        )
    return np.array(["/".join(each) for each in named])
