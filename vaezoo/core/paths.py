"""Paths as users write them. Needs no torch."""

import os
from collections.abc import Iterator
from pathlib import Path

from vaezoo.core.errors import VaezooError


def expanded(path: str | Path) -> Path:
    """The path with `~` as a home folder. VaezooError where the system knows no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise VaezooError(f"{path}: there is no home folder {user}; write the whole path") from None


def user_cache() -> Path:
    """The folder of vaezoo in the user's cache: `vaezoo` in $XDG_CACHE_HOME, else in ~/.cache. Nothing is created."""
    return expanded(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vaezoo").absolute()


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder, of its subfolders and of folders that links lead to, but none that holds the link."""
    for place, folders, files in os.walk(folder, followlinks=True):
        above = {os.path.realpath(each) for each in (Path(place), *Path(place).parents)}
        folders[:] = sorted(each for each in folders if os.path.realpath(Path(place) / each) not in above)
        yield from (Path(place) / each for each in sorted(files))
