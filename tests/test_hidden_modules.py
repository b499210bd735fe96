"""Where `resource` and `fcntl` do not exist, as on Windows, vaezoo imports and runs a matrix."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(sys.executable).with_name("vaezoo")
HIDE = """
import builtins, os

found = builtins.__import__

def without(name, globals=None, *rest, **named):
    # hidden from vaezoo alone: psutil, which has a module for each system, imports `resource` on this one
    if name in ("resource", "fcntl") and (globals or {}).get("__name__", "").startswith("vaezoo"):
        with open(os.environ["HIDDEN"], "a") as file:
            file.write(f"{os.getpid()} {name}\\n")
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return found(name, globals, *rest, **named)

builtins.__import__ = without
"""


def test_a_run_needs_neither(matrix_file, tmp_path):
    """A sitecustomize hides the modules from the command and from the server whose children run the cells."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    matrix_file(tmp_path / "m.toml", ["vae"])
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "HIDDEN": str(tmp_path / "hidden")}
    words = [SCRIPT, "run", "m.toml", "--device", "cpu", "--jobs", "1"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 ok" in done.stdout.splitlines()
    hidden = [line.split() for line in (tmp_path / "hidden").read_text().splitlines()]
    assert {"fcntl", "resource"} <= {name for _, name in hidden}
    assert len({process for process, _ in hidden}) >= 2
