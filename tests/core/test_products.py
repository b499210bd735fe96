"""The product of a dense layer: oneDNN's numbers are those of float64, and so are all its derivatives."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F

import vaezoo
from vaezoo.builder import build
from vaezoo.core import products as module
from vaezoo.core.precision import computing
from vaezoo.core.products import ONEDNN, linear

OUT, IN = 300, 250
BOUND = 1e-5
"""Relative to the largest element: sums of IN or OUT products in float32."""
SHAPES = [(IN,), (1, IN), (7, IN), (2, 3, IN), (0, IN), (3, 0, IN)]
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


@pytest.fixture
def products(monkeypatch):
    """Counts the products that oneDNN made."""
    made = []
    monkeypatch.setattr(module, "ONEDNN", lambda *given: made.append(1) or ONEDNN(*given))
    return made


@here
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_the_product_and_its_gradients_are_those_of_float64(products, shape, biased):
    x, weight, bias = (each.requires_grad_() for each in tensors(*shape))
    given = (x, weight, bias) if biased else (x, weight)
    value = linear(*given)
    assert products
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
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch's own, of its forward mode
@pytest.mark.parametrize("moved", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_forward_derivatives(products, moved):
    given, ways = tensors(5, IN), tensors(5, IN, seed=1)

    def both(product, dtype):
        def at(*values):
            return product(*(values[moved.index(n)] if n in moved else each.to(dtype) for n, each in enumerate(given)))

        return jvp(at, tuple(given[n].to(dtype) for n in moved), tuple(ways[n].to(dtype) for n in moved))

    for one, other in zip(both(linear, torch.float32), both(F.linear, torch.float64), strict=True):
        assert_near(one, other)
    assert products


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


CPU = torch.device("cpu")


@here
def test_a_layer_trains_in_a_pack_as_alone(products):
    """Gradients taken outside the mapped pass, as a pack takes them."""
    made = [nn.Linear(IN, OUT) for _ in range(3)]
    stacked = {name: torch.stack([getattr(layer, name).detach() for layer in made]) for name in ("weight", "bias")}
    own = {name: value.requires_grad_() for name, value in stacked.items()}
    x = tensors(3, 6, IN)[0]
    with computing("float32", CPU):
        vmap(lambda own, x: functional_call(made[0], own, (x,)).square().sum())(own, x).sum().backward()
        assert not products
        for seed, layer in enumerate(made):
            layer(x[seed]).square().sum().backward()
            for name in own:
                assert_near(own[name].grad[seed], getattr(layer, name).grad.double())
    assert len(products) == len(made)


@pytest.mark.parametrize("kind", [(), ("encoder",), ("decoder",), ("encoder", "decoder")])
def test_a_plugin_s_own_layers_are_quick_in_encoder_and_decoder(products, kind):
    """The product of a plain `nn.Linear` in a model's parts, at evaluation as in training."""

    class Wide(nn.Module):
        def __init__(self, old):
            super().__init__()
            self.old, self.wide = old, nn.Linear(300, 300)

        def forward(self, *given):
            self.wide(torch.zeros(2, 300))
            return self.old(*given)

    model = build("vae", "digits-binary", latent=2, hidden=(3,))
    for part in kind:
        net = getattr(model, part)
        net.net = Wide(net.net)
    x = vaezoo.load_dataset("digits-binary").test.x[:5]
    model.draw(model.batch(x), 1).log_weight.sum().backward()
    assert len(products) == (len(kind) if ONEDNN else 0)


@pytest.mark.parametrize("why", ["small", "float64", "bfloat16", "autocast", "switched off", "not there"])
def test_elsewhere_it_is_torch_s_own(monkeypatch, products, why):
    layer, x = nn.Linear(IN, OUT), tensors(7, IN)[0]
    if why == "small":
        layer, x = nn.Linear(20, 30), x[:, :20]
    if why in ("float64", "bfloat16"):
        layer, x = layer.to(getattr(torch, why)), x.to(getattr(torch, why))
    if why == "not there":
        monkeypatch.setattr(module, "ONEDNN", None)
    if why == "switched off":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        expected = layer(x)
        assert torch.equal(linear(x, layer.weight, layer.bias), expected)
        with computing("float32", CPU):
            assert torch.equal(layer(x), expected)
    assert not products


def test_a_wrong_shape_is_said_by_torch():
    with pytest.raises(RuntimeError, match=r"cannot be multiplied \(7x9 and 250x300\)"):
        linear(torch.zeros(7, 9), torch.zeros(OUT, IN))
