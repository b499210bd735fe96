"""A stack of dense layers: without gradients, in less memory, it gives the same numbers, and hooks see what they always
see.
"""

import itertools

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from vaezoo.nets.dense import ACTIVATIONS, dense_stack
from vaezoo.nets.linear import Linear


@pytest.fixture
def x():
    return torch.randn(5, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("widths", [(), (6,), (8, 3)])
def test_without_gradients_the_numbers_are_the_same(x, activation, widths):
    net, before = dense_stack(7, widths, activation), x.clone()
    with_gradients = nn.Sequential.forward(net, x)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert torch.equal(net(x), with_gradients)
    assert torch.equal(x, before)


def test_a_relu_takes_the_memory_of_its_layer(monkeypatch, x):
    """But not where a compiler reads the code."""
    written = []
    monkeypatch.setattr(torch, "relu_", lambda given: (written.append(given), given.relu())[1])
    net = dense_stack(7, (6, 4), "relu")
    with torch.no_grad():
        expected = net(x)
        assert len(written) == 2
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert torch.equal(net(x), expected)
    assert len(written) == 2
    net(x)
    assert len(written) == 2


def test_not_a_number_stays_one(x):
    net = dense_stack(7, (6,), "relu")
    x[1, 2] = torch.nan
    with torch.no_grad():
        assert net(x)[1].isnan().all()
        assert not net(x)[0].isnan().any()


HOOKS = {
    "after": lambda layer, seen: layer.register_forward_hook(lambda _, given, out: seen.append((given[0], out))),
    "before": lambda layer, seen: layer.register_forward_pre_hook(lambda _, given: seen.append((given[0],))),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("place", range(4))
def test_what_a_hook_has_seen_is_not_written_to(x, hook, place):
    """Each layer's input and output, kept by the hook, are those of a run with gradients."""
    net, seen, expected = dense_stack(7, (6, 4), "relu"), [], []
    with HOOKS[hook](net[place], expected):
        net(x)
    with HOOKS[hook](net[place], seen), torch.no_grad():
        net(x)
    for one, other in zip(itertools.chain(*seen), itertools.chain(*expected), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("when", ["after", "before"])
def test_what_a_hook_of_all_modules_has_seen_is_not_written_to(x, when):
    net, kept, every = dense_stack(7, (6,), "relu"), [], nn.modules.module
    if when == "after":
        hook = every.register_module_forward_hook(lambda module, _, out: kept.append((module, out)))
    else:
        hook = every.register_module_forward_pre_hook(lambda module, given: kept.append((module, given[0])))
    with hook, torch.no_grad():
        net(x)
    assert [module for module, _ in kept] == ([net[0], net[1], net] if when == "after" else [net, net[0], net[1]])
    assert (kept[0 if when == "after" else 2][1] < 0).any()


class HandsOn(Linear):
    """A layer whose output is its input."""

    def forward(self, input):
        return input


class KeepsItsInput(nn.ReLU):
    """An activation that keeps what it got."""

    def forward(self, input):
        self.kept = input
        return super().forward(input)


def test_an_activation_of_another_class_keeps_what_it_got(x):
    net = dense_stack(7, (6,), "relu")
    net[1] = KeepsItsInput()
    with torch.no_grad():
        assert torch.equal(net(x), net[0](x).relu())
    assert torch.equal(net[1].kept, net[0](x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch warns of it at its first forward derivative
def test_a_forward_derivative_within_a_map(x):
    """By a bias, which all images share."""
    net, bias = dense_stack(7, (6,), "relu"), torch.ones(6)

    def slope(image):
        return jvp(lambda b: functional_call(net, {"0.bias": b}, (image,)), (bias,), (torch.ones_like(bias),))

    expected = torch.vmap(slope)(x)
    with torch.no_grad():
        for one, other in zip(torch.vmap(slope)(x), expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("first", ["identity", "subclass", "replaced"])
def test_memory_of_others_is_not_written_to(x, first):
    """A ReLU after a layer that hands on its input."""
    net, before = dense_stack(7, (7,), "relu"), x.clone()
    if first == "identity":
        net[0] = nn.Identity()
    elif first == "subclass":
        net[0] = HandsOn(7, 7)
    else:
        net[0].forward = lambda given: given
    with torch.no_grad():
        assert torch.equal(net(x), before.relu())
    assert torch.equal(x, before)


def test_its_weights_have_the_names_of_a_sequence():
    names = list(dense_stack(7, (6, 4), "relu").state_dict())
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert isinstance(dense_stack(7, (6,), "relu")[0], Linear)
