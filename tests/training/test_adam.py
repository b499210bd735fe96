"""Adam takes the steps of torch's, with one count for parameters that have had the same gradients."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from vaezoo import VaezooError
from vaezoo.core import compiled
from vaezoo.training import adam as module
from vaezoo.training.adam import BETAS, EPSILON, Adam
from vaezoo.training.step import _laid_out_as

RATES = (0.1, 0.01)


def parameters():
    """Two groups: three parameters of two types, and one."""
    generator = torch.Generator().manual_seed(0)
    shapes = [((3, 4), torch.float32), ((5,), torch.float32), ((2, 2), torch.float64), ((4,), torch.float32)]
    made = [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape, dtype in shapes]
    return made[:3], made[3:]


def gradient(parameter, number):
    return (number + 1.5) * parameter.detach().cos()


def ours(groups):
    return Adam([(group, torch.tensor(rate)) for group, rate in zip(groups, RATES, strict=True)])


def moved(adam, groups, skipped):
    """The parameters after a step for each row of `skipped`: the places of those without a gradient in it."""
    everything = [p for group in groups for p in group]
    for number, places in enumerate(skipped):
        adam.zero_grad()
        for place, parameter in enumerate(everything):
            if place not in places:
                parameter.grad = gradient(parameter, number)
        adam.step()
    return everything


@pytest.mark.parametrize("skipped", [[()] * 4, [(1,), (), (0, 3), ()], [(0, 1, 2, 3), (3,), (), (0,)]])
def test_it_takes_the_steps_of_torchs_adam(skipped):
    """Bit for bit, also where some parameters have no gradient in some steps."""
    one, other = parameters(), parameters()
    adam = ours(one)
    theirs = torch.optim.Adam(
        [{"params": group, "lr": torch.tensor(rate)} for group, rate in zip(other, RATES, strict=True)],
        betas=BETAS,
        eps=EPSILON,
        fused=True,
    )
    for found, expected in zip(moved(adam, one, skipped), moved(theirs, other, skipped), strict=True):
        assert torch.equal(found, expected)
        assert adam.state[found].keys() == theirs.state[expected].keys()
        assert all(torch.equal(own, theirs.state[expected][name]) for name, own in adam.state[found].items())


def test_it_follows_the_formula():
    """Two steps in float64, by hand."""
    parameter = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    adam, value, mean, square = Adam([([parameter], torch.tensor(0.1))]), 2.0, 0.0, 0.0
    for number, slope in enumerate((3.0, -1.0), 1):
        parameter.grad = torch.full_like(parameter, slope)
        adam.step()
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        unbiased = mean / (1 - 0.9**number), square / (1 - 0.999**number)
        value -= 0.1 * unbiased[0] / (unbiased[1] ** 0.5 + 1e-8)
        torch.testing.assert_close(parameter.item(), value, rtol=1e-7, atol=0)  # the rate is a float32


def test_parameters_with_the_same_gradients_share_a_count():
    groups = parameters()
    adam = ours(groups)
    one, two, wide, other = moved(adam, groups, [()] * 3)
    assert adam.state[one]["step"] is adam.state[two]["step"]
    moved(adam, groups, [(1,)])
    assert [float(adam.state[p]["step"]) for p in (one, two, wide, other)] == [4.0, 3.0, 4.0, 4.0]


def test_a_complex_parameter_is_refused():
    with pytest.raises(VaezooError, match="takes real parameters, got a complex one"):
        Adam([([nn.Parameter(torch.ones(2, dtype=torch.complex64))], torch.tensor(0.1))])


def test_a_sparse_gradient_is_refused():
    table = nn.Embedding(3, 2, sparse=True)
    (gradient,) = torch.autograd.grad(table(torch.tensor([1])).sum(), [table.weight])
    with pytest.raises(VaezooError, match="gradient is sparse; make its layer without sparse=True"):
        _laid_out_as(table.weight, gradient)


def test_it_can_be_pickled_and_copied():
    groups = parameters()
    adam = ours(groups)
    moved(adam, groups, [()])
    for found in (pickle.loads(pickle.dumps(adam)), copy.deepcopy(adam)):
        assert [str(own) for own in found.state.values()] == [str(own) for own in adam.state.values()]
        own = next(iter(found.state))
        before = own.detach().clone()
        own.grad = torch.ones_like(own)
        found.step()
        assert (own < before).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_a_matrix_that_lies_column_by_column_takes_the_same_steps(shape):
    """Bit for bit, in its own memory; the fused operator gets it as one that lies row by row."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    rows, columns = nn.Parameter(start.clone()), nn.Parameter(start.mT.contiguous().mT)
    place = columns.data_ptr()
    given = []
    original = torch._fused_adam_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "_fused_adam_", lambda *own, **more: (given.extend(own[:4]), original(*own, **more))[1])
        for parameter in (rows, columns):
            adam = Adam([([parameter], torch.tensor(0.1))])
            for number in range(3):
                parameter.grad = _laid_out_as(parameter, gradient(parameter, number))
                adam.step()
            assert all(
                own.stride() == parameter.stride() for name, own in adam.state[parameter].items() if name != "step"
            )
    assert torch.equal(rows, columns)
    assert columns.data_ptr() == place
    assert len(given) == 24
    assert all(each.is_contiguous() for tensors in given for each in tensors)


def test_a_matrix_that_is_laid_out_anew_takes_the_same_steps():
    """Its moments are laid out as it is."""
    start = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    one, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    for parameter in (one, other):
        adam = Adam([([parameter], torch.tensor(0.1))])
        for number in range(6):
            if parameter is other and number in (2, 4):
                parameter.data = parameter.data.t().contiguous().t() if number == 2 else parameter.data.contiguous()
            parameter.grad = _laid_out_as(parameter, gradient(parameter, number))
            adam.step()
    assert torch.equal(one, other)


SHAPES = [(300, 400), (400,), (1,), (0, 5), (7, 3), (1 << 14,), (70_001,), (2, 40, 50)]
"""Some of more pieces than one, of whole pieces, of less than a vector, of nothing."""
needs_loop = pytest.mark.skipif(compiled.loop(module.LOOP) is None, reason="needs numba")


def stepped(dtype, by_columns=False, steps=12):
    """Parameters after steps with gradients of very different sizes, 0 among them, and their moments."""
    generator = torch.Generator().manual_seed(1)
    made = [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES]
    if by_columns:
        for each in made:
            each.data = each.data.mT.contiguous().mT if each.dim() > 1 else each.data
    adam = Adam([(made, torch.tensor(0.00371))])
    for _ in range(steps):
        for each in made:
            scales = 10.0 ** torch.randint(-12, 4, each.shape, generator=generator)
            slope = torch.randn(each.shape, generator=generator) * scales * (scales < 1e3)
            each.grad = _laid_out_as(each, slope.to(dtype))
        adam.step()
    return [[p.detach(), adam.state[p]["exp_avg"], adam.state[p]["exp_avg_sq"]] for p in made]


def taken(patch):
    """How often the loop is called from now on."""
    calls, found = [], compiled.loop
    patch.setattr(compiled, "loop", lambda name: calls.append(name) or found(name))
    return calls


@needs_loop
def test_the_loop_takes_the_steps_of_float64(monkeypatch):
    calls = taken(monkeypatch)
    found, exact = stepped(torch.float32), stepped(torch.float64)
    assert module.LOOP in calls
    for (p, mean, square), (exact_p, exact_mean, exact_square) in zip(found, exact, strict=True):
        torch.testing.assert_close(square.double(), exact_square, rtol=2e-6, atol=1e-36)
        assert ((mean - exact_mean).abs() <= 1e-5 * exact_square.sqrt() + 1e-36).all()  # its terms may cancel
        torch.testing.assert_close(p.double(), exact_p, rtol=3e-7, atol=2e-6)


@needs_loop
def test_the_loop_rounds_as_torchs_operator_does(monkeypatch):
    """But for what is left of a tensor after whole vectors: the operator rounds that otherwise."""
    found = stepped(torch.float32)
    monkeypatch.setattr(module, "MANY", 2**60)
    for own, theirs in zip(found, stepped(torch.float32), strict=True):
        for tensor, expected in zip(own, theirs, strict=True):
            torch.testing.assert_close(tensor, expected, rtol=1e-6, atol=1e-7 if tensor is own[0] else 1e-37)


@needs_loop
@pytest.mark.parametrize("by_columns", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_loop_gives_the_same_numbers_on_any_threads_and_layout(count, by_columns, threads):
    threads(1)
    expected = stepped(torch.float32)
    threads(count)
    for own, other in zip(stepped(torch.float32, by_columns), expected, strict=True):
        assert all(torch.equal(*pair) for pair in zip(own, other, strict=True))


@needs_loop
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 3e38])
def test_a_gradient_that_is_not_finite_makes_a_parameter_so(wrong, monkeypatch):
    """As torch's operator does, and only where it is."""

    def result(size=module.MANY):
        parameter = nn.Parameter(torch.ones(size))
        parameter.grad = torch.ones_like(parameter)
        parameter.grad[1000] = wrong
        Adam([([parameter], torch.tensor(0.1))]).step()
        return parameter.detach()

    found = result()
    monkeypatch.setattr(module, "MANY", 2**60)
    assert torch.equal(found.nan_to_num(7.0), result().nan_to_num(7.0))
    assert found.isnan().sum() == (wrong != 3e38)


@pytest.mark.parametrize("kind", ["few", "float64", "bfloat16", "rate in float64", "other order", "no loop"])
def test_what_the_loop_does_not_take_is_torchs(kind, monkeypatch):
    calls = taken(monkeypatch)
    if kind == "no loop":
        monkeypatch.setattr(compiled, "loop", lambda name: None)
    dtype = getattr(torch, kind, torch.float32)
    start = torch.ones(module.MANY - (kind == "few"), dtype=dtype)
    if kind == "other order":
        start = start.view(2, 2, -1, 2).permute(0, 3, 1, 2)
    parameter = nn.Parameter(start.clone())
    parameter.grad = _laid_out_as(parameter, torch.ones_like(start))
    rate = torch.tensor(0.1, dtype=torch.float64 if kind == "rate in float64" else torch.float32)
    Adam([([parameter], rate)]).step()
    assert not calls
    assert parameter.stride() == start.stride()
    torch.testing.assert_close(parameter.detach(), torch.full_like(start, 0.9))


@needs_loop
def test_large_parameters_with_counts_of_their_own(monkeypatch):
    """One that had no gradient in the first step takes its first step in the second one."""
    late, both = (nn.Parameter(torch.ones(module.MANY)) for _ in range(2))
    adam = Adam([([late, both], torch.tensor(0.1))])
    calls = taken(monkeypatch)
    for number in range(3):
        both.grad = torch.full_like(both, 1.0 + number)
        late.grad = None if number == 0 else torch.full_like(late, 2.0)
        adam.step()
    assert len(calls) == 6  # in each step: whether there is a loop, and the loop
    torch.testing.assert_close(late.detach(), torch.full_like(late, 0.8))


@needs_loop
def test_equal_counts_are_one_count():
    """Bit for bit: a training that goes on from a checkpoint has one count where it had two equal ones."""
    generator = torch.Generator().manual_seed(0)
    size = module.MANY + 34_467
    both = [nn.Parameter(torch.randn(size, generator=generator)) for _ in range(2)]
    adam, plain = Adam([(both, torch.tensor(0.01))]), [p.detach().clone() for p in both]
    theirs = [nn.Parameter(p) for p in plain]
    other = Adam([(theirs, torch.tensor(0.01))])
    for number in range(12):
        slopes = torch.randn(2, size, generator=generator)
        for parameters in (both, theirs):
            for place, p in enumerate(parameters):
                p.grad = None if number == place else slopes[place].clone()
        if number == 6:
            count = adam.state[both[0]]["step"]
            assert count is not adam.state[both[1]]["step"]
            adam.state[both[1]]["step"] = count
        adam.step()
        other.step()
    assert all(torch.equal(*pair) for pair in zip(both, theirs, strict=True))


@pytest.mark.parametrize("later", [False, True])
def test_a_parameter_with_gaps_in_memory_moves_and_its_neighbours_do_not(later):
    """torch's fused operator passes over memory as if there were none."""
    both = torch.ones(4, 3, 2)
    parameter = nn.Parameter(torch.ones(4, 3) if later else both[..., 0])
    adam = Adam([([parameter], torch.tensor(0.1))])
    for number in range(2):
        if later and number == 1:
            both[..., 0] = parameter.detach()
            parameter.data = both[..., 0]
        parameter.grad = torch.ones_like(parameter)
        adam.step()
    torch.testing.assert_close(parameter.detach(), torch.full((4, 3), 0.8))
    both[..., 0] = 1
    assert (both == 1).all()
