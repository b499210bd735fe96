"""A cell's key: the sha256 of all that its result depends on, as JSON with sorted names and no spaces."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any


def key_of(specification: dict[str, Any]) -> str:
    """The sha256 of a specification."""
    return hashlib.sha256(_written(specification).encode()).hexdigest()


def with_seeds(specification: dict[str, Any], seeds: list[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(seed, key, specification with the seed) of each; what the seeds share is written and hashed once.

    The keys are `key_of` the specifications.
    """
    before = {name: value for name, value in specification.items() if name < "seed"}
    after = {name: value for name, value in specification.items() if name > "seed"}
    start, rest = hashlib.sha256(f'{_written(before)[:-1]},"seed":'.encode()), f",{_written(after)[1:]}".encode()
    for seed in seeds:
        digest = start.copy()
        digest.update(str(seed).encode() + rest)
        yield seed, digest.hexdigest(), {**specification, "seed": seed}


def _written(specification: dict[str, Any]) -> str:
    return json.dumps(specification, sort_keys=True, separators=(",", ":"))
