"""MADE: which output depends on which input, and what the context reaches."""

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from vaezoo import VaezooError
from vaezoo.nets import MADE, ContextStack, Linear, MaskedLinear

D, C = 5, 3


def dependence(net, argument):
    """|d output[i] / d argument[j]| > 0, summed over an output's numbers, at two points. [D, columns]"""
    found = 0
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        given = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (D, C)]
        context = net.from_context is not None
        jacobians = torch.autograd.functional.jacobian(net.double(), tuple(given) if context else given[0])
        found = found + (jacobians[argument] if context else jacobians).abs().sum(0)
    return found > 0


@pytest.mark.parametrize("context", [0, C])
@pytest.mark.parametrize("hidden", [(), (5,), (16, 9), (64, 64)])
@pytest.mark.parametrize("reverse", [False, True])
def test_an_output_depends_on_all_inputs_before_it_and_on_no_other(context, hidden, reverse):
    torch.manual_seed(0)
    net = MADE(D, 2, hidden, context=context, activation="tanh", reverse=reverse)
    before = torch.ones(D, D, dtype=torch.bool).tril(-1)
    assert torch.equal(dependence(net, 0), before.T if reverse else before)
    if context:
        assert dependence(net, 1).all()


def test_a_narrow_net_is_still_autoregressive_and_gives_numbers():
    torch.manual_seed(0)
    found = dependence(MADE(D, 2, (2, 3), activation="tanh"), 0)
    assert not found.triu().any()
    assert found[-1].any()


def test_a_single_input_gives_a_constant_or_a_function_of_the_context():
    x, context = torch.randn(4, 1), torch.randn(4, C)
    constant, varied = MADE(1, 2)(x), MADE(1, 2, context=C)(x, context)
    assert constant.shape == varied.shape == (4, 2, 1)
    torch.testing.assert_close(constant, constant[:1].expand(4, 2, 1))
    assert float(varied.detach().std(0).min()) > 1e-4


def test_the_product_of_the_conditionals_is_a_density_over_binary_points():
    """Germain et al.'s use: the Bernoulli probabilities of all 2^D points sum to 1."""
    torch.manual_seed(0)
    net = MADE(D, 1, (16,)).double()
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * D)
    log_p = torch.distributions.Bernoulli(logits=net(x)[..., 0, :]).log_prob(x).sum(-1)
    assert abs(float(log_p.detach().exp().sum()) - 1) < 1e-12
    assert float(log_p.detach().std()) > 0.05


def test_a_masked_weight_has_no_effect_and_no_gradient():
    layer, x = MaskedLinear(torch.tensor([[1, 0], [1, 1]])), torch.randn(7, 2)
    before = layer(x)
    before.sum().backward()
    assert layer.weight.grad[0, 1] == 0
    with torch.no_grad():
        layer.weight[0, 1] = 9.0
    assert torch.equal(layer(x), before)
    assert layer.state_dict().keys() == {"weight", "bias"}


def test_a_context_enters_the_first_layer_once_an_image():
    stack = ContextStack([Linear(2, 4), Linear(4, 3)], "relu", context=C)
    x, context = torch.randn(6, 5, 2), torch.randn(5, C)
    first, last = stack.layers
    expected = last((first(x) + context @ stack.from_context.weight.T).relu())
    torch.testing.assert_close(stack(x, context), expected)


@pytest.mark.parametrize("hidden", [(), (4,)])
def test_zeroed_outputs_are_zero_whatever_the_input(hidden):
    net = MADE(D, 2, hidden, context=C)
    net.zero_outputs()
    assert not net(torch.randn(3, D), torch.randn(3, C)).any()


def test_masks_are_mapped_over_two_seeds_with_the_weights():
    nets = [MADE(D, 2, (8,), context=C, reverse=reverse) for reverse in (False, True)]
    x, context = torch.randn(2, 3, D), torch.randn(2, 3, C)
    mapped = vmap(lambda own, rest, *given: functional_call(nets[0], (own, rest), given))(
        *stack_module_state(nets), x, context
    )
    for n, net in enumerate(nets):
        torch.testing.assert_close(mapped[n], net(x[n], context[n]))


def test_wrong_input_is_answered_in_one_line():
    with pytest.raises(VaezooError, match=r"hidden widths of 1 or more, got 3, 2, \[8, 0\]"):
        MADE(3, 2, (8, 0))
    with pytest.raises(VaezooError, match=r"MADE was built with context=3 and needs a context \[\.\.\., 3\], got none"):
        MADE(D, context=C)(torch.randn(2, D))
