"""Weights as safetensors, and trained models from their records. There are no pickles: loading runs no code but that of
plugins.
"""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from vaezoo.builder import Ingredients, construct
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.core.model import LatentModel
from vaezoo.registry import register
from vaezoo.runner.files import LARGEST_WEIGHTS, DamagedFile, write_atomically
from vaezoo.runner.records import Record, reason_of
from vaezoo.runner.store import Store, read_record


def save_weights(model: LatentModel, path: Path) -> None:
    """Write a model's parameters and buffers, atomically."""
    write_atomically(
        path, save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})
    )


def load_weights(model: LatentModel, store: Store, stem: str, record: Record) -> None:
    """Set a model's parameters and buffers to those of a cell's record. VaezooError where they cannot be read."""
    try:
        _load(model, _content(store, stem, record))
    except (SafetensorError, _OtherWeights) as error:
        weights = store.path("checkpoints", stem)
        raise VaezooError(f"the weights {weights} cannot be read: {reason_of(error)}; run the matrix again") from error


def _content(store: Store, stem: str, record: Record) -> bytes:
    """The file of a record's weights. VaezooError where it is not that of the record."""
    try:
        return b"".join(store.blocks("checkpoints", stem, record, LARGEST_WEIGHTS) or ())
    except DamagedFile as error:
        raise VaezooError(f"{error}; run the matrix again") from None


def load_model(record: str | Path, plugins: Sequence[str | Path] = ()) -> LatentModel:
    """A trained model from its record (a .json under cells/), on the CPU, in eval mode and in the record's precision.

    Its data are not needed. plugins: the plugin files that it was trained with. A model that failed its audit is loaded
    with a warning. Raises VaezooError where there is no record or no weights, one of them is damaged or not the
    other's, or a name is not registered.
    """
    path = Path(record)
    for plugin in plugins:
        register.load_file(plugin)
    advice = "give a .json file from the cells/ folder of a results folder"
    try:
        found = read_record(path)
    except DamagedFile as error:
        raise VaezooError(f"{error}; {advice}") from None
    if found is None or found.seed is None:
        raise VaezooError(f"{path} is no cell's record; {advice}")
    if found.status != "ok" and found.audit is None:
        raise VaezooError(f"{path.name} has no weights: its status is {found.status} ({found.reason})")
    store = Store(path.parent.parent)
    store.refuse_links()
    weights = store.path("checkpoints", path.stem)
    if not os.path.lexists(weights):
        raise VaezooError(
            f"the weights {weights} are not there: they were not kept (--keep-weights), or have been moved; copy them "
            "there, or run the cell again with --force"
        )
    if found.status != "ok":
        warnings.warn(f"{path.name} is {found.status}: {found.reason}", VaezooWarning, stacklevel=2)
    return trained_model(found, store, path.stem)


def trained_model(record: Record, store: Store, stem: str) -> LatentModel:
    """The model of a record, built anew with the weights of its file, as `load_model` gives it.

    Raises VaezooError where the weights are not the record's, or not those of its model.
    """
    try:
        content = _content(store, stem, record)
        _refuse_larger(record, len(content))
        model = _known(record)
        _load(model, content)
    except (SafetensorError, _OtherWeights) as error:
        weights = store.path("checkpoints", stem)
        raise VaezooError(f"the weights {weights} cannot be read: {reason_of(error)}; run the matrix again") from error
    model.precision = record.specification.train.precision
    return model.eval()


class _OtherWeights(ValueError):
    """The weights are damaged, or those of another model."""


def _load(model: LatentModel, content: bytes) -> None:
    """Set a model's parameters and buffers to those of a file. Names, shapes and types must agree."""
    try:
        given, wanted = load(content), model.state_dict()
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise _OtherWeights(f"they are damaged: {error}") from error
    if added := sorted(given.keys() - wanted.keys()):
        raise _OtherWeights(
            f"they hold {added[0]}, which the model does not have when it is built: a plugin adds it later; "
            "make all parameters and buffers in __init__"
        )
    for name, value in wanted.items():
        if name in given and given[name].dtype != value.dtype:
            raise _OtherWeights(f"{name} is {given[name].dtype}, the model's is {value.dtype}")
    try:
        model.load_state_dict(given)
    except RuntimeError as error:  # other names or shapes than the model's
        raise _OtherWeights(" ".join(str(error).split())) from error


def _known(record: Record) -> LatentModel:
    """The model of a record, untrained. The error for an unknown name says with which plugin files it was made."""
    try:
        return _untrained(record)
    except VaezooError as error:
        needed = () if record.provenance is None else record.provenance.plugins
        files = ", ".join(needed)
        hint = f" (the record was made with the plugins {files}: give them as plugins=[...])" if needed else ""
        raise VaezooError(f"{error}{hint}") from error
    except (RuntimeError, MemoryError, TypeError, OverflowError) as error:
        raise VaezooError(f"the record's model cannot be built: {reason_of(error)}") from error


def _refuse_larger(record: Record, found: int) -> None:
    """_OtherWeights where a record's model takes more bytes than its weights, `found`. The model is built without
    memory to see that, where its parts allow it.
    """
    try:
        with torch.device("meta"):
            values = _untrained(record).state_dict().values()
        expected = sum(value.numel() * value.element_size() for value in values)
    except Exception:  # a part that cannot be built there, or not at all: building it says so
        return
    if expected > found:
        raise _OtherWeights(f"they have {found:,} bytes, and the record's model takes {expected:,}")


def _untrained(record: Record) -> LatentModel:
    specification, facts = record.specification, record.data
    if facts is None:
        raise VaezooError("the record does not say what its model needs of the data")
    spec = DataSpec(facts.shape, facts.measure, facts.levels, facts.binarisation, facts.context)
    ingredients = Ingredients.blank(spec, specification.latent, specification.hidden, facts.train_size)
    allowed, dtype = specification.allow_pseudo_likelihood, torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)  # as where it was trained, whatever a plugin has set since
    try:
        return construct(specification.slots, ingredients, allow_pseudo_likelihood=allowed)[0]
    finally:
        torch.set_default_dtype(dtype)
