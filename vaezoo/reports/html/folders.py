"""The results folders of a report as one frame, with the records of each row."""

import warnings
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from vaezoo.core.columns import Column, table_columns
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.reports.images import ImageValues
from vaezoo.reports.rows import is_missing
from vaezoo.runner.plan.stored import StoredCell
from vaezoo.runner.records import Record
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store

Place = tuple[str, str]
"""Data set and label: a row of the report."""


@dataclass(frozen=True)
class Source:
    """Where a row comes from: the title of its results folder, the folder, and its label there."""

    title: str
    store: Store
    label: str


@dataclass(frozen=True)
class Cell:
    """A cell of the plan with its record, None where it has none yet."""

    plan: StoredCell
    record: Record | None

    @property
    def is_ok(self) -> bool:
        """Whether it has results."""
        return self.record is not None and self.record.status == "ok"


@dataclass(frozen=True)
class Results:
    """Several results folders as one.

    frame: as `read_results` gives it; a label that stands in two folders begins with the title of its folder, where a
    reference names it, too, and a search is that of one folder. titles: the shortest different ends of the folders'
    paths. sources, cells: of each row, the cells in the order of the plan.
    """

    frame: pandas.DataFrame
    titles: tuple[str, ...]
    sources: Mapping[Place, Source]
    cells: Mapping[Place, tuple[Cell, ...]] = field(repr=False)

    def images(self, columns: Sequence[str]) -> "FolderImages":
        """The values of each test image in these columns, by the labels of the frame."""
        return FolderImages(self.sources, tuple(columns))


class FolderImages:
    """The values of each test image of several folders, by the labels of the report's frame."""

    def __init__(self, sources: Mapping[Place, Source], columns: tuple[str, ...]) -> None:
        self._sources = sources
        folders = {source.store.folder for source in sources.values()}
        self._values = {folder: ImageValues(str(folder), columns) for folder in folders}

    def of(self, dataset: str, label: str, seed: Hashable, column: str, number: float) -> np.ndarray | None:
        """As `ImageValues.of`."""
        source = self._sources[dataset, label]
        return self._values[source.store.folder].of(dataset, source.label, seed, column, number)


def read_folders(folders: Sequence[Path]) -> Results:
    """The results of these folders. VaezooError where there is none, one is named twice or holds no results."""
    if not folders:
        raise VaezooError("expected a results folder or more, got none; give the folders that `vaezoo run` wrote to")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise VaezooError("a results folder is named twice; name each of them once")
    frames = [read_results(folder) for folder in folders]
    titles = short_names([folder.absolute().parts for folder in folders])
    labels = _labels(frames, titles)
    sources: dict[Place, Source] = {}
    cells: dict[Place, list[Cell]] = {}
    for number, (folder, frame, title) in enumerate(zip(folders, frames, titles, strict=True)):
        store, named = Store(folder), labels[number]
        for cell in store.plan().cells:
            row = cell.dataset, named[cell.dataset, cell.label]
            sources[row] = Source(title, store, cell.label)
            cells.setdefault(row, []).append(Cell(cell, _record(store, cell)))
        frame["label"] = [named[each] for each in _places(frame)]
        frame["search"] = [None if is_missing(each) else f"{number}: {each}" for each in frame["search"]]
        frame.attrs["references"] = [_renamed(reference, named) for reference in frame.attrs["references"]]
    return Results(joined(frames), titles, sources, {place: tuple(found) for place, found in cells.items()})


def _record(store: Store, cell: StoredCell) -> Record | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VaezooWarning)  # `read_results` has warned of the damaged ones
        return store.record("cells", cell.stem, cell)


def _places(frame: pandas.DataFrame) -> list[Place]:
    return list(zip(frame["dataset"].tolist(), frame["label"].tolist(), strict=True))


def _labels(frames: Sequence[pandas.DataFrame], titles: Sequence[str]) -> list[dict[Place, str]]:
    """For each folder, what the report calls its rows and those that its references name, also where they are gone: by
    the label, or where two folders have it by title and label, with as many colons between them as make it unique.
    """
    places = [dict.fromkeys([*_places(frame), *_referred(frame)]) for frame in frames]
    standing = Counter(place for own in places for place in own)
    for colons in count(1):
        made = [
            {place: f"{title}{':' * colons} {place[1]}" if standing[place] > 1 else place[1] for place in own}
            for own, title in zip(places, titles, strict=True)
        ]
        taken = [(place[0], label) for own in made for place, label in own.items()]
        if len(set(taken)) == len(taken):
            break
    return made


def _referred(frame: pandas.DataFrame) -> list[Place]:
    return [(each["dataset"], each["row"]) for each in frame.attrs["references"] if each.get("row")]


def _renamed(reference: Mapping[str, Any], named: Mapping[Place, str]) -> dict[str, Any]:
    """A reference with the report's label of the row that it names."""
    row = reference.get("row")
    return {**reference, "row": named[reference["dataset"], row]} if row else {**reference}


def short_names(paths: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The shortest ends of some paths that tell them apart.

    >>> short_names([("a", "results", "mnist"), ("b", "results", "mnist")])
    ('a/results/mnist', 'b/results/mnist')
    """
    longest = max(map(len, paths))
    for length in range(1, longest + 1):
        names = tuple("/".join(path[-length:]) for path in paths)
        if len(set(names)) == len(names):
            break
    return names


def joined(frames: Sequence[pandas.DataFrame]) -> pandas.DataFrame:
    """Several results frames as one, with what `read_results` writes into its attrs, except the folder."""
    if len(frames) == 1:
        frame = frames[0].copy()
        frame.attrs = {**frames[0].attrs}
        return frame
    attrs = [frame.attrs for frame in frames]
    bare = [frame.set_axis(frame.columns, axis=1) for frame in frames]
    for each in bare:
        each.attrs = {}  # pandas compares them, and lists of dictionaries have no order
    frame = pandas.concat(bare, ignore_index=True)
    declared = {column["name"]: Column.from_json(column) for each in attrs for column in each["columns"]}
    references = [reference for each in attrs for reference in each["references"]]
    frame.attrs = {
        "name": " and ".join(dict.fromkeys(str(each["name"]) for each in attrs)),
        "settings": list(dict.fromkeys(name for each in attrs for name in each["settings"])),
        "columns": [column.to_json() for column in table_columns(declared.values())],
        "references": [each for place, each in enumerate(references) if each not in references[:place]],
        "overlaps": {name: text for each in attrs for name, text in each["overlaps"].items()},
    }
    return frame
