"""Which library multiplies a dense layer: the chosen one where oneDNN can, else torch."""

import copy
from itertools import combinations

import pytest
import torch
from dense_products import IN, ONEDNN, OUT, SMALL, assert_near, here, products_made, setting, tensors  # noqa: F401
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import vaezoo
from vaezoo.builder import build
from vaezoo.core import products as chosen
from vaezoo.core.model import LatentModel
from vaezoo.core.products import PRODUCTS, SETTING
from vaezoo.nets.linear import Linear, linear

LAYERS = {"": (OUT, IN), " in a small layer": SMALL}
"""What ends the name of a choice, and the outputs and inputs of a layer for which that choice holds."""
FEW, MANY = 7, 1100
"""Images of which the numbers in a small layer are fewer than oneDNN's LEAST, or more than products.LARGE."""
SUBSETS = [each for number in range(4) for each in combinations(PRODUCTS, number)]


def only(onednn, rows, layer):
    """A choice: oneDNN for these products of so many rows in such a layer; elsewhere for the others alone."""
    place = {name + (" of a block" if rows >= chosen.BOUNDARY else "") + layer for name in PRODUCTS}
    return {name: "onednn" if name.startswith(onednn) == (name in place) else "torch" for name in chosen.names()}


@here
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("onednn", SUBSETS, ids=str)
def test_each_product_is_made_by_its_library(monkeypatch, products, onednn, rows, layer):
    """By weight, too, the layer's size counts: not that of its images, which are multiplied as a weight is. The numbers
    and the first and second derivatives are those of float64.
    """
    monkeypatch.setattr(chosen, "choice", lambda: only(onednn, rows, layer))
    out, inputs = LAYERS[layer]
    given = x, weight, _ = [each.requires_grad_() for each in tensors(rows, inputs, out=out)]
    value = linear(*given)
    found = torch.autograd.grad(value.square().sum(), given, create_graph=True)
    shapes = {"forward": (rows, out), "by input": (rows, inputs), "by weight": (out, inputs)}
    assert sorted(products) == sorted(shapes[name] for name in onednn)
    exact = F.linear(*(each.double() for each in given))
    assert_near(value, exact)
    wanted = torch.autograd.grad(exact.square().sum(), given, create_graph=True)
    for one, other in zip(found, wanted, strict=True):
        assert_near(one, other.double())
    for first, first_wanted in zip(found[:2], wanted[:2], strict=True):
        second = torch.autograd.grad(first.square().sum(), (x, weight), retain_graph=True)
        second_wanted = torch.autograd.grad(first_wanted.square().sum(), (x, weight), retain_graph=True)
        for one, other in zip(second, second_wanted, strict=True):
            assert_near(one, other.double())


@here
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("onednn", SUBSETS, ids=str)
def test_each_product_of_a_pack_is_made_by_its_library(monkeypatch, products, onednn, rows, layer):
    """By oneDNN seed by seed, with the numbers of a seed that trains alone, bit for bit; the derivatives are those of
    float64.
    """
    monkeypatch.setattr(chosen, "choice", lambda: only(onednn, rows, layer))
    out, inputs = LAYERS[layer]
    given = [
        torch.stack(each).requires_grad_()
        for each in zip(*(tensors(rows, inputs, out=out, seed=seed) for seed in range(3)), strict=True)
    ]
    value = torch.vmap(linear)(*given)
    found = torch.autograd.grad(value.square().sum(), given)
    shapes = {"forward": (rows, out), "by input": (rows, inputs), "by weight": (out, inputs)}
    assert sorted(products) == sorted(3 * [shapes[name] for name in onednn])
    if set(onednn) == set(PRODUCTS):
        single = [torch.stack(each) for each in zip(*map(value_and_gradients, *given), strict=True)]
        assert all(map(torch.equal, (value, *found[:2]), single))
    exact = torch.vmap(F.linear)(*(each.double() for each in given))
    for one, other in zip(found, torch.autograd.grad(exact.square().sum(), given), strict=True):
        assert_near(one, other.double())


def value_and_gradients(*given):
    """x W^T + b, and the gradients of its sum of squares by x and W."""
    given = [each.detach().requires_grad_() for each in given]
    value = linear(*given)
    return value, *torch.autograd.grad(value.square().sum(), given[:2])


@here
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rows", [FEW, MANY])
@pytest.mark.parametrize("onednn", [PRODUCTS[:1], PRODUCTS[1:]], ids=str)
def test_without_gradients_only_the_forward_product_counts(monkeypatch, products, onednn, rows, layer):
    monkeypatch.setattr(chosen, "choice", lambda: only(onednn, rows, layer))
    out, inputs = LAYERS[layer]
    given = tensors(rows, inputs, out=out)
    with torch.no_grad():
        value = linear(*given)
    assert products == ([(rows, out)] if "forward" in onednn else [])
    assert_near(value, F.linear(*(each.double() for each in given)))


@here
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("differentiated", [True, False])
@pytest.mark.parametrize("many", [(chosen.BOUNDARY,), (2, chosen.BOUNDARY // 2)], ids=str)
@pytest.mark.parametrize("fewer", [0, 1])
def test_the_choice_is_by_the_number_of_images(monkeypatch, products, layer, differentiated, many, fewer):
    """A block has BOUNDARY rows or more, on however many axes; by weight the images are summed over."""
    choice = {name: "onednn" if " of a block" in name else "torch" for name in chosen.names()}
    monkeypatch.setattr(chosen, "choice", lambda: choice)
    out, inputs = LAYERS[layer]
    x, weight, bias = (each.requires_grad_() for each in tensors(*many[:-1], many[-1] - fewer, inputs, out=out))
    with torch.set_grad_enabled(differentiated):
        value = linear(x, weight, bias)
    if differentiated:
        value.sum().backward()
    assert len(products) == (0 if fewer else 3 if differentiated else 1)


@here
@pytest.mark.parametrize(
    ("rows", "size", "onednn"),
    [(rows, size, onednn) for rows in (FEW, MANY) for size, onednn in (((91, 90), False), ((64, 128), True))],
)
def test_torch_multiplies_a_layer_of_fewer_weights_than_LEAST(products, rows, size, onednn):
    out, inputs = size
    assert (out * inputs >= chosen.LEAST["onednn"]) == onednn
    given = [each.requires_grad_() for each in tensors(rows, inputs, out=out)]
    exact = F.linear(*(each.double() for each in given))
    with torch.no_grad():
        assert_near(linear(*given), exact)
    assert len(products) == (1 if onednn else 0)
    value = linear(*given)
    value.sum().backward()
    assert_near(value, exact)
    assert len(products) == (4 if onednn else 0)


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_a_small_layer_without_a_product_of_onednn_is_torch_s_own(monkeypatch, products, rows):
    """Also what is differentiated."""
    monkeypatch.setattr(chosen, "choice", lambda: only((), rows, " in a small layer"))
    out, inputs = SMALL
    given = [each.requires_grad_() for each in tensors(rows, inputs, out=out)]
    found, expected = linear(*given), F.linear(*given)
    assert torch.equal(found, expected)
    assert found.grad_fn.name() == expected.grad_fn.name()


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


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "why", ["float64", "bfloat16", "autocast", "switched off", "not there", "compiling", "sparse", "subclass"]
)
def test_elsewhere_it_is_torch_s_own(monkeypatch, products, why, layer):
    out, inputs = LAYERS[layer]
    x, weight, _ = tensors(MANY, inputs, out=out)
    if why in ("float64", "bfloat16"):
        x, weight = x.to(getattr(torch, why)), weight.to(getattr(torch, why))
    if why == "not there":
        monkeypatch.setattr(chosen, "onednn_linear", lambda: None)
        monkeypatch.setattr(chosen, "_choice", chosen._choice.__wrapped__)
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
