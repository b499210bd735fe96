"""Scripts that call vaezoo.run: without a `__main__` guard, from standard input, and with plugins of their own."""

import subprocess
import sys

import pytest
from small_tasks import PRIOR

MATRIX = """{
    "datasets": ["digits-binary"],
    "model": {"latent": 2, "hidden": [4]},
    "train": {"epochs": 1},
    "evaluate": {"importance_samples": 2, "throughput": False},
    "variants": [VARIANT],
}"""
PLAIN = MATRIX.replace("VARIANT", '{"name": "vae"}')
OWN = MATRIX.replace("VARIANT", '{"name": "vae", "prior": "own"}')


def run(tmp_path, script, *, stdin=False):
    """The script run by Python, as a file or from standard input."""
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "-"] if stdin else [sys.executable, "script.py"]
    given = script if stdin else None
    return subprocess.run(command, input=given, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("stdin", [pytest.param(False, marks=pytest.mark.nightly), True])
def test_a_script_without_a_guard_runs_its_matrix_once(tmp_path, stdin):
    """Also from standard input: the children import no script that registers nothing."""
    script = f"import vaezoo\nprint(vaezoo.run({PLAIN}, 'there', device='cpu', jobs=1)['status'].tolist())\n"
    done = run(tmp_path, script, stdin=stdin)
    assert (done.returncode, done.stdout) == (0, "['ok']\n"), done.stderr


@pytest.mark.slow
def test_the_plugins_of_a_script_are_found_by_the_children(tmp_path):
    call = f"print(vaezoo.run({OWN}, 'there', device='cpu', jobs=1)['status'].tolist())"
    script = f"import torch, vaezoo\n{PRIOR}\nif __name__ == '__main__':\n    {call}\n"
    done = run(tmp_path, script)
    assert (done.returncode, done.stdout) == (0, "['ok']\n"), done.stderr


@pytest.mark.slow
def test_such_a_script_without_a_guard_ends_with_one_line_that_names_it(tmp_path):
    call = (
        f"frame = vaezoo.run({OWN}, 'there', device='cpu', jobs=1)\nprint(frame[['status', 'reason']].values.tolist())"
    )
    done = run(tmp_path, f"import torch, vaezoo\n{PRIOR}\n{call}\n")
    assert "the script calls vaezoo.run without a __main__ guard" in done.stdout + done.stderr
    assert "['ok'" not in done.stdout
