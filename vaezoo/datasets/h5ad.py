"""The user's own annotated data: cells x genes in AnnData's .h5ad format."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import extra, unreadable
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Part, Parts, numeric
from vaezoo.datasets._own.single import split_files
from vaezoo.datasets._own.table import chosen_columns
from vaezoo.registry import register


@dataclass(frozen=True)
class Dense:
    """Rows of a sparse matrix, dense block by block."""

    x: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape)

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    def __getitem__(self, rows: slice, /) -> Array:
        block = self.x[rows]
        return np.asarray(block.toarray() if hasattr(block, "toarray") else block)


@contextmanager
def _anndata(what: str) -> Iterator[Any]:
    """The package anndata, whose warnings about other packages are not ours to show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield extra("anndata", "anndata", what)


def _example(folder: Path) -> dict[str, Any]:
    with _anndata("an .h5ad file") as anndata:
        if hasattr(anndata.settings, "allow_write_nullable_strings"):
            anndata.settings.allow_write_nullable_strings = True  # which pandas 3 needs for its names of rows
        anndata.AnnData(example.images().reshape(60, 30).astype(np.float32)).write_h5ad(folder / "example.h5ad")
    return {"path": str(folder / "example.h5ad"), **example.OPTIONS}


@register.dataset("h5ad", paper="Virshup et al. (2021), anndata, doi:10.1101/2021.12.16.473007")
@own_data(_example)
def h5ad(options: OwnOptions, *, layer: str | None = None) -> Parts:
    """Own data: cells x genes of an .h5ad file, dense or sparse, with columns of `obs` as labels and context.

    layer: the layer that is read, X when left out; raw counts often stand in "counts". valid and test may be further
    files. Needs the extra vaezoo[anndata]. Raises VaezooError in one line that names file and cell.
    """
    parts: Parts = {}
    for split, path in split_files(options).items():
        parts[split] = _part(path, options, layer)
    return parts


def _part(path: Path, options: OwnOptions, layer: str | None) -> Part:
    with _anndata(f"reading {path.name}") as anndata:
        try:
            data = anndata.read_h5ad(path, backed="r" if layer is None else None)
        except Exception as error:  # anndata raises whatever its own readers do
            raise unreadable(path, "h5ad", "an .h5ad file", error) from None
    if layer is not None and layer not in data.layers:
        raise VaezooError(f"{path.name} has no layer {layer!r}; {nearest(layer, list(data.layers))}")
    x = Dense(data.X if layer is None else data.layers[layer])
    source = path.name if layer is None else f"{path.name}, layer {layer!r}"
    numeric(x, source)
    labels, contexts = chosen_columns(data.obs, options, f"{path.name}, obs")
    names = list(map(str, data.obs_names))
    return Part(x, source, lambda row: f"cell {names[row]!r}", labels, contexts)
