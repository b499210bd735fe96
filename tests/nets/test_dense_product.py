"""Products by vaezoo's own loop: those of float64, the same on any threads and in any layout, with all derivatives."""

import copy
from itertools import pairwise

import pytest
import torch
from dense_products import near
from torch import nn
from torch.nn import functional as F

from vaezoo.core import dense_product, products
from vaezoo.core.dense_product import FEWEST_COLUMNS, FEWEST_ROWS, TERMS, multiplied, takes
from vaezoo.core.errors import VaezooError
from vaezoo.nets import dense_stack
from vaezoo.nets.linear import Linear, linear

pytest.importorskip("numba")
SHAPES = [
    (FEWEST_ROWS, 1, FEWEST_COLUMNS),
    (9, 15, 17),
    (15, 16, 31),
    (17, 17, 33),
    (128, 784, 400),
    (128, 20, 400),
    (400, 128, 20),
    (128, 400, 40),
    (31, 250, 47),
    (33, 70, 49),
    (300, 3, 129),
    (1000, 65, 95),
    (300, 1201, 40),
    (90, 5000, 130),
]
"""Images, inputs and outputs."""
LAYOUTS = ("rows", "columns", "rows with gaps", "columns with gaps", "one for all")


def laid(matrix, layout):
    """A matrix with such strides; in the last one all its rows are its first one."""
    rows, columns = matrix.shape
    if layout == "columns":
        return matrix.t().contiguous().t()
    if layout == "rows with gaps":
        return F.pad(matrix, (0, 5))[:, :columns]
    if layout == "columns with gaps":
        return F.pad(matrix.t(), (0, 5))[:, :rows].t()
    return matrix[:1].expand(rows, columns) if layout == "one for all" else matrix.contiguous()


def made(images, inputs, outputs, seeds=()):
    """x, a weight and a bias."""
    generator = torch.Generator().manual_seed(images + outputs)
    shapes = (images, inputs), (outputs, inputs), (outputs,)
    return [torch.randn(*seeds, *shape, generator=generator) for shape in shapes]


@pytest.fixture
def loop(monkeypatch):
    """The loop multiplies wherever it can; (the shape of each of its products, whether it is a ReLU's)."""
    monkeypatch.setenv(products.SETTING, "loop")
    calls, original = [], dense_product.multiplied

    def counted(x, weight, bias=None, relu=False):
        value = original(x, weight, bias, relu)
        calls.append((tuple(value.shape), relu))
        return value

    monkeypatch.setattr(dense_product, "multiplied", counted)
    return calls


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_products_are_those_of_float64_on_any_number_of_threads_and_in_any_layout(shape, threads):
    """Bit for bit the same: each number is the sum of its terms from the first to the last one, in equal parts."""
    x, weight, bias = made(*shape)
    expected = multiplied(x, weight, bias)
    assert near(expected, x, weight.mT, bias.double())
    assert near(multiplied(x, weight), x, weight.mT)
    for number in (1, 2, 5):
        threads(number)
        for of_x in LAYOUTS[:4]:
            for of_weight in LAYOUTS[:4]:
                given = laid(x, of_x), laid(weight, of_weight)
                assert takes(*given)
                assert torch.equal(multiplied(*given, bias), expected)
                assert torch.equal(multiplied(*given, bias, True), expected.relu())


@pytest.mark.parametrize("number", [1, 2])
def test_rows_that_lie_over_each_other_are_read_as_they_are(number, threads):
    threads(number)
    for x, weight, bias in (made(20, 30, 40), made(60, 20, 17)):
        for given in ((laid(x, "one for all"), weight), (x, laid(weight, "one for all"))):
            assert torch.equal(multiplied(*given, bias), multiplied(*(each.contiguous() for each in given), bias))
    steps = torch.randn(100).unfold(0, 30, 1)
    assert torch.equal(multiplied(steps, steps), multiplied(steps.contiguous(), steps.contiguous()))


@pytest.mark.parametrize("terms", [100, 784, 20000, 60000])
def test_the_rounding_of_long_sums_is_that_of_their_parts(terms):
    """Where all terms have one sign it is at most 2^-24 for each term of a part and for each part."""
    bound = (min(terms, TERMS) + terms / TERMS + 1) * 2**-24
    for fill in (lambda *shape: torch.full(shape, 0.1), lambda *shape: torch.rand(shape)):
        torch.manual_seed(0)
        x, weight = fill(8, terms), fill(16, terms)
        exact = x.double() @ weight.double().t()
        assert float(((multiplied(x, weight).double() - exact) / exact).abs().max()) <= bound


def test_factors_that_do_not_fit_are_said():
    x, weight, bias = made(20, 30, 40)
    for given in (
        (x[:, 1:], weight),
        (x, weight, bias[1:]),
        (x, weight, bias.double()),
        (x.double(), weight),
        (x, weight.half()),
    ):
        with pytest.raises(
            VaezooError, match=r"the factors are \[20, .*; give \[B, in\], \[out, in\] and \[out\] of float32"
        ):
            multiplied(*given)


def test_a_row_s_numbers_do_not_depend_on_the_others():
    x, weight, bias = made(100, 50, 60)
    value = multiplied(x, weight, bias)
    for first in (0, 13, 92):
        assert torch.equal(multiplied(x[first : first + 8], weight, bias), value[first : first + 8])


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_those_of_several_seeds_are_each_seed_s(relu, biased):
    x, weight, bias = made(31, 50, 47, seeds=(3,))
    for of_weight in (weight, weight.mT.contiguous().mT):
        value = multiplied(x, of_weight, bias if biased else None, relu)
        for seed in range(3):
            own = multiplied(x[seed], of_weight[seed], bias[seed] if biased else None, relu)
            assert torch.equal(value[seed], own)


def test_numbers_that_are_not_finite_stay_so():
    x, weight, bias = made(20, 30, 40)
    x[0, 3], x[1, 3], bias[7] = float("nan"), float("inf"), float("-inf")
    for relu in (False, True):
        expected = F.linear(x, weight, bias)
        expected = expected.relu() if relu else expected
        torch.testing.assert_close(multiplied(x, weight, bias, relu), expected, equal_nan=True)


def test_what_the_loop_does_not_read_is_left_to_torch(loop, monkeypatch):
    x, weight, bias = made(20, 30, 40)
    gaps = torch.randn(40, 60)[:, ::2]
    for given in ((x[: FEWEST_ROWS - 1], weight), (x, weight[: FEWEST_COLUMNS - 1]), (x, gaps)):
        assert not takes(*given)
        for relu in (False, True):
            value, exact = products.multiplied("loop", *given, bias[: len(given[1])], relu), F.linear(*given)
            exact = exact + bias[: len(given[1])]
            torch.testing.assert_close(value, exact.relu() if relu else exact)
    monkeypatch.setattr(dense_product.compiled, "loop", lambda name: None)
    torch.testing.assert_close(products.multiplied("loop", x, weight, bias), F.linear(x, weight, bias))
    assert loop == []


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("needed", [(True, True), (True, False), (False, True)], ids=str)
@pytest.mark.parametrize("size", [(300, 250), (80, 60)], ids=str)
def test_a_layer_has_all_its_derivatives(loop, size, needed, biased, relu):
    """The first and second ones are those of float64."""
    out, inputs = size
    x, weight, bias = (each.requires_grad_(by) for each, by in zip(made(20, inputs, out), (*needed, True), strict=True))
    bias = bias if biased else None
    given = [each for each in (x, weight, bias) if each is not None and each.requires_grad]
    value = linear(x, weight, bias, relu=relu)
    found = torch.autograd.grad(value.square().sum(), given, create_graph=True)
    shapes = [(20, out), *([(20, inputs)] if needed[0] else []), *([(out, inputs)] if needed[1] else [])]
    assert [shape for shape, _ in loop] == shapes
    assert [with_relu for _, with_relu in loop] == [relu, *[False] * (len(shapes) - 1)]
    exact = F.linear(*(None if each is None else each.double() for each in (x, weight, bias)))
    exact = exact.relu() if relu else exact
    torch.testing.assert_close(value, exact.float(), rtol=1e-5, atol=1e-4)
    wanted = torch.autograd.grad(exact.square().sum(), given, create_graph=True)
    for one, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, expected.float(), rtol=1e-4, atol=1e-3)
    second = torch.autograd.grad(sum(each.square().sum() for each in found), given)
    second_wanted = torch.autograd.grad(sum(each.square().sum() for each in wanted), given)
    for one, expected in zip(second, second_wanted, strict=True):
        torch.testing.assert_close(one, expected.float(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("relu", [False, True])
def test_a_mapped_layer_is_each_seed_s(loop, relu):
    given = [each.requires_grad_() for each in made(20, 250, 300, seeds=(3,))]
    value = torch.vmap(lambda *own: linear(*own, relu=relu))(*given)
    found = torch.autograd.grad(value.square().sum(), given)
    assert sorted(shape for shape, _ in loop) == [(3, 20, 250), (3, 20, 300), (3, 300, 250)]
    for seed in range(3):
        own = [each[seed].detach().requires_grad_() for each in given]
        single = linear(*own, relu=relu)
        assert torch.equal(value[seed], single)
        for one, other in zip(found[:2], torch.autograd.grad(single.square().sum(), own)[:2], strict=True):
            assert torch.equal(one[seed], other)


def test_no_seeds_have_no_products():
    none, x = torch.randn(0, 120, 90), torch.ones(20, 90)
    assert torch.vmap(lambda weight: linear(x, weight))(none).shape == (0, 20, 120)


def stack_and_input():
    torch.manual_seed(0)
    return dense_stack(90, [120, 110, 100], "relu"), torch.randn(20, 90)


def in_turn(stack, x):
    """What `nn.Sequential` makes of it."""
    for layer in stack:
        x = layer(x)
    return x


@pytest.mark.parametrize("library", products.LIBRARIES)
@pytest.mark.parametrize("differentiated", [True, False])
def test_a_stack_s_relus_are_computed_by_the_products_before_them(loop, monkeypatch, library, differentiated):
    """Value and gradients are those of the layers in turn, bit for bit."""
    monkeypatch.setenv(products.SETTING, library)
    stack, x = stack_and_input()
    parameters = list(stack.parameters())
    with torch.set_grad_enabled(differentiated):
        value = stack(x)
        assert [relu for _, relu in loop] == (3 * [True] if library == "loop" else [])
        expected = in_turn(stack, x)
    assert torch.equal(value, expected)
    if differentiated:
        found, wanted = (torch.autograd.grad(each.square().sum(), parameters) for each in (value, expected))
        assert all(map(torch.equal, found, wanted))


HOOKS = {
    "forward": lambda layer, see: layer.register_forward_hook(lambda _, given, value: see(value)),
    "forward pre": lambda layer, see: layer.register_forward_pre_hook(lambda _, given: see(given[0])),
    "backward": lambda layer, see: layer.register_full_backward_hook(lambda _, given, grads: see(given[0])),
    "backward pre": lambda layer, see: layer.register_full_backward_pre_hook(lambda _, grads: see(grads[0])),
    "every forward": lambda layer, see: nn.modules.module.register_module_forward_hook(
        lambda module, given, value: see(value) if module is layer else None
    ),
    "every backward": lambda layer, see: nn.modules.module.register_module_full_backward_hook(
        lambda module, given, grads: see(given[0]) if module is layer else None
    ),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("place", range(6))
def test_a_hook_sees_what_it_sees_in_layers_in_turn(loop, hook, place):
    seen = []
    for run in (lambda stack, x: stack(x), in_turn):
        stack, x = stack_and_input()
        handle = HOOKS[hook](stack[place], lambda value: seen.append(value.detach().clone()))
        try:
            run(stack, x.requires_grad_()).square().sum().backward()
        finally:
            handle.remove()
    one, other = seen
    assert torch.equal(one, other)


def test_a_layer_or_relu_that_was_replaced_is_called():
    stack, x = stack_and_input()
    stack[2].forward = lambda given: torch.zeros(len(given), 110)
    stack[5].forward = lambda given: given - 1
    assert torch.equal(stack(x), in_turn(stack, x))

    class Twice(Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    stack[0] = Twice(90, 120)
    assert torch.equal(stack(x), in_turn(stack, x))


def test_other_activations_and_copies_are_as_layers_in_turn(loop):
    for activation in ("tanh", "leaky-relu", "softplus"):
        stack = dense_stack(90, [120, 110], activation)
        x = torch.randn(20, 90)
        assert torch.equal(copy.deepcopy(stack)(x), in_turn(stack, x))
    assert not any(relu for _, relu in loop)
    assert all(type(one) is Linear for one, _ in pairwise(stack) if isinstance(one, nn.Linear))


def test_a_compiler_and_transforms_see_the_layers(loop, monkeypatch):
    stack, x = stack_and_input()
    expected = in_turn(stack, x)
    torch.testing.assert_close(torch.func.vmap(stack)(x), expected)
    torch.testing.assert_close(torch.func.jvp(stack, (x,), (x,))[0], expected)
    loop.clear()
    with monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        torch.testing.assert_close(stack(x), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert stack(x).dtype == torch.bfloat16
    assert loop == []
