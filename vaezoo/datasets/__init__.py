"""Data sets: each file registers functions `(root, seed, *, option=..) -> Dataset`; `load_dataset` calls one."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.core.errors import Skip, VaezooError, VaezooWarning
from vaezoo.core.options import checked_options
from vaezoo.core.overlaps import refusal
from vaezoo.core.paths import expanded, files_below, user_cache
from vaezoo.registry import Plugin, registry

if TYPE_CHECKING:
    from vaezoo.core.data import Dataset

KEPT = 4
"""How many datasets a process keeps in memory, for the next cells that it works on."""

SHARED = {"limit": Parameter("limit", Parameter.KEYWORD_ONLY, default=None, annotation=int | None)}
"""The options that every data set has."""

_kept: OrderedDict[tuple[Any, ...], Dataset] = OrderedDict()


def data_root(root: str | Path | None = None) -> Path:
    """The folder where data are found and downloaded to: `root`, else $VAEZOO_DATA, else the user's cache folder.

    The last is `vaezoo` in $XDG_CACHE_HOME, else in ~/.cache. The path is absolute; nothing is created.
    """
    chosen = root or os.environ.get("VAEZOO_DATA")
    return expanded(chosen).absolute() if chosen else user_cache()


def load_dataset(
    name: str, root: str | Path | None = None, seed: int = 0, options: Mapping[str, Any] | None = None
) -> Dataset:
    """The Dataset of a registered name: .train, .valid and .test, each with .x and .y (labels or None), and .spec.

    root: see `data_root`. seed: of what the dataset draws once (a fixed binarisation, dequantisation, synthetic data);
    it does not change the splits. options: the function's keyword-only parameters, and `limit`, which every data set
    has: only so many training images, the first ones. The last KEPT datasets stay in memory, so loading one again
    gives the same object; do not write into it.

    Raises VaezooError, in one line that begins with the dataset's name, for an unknown option, a file that is missing
    or cannot be read, images that contradict their measure, whatever else the function raises, a function that does
    not return a Dataset, and splits that share more than 1 % of their images (`Dataset.overlaps`).
    """
    plugin = registry("dataset")[name]
    chosen = _options(plugin, options or {})
    place = data_root(root)
    key = (name, plugin.target, place, int(seed), json.dumps(chosen, sort_keys=True, default=repr), _changed(chosen))
    if key not in _kept:
        own = {option: value for option, value in chosen.items() if option in plugin.hyperparameters}
        dataset = loaded(plugin, place, int(seed), own)
        if reason := refusal(dataset.overlaps):
            raise VaezooError(f"dataset {name!r}: {reason}")
        for remark in dataset.remarks:
            warnings.warn(f"dataset {name!r}: {remark}", VaezooWarning, stacklevel=2)
        _kept[key] = dataset if own == chosen else _limited(name, dataset, chosen["limit"])
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    return _kept[key]


def _options(plugin: Plugin, options: Mapping[str, Any]) -> dict[str, Any]:
    if len(plugin.builder_arguments) != 2:
        raise VaezooError(
            f"dataset {plugin.name!r}: the function must take (root, seed) and its options after *, "
            f"got ({', '.join(plugin.builder_arguments)}) from {plugin.place}"
        )
    return checked_options(plugin, options, SHARED)


def _changed(options: Mapping[str, Any]) -> str | None:
    """A digest of when the files of the option `path`, and those beside it that other options name, were last changed,
    and of their sizes; of a folder all files in it. None where there is no such option.
    """
    if not isinstance(options.get("path"), str):
        return None
    path, digest = expanded(options["path"]), hashlib.sha256()
    texts = [each for value in options.values() for each in (value if isinstance(value, list | tuple) else [value])]
    for name in dict.fromkeys(each for each in texts if isinstance(each, str)):
        place = path if name == options["path"] else path.parent / name
        for file in [place, *files_below(place)]:
            with suppress(OSError, ValueError):
                found = file.stat()
                digest.update(f"{file}\0{found.st_mtime_ns}\0{found.st_size}\0".encode())
    return digest.hexdigest()


def _limited(name: str, dataset: Dataset, limit: int | None) -> Dataset:
    try:
        return dataset if limit is None else dataset.limited(limit)
    except VaezooError as error:
        raise VaezooError(f"dataset {name!r}: {error}") from error


def loaded(plugin: Plugin, root: Path, seed: int, options: Mapping[str, Any]) -> Dataset:
    """The Dataset that a plugin's function makes, whatever its splits share. Raises as `load_dataset` does."""
    from vaezoo.core.data import Dataset

    try:
        dataset = plugin.target(root, seed, **options)
    except VaezooError as error:
        kind = Skip if isinstance(error, Skip) else VaezooError
        raise kind(f"dataset {plugin.name!r}: {error}") from error
    except FileNotFoundError as error:
        raise VaezooError(f"dataset {plugin.name!r}: file not found: {error.filename or error}") from error
    except OSError as error:
        reason = f"cannot read {error.filename}: {error.strerror}" if error.filename else " ".join(str(error).split())
        raise VaezooError(f"dataset {plugin.name!r}: {reason}") from error
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        said = " ".join(str(error).split())
        what = type(error).__name__ + (f": {said}" if said else "")
        raise VaezooError(f"dataset {plugin.name!r}: {what} ({_line(plugin, error)})") from error
    if not isinstance(dataset, Dataset):
        raise VaezooError(
            f"dataset {plugin.name!r}: the function must return a vaezoo.Dataset, "
            f"got {type(dataset).__name__} from {plugin.place}"
        )
    return dataset


def _line(plugin: Plugin, error: BaseException) -> str:
    """`mine.py:12`, the last line of the plugin's own file that an error came through, else the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == plugin.file]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
