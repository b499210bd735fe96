"""The stored pictures of a cell's model. Reads no torch."""

import warnings
from pathlib import Path

from vaezoo.core.errors import VaezooWarning
from vaezoo.evaluation.picture_arrays import Pictures
from vaezoo.runner.files import DamagedFile
from vaezoo.runner.store import Store

__all__ = ["Pictures", "stored_pictures"]


def stored_pictures(folder: str | Path, stem: str) -> Pictures | None:
    """The pictures of the model of the cell with this stem, or None where there are none. A damaged file is left out
    with a VaezooWarning that names it.
    """
    try:
        return Store(folder).pictures(stem)
    except DamagedFile as error:
        warnings.warn(f"{error}; it is left out", VaezooWarning, stacklevel=2)
        return None
