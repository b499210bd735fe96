"""The Gaussian's compiled passes: values and gradients are those of float64, however they are called."""

import math

import pytest
import torch

from vaezoo import DiagonalGaussian, VaezooError
from vaezoo.core import passes

pytest.importorskip("numba")

SIZES = [(1, 1), (3, 5), (16, 20), (128, 40), (7, 3000), (2, 5000)]


def numbers(*shape, seed=0, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def by_operators(monkeypatch):
    """Leaves the passes to torch's operators."""
    return lambda: monkeypatch.setattr(passes, "takes", lambda *tensors: False)


def used(params, samples=3):
    """mean, log_std, samples and KL of the Gaussian of a network's output [..., 2 Z]."""
    q = DiagonalGaussian.from_heads(params)
    eps = numbers(samples, *q.mean.shape, seed=9).to(params.dtype)
    return q.mean, q.log_std, q._place(eps), q._place(eps[0]), q.kl_standard_normal()


def weighted(values):
    """A scalar whose gradient by each number is another one."""
    return sum((numbers(*value.shape, seed=n).to(value) * value).sum() for n, value in enumerate(values))


def assert_near(found, expected, rounding=4e-7):
    """Up to some roundings of each number, of 0.1 (the KL is a difference), or of the largest one of its row."""
    size = expected.abs() + 0.1 * expected.abs().amax(-1, keepdim=True).clamp(min=1)
    assert ((found.double() - expected).abs() <= rounding * size).all()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("scale", [0.1, 2.0, 8.0])
def test_values_and_gradients_are_those_of_float64(shape, scale):
    params = numbers(shape[0], 2 * shape[1], scale=scale).requires_grad_()
    assert passes.takes(params)
    exact = params.detach().double().requires_grad_()
    found, expected = used(params), used(exact)
    for own, value in zip(found, expected, strict=True):
        assert own.dtype == torch.float32
        assert_near(own.detach(), value.detach(), 1e-6)
    [by_params], [by_exact] = (
        torch.autograd.grad(weighted(each), of) for each, of in ((found, params), (expected, exact))
    )
    assert_near(by_params, by_exact, 2e-6)


def test_each_exponential_is_right_to_a_few_roundings():
    log_std = torch.linspace(-87, 88.7, 100_001)
    z = passes._placed(torch.zeros_like(log_std), log_std, torch.ones_like(log_std), 1)
    exact = log_std.double().exp()
    assert ((z.double() - exact).abs() <= 1.3e-7 * exact).all()
    assert torch.equal(passes._kl(torch.zeros(3), torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 1e30, -1e30, 7.0, -7.0, 89.0, -100.0])
def test_far_out_it_is_what_the_operators_give(by_operators, number):
    params = torch.zeros(2, 6)
    params[:, 1], params[:, 4] = number, number
    params.requires_grad_()
    found = used(params)
    gradient = torch.autograd.grad(weighted(found), params)
    plain = DiagonalGaussian(torch.ones(2, 3), torch.full((2, 3), number))
    given, kl = plain._place(torch.ones(2, 3)), plain.kl_standard_normal()
    by_operators()
    expected = used(params)
    for own, value in zip(
        (*found, *gradient), (*expected, *torch.autograd.grad(weighted(expected), params)), strict=True
    ):
        torch.testing.assert_close(own, value, rtol=2e-6, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(given, plain._place(torch.ones(2, 3)), rtol=2e-6, atol=1e-30, equal_nan=True)
    torch.testing.assert_close(kl, plain.kl_standard_normal(), rtol=2e-6, atol=1e-30, equal_nan=True)


@pytest.mark.parametrize("name", ["kl", "placed", "bounded"])
def test_a_second_derivative_is_that_of_the_operators(by_operators, name):
    """By parameters of which some are beyond the bound."""
    log_std = torch.tensor([1.5, 8.0, -9.5, 0.0, 1.0, -2.0]) if name == "bounded" else 0.5 * numbers(6, seed=3)
    params = torch.cat([numbers(4, 6), log_std.expand(4, 6)], 1).requires_grad_()

    def second():
        """The gradient of a function of the gradient."""
        q = DiagonalGaussian.from_heads(params)
        values = {"kl": q.kl_standard_normal(), "placed": q._place(numbers(2, 4, 6, seed=4)), "bounded": q.log_std}
        [first] = torch.autograd.grad(weighted([values[name].sin()]), params, create_graph=True)
        return torch.autograd.grad(weighted([first.square()]), params)[0]

    found = second()
    by_operators()
    expected = second()
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize("shared", [(), (0,), (2,), (0, 1)])
def test_mapped_over_seeds_it_is_each_seed_alone(shared):
    """Bit for bit, values and gradients. shared: which of mean, log_std and eps all seeds have in common."""
    whole = [numbers(4, 6, 5), numbers(4, 6, 5, seed=1), numbers(4, 3, 6, 5, seed=2)]
    given = [each[0] if place in shared else each for place, each in enumerate(whole)]
    axes = tuple(None if place in shared else 0 for place in range(3))

    def outputs(mean, log_std, eps):
        """Samples and KL."""
        q = DiagonalGaussian(mean, log_std)
        return q._place(eps), q.kl_standard_normal()

    leaves = [each.clone().requires_grad_() for each in given[:2]]
    mapped = torch.vmap(outputs, axes)(*leaves, given[2])
    gradients = torch.autograd.grad(weighted(mapped), leaves)
    each = []
    for seed in range(4):
        own = [leaf if place in shared else leaf[seed] for place, leaf in enumerate(leaves)]
        each.append(outputs(*own, given[2] if 2 in shared else given[2][seed]))
    stacked = [torch.stack(values) for values in zip(*each, strict=True)]
    same = list(zip(mapped, stacked, strict=True))[: 1 if shared == (0, 1) else 2]  # the KL of no seed is torch's
    assert all(torch.equal(one, other) for one, other in same)
    for one, other in zip(gradients, torch.autograd.grad(weighted(stacked), leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mapped_heads_are_each_seeds_own(axis):
    params = numbers(4, 6, 3, 10, scale=5.0).requires_grad_()
    found = torch.vmap(passes.Bounded.apply, axis, axis)(params)
    expected = passes.Bounded.apply(params)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    gradients = [torch.autograd.grad(weighted(each), params)[0] for each in (found, expected)]
    assert torch.equal(*gradients)


def test_under_a_map_samples_have_all_their_derivatives():
    """By eps too, and second ones, of several groups."""
    given = [(0.5 * each).double() for each in (numbers(4, 5), numbers(4, 5, seed=1), numbers(4, 3, 5, seed=2))]

    def second(dtype):
        """Gradients, and the gradient of their squares."""
        mean, log_std, eps = leaves = [each.to(dtype).requires_grad_() for each in given]
        z = torch.vmap(lambda mean, log_std, eps: DiagonalGaussian(mean, log_std)._place(eps))(mean, log_std, eps)
        first = torch.autograd.grad(z.sin().square().sum(), leaves, create_graph=True)
        return [*first, *torch.autograd.grad(sum(each.square().sum() for each in first), leaves)]

    for found, expected in zip(second(torch.float32), second(torch.float64), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_a_map_over_no_seed_gives_nothing():
    mean, eps = torch.zeros(0, 3), torch.zeros(0, 2, 3)
    z = torch.vmap(lambda mean, eps: DiagonalGaussian(mean, mean)._place(eps))(mean, eps)
    kl = torch.vmap(lambda mean: DiagonalGaussian(mean, mean).kl_standard_normal())(mean)
    heads = torch.vmap(passes.Bounded.apply)(torch.zeros(0, 4))
    assert [each.shape for each in (z, kl, *heads)] == [(0, 2, 3), (0, 3), (0, 2), (0, 2)]


def test_many_gradients_at_once_are_those_one_by_one():
    """`is_grads_batched` maps the way back alone."""
    params = numbers(2, 6).requires_grad_()
    [found] = [
        torch.autograd.functional.jacobian(lambda p: torch.cat([v.flatten() for v in used(p)]), params, vectorize=True)
    ]
    expected = torch.autograd.functional.jacobian(lambda p: torch.cat([v.flatten() for v in used(p)]), params)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_that_are_one_number_in_memory_or_none():
    """That of a sum is expanded; an output that is not used has none, and its NaN stays where it is."""
    params = numbers(5, 8).requires_grad_()
    exact = params.detach().double().requires_grad_()
    for values in (lambda p: used(p)[2], lambda p: used(p)[4], lambda p: sum(each.sum() for each in used(p)[:2])):
        [found], [expected] = (torch.autograd.grad(values(each).sum(), each) for each in (params, exact))
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    half = torch.tensor([[1.0, math.nan]]).requires_grad_()
    [found] = torch.autograd.grad(DiagonalGaussian.from_heads(half).mean.sum(), half)
    assert torch.equal(found, torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("fixed", [0, 1])
def test_one_of_mean_and_log_std_may_be_fixed(fixed):
    """Also a tensor of an inference, and one that changes afterwards: what no gradient needs is not kept."""
    with torch.inference_mode():
        constant = numbers(3, 4)
    for other in (constant, constant.clone()):
        given = [other, other]
        given[1 - fixed] = numbers(3, 4, seed=1).requires_grad_()
        q = DiagonalGaussian(*given)
        [trained] = [each for each in given if each.requires_grad]
        z, kl = q._place(numbers(2, 3, 4)), q.kl_standard_normal()
        if fixed == 0 and not other.is_inference():
            other.add_(1)
        [found] = torch.autograd.grad(z.sum() + kl.sum(), trained)
        exact = [each.detach().double().requires_grad_(each is trained) for each in given]
        if fixed == 0 and not other.is_inference():
            exact[0] = exact[0] - 1
        p = DiagonalGaussian(*exact)
        value = p._place(numbers(2, 3, 4).double()).sum() + p.kl_standard_normal().sum()
        [expected] = torch.autograd.grad(value, exact[1 - fixed])
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_other_transforms_get_the_operators_result():
    params = numbers(4, 6)

    def kl(params):
        """Of each image."""
        return DiagonalGaussian.from_heads(params).kl_standard_normal().sum(-1)

    jacobian = torch.func.jacrev(kl)(params)
    forward = torch.func.jvp(kl, (params,), (torch.ones_like(params),))[1]
    exact = torch.func.jacrev(kl)(params.double())
    torch.testing.assert_close(jacobian, exact.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(forward, exact.sum((1, 2)).float(), rtol=1e-5, atol=1e-5)


def test_no_number_depends_on_the_others_or_on_threads(threads):
    """Whole, in slices, by one thread and by several."""
    mean, log_std, eps, grad = (numbers(40, 999, seed=s) for s in range(4))
    calls = {
        "gaussian_placed": (mean, log_std, eps, 1),
        "gaussian_placed_back": (grad, log_std, eps, 1),
        "gaussian_kl": (mean, log_std),
        "gaussian_kl_back": (grad, mean, log_std),
        "gaussian_bounded": (4 * torch.cat([mean, log_std], 1),),
        "gaussian_bounded_back": (mean, grad, 4 * torch.cat([mean, log_std], 1)),
    }
    for name, given in calls.items():
        run = getattr(torch.ops.vaezoo, name)
        threads(2)
        found = run(*given)
        threads(1)
        rows = [
            run(*(own[row : row + 3] if isinstance(own, torch.Tensor) else own for own in given))
            for row in range(0, 40, 3)
        ]
        alone = [torch.cat(own) for own in zip(*rows, strict=True)] if isinstance(found, tuple) else [torch.cat(rows)]
        for one, other in zip(found if isinstance(found, tuple) else [found], alone, strict=True):
            assert torch.equal(one, other), name


def test_memory_may_lie_anyhow_and_defaults_do_not_matter(by_operators):
    """Transposed and expanded tensors, and another default type of numbers."""
    mean, log_std, eps = numbers(5, 8).t(), numbers(1, 5).expand(8, 5), numbers(2, 5, 8).mT
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        q = DiagonalGaussian(mean, log_std)
        assert passes.takes(mean, log_std, eps)
        found = [q._place(eps), q.kl_standard_normal(), *passes.Bounded.apply(numbers(8, 10).to(torch.float32))]
    finally:
        torch.set_default_dtype(before)
    assert all(each.dtype == torch.float32 for each in found)
    by_operators()
    for one, other in zip(found, (q._place(eps), q.kl_standard_normal()), strict=False):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_what_the_loop_does_not_read_is_left_to_torch(monkeypatch):
    mean = numbers(3, 4)

    class Own(torch.Tensor):
        """A tensor of another kind."""

    assert passes.takes(mean)
    assert passes.takes(mean, mean, numbers(2, 3, 4))
    for given in (
        (mean.double(),),
        (mean.to("meta"),),
        (mean.as_subclass(Own),),
        (mean.to_sparse(),),
        (torch.zeros(0, 4),),
        (numbers(3, 5),),
        (torch.tensor(0.0),),
        (mean, numbers(3, 1)),
        (numbers(4), mean),
        (torch.tensor(0.0), numbers(5)),
        (mean, mean, numbers(2, 4, 3)),
        (mean, mean, numbers(4)),
    ):
        assert not passes.takes(*given), given
    eps = numbers(3, 4).requires_grad_()
    DiagonalGaussian(mean, mean)._place(eps).sum().backward()
    torch.testing.assert_close(eps.grad, mean.exp())
    for module, name in ((torch.compiler, "is_compiling"), (torch.jit, "is_tracing")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, lambda: True)
            assert not passes.takes(mean)


@pytest.mark.parametrize(("mean", "log_std"), [((4,), (3, 4)), ((3, 1), (3, 4)), ((), (5,)), ((3, 4), (4,))])
def test_a_mean_and_a_log_std_may_have_two_shapes(mean, log_std):
    q = DiagonalGaussian(numbers(*mean), numbers(*log_std, seed=1))
    exact = DiagonalGaussian(q.mean.double(), q.log_std.double())
    torch.testing.assert_close(q.kl_standard_normal().double(), exact.kl_standard_normal(), rtol=1e-5, atol=1e-6)
    eps = torch.ones(torch.broadcast_shapes(mean, log_std))
    torch.testing.assert_close(q._place(eps).double(), exact._place(eps.double()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("gaussian_kl", (torch.zeros(5), torch.zeros(3))),
        ("gaussian_kl", (torch.zeros(5), torch.zeros(5).double())),
        ("gaussian_kl_back", (torch.zeros(3), torch.zeros(5), torch.zeros(5))),
        ("gaussian_placed", (torch.zeros(5), torch.zeros(5), torch.zeros(2, 4), 1)),
        ("gaussian_placed", (torch.zeros(5), torch.zeros(5), torch.zeros(2, 5), 2)),
        ("gaussian_placed_back", (torch.zeros(5), torch.zeros(5), torch.zeros(2, 5), 1)),
        ("gaussian_bounded", (torch.zeros(2, 3),)),
        ("gaussian_bounded_back", (torch.zeros(2), torch.zeros(2), torch.zeros(6))),
    ],
)
def test_an_operator_refuses_what_would_be_read_beyond_its_memory(name, given):
    with pytest.raises(VaezooError, match=r"do not fit|takes float32"):
        getattr(torch.ops.vaezoo, name)(*given)
