"""The digits are scikit-learn's, also where its file cannot be read directly."""

import gzip
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch
from sklearn.datasets import load_digits

from vaezoo.datasets import digits

CONTENT = (Path(find_spec("sklearn").submodule_search_locations[0]) / digits.FILE).read_bytes()


def expected():
    loaded = load_digits()
    return torch.from_numpy(numpy.column_stack([loaded.data, loaded.target]).astype(numpy.int64))


def test_the_rows_are_those_that_scikit_learn_loads():
    assert torch.equal(digits._rows(), expected())


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no gzip",
        CONTENT[:5000],
        CONTENT[:-20],
        gzip.compress(b"", mtime=0),
        gzip.compress(b"a,b\n", mtime=0),
        gzip.compress(b"\n".join(gzip.decompress(CONTENT).splitlines()[:100]), mtime=0),
    ],
)
def test_any_other_file_is_left_to_scikit_learn(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / digits.FILE).parent.mkdir(parents=True)
        (tmp_path / digits.FILE).write_bytes(content)
    monkeypatch.setattr(digits, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    assert torch.equal(digits._rows(), expected())
