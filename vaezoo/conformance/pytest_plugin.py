"""The same proofs under pytest: `pytest --pyargs vaezoo.conformance --vaezoo-plugin mine.py`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--vaezoo-plugin FILE (again for more), --vaezoo-quick."""
    group = parser.getgroup("vaezoo", "proofs of vaezoo plugins")
    group.addoption(
        "--vaezoo-plugin", action="append", default=[], metavar="FILE", help="prove the plugins of this file"
    )
    group.addoption("--vaezoo-quick", action="store_true", help="a quarter of the samples")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each proof of each plugin: of the files given, else of the whole registry."""
    if "vaezoo_case" not in metafunc.fixturenames:
        return
    from vaezoo.conformance.check import plugins_named, proofs_of
    from vaezoo.registry import SLOTS, registry

    files = metafunc.config.getoption("--vaezoo-plugin")
    every = [p for slot in SLOTS for p in registry(slot).values()]
    plugins = [p for file in files for p in plugins_named(file)] if files else every
    cases = [(plugin, proof) for plugin in plugins for proof in proofs_of(plugin.slot)]
    names = [f"{plugin.slot}/{plugin.name}: {proof.name}" for plugin, proof in cases]
    metafunc.parametrize("vaezoo_case", cases, ids=names)
