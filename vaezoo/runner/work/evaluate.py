"""The evaluation of a trained model on the test images: the estimator's numbers, and then one metric at a time."""

import copy
import math
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vaezoo.core import heartbeat
from vaezoo.core.columns import QUALITY, measured_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.precision_difference import difference_from_float32
from vaezoo.registry import Plugin, registry
from vaezoo.runner.plan.cell import Cell
from vaezoo.runner.plan.planner import STANDARD_METRICS
from vaezoo.training.seed_run import Diverged


class CellEvaluation:
    """The evaluation of one cell. results: column -> number, of all that has been measured so far. evaluation: holds
    the per-image values, vectors and notes.
    """

    def __init__(self, cell: Cell, model: LatentModel, dataset: Dataset):
        self.cell, self.model, self.dataset = cell, model, dataset
        count = cell.comparability.images
        given = dataset.test.context if model.conditional else None
        self.images = dataset.test.x[:count]
        self.evaluation = Evaluation(
            importance_samples=cell.comparability.importance_samples,
            seed=0,
            dataset=dataset,
            index=torch.arange(count),
            context=None if given is None else given[:count],
            objective=cell.specification.slots.get("objective"),
        )
        self.options = dict(cell.specification.metrics or ())
        self.results: dict[str, Any] = {}
        self.owners = {column.name: name for name in self.options for column in registry("metric")[name].columns}

    @property
    def further(self) -> list[str]:
        """The metrics beyond those of every cell, in their order."""
        return [name for name in self.options if name not in STANDARD_METRICS]

    def standard(self) -> None:
        """Measure what every cell has. Raises Diverged where the test iwll is not finite."""
        self.results = {"parameters": sum(p.numel() for p in self.model.parameters())}
        for name in STANDARD_METRICS:
            if name in self.options:
                heartbeat.tell(stage=f"evaluation: {name}")
                target = registry("metric")[name].target
                found = target(self.model, self.images, self.evaluation, **self.options[name])
                self.results |= measured_columns(name, found, self.owners)
        if not math.isfinite(self.results["iwll"]):
            raise Diverged(f"the test iwll is {self.results['iwll']} although training was finite")
        samples, context = self.evaluation.importance_samples, self.evaluation.context
        if self.model.precision != "float32":
            self.results |= difference_from_float32(self.model, self.images, samples, context)
        if self.dataset.log_likelihood is not None:
            self.results["true_log_likelihood"] = float(self.dataset.log_likelihood(self.images).double().mean())
        heartbeat.tell(stage="")

    def metric(self, name: str) -> None:
        """Measure a further metric, which gets copies of the model, the images and the evaluation.

        Raises whatever it raises, and VaezooError where it returned anything but finite numbers, or a column that the
        cell or another metric has; then nothing has changed.
        """
        heartbeat.tell(stage=f"metric {name}")
        plugin, own = registry("metric")[name], self.evaluation.own_copy()
        with globals_restored():
            model = self.model if _is_own(plugin) else copy.deepcopy(self.model)
            found = plugin.target(model, self.images.clone(), own, **self.options[name])
        owners = {**self.owners, **dict.fromkeys(self._standard_columns(), STANDARD_METRICS[0])}
        numbers = measured_columns(name, found, owners)
        for column, value in numbers.items():
            if not math.isfinite(value):
                wanted = "expected a finite number or None (no number) for"
                raise VaezooError(f"metric {name!r}: {wanted} {column!r}, got {value}")
        self.evaluation.take(own)
        self.owners |= dict.fromkeys(numbers, name)
        self.results |= numbers
        heartbeat.tell(stage="")

    def _standard_columns(self) -> list[str]:
        return [column.name for column in QUALITY if self.owners.get(column.name) in (None, *STANDARD_METRICS)]

    def restore(self, results: Mapping[str, Any], per_image: Mapping[str, torch.Tensor]) -> None:
        """Take over what an earlier process of the cell has measured."""
        self.results = dict(results)
        self.evaluation.per_image.update(per_image)


def _is_own(plugin: Plugin) -> bool:
    return plugin.module.partition(".")[0] == "vaezoo"


@contextmanager
def globals_restored() -> Iterator[None]:
    """Put back what code from outside may set for the whole process: torch's defaults, its generator, the working
    folder and the environment.
    """
    dtype, threads, gradients = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    folder, environment, state, generator = os.getcwd(), dict(os.environ), random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)
        torch.set_rng_state(generator)
        random.setstate(state)
        os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
