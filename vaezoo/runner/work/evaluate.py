"""The metrics of a trained model on the test images, as a record holds them."""

import math
from typing import Any

import torch

from vaezoo.core.columns import QUALITY, measured_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.precision_difference import difference_from_float32
from vaezoo.registry import registry
from vaezoo.runner.plan.cell import Cell
from vaezoo.training.seed_run import Diverged


def evaluated(cell: Cell, model: LatentModel, dataset: Dataset) -> tuple[dict[str, Any], Evaluation]:
    """The results columns of a cell, and the evaluation that holds its per-image values, vectors and notes.

    Raises Diverged where the test iwll is not finite; VaezooError where a metric returned anything but numbers, or a
    column that the cell or another metric has.
    """
    count = cell.comparability.images
    images = dataset.test.x[:count]
    context = Evaluation(
        importance_samples=cell.comparability.importance_samples,
        seed=0,
        dataset=dataset,
        index=torch.arange(count),
        context=dataset.test.context[:count] if model.conditional and dataset.test.context is not None else None,
    )
    metrics = cell.specification.metrics or ()
    results: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    owners = {column.name: name for name, _ in metrics for column in registry("metric")[name].columns}
    for name, values in metrics:
        found = measured_columns(name, registry("metric")[name].target(model, images, context, **values), owners)
        owners |= dict.fromkeys(found, name)
        results |= found
    if not math.isfinite(results["iwll"]):
        raise Diverged(f"the test iwll is {results['iwll']} although training was finite")
    standard = {column.name for column in QUALITY}  # one of these may have no finite value: a standard error at K = 1
    for column, value in results.items():
        if column not in standard and not math.isfinite(value):
            wanted = "expected a finite number or None (no number) for"
            raise VaezooError(f"metric {owners[column]!r}: {wanted} {column!r}, got {value}")
    if model.precision != "float32":
        results |= difference_from_float32(model, images, context.importance_samples, context.context)
    if dataset.log_likelihood is not None:
        results["true_log_likelihood"] = float(dataset.log_likelihood(images).double().mean())
    return results, context
