"""What tests that load a data set share: each loads anew, and an error is one line."""

import pytest

import vaezoo.datasets
from vaezoo import VaezooError


@pytest.fixture(autouse=True)
def nothing_kept():
    """Each test loads anew."""
    vaezoo.datasets._kept.clear()
    yield
    vaezoo.datasets._kept.clear()


def one_line(error: pytest.ExceptionInfo[VaezooError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message
