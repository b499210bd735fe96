"""The guides show what works: whole matrices are valid, the plugin is the README's, the first script runs."""

import re
import tomllib
from pathlib import Path

import pytest

import vaezoo
from vaezoo.runner.matrix.schema import checked

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [found[2] for found in BLOCK.finditer(text) if found[1] == language]


@pytest.mark.parametrize("page", ["docs/register.md", "docs/run.md"])
def test_the_whole_matrices_are_valid(page):
    matrices = [tomllib.loads(text) for text in blocks(page, "toml")]
    whole = [matrix for matrix in matrices if "datasets" in matrix]
    assert whole
    for matrix in whole:
        assert checked(matrix).name == matrix["name"]


def test_the_plugin_of_the_guide_is_that_of_the_readme():
    """Which the tests of the README prove, try and run."""
    assert blocks("docs/register.md", "python")[0] == blocks("README.md", "python")[0]


def test_the_first_script_runs():
    (text,) = blocks("docs/index.md", "python")
    namespace: dict = {}
    exec(text.replace("epochs=20", "epochs=1").replace("importance_samples=1000", "importance_samples=10"), namespace)
    assert namespace["images"].shape == (16, 1, 8, 8)
    assert len(namespace["found"].estimate) == len(namespace["test"])


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {vaezoo.__version__}\n" in text
