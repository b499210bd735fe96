"""A script that runs a matrix without a `__main__` guard, or from standard input, in a real process; and how its
workers tell.
"""

import os
import subprocess
import sys
from multiprocessing import current_process
from pathlib import Path

import pytest

from vaezoo.core.errors import VaezooError
from vaezoo.runner.engines.main_guard import (
    VARIABLE,
    main_guard,
    refuse_in_import_of_worker,
    refuse_script_without_file,
)

SCRIPT = """
import vaezoo

vaezoo.run(
    {
        "datasets": ["digits-binary"],
        "seeds": 2,
        "model": {"latent": 2, "hidden": [4]},
        "evaluate": {"throughput": False},
        "variants": [{"name": "vae"}],
    },
    "there",
    device="cpu",
    jobs=2,
)
print("not reached")
"""
LINE = (
    "the script calls vaezoo.run without a __main__ guard, so its child processes would run the matrix again; "
    'put the call under `if __name__ == "__main__":`'
)


def test_a_script_without_a_guard_ends_with_one_line_that_names_it(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert (done.stderr.count("Traceback"), done.stderr.count(LINE)) == (1, 1)
    assert done.stderr.splitlines()[-1] == f"vaezoo.core.errors.VaezooError: {LINE}"
    assert list((tmp_path / "there" / "cells").iterdir()) == []


@pytest.mark.parametrize("script", [SCRIPT, SCRIPT.replace("vaezoo.run(", "__name__ == '__main__' and vaezoo.run(")])
def test_a_script_from_standard_input_ends_with_one_line_that_says_so(tmp_path, script):
    """With a guard as without."""
    done = subprocess.run(
        [sys.executable, "-"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("Traceback")) == (1, "", 1)
    assert done.stderr.splitlines()[-1] == (
        "vaezoo.core.errors.VaezooError: the script that calls vaezoo.run comes from standard input, so its child "
        'processes cannot import it; save it to a file, with the call under `if __name__ == "__main__":`, and run '
        "that file"
    )
    assert list((tmp_path / "there" / "cells").iterdir()) == []


def test_a_script_from_a_pipe_is_named(tmp_path, monkeypatch):
    """`python <(cat script.py)` runs /dev/fd/63, which a child process cannot read again."""
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(pipe), raising=False)
    with pytest.raises(VaezooError, match=rf"^the script .* is not the regular file {pipe}, so .*; save it to a file"):
        refuse_script_without_file()


@pytest.fixture
def importing(monkeypatch):
    """As in a worker that imports its parent's script."""
    monkeypatch.setattr(current_process(), "_inheriting", True, raising=False)


def test_a_worker_tells_its_parent_and_ends_in_silence(importing):
    with main_guard() as check:
        check()
        with pytest.raises(SystemExit) as ended:
            refuse_in_import_of_worker()
        assert ended.value.code == 1
        with pytest.raises(VaezooError, match=r"^the script calls vaezoo\.run without a __main__ guard"):
            check()


def test_a_child_of_another_program_says_it_itself(importing, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(VaezooError, match="without a __main__ guard"):
        refuse_in_import_of_worker()


def test_a_process_that_imports_nothing_is_left_alone():
    with main_guard() as check:
        refuse_in_import_of_worker()
        check()


def test_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv(VARIABLE, "before")
    with main_guard():
        assert Path(os.environ[VARIABLE]).parent.is_dir()
    assert os.environ[VARIABLE] == "before"
    monkeypatch.delenv(VARIABLE)
    with main_guard():
        pass
    assert VARIABLE not in os.environ
