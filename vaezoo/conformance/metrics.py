"""Proofs of metrics, on a small model of the binary digits, and of sprites where a metric has no number for digits."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.conformance.elsewhere import elsewhere, generators
from vaezoo.conformance.modules import off_by
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import Wrong, must
from vaezoo.core.columns import measured_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.core.options import checked_options
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import registry
from vaezoo.runner.plan.planner import STANDARD_METRICS
from vaezoo.runner.work.evaluate import globals_restored

COUNT = 20
SAME = 1e-4
"""By how much a number may change with the order of the images: float32 sums are rounded."""
SMALL = {"count": 8, "chains": 2, "temperatures": 5, "leapfrogs": 1, "steps": 5}
"""Smaller values of options that say how much a metric computes."""


class Measured:
    """What a metric gives for a model and some test images: numbers (column -> number or None) and per_image.

    seed: where the global generators are. Wrong where it is no dict of finite numbers, takes a name that others have,
    or changes a setting of the evaluation.
    """

    def __init__(self, subject: Subject, model: LatentModel, index: Tensor, dataset: Dataset, seed: int = 0):
        self.images = dataset.test.x[index].clone()
        context = Evaluation(5, 0, dataset, index.clone())
        with elsewhere(seed), globals_restored():
            found = measured(subject, model, self.images, context)
        owners = {column.name: name for name in STANDARD_METRICS for column in registry("metric")[name].columns}
        try:
            self.numbers = measured_columns(subject.plugin.name, found, owners)
        except VaezooError as error:
            raise Wrong("columns", str(error)) from None
        self.columns = set(found)
        self.per_image: Mapping[str, Tensor] = context.per_image
        for column, value in self.numbers.items():
            good = bool(np.isfinite(value))
            must(good, str(value), f"{column} must be a finite number or None, got {value!r}")


def measured(subject: Subject, model: LatentModel, images: Tensor, context: Evaluation) -> Any:
    """What the metric returns, with small options; Wrong where it tries to change a setting of the evaluation."""
    try:
        return subject.plugin.target(model, images, context, **options(subject))
    except AttributeError as error:
        if "cannot be changed by a metric" in str(error):
            raise Wrong("settings", str(error)) from None
        raise


def options(subject: Subject) -> dict[str, Any]:
    """The options of a metric, small where they say how much it computes."""
    chosen = checked_options(subject.plugin, {})
    return chosen | {name: small for name, small in SMALL.items() if name in chosen}


def small_model(seed: int = 0, shape: tuple[int, ...] = (1, 8, 8)) -> LatentModel:
    """A small VAE of the digits, or of images of another shape."""
    return Subject(registry("variant")["vae"]).build(shape=shape, seed=seed)[0]


def data_sets() -> Iterator[Dataset]:
    """The binary digits; then sprites, whose factors some metrics need."""
    yield load_dataset("digits-binary")
    yield load_dataset("sprites", options={"images": 100})


@PROOFS.add("finite and repeatable", "metric")
def finite_and_repeatable(subject: Subject) -> str:
    """It gives a dict of numbers (or None), the same again after it has measured another model, wherever the global
    generators are.

    No column has the name of one that every cell has. Nothing is random: false alarm 0.
    """
    for dataset in data_sets():
        model, other = (small_model(seed, dataset.spec.shape) for seed in (0, 1))
        first = Measured(subject, model, torch.arange(COUNT), dataset)
        Measured(subject, other, torch.arange(COUNT, 2 * COUNT), dataset)
        again = Measured(subject, model, torch.arange(COUNT), dataset, seed=1)
        must(
            first.columns == again.columns,
            "columns",
            f"its columns are {sorted(first.columns)} the first time and {sorted(again.columns)} the second",
        )
        for column in first.columns:
            value, second = first.numbers.get(column), again.numbers.get(column)
            must(value == second, column, f"{column} is {value} the first time and {second} the second")
        if first.numbers:
            break
    return f"{len(first.columns)} columns"


@PROOFS.add("values of each image", "metric")
def values_of_each_image(subject: Subject) -> str:
    """Its per-image values are finite, [N], and those of an image are the same in another order of the images, and
    without half of them.

    Values that are NaN for all images, as what too few samples cannot tell, are no values. The images keep their index.
    A column that is the mean of per-image values is the same too, within rounding: false alarm 0.
    """
    dataset, model = load_dataset("digits-binary"), small_model()
    whole = Measured(subject, model, torch.arange(COUNT), dataset)
    for name, value in whole.per_image.items():
        _refuse_shape(name, value)
    order, worst = torch.arange(COUNT - 1, -1, -1), 0.0
    every = {name: value for name, value in whole.per_image.items() if len(value) == COUNT and not value.isnan().all()}
    if every:
        turned = Measured(subject, model, order, dataset)
        half = Measured(subject, model, torch.arange(COUNT // 2), dataset)
    for name, value in every.items():
        for title, other, wanted in (
            ("in another order of the images", turned, value[order]),
            ("without half of the images", half, value[: COUNT // 2]),
        ):
            found = other.per_image.get(name)
            must(found is not None and found.shape == wanted.shape, name, f"per_image[{name!r}] is missing {title}")
            assert found is not None
            off = off_by(found.double(), wanted.double())
            must(off <= SAME, f"{off:.1g}", f"per_image[{name!r}] of an image changes by {off:.2g} {title}")
            worst = max(worst, off)
        for column, number in whole.numbers.items():
            if abs(number - float(value.double().mean())) <= 1e-6 * (1 + abs(number)):
                off = abs(turned.numbers.get(column, float("nan")) - number) / (1 + abs(number))
                must(off <= SAME, f"{off:.1g}", f"{column} changes by {off:.2g} with the order of the images")
                worst = max(worst, off)
    return f"{worst:.1g} of {len(whole.per_image)} values"


def _refuse_shape(name: str, value: object) -> None:
    """Wrong where a per-image value is no tensor [N] of finite numbers, or of NaN alone; N may be smaller than the
    number of images.
    """
    said = f"{list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
    right = isinstance(value, Tensor) and value.ndim == 1 and 1 <= len(value) <= COUNT
    must(right, said, f"per_image[{name!r}] must be a tensor of a number for each of {COUNT} images, got {said}")
    assert isinstance(value, Tensor)
    count = int((~value.isfinite()).sum())
    must(
        count == 0 or bool(value.isnan().all()),
        f"{count} of {len(value)}",
        f"per_image[{name!r}] is not finite for {count} images",
    )


@PROOFS.add("leaves all as it was", "metric")
def leaves_all_as_it_was(subject: Subject) -> str:
    """The model's weights, mode and gradients, the images, their index, the data set, the generators and torch's and
    the process's settings are as they were before it.

    It is called with the model in train mode and, but in quick mode, in eval mode. What changes is named; nothing is
    random: false alarm 0.
    """
    index, modes = torch.arange(COUNT), (True,) if subject.quick else (True, False)
    for dataset in data_sets():
        model = small_model(shape=dataset.spec.shape)
        for training in modes:
            model.train(training)
            images, context = dataset.test.x[index].clone(), Evaluation(5, 0, dataset, index.clone())
            before = _state(model, images, context)
            with elsewhere(2), globals_restored():
                before |= generators() | {"the working folder": os.getcwd()}
                found = measured(subject, model, images, context)
                after = _state(model, images, context) | generators()
            mode = "train" if training else "eval"
            for name, value in before.items():
                same = torch.equal(value, after[name]) if isinstance(value, Tensor) else value == after[name]
                must(same, name, f"with the model in {mode} mode it changed {name}")
        if not isinstance(found, Mapping) or any(value is not None for value in found.values()):
            break
    return f"{len(before)} kinds"


def _state(model: LatentModel, images: Tensor, context: Evaluation) -> dict[str, Any]:
    """What a metric must leave as it is, by name."""
    return {
        "the model's mode, train or eval": [module.training for module in model.modules()],
        "the model's requires_grad": [p.requires_grad for p in model.parameters()],
        "the model's gradients": [p.grad is None for p in model.parameters()],
        **{f"the model's weights ({name})": value.clone() for name, value in model.state_dict().items()},
        "the images": images.clone(),
        "the index of the images": context.index.clone(),
        "the test images of the data set": context.dataset.test.x.clone(),
        "the valid images of the data set": context.dataset.valid.x.clone(),
        "the train images of the data set": context.dataset.train.x.clone(),
        "the evaluation's settings": (context.importance_samples, context.seed),
        "torch's default dtype": torch.get_default_dtype(),
        "whether gradients are computed": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "whether torch is deterministic": torch.are_deterministic_algorithms_enabled(),
        "the working folder": os.getcwd(),
        "the environment": dict(os.environ),
    }
