"""Every proof of every plugin, as tests."""

from typing import Any

import pytest

from vaezoo.conformance.check import prove
from vaezoo.conformance.verdict import FAIL, NOT_RUN


def test_conformance(vaezoo_case: Any, request: pytest.FixtureRequest) -> None:
    """The proof holds; one that cannot run is skipped with its reason."""
    plugin, proof = vaezoo_case
    found = prove(plugin, proof, quick=request.config.getoption("--vaezoo-quick"))
    if found.verdict == NOT_RUN:
        pytest.skip(found.detail)
    assert found.verdict != FAIL, f"{found.figure}: {found.detail}"
