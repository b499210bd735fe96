"""The PNG files of a results folder: those that are missing, or whose content has changed, are drawn."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaezoo.reports.formats import file_name
from vaezoo.reports.pictures import Pictures, stored_pictures
from vaezoo.runner.files import DamagedFile, read_file, write_atomically
from vaezoo.runner.history import read_history
from vaezoo.runner.plan.stored import first_seeds
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LARGEST_PNG = 2**26
VERSION = "1"
"""To be changed with what the figures look like: then all are drawn again."""
SPEEDS = ["train_images_per_second", "iwll"]


@dataclass(frozen=True)
class _Wanted:
    """A PNG file: where it goes, what its content depends on, and how it is drawn."""

    path: Path
    source: str
    draw: "Callable[[], Figure]"


def draw_figures(folder: str | Path, results: "pd.DataFrame | None" = None) -> list[Path]:
    """Draw the figures of a results folder into `figures/` in it, and return all of its PNG files.

    figures/LABEL--DATASET/ has the pictures of each row on each data set: samples, reconstructions, interpolations,
    traversals, latent; figures/DATASET/ has curves and quality_speed. A file that was drawn from the same numbers
    before stays as it is. results: the folder's frame, where it has been read already. Raises VaezooError where the
    folder holds no results.
    """
    store = Store(folder)
    store.refuse_links()
    paths = []
    for wanted in _wanted(store, read_results(folder) if results is None else results):
        paths.append(wanted.path)
        if not _is_drawn(wanted):
            from vaezoo.reports.drawing.style import png_of

            write_atomically(wanted.path, png_of(wanted.draw(), wanted.source), lasting=False)
    return paths


def _is_drawn(wanted: _Wanted) -> bool:
    try:
        content = read_file(wanted.path, LARGEST_PNG)
    except DamagedFile:
        return False
    return content is not None and f"Source\0{wanted.source}".encode() in content[:2000]


def _source(*parts: str | bytes) -> str:
    digest = hashlib.sha256(VERSION.encode())
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()


def _wanted(store: Store, results: "pd.DataFrame") -> Iterator[_Wanted]:
    plan, home, taken = store.plan(), store.folder / "figures", set[str]()
    wanted, history = set(first_seeds(plan.cells)), read_history(store.folder)
    for name in dict.fromkeys(cell.dataset for cell in plan.cells):
        yield from _charts(name, history, results, home / file_name(name, taken))
    for cell in (cell for cell in plan.cells if cell.stem in wanted):
        place = home / file_name(f"{cell.label}--{cell.dataset}", taken)
        pictures = stored_pictures(store.folder, cell.stem)
        if pictures is not None:
            title = f"{cell.label} on {cell.dataset}, seed {cell.seed}"
            source = _source(title, pictures.to_bytes())
            for name, draw in drawings(pictures, title).items():
                yield _Wanted(place / f"{name}.png", source, draw)


def _charts(dataset: str, history: "pd.DataFrame", results: "pd.DataFrame", place: Path) -> Iterator[_Wanted]:
    """Learning curves, and quality against speed, where there are numbers for them."""

    def curves() -> "Figure":
        """The learning curves."""
        from vaezoo.reports.drawing import charts

        return charts.curves(own, dataset)

    def quality_speed() -> "Figure":
        """Quality against speed."""
        from vaezoo.reports.drawing import charts

        return charts.quality_speed(measured, dataset)

    own = history[history["dataset"] == dataset].dropna(subset=["validation_iwll"])
    if not own.empty:
        yield _Wanted(place / "curves.png", _source(dataset, own.to_csv()), curves)
    measured = results[results["dataset"] == dataset]
    if not measured[SPEEDS].dropna().empty:
        yield _Wanted(place / "quality_speed.png", _source(dataset, measured.to_csv()), quality_speed)


def drawings(pictures: Pictures, title: str) -> "dict[str, Callable[[], Figure]]":
    """A function for each figure that can be drawn of a model's pictures, by the name of its file."""

    def samples() -> "Figure":
        """The samples."""
        from vaezoo.reports.drawing import grids

        return grids.samples(_there(pictures.samples), title)

    def reconstructions() -> "Figure":
        """The reconstructions."""
        from vaezoo.reports.drawing import grids

        return grids.reconstructions(_there(pictures.originals), _there(pictures.reconstructions), title)

    def interpolations() -> "Figure":
        """The interpolations."""
        from vaezoo.reports.drawing import grids

        return grids.interpolations(_there(pictures.interpolations), title)

    def traversals() -> "Figure":
        """The traversals."""
        from vaezoo.reports.drawing import grids

        dims, values = _there(pictures.traversal_dims).tolist(), _there(pictures.traversal_values).tolist()
        return grids.traversals(_there(pictures.traversals), dims, values, title)

    def latent() -> "Figure":
        """The latent map."""
        from vaezoo.reports.drawing import charts

        return charts.latent_map(_there(pictures.latent), pictures.latent_labels, pictures.latent_method or "z", title)

    every = {each.__name__: each for each in (samples, reconstructions, interpolations, traversals, latent)}
    return {name: draw for name, draw in every.items() if getattr(pictures, name) is not None}


def _there(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
