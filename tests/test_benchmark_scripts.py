"""The scripts of benchmarks/ that need no data run, with as few rounds as they allow, and print what they measured."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = {
    "eager.py": ["vae", "--rounds", "2"],
    "encoded_once.py": ["--hidden", "8"],
    "iwll_ceiling.py": ["--rounds", "2", "--samples", "40"],
    "packed.py": ["--rounds", "2", "--seeds", "2"],
    "products.py": ["--rounds", "2"],
    "step_parts.py": ["--hidden", "16", "--latent", "2"],
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", SCRIPTS)
def test_it_runs(name):
    words = [sys.executable, str(BENCHMARKS / name), *SCRIPTS[name]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
