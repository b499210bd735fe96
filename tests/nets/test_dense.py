"""A stack of dense layers: without gradients, in less memory, it gives the same numbers, and hooks see what they always
see.
"""

import itertools

import pytest
import torch
from torch import nn

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


def test_what_a_hook_of_all_modules_has_seen_is_not_written_to(x):
    net, kept = dense_stack(7, (6,), "relu"), []
    hook = nn.modules.module.register_module_forward_hook(lambda module, _, out: kept.append((module, out)))
    with hook, torch.no_grad():
        net(x)
    assert [module for module, _ in kept] == [net[0], net[1], net]
    assert (kept[0][1] < 0).any()


@pytest.mark.parametrize("first", ["identity", "replaced"])
def test_memory_of_others_is_not_written_to(x, first):
    """A ReLU after a layer that hands on its input."""
    net, before = dense_stack(7, (7,), "relu"), x.clone()
    if first == "identity":
        net[0] = nn.Identity()
    else:
        net[0].forward = lambda given: given
    with torch.no_grad():
        assert torch.equal(net(x), before.relu())
    assert torch.equal(x, before)


def test_its_weights_have_the_names_of_a_sequence():
    names = list(dense_stack(7, (6, 4), "relu").state_dict())
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert isinstance(dense_stack(7, (6,), "relu")[0], Linear)
