"""What `vaezoo check` found of plugins, by the fingerprint of their code: in the user's cache and in results folders.

A table says what the verdicts of its results folder say, on every machine.
"""

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import vaezoo
from vaezoo.core.errors import one_line
from vaezoo.core.paths import expanded, user_cache
from vaezoo.registry import SLOTS
from vaezoo.runner.files import DamagedFile, read_file, write_atomically
from vaezoo.runner.formats import opened, sealed
from vaezoo.runner.json_values import fitted, parsed
from vaezoo.runner.plan.cell import readable

FOLDER = "proofs"
"""The folder of the verdicts in a results folder."""
LARGEST = 2**16
"""Bytes of the largest verdict that is read."""
SHIPPED = Path(vaezoo.__file__).parent / "conformance" / "proved.json"
"""The fingerprints of vaezoo's own plugins, which its test suite has proved."""


@dataclass(frozen=True)
class Verdict:
    """What the proofs found of a plugin.

    plugin: `prior/mine`; fingerprint: of its code; failure: the first proof that failed, with its figure, None where
    all passed; quick: whether with a quarter of the samples; proofs: the sha256 of the code of the proofs; date: in
    UTC; vaezoo: its version.
    """

    plugin: str
    fingerprint: str
    failure: str | None
    quick: bool
    proofs: str
    date: str
    vaezoo: str

    def replaces(self, other: "Verdict | None") -> bool:
        """Whether it counts instead of another one of the same code: it is newer, and not the quick one of two by the
        same proofs.
        """
        if other is None:
            return True
        if self.proofs == other.proofs and self.quick != other.quick:
            return other.quick
        return self.date > other.date

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Verdict":
        """The verdict of a file. Raises ValueError, in one line, for any other value."""
        verdict = fitted(cls, opened(value)[0])
        return verdict if verdict.failure is None else replace(verdict, failure=one_line(verdict.failure))


def cache_folder() -> Path:
    """Where verdicts are kept for all runs of this user: $VAEZOO_PROOFS, else `vaezoo/proofs` in the user's cache."""
    chosen = os.environ.get("VAEZOO_PROOFS")
    return expanded(chosen).absolute() if chosen else user_cache() / "proofs"


def path_of(folder: Path, plugin: str, fingerprint: str) -> Path:
    """The file of a verdict in a folder of verdicts."""
    return folder / f"{readable(*plugin.split('/'))[:100]}--{readable(fingerprint[:12])}.json"


def read_verdict(path: Path) -> Verdict | None:
    """The verdict in a file, or None where there is no file. DamagedFile where it is anything else, has been changed,
    or is the verdict of other code than its name says.
    """
    content = read_file(path, LARGEST)
    try:
        verdict = None if content is None else Verdict.from_json(parsed(content))
    except ValueError as error:
        raise DamagedFile(f"{path} is damaged: {error}") from None
    if verdict is not None and path.name != path_of(path.parent, verdict.plugin, verdict.fingerprint).name:
        raise DamagedFile(f"{path} is damaged: it is the verdict of other code than its name says")
    return verdict


def stored(folder: Path, plugin: str, fingerprint: str) -> Verdict | None:
    """The verdict that a folder has of a plugin's code, or None. Raises as `read_verdict`."""
    verdict = read_verdict(path_of(folder, plugin, fingerprint))
    is_its = verdict is not None and (verdict.plugin, verdict.fingerprint) == (plugin, fingerprint)
    return verdict if is_its else None


def keep(folder: Path, verdict: Verdict) -> bool:
    """Write a verdict to a folder of verdicts where it replaces what is there; whether it was written. OSError where
    the folder cannot be written to.
    """
    path = path_of(folder, verdict.plugin, verdict.fingerprint)
    try:
        if not verdict.replaces(read_verdict(path)):
            return False
    except DamagedFile:
        if not path.is_file() or path.is_symlink():
            raise
    write_atomically(path, (json.dumps(sealed(vars(verdict)), indent=1) + "\n").encode(), lasting=False)
    return True


@cache
def _shipped() -> dict[str, str]:
    return {} if (content := read_file(SHIPPED, 2**20)) is None else fitted(dict[str, str], parsed(content))


def is_shipped(plugin: str, fingerprint: str) -> bool:
    """Whether this is the code of one of vaezoo's own plugins, which its test suite has proved."""
    return _shipped().get(plugin) == fingerprint


def known(plugin: str, fingerprint: str) -> Verdict | None:
    """What this machine knows of a plugin's code: the user's cache, else what vaezoo's test suite has proved."""
    found = None
    with suppress(DamagedFile):
        found = stored(cache_folder(), plugin, fingerprint)
    if found is None and is_shipped(plugin, fingerprint):
        return Verdict(plugin, fingerprint, None, True, "", "", vaezoo.__version__)
    return found


def provable(code: Iterable[Mapping[str, str]]) -> dict[tuple[str, str], None]:
    """(`slot/name`, fingerprint) of each plugin in the code of some specifications, once."""
    pairs = (pair for each in code for pair in each.items())
    return {(plugin, digest): None for plugin, digest in pairs if plugin.partition("/")[0] in SLOTS and digest}


def adopt(results: Path, code: Iterable[Mapping[str, str]]) -> None:
    """Write to a results folder what this machine knows of the plugins in the code of its specifications. OSError where
    it cannot be written to.
    """
    for plugin, fingerprint in provable(code):
        if (verdict := known(plugin, fingerprint)) is not None:
            with suppress(DamagedFile):
                keep(results / FOLDER, verdict)


def remarks(
    code: Mapping[str, str], verdicts: Mapping[tuple[str, str], Verdict | None], files: Iterable[str]
) -> tuple[str | None, str | None]:
    """What a table says of a row whose specification has this code: (unproved, disproved), None each where there is
    nothing to say. files: the plugin files of the row.

    disproved: which proofs fail of its parts and its objective; such a row is not ranked. unproved: which plugins have
    no check, and which proofs of its metrics fail: a metric is wrong about its own columns alone.
    """
    found = {pair[0]: verdicts.get(pair) for pair in provable([code])}
    missing = [plugin for plugin, verdict in found.items() if verdict is None]
    failing = {plugin: verdict.failure for plugin, verdict in found.items() if verdict and verdict.failure}
    metrics = [plugin for plugin in failing if plugin.startswith("metric/")]
    parts = [plugin for plugin in failing if plugin not in metrics]
    given = [word for file in files for word in ("--plugin", file)]

    def said(start: str, plugins: list[str]) -> str | None:
        """One line: the proofs that fail, and the command that proves these plugins."""
        fails = ", ".join(f"{plugin} fails {failing[plugin]}" for plugin in plugins if plugin in failing)
        command = shlex.join(["vaezoo", "check", *plugins, *given])
        return f"{start}: {fails}{'; ' if fails else ''}{command}" if plugins else None

    return said("not proved", missing + metrics), said("not ranked", parts)
