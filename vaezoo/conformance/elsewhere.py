"""Other circumstances for a call whose result must not depend on them: generators, folder, time."""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch

LATER = 1e6
"""Seconds by which the clock is ahead."""


@contextmanager
def elsewhere(seed: int) -> Iterator[str]:
    """The global generators of torch, numpy and Python at the place of a seed, an empty working folder, whose path this
    gives, and a later time. Afterwards all are as they were.
    """
    kept, numbers, python = os.getcwd(), np.random.get_state(), random.getstate()
    ahead = time.time() + LATER
    clock = mock.patch.multiple("time", time=lambda: ahead, time_ns=lambda: int(1e9 * ahead))
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), clock:
        try:
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            os.chdir(folder)
            yield folder
        finally:
            os.chdir(kept)
            np.random.set_state(numbers)
            random.setstate(python)


def generators() -> dict[str, Any]:
    """The states of the global generators, by name; two are equal where the states are."""
    numbers = np.random.get_state(legacy=False)
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "numpy's generator": str(numbers),
        "Python's generator": random.getstate(),
    }
