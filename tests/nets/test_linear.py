"""The product of a dense layer: oneDNN's numbers are those of float64, and so are all its derivatives."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import vaezoo
from vaezoo.builder import build
from vaezoo.core import products as chosen
from vaezoo.core.model import LatentModel
from vaezoo.core.products import PRODUCTS, SETTING
from vaezoo.core.torch_internals import onednn_linear
from vaezoo.nets.linear import Linear, linear

OUT, IN = 300, 250
BOUND = 1e-5
"""Relative to the largest element: sums of IN or OUT products in float32."""
SHAPES = [(IN,), (1, IN), (7, IN), (2, 3, IN), (0, IN), (3, 0, IN)]
ONEDNN = onednn_linear()
here = pytest.mark.skipif(ONEDNN is None, reason="this build of torch has no oneDNN")


def tensors(*shape, seed=0):
    """x, weight and bias, of which the product is about 1."""
    generator = torch.Generator().manual_seed(seed)
    x, weight, bias = (torch.randn(each, generator=generator) for each in (shape, (OUT, IN), (OUT,)))
    return [x, weight / IN**0.5, bias]


def assert_near(found, exact):
    """Of float32 beside float64."""
    found, exact = found.detach(), exact.detach()
    assert found.shape == exact.shape
    assert found.dtype == torch.float32
    if exact.numel():
        assert float((found - exact).abs().max()) <= BOUND * float(exact.abs().max())


@pytest.fixture(autouse=True)
def setting(monkeypatch):
    """oneDNN multiplies, unless a test says otherwise."""
    monkeypatch.setenv(SETTING, "onednn")


@pytest.fixture
def products(monkeypatch):
    """Counts the products that oneDNN made."""
    made = []
    monkeypatch.setattr(chosen, "onednn_linear", lambda: lambda *given: made.append(1) or ONEDNN(*given))
    return made


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


def each_of(onednn, rows):
    """A choice: oneDNN for these products, with few rows or many, torch for the others."""
    return {name + of: "onednn" if name in onednn else "torch" for name in PRODUCTS for of in ("", " of a block")}


@here
@pytest.mark.parametrize("rows", [7, 300])
@pytest.mark.parametrize("onednn", [(), *((name,) for name in PRODUCTS), PRODUCTS[:2], PRODUCTS[1:], PRODUCTS])
def test_each_product_is_made_by_its_library(monkeypatch, products, onednn, rows):
    monkeypatch.setattr(chosen, "choice", lambda: each_of(onednn, rows))
    x, weight, bias = (each.requires_grad_() for each in tensors(rows, IN))
    value = linear(x, weight, bias)
    found = torch.autograd.grad(value.square().sum(), (x, weight, bias), create_graph=True)
    assert len(products) == len(onednn)
    exact = F.linear(x.double(), weight.double(), bias.double())
    assert_near(value, exact)
    wanted = torch.autograd.grad(exact.square().sum(), (x, weight, bias), create_graph=True)
    for one, other in zip(found, wanted, strict=True):
        assert_near(one, other.double())
    for one, other in zip(
        torch.autograd.grad(found[1].square().sum(), (x, weight)),
        torch.autograd.grad(wanted[1].square().sum(), (x, weight)),
        strict=True,
    ):
        assert_near(one, other.double())


@here
def test_the_choice_is_by_the_number_of_images(monkeypatch, products):
    """A block has BOUNDARY rows or more; by weight the images are summed over."""
    choice = {name + of: "onednn" if of else "torch" for name in PRODUCTS for of in ("", " of a block")}
    monkeypatch.setattr(chosen, "choice", lambda: choice)
    for rows, count in ((chosen.BOUNDARY - 1, 0), (chosen.BOUNDARY, 3)):
        x, weight, bias = (each.requires_grad_() for each in tensors(rows, IN))
        linear(x, weight, bias).sum().backward()
        assert len(products) == count


@here
def test_torch_can_be_set_for_every_product(monkeypatch, products):
    monkeypatch.setenv(SETTING, "torch")
    x, weight, bias = (each.requires_grad_() for each in tensors(7, IN))
    value = linear(x, weight, bias)
    value.sum().backward()
    assert not products
    assert_near(value, F.linear(x.double(), weight.double(), bias.double()))


@here
@pytest.mark.parametrize("kind", ["column", "every other", "one number", "wide", "of rows", "0-dim"])
def test_biases_that_oneDNN_would_misread(products, kind):
    x, weight, bias = tensors(5, IN)
    bias = {
        "column": bias.repeat(3, 1).T.contiguous()[:, 0],
        "every other": bias.repeat_interleave(2)[::2],
        "one number": bias[:1].expand(OUT),
        "wide": bias[None],
        "of rows": bias.repeat(5, 1),
        "0-dim": bias[0],
    }[kind]
    assert_near(linear(x, weight, bias), x.double() @ weight.double().T + bias.double())
    assert not products


class Own(Tensor):
    """A tensor with its own idea of a product."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return "own" if func is F.linear else super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize(
    "why", ["small", "float64", "bfloat16", "autocast", "switched off", "not there", "compiling", "sparse", "subclass"]
)
def test_elsewhere_it_is_torch_s_own(monkeypatch, products, why):
    x, weight, _ = tensors(7, IN)
    if why == "small":
        x, weight = x[:, :20], weight[:30, :20]
    if why in ("float64", "bfloat16"):
        x, weight = x.to(getattr(torch, why)), weight.to(getattr(torch, why))
    if why == "not there":
        monkeypatch.setattr(chosen, "onednn_linear", lambda: None)
    if why == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    if why == "compiling":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    if why == "sparse":
        weight = weight.to_sparse()
    if why == "subclass":
        assert linear(x, weight.as_subclass(Own)) == "own"
        return
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        assert torch.equal(linear(x, weight), F.linear(x, weight))
    assert not products


def test_a_wrong_shape_is_said_by_torch():
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(7x9 and 250x300\)"):
        linear(torch.zeros(7, 9), torch.zeros(OUT, IN))


class Wide(nn.Module):
    """A plugin's net, with a large plain layer of its own."""

    def __init__(self, old, kind):
        super().__init__()
        self.old, self.wide = old, kind(300, 300)

    def forward(self, given):
        rows = checkpoint(self.wide, torch.zeros(2, 300, requires_grad=True), use_reentrant=False)
        return self.old(given) + 0 * rows.sum()


class Plugins(nn.Linear):
    """A plugin's own layer, with its own product."""

    def forward(self, input):
        return super().forward(input) * 2


@pytest.mark.parametrize("kind", [Linear, nn.Linear, Plugins])
@pytest.mark.parametrize("part", ["encoder", "decoder", "posterior_net"])
def test_the_fast_layer_multiplies_with_onednn_and_torch_s_own_layer_is_left_alone(products, part, kind):
    """Their products in a model's parts, at evaluation as in training, recomputed in a checkpoint, and copied."""
    model = build("vae", "digits-binary", latent=2, hidden=(3,))
    parts = [model.encoder, model.posterior_net, model.prior, model.decoder, model.likelihood]
    net = getattr(model, part)
    name = "heads" if part == "posterior_net" else "net"
    setattr(net, name, Wide(getattr(net, name), kind))
    model = copy.deepcopy(LatentModel(*parts, model.spec))
    x = vaezoo.load_dataset("digits-binary").test.x[:5]
    model.draw(model.batch(x), 1).log_weight.sum().backward()
    quick = ONEDNN is not None and kind is Linear
    assert len(products) == (4 if quick else 0), "forward, recomputed, and by its input and its weight"
    assert isinstance(getattr(getattr(model, part), name).wide, kind)


@pytest.mark.parametrize("size", [(3, 5), (OUT, IN)])
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
