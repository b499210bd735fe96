"""Where, when and with what a cell was run. Needs no torch."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vaezoo.core.errors import one_line
from vaezoo.runner.json_values import fitted, json_value

COMPUTING = ("torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn", "safetensors", "pydantic", "numba")
"""The dependencies whose version a record keeps."""
GIT_SECONDS = 5.0
"""Seconds after which git is not waited for."""
NVIDIA = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class RunFacts:
    """What all cells of a run share. command: the words of the command line. git: the commit that vaezoo's own code is
    at, with `+dirty` where files of it have been changed; None where it does not run from a checkout.
    """

    command: tuple[str, ...] = ()
    git: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Where, when and with what a cell was run.

    memory_bytes: the device's memory; plugins: names of plugin files; started, finished: times in UTC. versions: of
    the dependencies that compute. driver: of the GPU, None on a CPU. products: the library of each product of a
    float32 layer on a CPU, of a seed that trains alone (`core/products.py`). loops: what compiled the loops that
    took part (`core/compiled.py`), None where torch's operators computed everything. command, git: see RunFacts.
    Records of version 0.1.0 lack what has a default.
    """

    vaezoo: str
    torch: str
    python: str
    platform: str
    device: str
    threads: int
    memory_bytes: int | None
    plugins: tuple[str, ...]
    finished: str
    started: str | None = None
    host: str | None = None
    driver: str | None = None
    git: str | None = None
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    products: dict[str, str] = field(default_factory=dict)
    loops: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Every fact by name; what is not known is left out, except memory_bytes."""
        value = {
            name: each for name, each in vars(self).items() if name == "memory_bytes" or each not in (None, (), {})
        }
        return value | {"plugins": list(self.plugins)} | ({"command": list(self.command)} if self.command else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Provenance":
        """The provenance of a record."""
        return fitted(cls, value)


def now() -> str:
    """The time in UTC, to a second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def run_facts() -> RunFacts:
    """The command line of this process and the git state of vaezoo's code. git is asked once."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv and sys.argv[0] else []
    return RunFacts(tuple(json_value([one_line(word) for word in words[:100]])), git_state(Path(__file__).parents[2]))


def git_state(checkout: Path) -> str | None:
    """The commit of a checkout, with `+dirty` where a tracked file of it has been changed; None where it is none."""
    if not (checkout / ".git").exists():
        return None
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}

    def git(*words: str) -> str:
        """What git says; empty where it fails."""
        command = ["git", "-C", str(checkout), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, env=environment)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return commit + "+dirty" * dirty if re.fullmatch("[0-9a-f]{40,64}", commit) else None


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """The version of each dependency that computes, where it is installed."""
    found = {}
    for package in COMPUTING:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@lru_cache(maxsize=1)
def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver, where Linux says it."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(\.\d+)+)", NVIDIA.read_text())
    except OSError:
        return None
    return found[1] if found else None
