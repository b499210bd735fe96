"""The compiled loop of the Bernoulli likelihood: sums and derivatives are those of float64 and of torch's operators."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from vaezoo.core import compiled
from vaezoo.likelihoods import _bernoulli_sums
from vaezoo.likelihoods._bernoulli_sums import LARGE, LOOP, LogProb, sums
from vaezoo.training.replay.recording import record

pytest.importorskip("numba")


def given(*shape, pixels=LARGE, scale=3.0, real=False, seed=0):
    """Images [1, B, P] and logits [*shape, P]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, shape[-1], pixels, generator=generator)
    return x if real else x.round(), scale * torch.randn(*shape, pixels, generator=generator)


def exact(x, logits):
    """In float64."""
    x, logits = x.double(), logits.double()
    return x * logits - torch.logaddexp(logits, torch.zeros_like(logits))


@pytest.fixture
def runs(monkeypatch):
    """The numbers that each run of the loop got."""
    seen, find = [], compiled.loop
    monkeypatch.setattr(
        compiled, "loop", lambda module: lambda *numbers: (seen.append(numbers), find(module)(*numbers))
    )
    return seen


@pytest.mark.parametrize("pixels", [LARGE, LARGE + 1, 784, 1000, 3072])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 500.0])
@pytest.mark.parametrize("real", [False, True])
def test_the_sums_are_those_of_float64(runs, pixels, scale, real):
    x, logits = given(5, 7, pixels=pixels, scale=scale, real=real)
    value, slopes = sums(x, logits, slopes=False)
    terms = exact(x, logits)
    size = (x * logits).abs().double().sum(-1) + logits.clamp(min=0).double().sum(-1) + terms.abs().sum(-1)
    assert ((value.double() - terms.sum(-1)).abs() <= 4e-7 * size).all()
    assert slopes.numel() == 0
    with_slopes, slopes = sums(x, logits, slopes=True)
    assert ((with_slopes.double() - terms.sum(-1)).abs() <= 4e-7 * size).all()
    assert (slopes.double() - (x.double() - logits.double().sigmoid())).abs().max() <= 2e-7
    assert len(runs) == 2


def test_each_logarithm_is_right_to_a_few_roundings():
    """All other pixels of a row add next to nothing: their logit is 1,000 and they are on."""
    logits = torch.full((4001, 1, LARGE), 1000.0)
    logits[:, 0, 3] = torch.linspace(-100, 87, 4001)
    value, slopes = sums(torch.ones(1, 1, LARGE), logits, slopes=True)
    wanted = functional.logsigmoid(logits[..., 3].double())
    assert ((value.double() - wanted).abs() <= 4e-7 * wanted.abs() + LARGE * math.exp(-87)).all()
    assert ((slopes[..., 3].double() - (-logits[..., 3].double()).sigmoid()).abs() <= 1.2e-7).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_depends_on_nothing_else(threads):
    """Neither on the rows beside it, nor on the number of threads: 331 rows are not whole pieces."""
    x, logits = given(331, 3, pixels=300)
    expected = torch.stack([sums(x, logits[k : k + 1], slopes=False)[0][0] for k in range(331)])
    slopes = torch.cat([sums(x, logits[k : k + 1], slopes=True)[1] for k in range(331)])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert torch.equal(sums(x, logits, slopes=False)[0], expected)
        for _ in range(20):
            assert torch.equal(sums(x, logits, slopes=True)[1], slopes)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("logit", [math.inf, -math.inf, math.nan, 200.0, -200.0, 3e38, -3e38, 88.0, -104.0, 0.0, 1e-40])
@pytest.mark.parametrize("x", [0.0, 1.0])
def test_far_out_it_is_what_the_operators_give(logit, x):
    images, logits = torch.full((1, 1, LARGE), x), torch.zeros(1, 1, LARGE)
    logits[..., 5] = logit
    expected = _bernoulli_sums._by_operators(images, logits)
    if (x, logit) == (0.0, math.inf):
        expected.fill_(-math.inf)  # the operators give 0 * infinity
    for slopes in (False, True):
        torch.testing.assert_close(sums(images, logits, slopes)[0], expected, rtol=1e-6, atol=0, equal_nan=True)
    found = sums(images, logits, slopes=True)[1]
    torch.testing.assert_close(found, images - logits.sigmoid(), rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("places", list(itertools.product((None, 0, 1), (None, 0, 2)))[1:])
def test_mapped_it_gives_each_one_s_numbers(runs, places):
    """By the loop, with the gradients from outside, as a pack takes them."""
    x, logits = given(4, 2, 3, real=True)
    x = torch.stack([x, 1 - x, x * x, x.sqrt()])
    ones = [
        each if place is not None else each[:1].expand_as(each) for each, place in zip((x, logits), places, strict=True)
    ]
    mapped = [
        (each[0] if place is None else each.movedim(0, place)).clone().requires_grad_()
        for each, place in zip((x, logits), places, strict=True)
    ]
    value = torch.vmap(lambda x, logits: LogProb.apply(x, logits)[0], places)(*mapped)
    assert len(runs) == 1
    leaves = [each.clone().requires_grad_() for each in ones]
    expected = torch.stack([LogProb.apply(*pair)[0] for pair in zip(*leaves, strict=True)])
    assert torch.equal(value, expected)
    weight = torch.linspace(-1, 1, value.numel()).view_as(value)
    found = torch.autograd.grad((value * weight).sum(), mapped)
    wanted = torch.autograd.grad((expected * weight).sum(), leaves)
    for one, other, place in zip(found, wanted, places, strict=True):
        other = other.sum(0) if place is None else other.movedim(0, place)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_mapped_twice():
    x, logits = given(3, 4, 2, 5)
    x = torch.stack([x, 1 - x, 1 - x, x])

    def inner(logits):
        return torch.vmap(lambda x, logits: LogProb.apply(x, logits)[0])(x, logits)

    expected = torch.stack(
        [torch.stack([LogProb.apply(*pair)[0] for pair in zip(x, each, strict=True)]) for each in logits]
    )
    torch.testing.assert_close(torch.vmap(inner)(logits), expected, rtol=1e-6, atol=0)


def test_second_derivatives_are_those_of_the_formula():
    """d2 log p / dl2 = -p (1 - p), though the slopes of the loop know nothing of it; by x and l it is 1."""
    x, logits = (each.requires_grad_() for each in given(2, 3))
    value, _ = LogProb.apply(x, logits)
    by_x, by_logits = torch.autograd.grad(value.sum(), (x, logits), create_graph=True)
    p = logits.detach().double().sigmoid()
    torch.testing.assert_close(by_x.double(), logits.double().sum(0, keepdim=True), rtol=1e-5, atol=1e-5)
    twice = torch.autograd.grad(by_logits.sum(), (x, logits))
    torch.testing.assert_close(twice[0], torch.full_like(x, 2.0))
    torch.testing.assert_close(twice[1].double(), -p * (1 - p), rtol=1e-5, atol=1e-6)
    jacobian = torch.func.jacrev(torch.func.jacrev(lambda logits: LogProb.apply(x.detach()[:, :1], logits)[0].sum()))
    small = logits.detach()[:1, :1]
    diagonal = jacobian(small).view(LARGE, LARGE)
    torch.testing.assert_close(diagonal, torch.diag(-(small.sigmoid() * (1 - small.sigmoid())).flatten()))


def test_a_gradient_may_be_taken_twice():
    """What is kept for it is not overwritten."""
    x, logits = given(2, 3)
    logits.requires_grad_()
    value, _ = LogProb.apply(x, logits)
    first = torch.autograd.grad(value.sum(), logits, retain_graph=True)[0].clone()
    assert torch.equal(torch.autograd.grad(value.sum(), logits)[0], first)


def test_any_layout_of_memory(runs):
    x, logits = given(4, 6)
    expected = sums(x, logits, slopes=True)
    for x_again, again in (
        (x.mT.contiguous().mT, logits.mT.contiguous().mT),
        (x.repeat(1, 1, 2)[..., :LARGE], logits.repeat(1, 2, 1)[:, :6]),
        (nn.Parameter(x), nn.Parameter(logits)),
    ):
        with torch.no_grad():
            value, slopes = sums(x_again, again, slopes=True)
        assert torch.equal(value, expected[0])
        assert torch.equal(slopes, expected[1])
    same = sums(x, logits[:1].expand(3, -1, -1), slopes=False)[0]
    assert torch.equal(same, sums(x, logits[:1], slopes=False)[0].expand(3, -1))
    assert len(runs) == 6


class Own(torch.Tensor):
    """A tensor with its own idea of operators."""


@pytest.mark.parametrize(
    "why",
    ["few pixels", "float64", "bfloat16", "bytes", "nothing", "one image for all", "subclass", "compiling", "mapped"],
)
def test_elsewhere_the_operators_compute(runs, monkeypatch, why):
    x, logits = given(2, 3)
    if why == "few pixels":
        x, logits = x[..., : LARGE - 1], logits[..., : LARGE - 1]
    if why in ("float64", "bfloat16"):
        x, logits = x.to(getattr(torch, why)), logits.to(getattr(torch, why))
    if why == "bytes":
        x = x.byte()
    if why == "nothing":
        x, logits = x[:, :0], logits[:, :0]
    if why == "one image for all":
        x = x[:, :1]
    if why == "subclass":
        logits = logits.as_subclass(Own)
    if why == "compiling":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    if why == "mapped":
        value = torch.vmap(lambda logits: sums(x, logits, slopes=False)[0])(logits[None])[0]
    else:
        value = sums(x, logits, slopes=False)[0]
    assert not runs
    torch.testing.assert_close(
        value.double(), exact(x, logits).sum(-1), rtol=1e-2 if why == "bfloat16" else 1e-5, atol=0
    )


def test_a_recorded_step_runs_the_loop_anew(runs):
    """With the numbers that are there at the replay, not those of the recording."""
    x, logits = given(2, 3)
    logits.requires_grad_()
    value, gradient = torch.zeros(2, 3), torch.zeros_like(logits)

    def step():
        found, _ = LogProb.apply(x, logits)
        value.copy_(found.detach())
        gradient.copy_(torch.autograd.grad(found.square().sum(), logits)[0])

    replay = record(step)
    with torch.no_grad():
        logits.mul_(-0.5)
        x.copy_(1 - x)
    replay()
    found, recorded = value.clone(), gradient.clone()
    assert len(runs) == 2
    step()
    assert torch.equal(found, value)
    assert torch.equal(recorded, gradient)


def test_there_is_a_loop_here():
    """Otherwise the operators would be compared with themselves."""
    assert compiled.loop(LOOP) is not None
