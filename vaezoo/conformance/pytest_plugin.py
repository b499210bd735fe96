"""Run the proofs under pytest: `pytest --pyargs vaezoo.conformance --vaezoo-plugin mine.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vaezoo.conformance.proof import Proof
    from vaezoo.registry import Plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """--vaezoo-plugin FILE (again for more), --vaezoo-quick."""
    group = parser.getgroup("vaezoo", "proofs of vaezoo plugins")
    group.addoption(
        "--vaezoo-plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="prove the plugins of this file, of an installed package, or of a name",
    )
    group.addoption("--vaezoo-quick", action="store_true", help="a quarter of the samples")


def cases(names: Sequence[str]) -> dict[str, tuple[Plugin, Proof]]:
    """Each proof of each plugin, by its title: of the names given (as `vaezoo check` takes them), else of the whole
    registry.
    """
    from vaezoo.conformance.check import plugins_named, proofs_of
    from vaezoo.registry import SLOTS, registry

    every = [p for slot in SLOTS for p in registry(slot).values()]
    plugins = [p for name in names for p in plugins_named(name)] if names else every
    found = [(plugin, proof) for plugin in plugins for proof in proofs_of(plugin.slot)]
    return {f"{plugin.slot}/{plugin.name}: {proof.name}": (plugin, proof) for plugin, proof in found}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each proof of each plugin."""
    if "vaezoo_case" in metafunc.fixturenames:
        found = cases(metafunc.config.getoption("--vaezoo-plugin"))
        metafunc.parametrize("vaezoo_case", found.values(), ids=found.keys())
