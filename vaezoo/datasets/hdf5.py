"""The user's own arrays in an HDF5 file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.core.errors import VaezooError
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import existing, extra, unreadable, unreadable_rows
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.names import array_parts
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Parts
from vaezoo.registry import register


@dataclass(frozen=True)
class Stored:
    """A data set of an open file. A damaged block is one line."""

    x: Any
    file: str
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape)

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    def __getitem__(self, rows: Any, /) -> Any:
        try:
            return self.x[rows]
        except OSError as error:
            which = rows if isinstance(rows, slice) else slice(0, self.shape[0])
            raise unreadable_rows(f"{self.file}, data set {self.name!r}", which, error) from None


def _example(folder: Path) -> dict[str, Any]:
    h5py, x = extra("h5py", "hdf5", "an .hdf5 file"), example.images()
    with h5py.File(folder / "example.h5", "w") as file:
        file["x_train"], file["x_test"] = x[:40], x[40:]
    return {"path": str(folder / "example.h5"), **example.OPTIONS}


@register.dataset("hdf5", paper="The HDF Group, HDF5; h5py")
@own_data(_example)
def hdf5(options: OwnOptions, *, images: str | None = None) -> Parts:
    """Own data: the data sets of an HDF5 file, images [N, ...] with their labels and contexts, read block by block.

    images: as of `npz`; a data set in a group by its path, "group/x". Needs the extra vaezoo[hdf5]. Raises VaezooError
    in one line that names file, data set and image.
    """
    path = existing(options.path)
    h5py = extra("h5py", "hdf5", f"reading {path.name}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise unreadable(path, "hdf5", "an HDF5 file", error) from None
    arrays: dict[str, Any] = {}

    def enter(name: str, found: Any) -> None:
        """Keep the data sets, and no group."""
        if isinstance(found, h5py.Dataset) and found.shape:
            arrays[name] = Stored(found.asstr() if h5py.check_string_dtype(found.dtype) else found, path.name, name)

    file.visititems(enter)
    if not arrays:
        raise VaezooError(f"{path.name} holds no data set with a shape")
    return array_parts(arrays, images, options, path)
