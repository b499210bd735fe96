"""pytest-benchmark of the main variants: the training step, the importance-weighted estimate, sampling; also of a
layer's product and the tables of 10,000 cells.

    tox -e bench

The code timed is the code that `vaezoo run` uses; the timer waits for the device.
"""

import subprocess
import sys
from pathlib import Path

import numpy
import pandas
import pytest
import torch
from torch.nn import functional

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import noise
from vaezoo.core.columns import table_columns
from vaezoo.evaluation.blocks import now
from vaezoo.evaluation.estimate import evaluating, log_likelihood
from vaezoo.nets.linear import linear
from vaezoo.reports.tables import tables
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VARIANTS = ("vae", "iwae", "vae-vampprior", "vae-mixture", "beta-vae")


def synchronised() -> float:
    """The clock in seconds, read after the device has finished its work."""
    return now(torch.device(DEVICE))


pytestmark = [
    pytest.mark.benchmark(timer=synchronised, warmup=True, warmup_iterations=10),
    pytest.mark.filterwarnings("ignore::vaezoo.core.errors.VaezooWarning"),  # of estimates under untrained weights
]


@pytest.fixture(params=VARIANTS)
def made(request):
    dataset = vaezoo.load_dataset("digits-binary")
    slots = resolve(request.param, dataset.spec)
    model, objective = construct(slots, Ingredients.of(dataset, 20, (400,)))
    return model.to(DEVICE), objective.to(DEVICE), dataset


def test_training_epoch(made, benchmark):
    model, objective, dataset = made
    step = make_step(model, objective, dataset, TrainingOptions(epochs=1, batch_size=128), seed=0)
    order = epoch_order(len(dataset.train), 128, 0, 1)

    def epoch():
        step.start_epoch(order)
        for _ in range(len(order)):
            step()

    benchmark(epoch)
    assert step.values[0].isfinite()


def test_iwll(made, benchmark):
    model, _, dataset = made
    found = benchmark(log_likelihood, model, dataset.test.x[:100], 100)
    assert found.estimate.isfinite().all()


def test_sampling(made, benchmark):
    model, _, _ = made
    with evaluating(model), noise.stream(0, device=DEVICE):
        images = benchmark(model.sample, 1000)
    assert images.shape == (1000, 1, 8, 8)


@pytest.mark.parametrize("rows", [128, 4000])
@pytest.mark.parametrize("product", [linear, functional.linear], ids=["vaezoo's", "torch's"])
def test_product(product, rows, benchmark):
    """A decoder's last layer."""
    x, weight, bias = (torch.randn(*shape, device=DEVICE) for shape in ((rows, 400), (784, 400), (784,)))
    with torch.inference_mode():
        assert benchmark(product, x, weight, bias).shape == (rows, 784)


@pytest.mark.parametrize("labels", [2_000, 10_000])
def test_tables_of_10_000_cells(labels, benchmark):
    """Five seeds a row or one: the tables as Markdown, CSV and LaTeX."""
    places, draws = numpy.arange(10_000), numpy.random.default_rng(0)
    frame = pandas.DataFrame({"label": [f"v{n % labels}" for n in places], "seed": places // labels})
    frame = frame.assign(dataset="d", status="ok", importance_samples=50 + places % 2)
    frame["train.learning_rate"] = places % 2000
    for column in table_columns():
        frame[column.name] = draws.normal(size=len(places))

    def written():
        (table,) = tables(frame)
        return len(table.markdown()) + len(table.csv()) + len(table.latex())

    assert benchmark.pedantic(written, rounds=3, warmup_rounds=1) > len(places)


@pytest.mark.benchmark(warmup_iterations=1)
def test_help(benchmark):
    """The command line's start: under 0.4 s."""
    words = [Path(sys.executable).with_name("vaezoo"), "--help"]
    assert benchmark(subprocess.run, words, capture_output=True).returncode == 0
