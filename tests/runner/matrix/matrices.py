"""Matrices to load: written to a file, or given as tables."""

from pathlib import Path

import pytest

from vaezoo.core.errors import VaezooError
from vaezoo.runner.matrix.file import Matrix, load

TOP = 'datasets = ["d"]\n'
ROW = '[[variants]]\nname = "vae"\n'


def write(folder: Path, source: str) -> Path:
    path = folder / "m.toml"
    path.write_text(source, encoding="utf-8")
    return path


def message(source) -> str:
    with pytest.raises(VaezooError) as caught:
        load(source)
    return str(caught.value)


def variants(*tables: dict, **top) -> Matrix:
    return load({"datasets": ["d"], "variants": list(tables), **top})
