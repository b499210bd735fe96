"""The status of a cell, by the error that ended it."""

import pytest
import torch

from vaezoo.core.errors import Skip, VaezooError
from vaezoo.runner.work.cell import _status
from vaezoo.training.seed_run import Diverged


def real_cpu_error() -> Exception:
    """What torch raises where a tensor does not fit the memory of the CPU."""
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator") as raised:
        torch.empty(2**60, dtype=torch.uint8)
    return raised.value


def caused(cause: Exception) -> Exception:
    """A line of vaezoo's own about another error, as `load_dataset` raises it."""
    error = VaezooError("dataset 'x': no more")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (real_cpu_error(), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError("no more"), "oom"),
        (caused(MemoryError()), "oom"),
        (caused(KeyError("x")), "failed"),
        (RuntimeError("shapes"), "failed"),
        (SystemExit(3), "failed"),
        (Skip("why"), "skipped"),
        (Diverged("nan"), "diverged"),
    ],
    ids=repr,
)
def test_the_status_of_an_error(error, status):
    assert _status(error) == status
