"""Products of images that are mostly 0: those of float64, the same on any number of threads, with all derivatives."""

import copy

import pytest
import torch
from dense_products import near
from torch.nn import functional as F

from vaezoo.core import sparse_product
from vaezoo.core.errors import VaezooError
from vaezoo.core.sparse_product import FEWEST, by_weight, forward, lay_out, takes
from vaezoo.nets.linear import Linear, linear

pytest.importorskip("numba")
SHAPES = [
    (1, FEWEST, FEWEST),
    (3, 33, 100),
    (7, 784, 47),
    (128, 784, 400),
    (128, 100, 300),
    (50, 40, 64),
    (300, 250, 129),
    (17, 65, 255),
]
"""Images, inputs and outputs."""


def made(images, inputs, outputs, share=0.15, seeds=(), dtype=torch.float32):
    """x of which so large a share is not 0, a weight that is laid out, a bias and a gradient."""
    generator = torch.Generator().manual_seed(images + outputs)
    x = torch.randn(*seeds, images, inputs, generator=generator, dtype=dtype)
    x = x * (torch.rand(x.shape, generator=generator) < share)
    weight = torch.randn(*seeds, inputs, outputs, generator=generator, dtype=dtype).mT
    bias = torch.randn(*seeds, outputs, generator=generator, dtype=dtype)
    return x, weight, bias, torch.randn(*seeds, images, outputs, generator=generator, dtype=dtype)


@pytest.fixture
def sparse_calls(monkeypatch):
    """Which of the two products the loop has made."""
    calls = []
    for name in ("forward", "by_weight"):
        original = getattr(sparse_product, name)
        monkeypatch.setattr(
            sparse_product, name, lambda *given, name=name, original=original: (calls.append(name), original(*given))[1]
        )
    return calls


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_products_are_those_of_float64(shape, share, threads):
    """Whatever is 0, on any number of threads, bit for bit the same."""
    x, weight, bias, grad = made(*shape, share=share)
    assert takes(x, weight)
    found = []
    for number in (1, 2, 5):
        threads(number)
        found.append((forward(x, weight, bias), forward(x, weight), by_weight(grad, x)))
    with_bias, without, gradient = found[0]
    assert near(with_bias, x, weight.mT, bias.double())
    assert near(without, x, weight.mT)
    assert near(gradient, grad.mT, x)
    assert gradient.mT.is_contiguous()
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_those_of_several_seeds_are_each_seed_s(shape):
    x, weight, bias, grad = made(*shape, seeds=(3,))
    assert takes(x, weight)
    value, gradient = forward(x, weight, bias), by_weight(grad, x)
    assert gradient.mT.is_contiguous()
    for seed in range(3):
        own = x[seed], weight[seed], bias[seed]
        assert torch.equal(value[seed], forward(*own))
        assert torch.equal(gradient[seed], by_weight(grad[seed], x[seed]))


def test_numbers_that_are_not_finite_stay_so():
    """But a 0 of x leaves a weight or a gradient out, whatever it is."""
    x, weight, bias, grad = made(6, 64, 64)
    x[0, 3], x[1, :] = float("nan"), 0.0
    weight[:, 5] = float("inf")
    x[:, 5] = 0.0
    x[2, 5] = 1.0
    value = forward(x, weight, bias)
    assert value[0].isnan().all()
    assert torch.equal(value[1], bias)
    assert value[2].isinf().all()
    assert value[3:].isfinite().all()
    grad[4] = float("nan")
    gradient = by_weight(grad, x)
    assert torch.equal(gradient.isnan().any(0), (x[4] != 0) | x.isnan().any(0))


@pytest.mark.parametrize(
    ("shape", "transposed"), [((5, FEWEST - 1, 40), True), ((5, 40, FEWEST - 1), True), ((5, 40, 40), False)]
)
def test_small_layers_and_other_layouts_are_left_to_the_libraries(shape, transposed):
    x, weight, *_ = made(*shape)
    assert not takes(x, weight if transposed else weight.contiguous())
    assert not takes(x.t().contiguous().t(), weight)


def layer(outputs=300, inputs=250):
    torch.manual_seed(0)
    made_layer = Linear(inputs, outputs)
    lay_out(made_layer.weight)
    made_layer.sparse = True
    return made_layer


@pytest.mark.parametrize("by_x", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_layer_has_all_its_derivatives(sparse_calls, by_x, with_bias):
    """The first and second ones are those of float64. An x that needs a gradient is multiplied by the libraries."""
    own = layer()
    x = made(20, 250, 300)[0].requires_grad_(by_x)
    bias = own.bias if with_bias else None
    given = [each for each in (x, own.weight, bias) if each is not None and each.requires_grad]
    value = linear(x, own.weight, bias, own.sparse)
    first = torch.autograd.grad(value.square().sum(), given)
    assert sparse_calls == ([] if by_x else ["forward", "by_weight"])
    exact = F.linear(x.double(), own.weight.double(), None if bias is None else bias.double())
    wanted = torch.autograd.grad(exact.square().sum(), given, create_graph=True)
    value = linear(x, own.weight, bias, own.sparse)
    again = torch.autograd.grad(value.square().sum(), given, create_graph=True)
    for one, other, expected in zip(first, again, wanted, strict=True):
        torch.testing.assert_close(one, expected.float(), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(other, expected.float(), rtol=1e-4, atol=1e-3)
    second = torch.autograd.grad(sum(each.square().sum() for each in again), given)
    second_wanted = torch.autograd.grad(sum(each.square().sum() for each in wanted), given)
    for one, expected in zip(second, second_wanted, strict=True):
        torch.testing.assert_close(one, expected.float(), rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_loop_multiplies_only_with_gradients_and_where_nothing_else_looks(sparse_calls, monkeypatch):
    """Not in an estimate, for another type, under a transform, for a compiler, or where the weight is not laid out."""
    own, x = layer(), made(20, 250, 300)[0]
    expected = F.linear(x, own.weight, own.bias)
    with torch.no_grad():
        torch.testing.assert_close(own(x), expected)
    torch.testing.assert_close(torch.func.vmap(own)(x), expected)
    torch.testing.assert_close(torch.func.jvp(own, (x,), (x,))[0], expected)
    torch.testing.assert_close(torch.func.grad(lambda x: own(x).sum())(x), own.weight.sum(0).expand_as(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert own(x).dtype == torch.bfloat16
    assert own.double()(x.double()).dtype == torch.float64
    own.float()
    own.weight.data = own.weight.data.contiguous()
    torch.testing.assert_close(own(x), expected)
    own = layer()
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        torch.testing.assert_close(own(x), expected)
    assert sparse_calls == []
    torch.testing.assert_close(own(x), expected)
    assert sparse_calls == ["forward"]


def test_without_the_loop_the_libraries_multiply(sparse_calls, monkeypatch):
    monkeypatch.setattr(sparse_product.compiled, "loop", lambda name: None)
    own, x = layer(), made(20, 250, 300)[0]
    torch.testing.assert_close(own(x), F.linear(x, own.weight, own.bias))
    assert sparse_calls == []


@pytest.mark.parametrize("by_x", [True, False])
@pytest.mark.parametrize("laid_out", [True, False])
def test_a_mapped_layer_is_each_seed_s(sparse_calls, laid_out, by_x):
    """By the loop where the weights of all seeds are laid out, with their gradients laid out as they are."""
    x, weight, bias, _ = made(20, 250, 300, seeds=(3,))
    weight = weight if laid_out else weight.contiguous()
    given = [each.requires_grad_() for each in ((x, weight, bias) if by_x else (weight, bias))]
    value = torch.vmap(lambda *own: linear(*own, True))(x, weight, bias)
    found = torch.autograd.grad(value.square().sum(), given)
    assert sparse_calls == (["forward", "by_weight"] if laid_out and not by_x else [])
    assert not laid_out or by_x or found[0].stride() == weight.stride()
    exact = torch.baddbmm(bias.double().unsqueeze(1), x.double(), weight.double().mT)
    torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=1e-4)
    for one, wanted in zip(found, torch.autograd.grad(exact.square().sum(), given), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-2)


def test_a_mapped_layer_has_second_derivatives():
    x, weight, bias, _ = made(4, 40, 50, seeds=(2,))
    given = [each.requires_grad_() for each in (weight, bias)]

    def second(value):
        first = torch.autograd.grad(value.square().sum(), given, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), given)

    found = second(torch.vmap(lambda *own: linear(*own, True))(x, weight, bias))
    wanted = second(torch.baddbmm(bias.double().unsqueeze(1), x.double(), weight.double().mT))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-3, atol=1e-3 * float(other.abs().max()))


def test_a_copy_of_a_layer_is_laid_out_too(sparse_calls):
    copied = copy.deepcopy(layer())
    copied(made(20, 250, 300)[0])
    assert sparse_calls == ["forward"]


def test_a_weight_that_is_laid_out_anew_under_a_recording_is_said():
    own, x = layer(), made(20, 250, 300)[0]
    with pytest.raises(VaezooError, match="make the step anew"):
        forward(x, own.weight.detach().contiguous(), own.bias.detach())
