"""A replayed step leaves what the eager one leaves, to the last bit."""

import copy
import warnings

import pytest
import torch
from recorded_steps import CONV, STEPS, Layered, assert_identical, dataset, made, made_on_images, state_after
from swept_variants import EVERY
from torch import nn

import vaezoo
from vaezoo import Objective
from vaezoo.core import own_operators
from vaezoo.core.torch_internals import is_overload
from vaezoo.training.replay.bindings import python_binding
from vaezoo.training.replay.recorded_step import COMPARISONS, WARM_UP, RecordedStep
from vaezoo.training.replay.recording import record


@pytest.mark.parametrize("nets", ["declared", pytest.param("conv", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("variant", EVERY)
def test_replays_are_the_eager_steps(variant, seeds, nets, monkeypatch):
    recorded, eager = made_on_images(variant, seeds, CONV if nets == "conv" else None)
    calls, run = [], recorded._step
    recorded._run.function = lambda: (calls.append(1), run())
    assert_identical(state_after(recorded), state_after(eager, eager=True))
    assert len(calls) == WARM_UP + 1 + COMPARISONS


class Generator(nn.Module):
    """Random numbers of its own."""

    def __init__(self):
        super().__init__()
        self.own = torch.Generator().manual_seed(5)

    def forward(self, value):
        return value * torch.rand((), generator=self.own)


class Begins(nn.Module):
    """A number in the code that is added to in place: it begins anew at each call."""

    def forward(self, value):
        total = torch.tensor(0.0)
        total += value.detach().sum()
        return value * total.cos()


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm1d(1), lambda: nn.Dropout(0.5), Begins, Generator])
def test_buffers_random_numbers_and_constants_of_the_code_are_replayed(layer):
    recorded, eager = (made(dataset(), objective=lambda: Layered(layer())) for _ in range(2))
    assert_identical(state_after(recorded), state_after(eager, eager=True))
    assert recorded._run.recording is not None


class Forwards(nn.Module):
    """A derivative taken forwards, of what depends on its input in one way and does not in another."""

    def forward(self, value):
        tangent = torch.ones_like(value)
        both = torch.func.jvp(lambda x, y: (x.sin() * y.detach(), x), (value, value), (tangent, tangent))[1]
        return value + 0.1 * sum(both)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_forward_derivatives_are_run_as_they_are():
    recorded, eager = (made(dataset(), objective=lambda: Layered(Forwards())) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vaezoo.VaezooWarning)
        assert_identical(state_after(recorded), state_after(eager, eager=True))


def test_an_operation_that_only_raises_is_replayed():
    total = torch.zeros(2, 2)

    matrix = torch.eye(2)
    recorded = RecordedStep(lambda: total.add_(torch.linalg.cholesky(matrix)))
    for _ in range(WARM_UP + 1 + COMPARISONS + 1):
        recorded()
    matrix.neg_()
    with pytest.raises(RuntimeError, match="not positive-definite"):
        recorded()


def test_a_result_of_what_was_there_and_what_is_new():
    value, kept, total = torch.zeros(3), torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def finds():
        _, place = torch.max(value, 0, out=(kept, torch.zeros((), dtype=torch.int64)))
        total.add_(place)

    recorded = RecordedStep(finds)
    for n in range(WARM_UP + 1 + COMPARISONS + 2):
        value[2] = 1.0 + n
        recorded()
    assert recorded.recording is not None
    assert float(kept) == 1.0 + n
    assert int(total) == 2 * (n + 1)


def test_unused_operations_are_left_out():
    value, total, unread = torch.ones(3), torch.zeros(()), []

    def adds():
        unread.append(value.exp().log().sum())
        total.add_((2 * value).detach().sum())

    recorded = RecordedStep(adds)
    for _ in range(WARM_UP + 1 + COMPARISONS + 3):
        recorded()
    assert recorded.recording.operations == 3  # a product, a sum, an addition
    assert float(total) == 6 * (WARM_UP + 1 + COMPARISONS + 3)
    assert len(unread) == WARM_UP + 1 + COMPARISONS


class Transposed(Objective):
    """Its gradient comes with the strides of another layout, as it does in a pack."""

    replayable = True

    def __init__(self, groups):
        super().__init__()
        self.weight, self.groups = nn.Parameter(torch.arange(6.0).view(2, 3) / 10), groups

    def forward(self, draws):
        value = draws.log_weight.mean(0)
        own = value + nn.functional.linear(torch.arange(20.0).view(10, 2).sin(), self.weight.T).square().sum(-1).neg()
        return {"inference": value, "generative": value, "own": own} if self.groups else own


@pytest.mark.parametrize("groups", [False, True])
def test_the_optimiser_reads_each_gradient_in_its_parameters_layout(groups):
    """The fused Adam goes through memory as it lies."""
    step = made(dataset(), objective=lambda: Transposed(groups))
    weight = step.module.objective.weight
    expected = copy.deepcopy(weight)
    plain = torch.optim.Adam([expected], lr=1e-3)
    step.varying, step.gradient_clip = False, None
    step.start_epoch(torch.arange(10).repeat(STEPS, 1))
    for _ in range(STEPS):
        plain.zero_grad()
        nn.functional.linear(torch.arange(20.0).view(10, 2).sin(), expected.T).square().sum(-1).mean().backward()
        plain.step()
        step()
    torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-6)


ATEN, X = torch.ops.aten, torch.ones(2, 3)


@pytest.mark.parametrize(
    ("operator", "args", "kwargs", "function"),
    [
        (ATEN.mul.Tensor, (X, X), {}, torch.mul),
        (ATEN.sum.dim_IntList, (X, [1], True), {}, torch.sum),
        (ATEN.cat.default, ([X, X], -1), {}, torch.cat),
        (ATEN.view.default, (X, [6]), {}, torch.Tensor.view),
        (ATEN.mul.Scalar, (X, 2.0), {}, None),  # torch.mul makes a mul.Tensor of it
        (ATEN._to_copy.default, (X,), {"dtype": torch.float64}, None),
        (ATEN.threshold_backward.default, (X, X, 0), {}, None),
        (ATEN.split.Tensor, (X, 2), {}, None),  # torch.split is Python
        (ATEN.addmm.default, (X, X, X.t()), {}, None),  # raises
    ],
    ids=lambda value: str(value) if is_overload(value) else "",
)
def test_an_operator_is_called_through_the_function_that_calls_it_alone(operator, args, kwargs, function):
    assert python_binding(operator, args, kwargs) is (function or operator)


@pytest.mark.parametrize(
    ("operator", "args", "function"),
    [
        (ATEN.add_.Tensor, (1,), torch.Tensor.add_),
        (ATEN.addcmul_.default, (X, X), torch.Tensor.addcmul_),
        (ATEN.exp_.default, (), torch.exp_),
        (ATEN.index_copy_.default, (0, torch.tensor([1]), X[:1]), torch.Tensor.index_copy_),
    ],
    ids=lambda value: str(value) if is_overload(value) else "",
)
def test_an_operator_that_changes_a_tensor_is_not_run_to_find_its_function(operator, args, function):
    changed = torch.full((2, 3), 2.0)
    found = python_binding(operator, (changed, *args), {})
    assert found is function
    assert torch.equal(changed, torch.full((2, 3), 2.0))
    expected = operator(changed.clone(), *args)
    found(changed, *args)
    assert torch.equal(changed, expected)


def test_other_operators_that_write_are_called_as_they_are():
    changed = torch.ones(2, 3)
    assert python_binding(ATEN.add.out, (X, X), {"out": changed}) is ATEN.add.out
    lists = ([changed], [X], [X], [X], [], [torch.ones(())])
    more = {"lr": 1.0, "beta1": 0.9, "beta2": 0.9, "weight_decay": 0.0, "eps": 1.0, "amsgrad": False, "maximize": False}
    assert python_binding(ATEN._fused_adam_.default, lists, more) is ATEN._fused_adam_.default
    assert torch.equal(changed, torch.ones(2, 3))


def test_an_operator_of_vaezoo_s_own_is_called_without_the_dispatcher():
    overload = torch.ops.vaezoo.normals.default
    found = python_binding(overload, (torch.ones(1, dtype=torch.int64),), {})
    assert found is own_operators.function_of(overload)
    assert not is_overload(found)
    assert own_operators.function_of(ATEN.mm.default) is None


def test_operators_with_an_effect_are_not_tried_out():
    """Else the sum would count twice in the recorded run, and the generator would move on twice."""
    total, generator = torch.zeros(()), torch.Generator().manual_seed(0)
    expected = torch.rand((), generator=torch.Generator().manual_seed(0))
    recording = record(lambda: total.add_(torch.rand((), generator=generator)))
    assert torch.equal(total, expected)
    recording()
    assert float(total) > float(expected)
