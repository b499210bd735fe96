"""Finds the files of a user's data; one line for a file that is missing or is of another format."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.core.paths import expanded

FORMATS = {
    ".npz": "npz",
    ".npy": "npy",
    ".mat": "mat",
    ".amat": "amat",
    ".csv": "csv",
    ".tsv": "csv",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".h5ad": "h5ad",
    ".png": "images",
    ".jpg": "images",
    ".jpeg": "images",
}
"""The data set that reads files of each suffix."""


def existing(path: str | Path, near: Path | None = None, folder: bool = False) -> Path:
    """A file, or a folder, that exists. near: the folder that a relative path starts from, else the working folder."""
    found = (near or Path.cwd()) / expanded(path)
    if found.is_symlink() and not found.exists():
        raise VaezooError(f"{found} is a link to {found.readlink()}, which does not exist; mend or replace the link")
    if not found.exists():
        beside = [each.name for each in found.parent.iterdir()] if found.parent.is_dir() else []
        similar = get_close_matches(found.name, beside, n=3)
        advice = f"did you mean {' or '.join(map(repr, similar))}?" if similar else relative(near)
        raise VaezooError(f"{found} does not exist; {advice}")
    if found.is_dir() and not folder:
        raise VaezooError(f"{found} is a folder; give a file, or read a folder of pictures with name = 'images'")
    if folder and not found.is_dir():
        raise VaezooError(f"{found} is a file; give the folder of the pictures{_other_format(found, 'images')}")
    return found


def relative(near: Path | None) -> str:
    """What a relative path starts from, as an advice."""
    if near is not None:
        return "it is relative to the folder of `path`"
    return "a path is relative to the matrix file's folder, in Python to the working folder"


def unreadable(path: Path, reader: str, expected: str, error: Exception | str) -> VaezooError:
    """The error for a file that a reader could not read: with its own words, and the format that the suffix tells.

    reader: the name of the data set that reads it.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return VaezooError(f"{path.name} cannot be read as {expected} ({said}){_other_format(path, reader)}")


def unreadable_rows(source: str, rows: slice, error: Exception) -> VaezooError:
    """The error for rows of a file that is damaged. source: the file, or an array of it."""
    said = " ".join(str(error).split())
    return VaezooError(
        f"{source}: rows {rows.start}..{rows.stop} cannot be read ({said}); write or copy the file again"
    )


def _other_format(path: Path, reader: str) -> str:
    name = "idx" if "ubyte" in path.name else FORMATS.get(path.suffix.lower())
    return f"; name = {name!r} reads {path.suffix or path.name} files" if name not in (None, reader) else ""


def extra(module: str, package: str, what: str) -> Any:
    """An optional package; one line that says how to install it where it is missing. package: the extra's name."""
    try:
        return import_module(module)
    except ImportError:
        raise VaezooError(f"{what} needs the package {module}; pip install 'vaezoo[{package}]'") from None


def listed(arrays: Mapping[str, Any]) -> str:
    """`'x' [100, 3], 'y' [100]`: the arrays of a file."""
    return ", ".join(f"{name!r} {list(array.shape)}" for name, array in arrays.items()) or "no array"
