"""The metrics of a trained model on the test images, as a record holds them."""

import math
from typing import Any

import torch

from vaezoo.core.data import Dataset
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.precision_difference import difference_from_float32
from vaezoo.registry import registry
from vaezoo.runner.plan.cell import Cell
from vaezoo.training.loop import Diverged


def evaluated(cell: Cell, model: LatentModel, dataset: Dataset) -> tuple[dict[str, Any], Evaluation]:
    """The results columns of a cell, and the evaluation that holds its per-image values, vectors and notes.

    Raises Diverged where the test iwll is not finite.
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
    results: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    for name, values in cell.specification.metrics or ():
        found = registry("metric")[name].target(model, images, context, **values)
        results |= {column: value for column, value in found.items() if value is not None}
    if not math.isfinite(results["iwll"]):
        raise Diverged(f"the test iwll is {results['iwll']} although training was finite")
    if model.precision != "float32":
        results |= difference_from_float32(model, images, context.importance_samples, context.context)
    if dataset.log_likelihood is not None:
        results["true_log_likelihood"] = float(dataset.log_likelihood(images).double().mean())
    return results, context
