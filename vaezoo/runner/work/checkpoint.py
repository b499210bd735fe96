"""Weights as safetensors, and trained models back from their records. No pickles: loading runs no code but the plugins'
own.
"""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save

from vaezoo.builder import Ingredients, Slots, construct
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.registry import register
from vaezoo.runner.store import Store, read_json, write_atomically


def save_weights(model: LatentModel, path: Path) -> None:
    """Write a model's parameters and buffers, atomically."""
    write_atomically(
        path, save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})
    )


def load_model(record: str | Path, plugins: Sequence[str | Path] = ()) -> LatentModel:
    """A trained model from its record (a .json under cells/), on the CPU, in eval mode and in the record's precision.

    Its data are not needed.

    plugins: the plugin files it was made with. Raises VaezooError where the record or the weights are not there, or a
    name is not registered.
    """
    path = Path(record)
    for plugin in plugins:
        register.load_file(plugin)
    found = read_json(path)
    if found is None or "specification" not in found:
        raise VaezooError(f"{path} is no cell's record; give a .json file from the cells/ folder of a results folder")
    if found["status"] != "ok":
        raise VaezooError(f"{path.name} has no weights: its status is {found['status']} ({found['reason']})")
    weights = Store(path.parent.parent).path("checkpoints", path.stem)
    if not weights.is_file():
        raise VaezooError(f"the weights {weights} are not there; run the matrix again, or copy them beside the record")
    spec, data = found["specification"], dict(found["data"])
    train_size = data.pop("train_size")
    slots: Slots = {slot: (name, dict(values)) for slot, (name, values) in spec["slots"].items()}
    ingredients = Ingredients.blank(DataSpec(**data), spec["latent"], spec["hidden"], train_size)
    needed = found["provenance"]["plugins"]
    try:
        model, _ = construct(slots, ingredients, allow_pseudo_likelihood=spec["allow_pseudo_likelihood"])
    except VaezooError as error:
        hint = (
            f" (the record was made with the plugins {', '.join(needed)}: give them as plugins=[...])" if needed else ""
        )
        raise VaezooError(f"{error}{hint}") from error
    model.load_state_dict(load_file(weights))
    model.precision = spec["train"]["precision"]
    return model.eval()
