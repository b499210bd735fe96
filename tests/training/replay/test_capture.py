"""The step waits for nothing on the device, runs as a CUDA graph there, and warns where it cannot."""

import copy
import warnings
from contextlib import contextmanager, nullcontext

import pytest
import torch

import vaezoo
from vaezoo import Objective
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import VaezooWarning
from vaezoo.core.torch_internals import intercepted_operators
from vaezoo.training.loop import epoch_order, make_packed_step, make_step, packed_order, train
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.comparison import ReplayDiffers, compare
from vaezoo.training.replay.cuda_graph import WARM_UP, CudaGraphStep

SETTINGS = TrainingOptions(epochs=2, batch_size=10, kl_warmup=1.5, schedule="cosine", gradient_clip=1.0)


def dataset(n=100):
    gray = (255 * torch.rand(n, 1, 5, 5, generator=torch.Generator().manual_seed(0))).round().to(torch.uint8)
    binary = (gray > 127).to(torch.uint8)
    return vaezoo.Dataset(gray, binary[:20], binary[:20], "binary", binarisation="dynamic")


def pair(data, variant="vae", seed=0, device="cpu"):
    model, objective = construct(resolve(variant, data.spec), Ingredients.of(data, 3, (8,)), seed=seed)
    return model.to(device), objective.to(device)


READS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "_unique2")
"""Operators that read a device's values from Python, and so would wait for it."""


@contextmanager
def waiting_operators():
    """The names of the operators of READS that run inside."""
    found = []

    def note(operator, args, kwargs):
        name = operator.overloadpacket.__name__
        if name in READS:
            found.append(name)
        return operator(*args, **kwargs)

    with intercepted_operators(note):
        yield found


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_a_step_waits_for_nothing(variant, seeds):
    data = dataset(600)
    try:
        pairs = [pair(data, variant, seed) for seed in range(seeds)]
    except vaezoo.core.errors.Skip as reason:
        pytest.skip(str(reason))
    if seeds == 1:
        step, order = make_step(*pairs[0], data, SETTINGS, 0), torch.arange(20).view(2, 10)
    else:
        step = make_packed_step(*zip(*pairs, strict=True), data, SETTINGS, range(seeds))
        order = torch.arange(40).view(2, 2, 10)
    step.start_epoch(order)
    step()
    step.optimizer.step = lambda: None  # its operator reads the rate on a CPU; on CUDA it does not
    with waiting_operators() as found:
        step()
    assert found == []


def test_the_test_sees_what_waits():
    with waiting_operators() as found:
        torch.ones(3)[torch.tensor(1)]
        float(torch.ones(()))
    assert found == ["_local_scalar_dense"] * 2


class Stand:
    """In place of torch.cuda: a graph that is replayed by calling what was captured."""

    def __init__(self, monkeypatch, refuses=None):
        self.captures, self.replays, self.refuses = 0, 0, refuses
        stand = self

        class Stream:
            def __init__(self, device=None):
                pass

            def wait_stream(self, other):
                pass

        class Graph:
            def replay(self):
                stand.replays += 1
                stand.again()

        @contextmanager
        def graph(made, stream=None):
            stand.captures += 1
            stand.capturing = True
            try:
                yield
                if stand.refuses:
                    raise RuntimeError(stand.refuses)
            finally:
                stand.capturing = False

        self.capturing = False
        for name, value in (
            ("Stream", Stream),
            ("CUDAGraph", Graph),
            ("graph", graph),
            ("stream", lambda _: nullcontext()),
            ("device", lambda _: nullcontext()),
            ("current_stream", lambda _: Stream()),
        ):
            monkeypatch.setattr(torch.cuda, name, value)


def run_captured(stand, calls):
    """The sum of 2 n over the calls n = 1, 2, ..."""
    value, total = torch.zeros(2), torch.zeros(())

    def add():
        if not stand.capturing:  # a captured function is recorded, not run
            total.add_(value.sum())

    stand.again = add
    step = CudaGraphStep(add, torch.device("cpu"))
    for n in range(1, calls + 1):
        value.fill_(n)
        step()
    return float(total)


@pytest.mark.parametrize("calls", [1, WARM_UP, WARM_UP + 1, 10])
def test_every_call_counts_once_before_and_after_the_capture(monkeypatch, calls):
    stand = Stand(monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = run_captured(stand, calls)
    assert total == calls * (calls + 1)
    assert stand.captures == (calls > WARM_UP)
    assert stand.replays == max(0, calls - WARM_UP)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_checked_call_compares_the_graph_and_counts_once(monkeypatch, wrong):
    stand = Stand(monkeypatch)
    total = torch.zeros(())

    def add():
        if not stand.capturing:
            total.add_(1)

    stand.again = add
    step = CudaGraphStep(add, torch.device("cpu"), lambda: [total])
    step.checked()
    for _ in range(WARM_UP):
        step()
    assert float(total) == WARM_UP + 1 == step.calls
    stand.again = (lambda: total.add_(2)) if wrong else add
    with pytest.raises(ReplayDiffers, match="a replay gives other numbers") if wrong else nullcontext():
        step.checked()
    assert float(total) == WARM_UP + 2


def test_a_graph_that_does_not_repeat_itself_is_not_judged_by_its_bits():
    total, numbers = torch.zeros(()), iter((1.0, 1.5))
    compare(lambda: total.add_(1), lambda: total.add_(next(numbers)), [total])
    assert float(total) == 1


def test_what_cannot_be_captured_runs_eagerly_and_is_warned_of_once(monkeypatch):
    stand = Stand(monkeypatch, refuses="operation not permitted when stream is capturing\nmore")
    with pytest.warns(VaezooWarning) as warned:
        total = run_captured(stand, 10)
    assert total == 110
    assert [str(w.message) for w in warned] == [
        "the training step cannot be captured in a CUDA graph and runs eagerly: "
        "operation not permitted when stream is capturing"
    ]
    assert (stand.captures, stand.replays) == (1, 0)


def test_a_compiler_that_fails_is_warned_of_once_and_the_numbers_are_the_same(monkeypatch):
    def broken(module):
        def fails(*inputs):
            raise RuntimeError("no C++ compiler\nmore")

        return fails

    monkeypatch.setattr(torch, "compile", broken)
    data, found = dataset(), []
    for settings in (SETTINGS, TrainingOptions(**{**vars(SETTINGS), "compile": True})):
        model, objective = pair(data)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            outcome = train(model, objective, data, settings)
        found.append([p.objective for p in outcome.history])
        texts = [str(w.message) for w in warned]
        expected = ["torch.compile failed, the step runs without it: no C++ compiler"] * settings.compile
        assert texts == expected
    assert found[0] == found[1]


def test_the_compiled_pass_is_used_where_there_is_one(monkeypatch):
    calls = []

    def counted(module):
        return lambda *inputs: (calls.append(1), module(*inputs))[1]

    monkeypatch.setattr(torch, "compile", counted)
    data = dataset()
    train(*pair(data), data, TrainingOptions(epochs=1, batch_size=10, compile=True))
    assert len(calls) == 10


@pytest.mark.gpu
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_captured_steps_equal_eager_ones_through_a_warm_up(variant, seeds):
    data = dataset(600)
    curves = []
    for eager in (True, False):
        try:
            pairs = [pair(data, variant, seed, "cuda") for seed in range(seeds)]
        except vaezoo.core.errors.Skip as reason:
            pytest.skip(str(reason))
        if seeds == 1:
            step = make_step(*pairs[0], data, SETTINGS, 0)
        else:
            step = make_packed_step(*zip(*pairs, strict=True), data, SETTINGS, range(seeds))
        if eager:
            step._run = step._step
        values = []
        for epoch in (1, 2):
            order = epoch_order(600, 10, 0, epoch) if seeds == 1 else packed_order(600, 10, range(seeds), epoch)
            step.start_epoch(order)
            for _ in range(60):
                step()
            values.append(step.values.clone())
        curves.append(torch.cat(values))
        if not eager:
            assert step._run.graph is not None, "it was captured"
    torch.testing.assert_close(*curves, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_an_objective_that_looks_at_its_values_runs_eagerly_with_a_warning():
    class Looks(Objective):
        def forward(self, draws):
            value = draws.log_weight.mean(0)
            return value if float(value.sum()) < 0 else 2 * value

    data = dataset()
    model, _ = pair(data, device="cuda")
    twin = copy.deepcopy(model)
    with pytest.warns(VaezooWarning, match="cannot be captured in a CUDA graph and runs eagerly"):
        outcome = train(model, Looks(), data, SETTINGS)
    expected = train(
        twin, type("Plain", (Objective,), {"forward": lambda _, d: d.log_weight.mean(0)})(), data, SETTINGS
    )
    torch.testing.assert_close(outcome.history[-1].objective, expected.history[-1].objective, rtol=1e-4, atol=1e-4)
