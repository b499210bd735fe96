"""Adam takes the steps of torch's, with one count for parameters that have had the same gradients."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vaezoo import VaezooError
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
