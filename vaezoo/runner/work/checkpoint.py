"""Weights as safetensors, and trained models from their records. There are no pickles: loading runs no code but that of
plugins.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vaezoo.builder import Ingredients, construct
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.registry import register
from vaezoo.runner.plan.specification import Specification
from vaezoo.runner.records import DataFacts, reason_of
from vaezoo.runner.store import Store, read_record, write_atomically


def save_weights(model: LatentModel, path: Path) -> None:
    """Write a model's parameters and buffers, atomically."""
    write_atomically(
        path, save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})
    )


def load_weights(model: LatentModel, path: Path) -> None:
    """Set a model's parameters and buffers to those of a file. VaezooError where it cannot be read, or is another
    model's.
    """
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: other names or shapes than the model's
        raise VaezooError(f"the weights {path} cannot be read: {reason_of(error)}; run the matrix again") from error


def load_model(record: str | Path, plugins: Sequence[str | Path] = ()) -> LatentModel:
    """A trained model from its record (a .json under cells/), on the CPU, in eval mode and in the record's precision.

    Its data are not needed. plugins: the plugin files that it was trained with. Raises VaezooError where there is no
    record or no weights, one of them cannot be read, or a name is not registered.
    """
    path = Path(record)
    for plugin in plugins:
        register.load_file(plugin)
    try:
        found = read_record(path)
    except OSError as error:
        advice = "give a .json file from the cells/ folder of a results folder"
        raise VaezooError(f"{path} cannot be read: {error.strerror or error}; {advice}") from None
    if found is None or found.seed is None:
        raise VaezooError(f"{path} is no cell's record; give a .json file from the cells/ folder of a results folder")
    if found.status != "ok" or found.data is None:
        raise VaezooError(f"{path.name} has no weights: its status is {found.status} ({found.reason})")
    weights = Store(path.parent.parent).path("checkpoints", path.stem)
    if not weights.is_file():
        raise VaezooError(f"the weights {weights} are not there; run the matrix again, or copy them beside the record")
    try:
        model = _untrained(found.specification, found.data)
    except VaezooError as error:
        needed = () if found.provenance is None else found.provenance.plugins
        files = ", ".join(needed)
        hint = f" (the record was made with the plugins {files}: give them as plugins=[...])" if needed else ""
        raise VaezooError(f"{error}{hint}") from error
    load_weights(model, weights)
    model.precision = found.specification.train.precision
    return model.eval()


def _untrained(specification: Specification, facts: DataFacts) -> LatentModel:
    spec = DataSpec(facts.shape, facts.measure, facts.levels, facts.binarisation, facts.context)
    ingredients = Ingredients.blank(spec, specification.latent, specification.hidden, facts.train_size)
    allowed = specification.allow_pseudo_likelihood
    return construct(specification.slots, ingredients, allow_pseudo_likelihood=allowed)[0]
