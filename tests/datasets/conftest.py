"""A file of the user, for the tests of own data."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def npz(tmp_path):
    def write(**arrays: np.ndarray) -> Path:
        np.savez(tmp_path / "mine.npz", **arrays)
        return tmp_path / "mine.npz"

    return write
