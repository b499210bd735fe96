"""Downloads the missing files of a data set, and checks all; one line that names them where that fails."""

import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._mnist_files import TIMEOUT, _socket_timeout
from vaezoo.datasets._sources import SOURCES, Source, checked

CAUSES = (OSError, RuntimeError, HTTPException, EOFError, zlib.error, ImportError)
"""What a download may raise; ImportError where torchvision needs a further package."""


def original_files(root: Path, name: str) -> dict[str, Path]:
    """The published files of a source by their names, downloaded where they are missing, and checked."""
    source = SOURCES[name]
    folder = root / source.folder

    def fetch() -> None:
        """Download each missing file under another name, and give it its own once it is the published one."""
        folder.mkdir(parents=True, exist_ok=True)
        for file in source.absent(root):
            part = folder / f"{file}.part"
            with urllib.request.urlopen(source.files[file].url) as answer, part.open("wb") as opened:
                while block := answer.read(2**20):
                    opened.write(block)
            checked(part, source.files[file]).rename(folder / file)

    complete(root, name, source, fetch)
    return {file: checked(folder / file, facts) for file, facts in source.files.items()}


def torchvision_set(root: Path, name: str, **how: Any) -> Any:
    """torchvision's data set of this class, downloaded where it is missing. how: its further arguments."""
    import torchvision.datasets

    source, reader = SOURCES[name], getattr(torchvision.datasets, name)
    place = root / source.folder if name == "SVHN" else root
    complete(root, name, source, lambda: reader(place, download=True, **how))
    try:
        return reader(place, download=False, **how)
    except RuntimeError as error:  # a file that is not the published one
        folder = root / source.folder
        raise VaezooError(f"{folder} is damaged: {error}; delete it, so that it is downloaded again") from None


def complete(root: Path, name: str, source: Source, fetch: Callable[[], Any]) -> None:
    """Fetch where files are missing. A complete folder may be read-only: nothing is written into it.

    Raises VaezooError, which names the files and their folder, where they cannot be downloaded.
    """
    if not source.absent(root):
        return
    from filelock import FileLock

    folder = root / source.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock"), _socket_timeout(TIMEOUT):
            if source.absent(root):
                fetch()
    except CAUSES as error:
        missing = source.absent(root)
        if isinstance(error, VaezooError) or not missing:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise VaezooError(
            f"{name} is not in {root} and could not be downloaded ({reason}); put {', '.join(missing)} into {folder}, "
            "or name another place with VAEZOO_DATA or --data-root"
        ) from error
