"""Parts of formats whose files hold one array each: images, and labels and contexts in files beside them."""

from collections.abc import Callable
from pathlib import Path

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own.files import existing
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import SPLITS, Array, Part, Parts, numeric


def split_files(options: OwnOptions, folder: bool = False) -> dict[str, Path]:
    """The file, or folder, of each split that has one; those of validation and test beside that of training."""
    first = existing(options.path, folder=folder)
    asked = {split: getattr(options, split) for split in SPLITS[1:]}
    others = {split: existing(name, first.parent, folder) for split, name in asked.items() if isinstance(name, str)}
    return {"train": first, **others}


def single_parts(options: OwnOptions, read: Callable[[Path], Array]) -> Parts:
    """The parts of files that hold one array each."""
    files = split_files(options)
    near = files["train"].parent
    labels = _beside(options.given_labels, files, near, "labels")
    contexts = list(map(str, options.read_contexts))
    if contexts and len(files) > 1:
        raise VaezooError("context in files of its own is read for one file of images; put all splits into one .npz")
    parts: Parts = {}
    for split, path in files.items():
        x = read(path)
        numeric(x, path.name)
        own = {name: read(existing(name, near)) for name in contexts}
        y = read(labels[split]) if split in labels else None
        parts[split] = Part(x, path.name, labels=y, contexts=own)
    return parts


def _beside(given: object, files: dict[str, Path], near: Path, what: str) -> dict[str, Path]:
    if given is None:
        return {}
    names = [given] if isinstance(given, str | int) else list(given) if isinstance(given, tuple) else []
    if len(names) != len(files):
        raise VaezooError(f"{what} must be a file for each of {', '.join(files)}, as a list; got {len(names)}")
    return {split: existing(str(name), near) for split, name in zip(files, names, strict=True)}
