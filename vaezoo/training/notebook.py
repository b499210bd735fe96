"""`vaezoo.train`: training in this process, also with classes that are defined in a notebook."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_type_hints

from vaezoo.builder import objective_for
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.model import LatentModel
from vaezoo.core.options import checked_type
from vaezoo.training.loop import train as train_model
from vaezoo.training.options import TrainingOptions, out_of_range
from vaezoo.training.seed_run import TrainingResult

if TYPE_CHECKING:
    import pandas as pd


def train(
    model: LatentModel,
    dataset: Dataset | str,
    *,
    objective: str | Objective | None = None,
    seed: int = 0,
    **options: Any,
) -> "pd.DataFrame":
    """Train a model in this process and return its history, a frame with one row an epoch.

    dataset: a Dataset or a registered name. objective: an Objective, the registered name of one (with its default
    hyper-parameters), or None for `elbo`. options: those of `TrainingOptions`, such as epochs, batch_size and
    learning_rate. The model is left with the weights of the best epoch, and an objective with those of the last.

    The frame's index is the epoch; objective and validation_iwll are in nats an image, seconds are those of training so
    far; `attrs` has best_epoch and best_iwll. VaezooError for unknown names, options and values; Diverged where the
    objective was not finite.

    >>> model = vaezoo.build("vae", "digits-binary", latent=8)
    >>> history = vaezoo.train(model, "digits-binary", epochs=20)
    """
    checked = checked_training_options(options)
    if isinstance(dataset, str):
        from vaezoo.datasets import load_dataset

        dataset = load_dataset(dataset)
    if model.spec != dataset.spec:
        raise VaezooError(f"the model was built for {model.spec}, and these data are {dataset.spec}")
    if not isinstance(objective, Objective):
        objective = objective_for(model, objective or "elbo", {}, dataset, seed=seed)
    model.precision = checked.precision
    return _frame(train_model(model, objective, dataset, checked, seed=seed))


def checked_training_options(values: dict[str, Any]) -> TrainingOptions:
    """TrainingOptions of these values. VaezooError for an unknown name, a wrong type or a value out of range."""
    hints = get_type_hints(TrainingOptions, include_extras=True)
    known = [field.name for field in fields(TrainingOptions)]
    found = {}
    for name, value in values.items():
        if name not in known:
            raise VaezooError(unknown("training option", name, known))
        found[name] = checked_type(f"training option {name!r}", value, hints[name])
        if (limit := out_of_range(found[name], hints[name])) is not None:
            raise VaezooError(f"training option {name!r} must be {limit}, got {value!r}")
    return TrainingOptions(**found)


def _frame(result: TrainingResult) -> "pd.DataFrame":
    import pandas as pd

    names = ("objective", "validation_iwll", "seconds")
    rows = [{name: getattr(epoch, name) for name in names} for epoch in result.history]
    frame = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="epoch"), columns=list(names))
    frame.attrs.update(best_epoch=result.best_epoch, best_iwll=result.best_iwll)
    return frame
