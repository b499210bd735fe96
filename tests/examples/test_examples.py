"""Each example passes its proofs, and its matrix file runs."""

import re
import tomllib
from pathlib import Path

import pytest
from unable import is_pass_or_unable

import vaezoo
from vaezoo.conformance.check import plugins_named, proofs_of, prove

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_each_example_has_a_plugin_file_a_matrix_file_and_a_line_in_the_readme():
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert files == {path.stem for path in EXAMPLES.glob("*.toml")}
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert files == set(re.findall(r"vaezoo check examples/(\w+)\.py", told))
    assert files == set(re.findall(r"vaezoo run examples/(\w+)\.toml", told))


@pytest.mark.parametrize("name", ["new_prior", "conditional"])
def test_every_proof_of_an_example_holds(own_registry, name):
    for plugin in plugins_named(str(EXAMPLES / f"{name}.py")):
        for proof in proofs_of(plugin.slot):
            found = prove(plugin, proof, quick=True)
            assert is_pass_or_unable(found), found


@pytest.mark.nightly
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_matrix_of_an_example_runs(own_registry, tmp_path, path):
    """For one epoch of one seed, without timings."""
    matrix = tomllib.loads(path.read_text(encoding="utf-8"))
    matrix |= {"seeds": 1, "plugins": [str(EXAMPLES / name) for name in matrix["plugins"]]}
    matrix["train"]["epochs"] = 1
    matrix["evaluate"] = {"importance_samples": 4, "images": 20, "throughput": False}
    frame = vaezoo.run(matrix, tmp_path / "out")
    assert list(frame.status) == ["ok"] * len(matrix["variants"])
