"""Proofs of data sets and metrics."""

import copy
import math
from collections.abc import Iterator, Mapping
from http.client import HTTPException

import torch

from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core.columns import measured_columns
from vaezoo.core.data import Dataset
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.options import checked_options
from vaezoo.datasets import data_root, load_dataset
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import registry
from vaezoo.runner.plan.planner import STANDARD_METRICS


def _dataset(subject: Subject) -> Dataset:
    try:
        return load_dataset(subject.plugin.name)
    except VaezooError as error:
        if isinstance(error, Skip) or any(isinstance(cause, ABSENT) for cause in _causes(error)):
            raise NotRun(str(error)) from None
        raise Wrong("refused", str(error)) from None


ABSENT = (OSError, RuntimeError, HTTPException, EOFError)
"""The causes of a data set's error which mean that its files are missing and cannot be fetched."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@PROOFS.add("the same twice", "dataset")
def same_twice(subject: Subject) -> str:
    """Loaded twice, with torch's own generator elsewhere, the data are the same: their checksum is."""
    first = _dataset(subject).checksum
    options = checked_options(subject.plugin, {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        second = subject.plugin.target(data_root(), 0, **options).checksum
    return must(first == second, second[:12], f"checksum {first[:12]} became {second[:12]} on loading again")


@PROOFS.add("a model can be built", "dataset")
def can_build(subject: Subject) -> str:
    """The variant `vae` with the measure's natural likelihood scores its images: log p(x|z) is finite."""
    dataset = _dataset(subject)
    model, _ = construct(resolve("vae", dataset.spec), Ingredients.of(dataset, 2, (8,)))
    with torch.no_grad():
        value = model.draw(model.batch(dataset.test.x[:8]), 2).log_likelihood
    return must(
        bool(value.isfinite().all()), f"{float(value.mean()):.4g}", "log p(x|z) is not finite on its test images"
    )


@PROOFS.add("true likelihood", "dataset")
def true_likelihood(subject: Subject) -> str:
    """Where log_likelihood is known it gives one finite number an image."""
    dataset = _dataset(subject)
    if dataset.log_likelihood is None:
        raise NotRun("its true density is not known")
    value = dataset.log_likelihood(dataset.test.x[:8])
    fits = value.shape == (8,) and bool(value.isfinite().all())
    return must(fits, str(list(value.shape)), f"log_likelihood(x) must be 8 finite numbers, got {value}")


@PROOFS.add("finite and repeatable", "metric")
def finite_and_repeatable(subject: Subject) -> str:
    """It gives a dict of numbers (or None), the same twice, on a small model, and leaves the model as it was.

    No column has the name of one that every cell has.
    """
    dataset = load_dataset("digits-binary")
    model = Subject(registry("variant")["vae"]).build()[0]
    before, mode = copy.deepcopy(model.state_dict()), model.training
    options = checked_options(subject.plugin, {})
    for name, small in (("count", 8), ("chains", 2), ("temperatures", 5), ("steps", 5)):
        if name in options:
            options[name] = small
    owners = {column.name: name for name in STANDARD_METRICS for column in registry("metric")[name].columns}
    found: list[Mapping[str, object]] = []
    numbers: list[dict[str, int | float]] = []
    for _ in range(2):
        context = Evaluation(5, 0, dataset, torch.arange(20))
        found.append(subject.plugin.target(model, dataset.test.x[:20], context, **options))
        try:
            numbers.append(measured_columns(subject.plugin.name, found[-1], owners))
        except VaezooError as error:
            raise Wrong("columns", str(error)) from None
    must(
        set(found[0]) == set(found[1]),
        "columns",
        f"its columns are {sorted(found[0])} the first time and {sorted(found[1])} the second",
    )
    for column in found[0]:
        value, again = (each.get(column) for each in numbers)
        good = value is None or math.isfinite(value)
        must(good, str(value), f"{column} must be a finite number or None, got {value!r}")
        must(again == value, column, f"{column} is {value} the first time and {again} the second")
    same = all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    must(same, "weights", "it changed the model's weights")
    must(
        model.training == mode,
        "mode",
        "it left the model in another mode, train or eval",
    )
    return f"{len(found[0])} columns"
