"""A decoder, an objective and a prior, each added to the package as a single file, make no other test fail.

The decoder asks for x, the objective has a discriminator of its own, the prior has no closed form of the KL.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vaezoo
from vaezoo.conformance.check import proofs_of, prove
from vaezoo.conformance.verdict import FAIL, NOT_RUN
from vaezoo.registry import SLOTS, registry

TESTS = Path(__file__).parent
ADDITIONS = TESTS / "additions"
NAMES = {"decoder": "masked-linear", "objective": "total-correlation", "prior": "double-exponential"}
LOOKS = re.compile(r"\bnames\(|\bregistry\(|\bSLOTS\b|\bcases\(|modules\(HOUSE\)")
"""How a test looks at what is registered."""


@pytest.mark.nightly
@pytest.mark.parametrize("slot", NAMES)
def test_an_addition_passes_its_proofs_or_says_why_one_is_not_run(own_registry, slot):
    (path,) = (ADDITIONS / f"{slot}s").glob("*.py")
    own_registry.load_file(path)
    for proof in proofs_of(slot):
        found = prove(registry(slot)[NAMES[slot]], proof, quick=True)
        assert found.verdict != FAIL, found
        assert found.detail or found.verdict != NOT_RUN


def with_additions(folder: Path) -> Path:
    """A copy of the package with the additions in their slots; the folder to put on the path."""
    house = Path(vaezoo.__file__).parent
    shutil.copytree(house, folder / "vaezoo", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ADDITIONS.glob("*/*.py"):
        shutil.copy(path, folder / "vaezoo" / path.parent.name / path.name)
    return folder


def in_the_copy(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A Python process that imports the copy, in a folder of its own."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    (folder / "here").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder / "here", env=env, capture_output=True, text=True, check=False
    )


def test_a_file_in_a_slot_is_registered(tmp_path):
    code = f"import vaezoo; print([name in vaezoo.names(slot) for slot, name in {NAMES}.items()])"
    done = in_the_copy(with_additions(tmp_path), "-c", code)
    assert done.stdout == "[True, True, True]\n", done.stderr
    assert {*NAMES} < {*SLOTS}


@pytest.mark.nightly
def test_no_other_test_fails(tmp_path):
    """Of those that look at what is registered, and of the proofs, once `shipped` has proved what is new."""
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if LOOKS.search(path.read_text(encoding="utf-8"))]
    files = [path for path in files if path.name != Path(__file__).name]
    assert {"test_registry.py", "test_whole_registry.py", "test_building.py"} <= {path.name for path in files}
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", TESTS.parent / "pyproject.toml"]
    copy = with_additions(tmp_path)
    done = in_the_copy(copy, "-m", "vaezoo.conformance.shipped")
    assert done.returncode == 0, done.stderr
    done = in_the_copy(copy, *words, "--rootdir", TESTS.parent, "-m", "not nightly", *files)
    assert done.returncode == 0, done.stdout[-5000:]
    assert " passed" in done.stdout
