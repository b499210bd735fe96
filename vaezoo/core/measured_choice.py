"""Which of several ways to compute the same is the fastest on this machine: measured once, and kept.

The choice is kept in the user's cache, by processor and torch version, so that the numbers of two runs on one machine
are the same, bit for bit, also where the ways round differently.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch

from vaezoo.core.errors import VaezooError
from vaezoo.core.paths import user_cache
from vaezoo.core.processor import processor_name

MARGIN = 0.97
"""A later way is chosen where it takes less than this share of the time, so that no choice hangs on noise."""

Times = dict[str, dict[str, float]]
"""What is computed -> way -> seconds."""
Choice = Mapping[str, str]
"""What is computed -> way."""


def setting(variable: str, ways: Sequence[str]) -> str:
    """The way that an environment variable names, or nothing. VaezooError where it is no way."""
    given = os.environ.get(variable, "")
    way = given.strip().lower()
    if way and way not in ways:
        *others, last = ways
        raise VaezooError(f"{variable} is {given!r}; set it to {', '.join(others)} or {last}, or leave it unset")
    return way


def measured_once(folder: str, of: str, ways: Mapping[str, tuple[str, ...]], measure: Callable[[], Times]) -> Choice:
    """The fastest way of each thing on this machine, as it is kept, or else measured and kept; where nothing can be
    kept, the first way of each.

    folder: of the user's cache. of: what the choice depends on beside the machine. ways: of each thing.
    """
    machine = f"{processor_name()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, {of}"
    with suppress(VaezooError, OSError):  # there is no home folder, no working folder, or nothing can be written
        path = user_cache() / folder / f"{sha256(machine.encode()).hexdigest()[:16]}.json"
        return _kept(path, ways) or _measured_and_kept(path, machine, ways, measure)
    return {name: each[0] for name, each in ways.items()}


def _kept(path: Path, ways: Mapping[str, tuple[str, ...]]) -> Choice | None:
    """The choice in a file; None where there is none, or anything else is in it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))["chosen"]
        return {name: each[each.index(value[name])] for name, each in ways.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _measured_and_kept(
    path: Path, machine: str, ways: Mapping[str, tuple[str, ...]], measure: Callable[[], Times]
) -> Choice:
    """Measure and keep the choice. Of several processes that do so at once, the first one decides for all.
    OSError where nothing can be kept; then nothing is timed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, own = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            times = measure()
            found = {name: fastest(each) for name, each in times.items()}
            rounded = {name: {which: round(1000 * s, 4) for which, s in each.items()} for name, each in times.items()}
            json.dump({"machine": machine, "chosen": found, "milliseconds": rounded}, file, indent=1)
        with suppress(OSError):  # it is there, or the file system has no links
            os.link(own, path)
        if _kept(path, ways) is None:  # it has no links, or the file is damaged
            os.replace(own, path)
        return _kept(path, ways) or found
    finally:
        with suppress(OSError):
            os.unlink(own)


def fastest(seconds: Mapping[str, float]) -> str:
    """The first way, or a later one where it is clearly faster."""
    chosen, *others = seconds
    for name in others:
        if seconds[name] < MARGIN * seconds[chosen]:
            chosen = name
    return chosen
