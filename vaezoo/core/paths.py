"""Paths as users write them. Needs no torch."""

from pathlib import Path

from vaezoo.core.errors import VaezooError


def expanded(path: str | Path) -> Path:
    """The path with `~` as a home folder. VaezooError where the system knows no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise VaezooError(f"{path}: there is no home folder {user}; write the whole path") from None
