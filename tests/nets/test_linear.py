"""The product of a dense layer: oneDNN's numbers are those of float64, and so are all its derivatives."""

import pytest
import torch
from dense_products import IN, OUT, SMALL, assert_near, here, products_made, setting, tensors  # noqa: F401
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.nn import functional as F

from vaezoo.nets.linear import linear

SHAPES = [(IN,), (1, IN), (7, IN), (2, 3, IN), (0, IN), (3, 0, IN)]


@here
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_the_product_and_its_gradients_are_those_of_float64(products, shape, biased):
    x, weight, bias = (each.requires_grad_() for each in tensors(*shape))
    given = (x, weight, bias) if biased else (x, weight)
    value = linear(*given)
    assert bool(products) == (x.numel() > 0)
    exact = F.linear(*(each.double() for each in given))
    assert_near(value, exact)
    found = torch.autograd.grad(value.square().sum(), given)
    for one, other in zip(found, torch.autograd.grad(exact.square().sum(), given), strict=True):
        assert_near(one, other.double())


@here
@pytest.mark.parametrize("kind", ["transposed x", "strided x", "transposed weight", "one row for all"])
def test_any_layout_of_memory(products, kind):
    x, weight, bias = tensors(IN, IN)
    if kind == "transposed x":
        x = x.t()
    elif kind == "strided x":
        x = x.repeat(2, 2)[::2, ::2]
    elif kind == "transposed weight":
        weight = weight.t().contiguous().t()
    else:
        weight = weight[0].expand(OUT, IN)
    assert_near(linear(x, weight, bias), F.linear(x.double(), weight.double(), bias.double()))
    assert products


@here
def test_second_derivatives(products):
    """Of a gradient's norm, as in a penalty on gradients."""
    x, weight, bias = (each.requires_grad_() for each in tensors(5, IN))

    def penalty(product, *given):
        value = product(*given).sin().sum()
        (by_x,) = torch.autograd.grad(value, given[:1], create_graph=True)
        return torch.autograd.grad(by_x.square().sum(), given)

    exact = penalty(F.linear, *(each.detach().double().requires_grad_() for each in (x, weight, bias)))
    for one, other in zip(penalty(linear, x, weight, bias), exact, strict=True):
        assert_near(one, other)
    assert products


@here
@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
@pytest.mark.parametrize("moved", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_forward_derivatives(products, moved):
    given, ways = tensors(5, IN), tensors(5, IN, seed=1)

    def both(product, dtype):
        def at(*values):
            return product(*(values[moved.index(n)] if n in moved else each.to(dtype) for n, each in enumerate(given)))

        return jvp(at, tuple(given[n].to(dtype) for n in moved), tuple(ways[n].to(dtype) for n in moved))

    for one, other in zip(both(linear, torch.float32), both(F.linear, torch.float64), strict=True):
        assert_near(one, other)


@pytest.mark.parametrize(
    "places", [(0, None, None), (1, None, None), (None, 0, None), (0, 0, None), (0, 0, 0), (None, None, 0), (0, 1, 1)]
)
@pytest.mark.parametrize("middle", [(), (3,), (2, 3)])
def test_mapped_over_any_of_its_arguments(places, middle):
    """The value and the gradients, which a pack takes of each seed's own weights."""
    single = (*middle, IN), (OUT, IN), (OUT,)
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(4, *shape, generator=generator) for shape in single]
    given[1] /= IN**0.5
    given = [
        each[0] if place is None else each.movedim(0, min(place, each.dim() - 1)).contiguous()
        for each, place in zip(given, places, strict=True)
    ]
    places = tuple(p if p is None else min(p, len(s)) for p, s in zip(places, single, strict=True))

    def value_and_gradients(product, x, weight, bias):
        return product(x, weight, bias), *grad(lambda *own: product(*own).sin().sum(), (0, 1, 2))(x, weight, bias)

    found = vmap(lambda *own: value_and_gradients(linear, *own), places)(*given)
    exact = vmap(lambda *own: value_and_gradients(F.linear, *own), places)(*(each.double() for each in given))
    for one, other in zip(found, exact, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("places", [(0, 0, 0), (None, 0, 0), (0, 0, None), (1, 0, 1), (0, 2, 0), (0, None, 0)])
@pytest.mark.parametrize("middle", [(), (3,), (2, 3)])
@pytest.mark.parametrize("size", [(OUT, IN), (4, 5)], ids=["large", "small"])
@pytest.mark.parametrize("biased", [True, False])
def test_a_pack_of_seeds_differentiated_from_outside(places, middle, size, biased):
    """As a packed step is: the value, the gradients, which lie as the weights do, and second derivatives."""
    out, inputs = size
    single = (*middle, inputs), (out, inputs), (out,)
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(4, *shape, generator=generator) for shape in single]
    given[1] /= inputs**0.5
    given = [
        (each[0] if place is None else each.movedim(0, min(place, each.dim() - 1)).contiguous()).requires_grad_()
        for each, place in zip(given, places, strict=True)
    ]
    places = tuple(p if p is None else min(p, len(s)) for p, s in zip(places, single, strict=True))
    if not biased:
        given, places = given[:2], places[:2]
    found = vmap(linear, places)(*given)
    doubles = [each.detach().double().requires_grad_() for each in given]
    exact = vmap(F.linear, places)(*doubles)
    assert_near(found, exact)
    first = torch.autograd.grad(found.sin().sum(), given, create_graph=True)
    wanted = torch.autograd.grad(exact.sin().sum(), doubles, create_graph=True)
    second = torch.autograd.grad(first[1].square().sum(), given)
    for one, other in zip(first, wanted, strict=True):
        assert_near(one, other)
    for one, other in zip(second, torch.autograd.grad(wanted[1].square().sum(), doubles), strict=True):
        assert_near(one, other)
    if places[:2] == (0, 0):
        assert first[1].is_contiguous()


@pytest.mark.parametrize("needed", [(0,), (1,), (0, 2), (1, 2)])
def test_a_pack_of_which_only_some_need_gradients(needed):
    given = [torch.randn(3, *shape).requires_grad_(n in needed) for n, shape in enumerate(((5, 4), (6, 4), (6,)))]
    doubles = [each.detach().double().requires_grad_(each.requires_grad) for each in given]
    wanted = torch.autograd.grad(vmap(F.linear)(*doubles).sin().sum(), [doubles[n] for n in needed])
    for one, other in zip(
        torch.autograd.grad(vmap(linear)(*given).sin().sum(), [given[n] for n in needed]), wanted, strict=True
    ):
        assert_near(one, other)


@pytest.mark.parametrize("mapped", [False, True])
def test_torch_s_compiler_sees_one_graph(mapped):
    x, weight, bias = tensors(3, 7, IN) if mapped else tensors(7, IN)
    if mapped:
        weight, bias = weight.expand(3, OUT, IN).contiguous(), bias.expand(3, OUT).contiguous()
    product = vmap(linear) if mapped else linear
    found = torch.compile(product, backend="eager", fullgraph=True)(x, weight, bias)
    assert_near(found, (vmap(F.linear) if mapped else F.linear)(x.double(), weight.double(), bias.double()))


@here
@pytest.mark.parametrize("rows", [130, 300])
def test_rows_that_lie_over_each_other(products, rows):
    """As those of `unfold` do, which oneDNN refuses."""
    x = torch.randn(rows + IN - 1, generator=torch.Generator().manual_seed(0)).unfold(0, IN, 1)
    _, weight, bias = (each.requires_grad_() for each in tensors(5, IN))
    found = torch.autograd.grad(linear(x, weight, bias).sin().sum(), (weight, bias))
    doubles = [each.detach().double().requires_grad_() for each in (weight, bias)]
    wanted = torch.autograd.grad(F.linear(x.double(), *doubles).sin().sum(), doubles)
    assert products
    for one, other in zip(found, wanted, strict=True):
        assert_near(one, other)


def test_forward_derivatives_of_forward_derivatives():
    """By x of the one by W: x itself does not matter, and the tangents' product is left."""
    (x, weight, _), (by_x, by_weight, _) = tensors(5, IN), tensors(5, IN, seed=1)
    inner = lambda x: jvp(lambda weight: linear(x, weight), (weight,), (by_weight,))[1]  # noqa: E731
    assert_near(jvp(inner, (x,), (by_x,))[1], by_x.double() @ by_weight.double().T)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_dual_numbers():
    (x, weight, bias), (by_x, by_weight, by_bias) = tensors(5, IN), tensors(5, IN, seed=1)
    with forward_ad.dual_level():
        duals = (forward_ad.make_dual(*pair) for pair in ((x, by_x), (weight, by_weight), (bias, by_bias)))
        found = forward_ad.unpack_dual(linear(*duals)).tangent
    x, weight, by_x, by_weight = (each.double() for each in (x, weight, by_x, by_weight))
    assert_near(found, by_x @ weight.T + x @ by_weight.T + by_bias)


@here
@pytest.mark.parametrize("shape", [(5, IN), (2, 3, IN)], ids=str)
@pytest.mark.parametrize("change", [torch.relu_, lambda y: y.mul_(2), lambda y: y[:1].zero_()])
def test_the_result_may_be_changed_in_place(products, shape, change):
    x, weight, bias = (each.requires_grad_() for each in tensors(*shape))
    change(linear(x, weight, bias))
    assert products


@here
def test_only_what_a_gradient_needs_is_kept(products):
    """A frozen layer's images, and the weights of a first layer, may be changed in place before the gradient."""
    x, weight, bias = tensors(5, IN)
    weight.requires_grad_()
    value = linear(x, weight, bias)
    with torch.no_grad():
        weight.mul_(2)
    value.sum().backward()
    assert_near(weight.grad, x.double().sum(0).expand(OUT, IN))
    x.requires_grad_()
    value = linear(x.clone(), weight.detach(), bias)
    value.sum().backward()
    assert len(products) == 4, "two forwards, one of them back to the weights and one to x"


def test_a_wrong_shape_is_said_by_torch():
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(7x9 and 250x300\)"):
        linear(torch.zeros(7, 9), torch.zeros(OUT, IN))


@pytest.mark.parametrize("size", [(3, 5), SMALL, (OUT, IN)])
@pytest.mark.parametrize("shape", [(), (7,), (2, 3)])
def test_without_a_graph_the_numbers_are_the_same(size, shape):
    """Also those of a weight so small that torch multiplies it where there is one."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(each, generator=generator) for each in ((*shape, size[1]), size, size[:1]))
    expected = linear(x, weight.requires_grad_(), bias)
    with torch.no_grad():
        found = linear(x, weight, bias)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5)
