"""The user's own annotated data: cells x genes in AnnData's .h5ad format."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.core.errors import VaezooError, nearest
from vaezoo.datasets._own import example
from vaezoo.datasets._own.files import extra, unreadable, unreadable_rows
from vaezoo.datasets._own.formats import own_data
from vaezoo.datasets._own.options import OwnOptions
from vaezoo.datasets._own.parts import Array, Part, Parts, numeric
from vaezoo.datasets._own.single import split_files
from vaezoo.datasets._own.table import chosen_columns
from vaezoo.registry import register


@dataclass(frozen=True)
class Dense:
    """Rows of a matrix, sparse or not, dense block by block. columns: those that are read, in this order, or None."""

    x: Any
    source: str
    columns: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape) if self.columns is None else (self.x.shape[0], len(self.columns))

    @property
    def dtype(self) -> Any:
        return self.x.dtype

    def __getitem__(self, rows: slice, /) -> Array:
        try:
            block = self.x[rows]
        except OSError as error:
            raise unreadable_rows(self.source, rows, error) from None
        dense = np.asarray(block.toarray() if hasattr(block, "toarray") else block)
        return dense if self.columns is None else dense[:, self.columns]


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
    files, whose genes are found by their names. Needs the extra vaezoo[anndata]. Raises VaezooError in one line that
    names file and cell.
    """
    parts: Parts = {}
    first: tuple[str, list[str]] | None = None
    for split, path in split_files(options).items():
        x, genes, part = _part(path, options, layer)
        first = first or (path.name, genes)
        parts[split] = replace(part, x=replace(x, columns=_places(genes, path.name, *first)))
    return parts


def _without_x(data: Any) -> bool:
    try:
        return data.X is None
    except KeyError:  # of a file that is read block by block
        return True


def _places(own: list[str], file: str, first: str, wanted: list[str]) -> Array | None:
    """The places of a file's genes in the order of the first file's; None where they stand so. VaezooError else."""
    if own == wanted:
        return None
    more, lacking = sorted({*own} - {*wanted}), sorted({*wanted} - {*own})
    said = [f"{name} alone has {found[0]!r}" for name, found in ((first, lacking), (file, more)) if found]
    if said or len(own) != len(wanted) or len({*own}) < len(own):
        what = " and ".join(said) or f"they stand in another order in {file}, and some names stand twice"
        raise VaezooError(f"genes differ: {what} ({len(wanted)} and {len(own)} genes); give both files the same genes")
    place = {name: number for number, name in enumerate(own)}
    return np.array([place[name] for name in wanted])


def _part(path: Path, options: OwnOptions, layer: str | None) -> tuple[Dense, list[str], Part]:
    """The cells of a file, the names of its genes, and the part that they make."""
    with _anndata(f"reading {path.name}") as anndata:
        try:
            data = anndata.read_h5ad(path, backed="r" if layer is None else None)
        except Exception as error:  # anndata raises whatever its own readers do
            raise unreadable(path, "h5ad", "an .h5ad file", error) from None
    if layer is not None and layer not in data.layers:
        raise VaezooError(f"{path.name} has no layer {layer!r}; {nearest(layer, list(data.layers))}")
    source = path.name if layer is None else f"{path.name}, layer {layer!r}"
    if layer is None and _without_x(data):
        layers = f"say layer = {next(iter(data.layers))!r}" if len(data.layers) else "and no layer"
        raise VaezooError(f"{path.name} has no X; {layers}")
    x = Dense(data.X if layer is None else data.layers[layer], source)
    numeric(x, source)
    labels, contexts = chosen_columns(data.obs, options, f"{path.name}, obs")
    names = list(map(str, data.obs_names))
    part = Part(x, source, lambda row: f"cell {names[row]!r}", labels, contexts)
    return x, list(map(str, data.var_names)), part
