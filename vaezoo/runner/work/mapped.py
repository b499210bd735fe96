"""Decoded data sets as files that the cells of a run map into memory: decoded once, shared, and safe from writing.

The mapping is private to each process, so a plugin that writes into its images changes no other cell's.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.core.data import Dataset, DataSpec, Split
from vaezoo.core.overlaps import Overlap
from vaezoo.datasets import load_dataset
from vaezoo.runner.plan.sources import Sources

SPLITS = ("train", "valid", "test")
TENSORS = ("x", "y", "context")


def decode(
    send: Any,
    name: str,
    options: Mapping[str, Any],
    data_root: str | None,
    sources: Mapping[str, list[str]],
    folder: str,
) -> None:
    """In a child: load a data set and write it into a folder. One whose true density is known is not written, because
    that is a function; cells load it themselves.
    """
    Sources.from_json(sources).load()
    dataset = load_dataset(name, data_root, options=options)
    if dataset.log_likelihood is None:
        write_dataset(dataset, Path(folder))
    send(decoded=dataset.log_likelihood is None)


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Write a data set's tensors, and then `facts.json`, which says that all is there."""
    folder.mkdir()
    tensors: dict[str, Any] = {}
    for split in SPLITS:
        for name in TENSORS:
            value: Tensor | None = getattr(getattr(dataset, split), name)
            if value is not None:
                value.contiguous().numpy().tofile(folder / f"{split}.{name}")
                tensors[f"{split}.{name}"] = [str(value.dtype).removeprefix("torch."), list(value.shape)]
    facts = {
        "spec": asdict(dataset.spec),
        "tensors": tensors,
        "checksum": dataset.checksum,
        "context_checksum": dataset.context_checksum,
        "overlaps": [asdict(overlap) for overlap in dataset.overlaps],
        "remarks": dataset.remarks,
    }
    (folder / "facts.json").write_text(json.dumps(facts))


def read_dataset(folder: Path) -> Dataset | None:
    """The data set in a folder, mapped into memory; None where it is not there."""
    try:
        facts = json.loads((folder / "facts.json").read_text())
    except OSError:
        return None
    spec = DataSpec(**facts["spec"])
    splits = []
    for split in SPLITS:
        x, y, context = (_mapped(folder, f"{split}.{name}", facts["tensors"]) for name in TENSORS)
        if x is None:
            return None
        splits.append(Split(x, y, spec, spec.binarisation == "dynamic" and split == "train", context))
    found = tuple(Overlap(**overlap) for overlap in facts["overlaps"])
    sums = {name: facts[name] for name in ("checksum", "context_checksum")}
    return Dataset.of_splits(spec, *splits, overlaps=found, remarks=tuple(facts["remarks"]), **sums)


def _mapped(folder: Path, name: str, tensors: Mapping[str, Any]) -> Tensor | None:
    """The tensor of a file, in memory that is private to this process once it is written to."""
    if name not in tensors:
        return None
    dtype, shape = getattr(torch, tensors[name][0]), tensors[name][1]
    count = torch.Size(shape).numel()
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(folder / name), shared=False, size=count, dtype=dtype).view(shape)
