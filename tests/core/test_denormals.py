"""Denormal numbers count as 0 in a training step and in a cell; this thread is afterwards as it was before."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions

denormals.flush()
able = denormals.flushed()
denormals.flush(False)
pytestmark = pytest.mark.skipif(not able, reason="this processor cannot flush denormal numbers")


@pytest.fixture(autouse=True)
def afterwards():
    """No test leaves the state changed."""
    yield
    assert not denormals.flushed()
    denormals.flush(False)


def test_it_can_be_told_whether_they_are_flushed():
    assert not denormals.flushed()
    denormals.flush()
    assert denormals.flushed()
    assert float(torch.full((), 1e-38) * 0.5) == 0
    assert float(torch.full((), 1e-300, dtype=torch.float64) * 0.5) == 0.5e-300
    denormals.flush(False)
    assert float(torch.full((), 1e-38) * 0.5) > 0


class Watching(nn.Module):
    """An encoder that says in each pass whether denormal numbers are flushed, and may fail."""

    def __init__(self, encoder, fails=False):
        super().__init__()
        self.encoder, self.fails, self.seen = encoder, fails, []

    def forward(self, x):
        self.seen.append(denormals.flushed())
        if self.fails:
            raise RuntimeError("it fails")
        return self.encoder(x)


def step_of(fails=False):
    data = vaezoo.load_dataset("digits-binary")
    model, objective = construct(resolve("vae", data.spec), Ingredients.of(data, 2, (4,)))
    model.encoder = Watching(model.encoder, fails)
    step = make_step(model, objective, data, TrainingOptions(epochs=9, batch_size=100), 0, eager=True)
    step.start_epoch(epoch_order(len(data.train), 100, 0, 0))
    return step, model.encoder


def test_they_are_flushed_in_a_step_and_not_after_it():
    step, encoder = step_of()
    step()
    step()
    assert encoder.seen == [True, True]
    assert not denormals.flushed()


def test_also_after_a_step_that_fails():
    step, encoder = step_of(fails=True)
    with pytest.raises(RuntimeError, match="it fails"):
        step()
    assert encoder.seen == [True]
    assert not denormals.flushed()


def test_where_they_were_flushed_they_still_are():
    denormals.flush()
    step, _ = step_of()
    step()
    assert denormals.flushed()
    denormals.flush(False)


def test_they_are_flushed_in_an_estimate_and_not_after_it():
    data = vaezoo.load_dataset("digits-binary")
    model, _ = construct(resolve("vae", data.spec), Ingredients.of(data, 2, (4,)))
    model.encoder = Watching(model.encoder)
    vaezoo.log_likelihood(model, data.test.x[:2], 3)
    assert model.encoder.seen == [True]
    assert not denormals.flushed()
    model.encoder.fails = True
    with pytest.raises(RuntimeError, match="it fails"):
        vaezoo.log_likelihood(model, data.test.x[:2], 3)
    assert not denormals.flushed()


def test_no_moment_of_adam_stays_denormal():
    """A unit that is dead after the first steps: its gradient is 0 from then on."""
    data = vaezoo.load_dataset("digits-binary")
    model, objective = construct(resolve("vae", data.spec), Ingredients.of(data, 2, (4,)))
    step = make_step(model, objective, data, TrainingOptions(epochs=100, batch_size=100), 0)
    layer = next(part for part in model.encoder.modules() if isinstance(part, nn.Linear))
    tiny = torch.finfo(torch.float32).tiny
    for epoch in range(100):
        step.start_epoch(epoch_order(len(data.train), 100, 0, epoch))
        while step.left:
            step()
        if epoch == 0:
            with torch.no_grad():
                layer.bias[0] = -1e6
        moment = step.optimizer.state[layer.weight]["exp_avg"][0]
        assert int(((moment != 0) & (moment.abs() < tiny)).sum()) == 0
    assert float(moment.abs().max()) == 0


THREADS = """
import torch
from vaezoo.core import denormals
denormals.flush()
torch.set_num_threads(2)
value = torch.full((2**20,), 1e-38).mul_(0.5)
print(torch.get_num_threads(), int((value != 0).sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a new thread may not be as the one that starts it")
def test_threads_that_torch_starts_afterwards_flush_them_too():
    """As in the process of a cell. (Those that it has started before do not.)"""
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout == "2 0\n"


PLUGIN = """
from vaezoo.core import denormals
from vaezoo.registry import register

@register.metric("flushed")
def flushed(model, images, context, *, options=None):
    return {"flushed": float(denormals.flushed())}
"""


def test_a_cell_flushes_them(tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    matrix = {
        "datasets": ["digits-binary"],
        "model": {"latent": 2, "hidden": [4]},
        "train": {"epochs": 1, "batch_size": 300},
        "evaluate": {"importance_samples": 5, "images": 20, "throughput": False, "metrics": ["flushed"]},
        "variants": [{"name": "vae"}],
    }
    frame = vaezoo.run(matrix, tmp_path / "out", plugins=[tmp_path / "mine.py"], device="cpu", check=False)
    assert frame["flushed"].tolist() == [1.0]
    assert not denormals.flushed()
