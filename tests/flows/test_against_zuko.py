"""Our coupling, autoregressive and spline flows give zuko's numbers under zuko's weights."""

import math
from functools import partial

import pytest
import torch
from small_flows import points
from torch.distributions import AffineTransform as TorchAffine
from torch.nn import functional as F
from zuko.flows.autoregressive import MAF, MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform, PermutationTransform

from vaezoo import DiagonalGaussian
from vaezoo.flows import (
    AffineTransform,
    AutoregressiveFlow,
    CouplingFlow,
    InverseFlow,
    PermutationFlow,
    SplineTransform,
    TransformedGaussian,
    autoregressive_layers,
)

Z, C, K, B, BINS, BOUND, LEAST = 5, 4, 3, 6, 4, 3.0, 1e-2
SLOPE = 1e-60
"""So small that zuko's clips, which it is the end of, leave all numbers of a spline room."""


def zuko_spline(widths, heights, derivatives):
    """zuko's spline with our bins: what we make of these parameters, written in its own. [..., bins]"""

    def before_clip(clipped, limit):
        return clipped / (1 - clipped.abs() / limit)

    limit = -math.log(SLOPE)
    shares = [LEAST + (1 - BINS * LEAST) * raw.softmax(-1) for raw in (widths, heights)]
    inner = LEAST + F.softplus(derivatives + math.log(math.expm1(1 - LEAST)))
    return MonotonicRQSTransform(
        *(before_clip(share.log(), limit / 2) for share in shares),
        before_clip(inner.log(), limit),
        bound=BOUND,
        slope=SLOPE,
    )


TRANSFORMS = {
    "affine": (lambda: AffineTransform(7.0), {"univariate": partial(MonotonicAffineTransform, slope=math.exp(-7.0))}),
    "spline": (
        lambda: SplineTransform(BINS, bound=BOUND, least=LEAST),
        {"univariate": zuko_spline, "shapes": [(BINS,), (BINS,), (BINS - 1,)]},
    ),
}
transforms = pytest.mark.parametrize("kind", TRANSFORMS)
assert_near = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)


def take(net, other, kept, width):
    """zuko's weights, and masks, into our net. zuko's first layer sees the `kept` inputs, then the context; its outputs
    are [Z, width], ours [width, Z].
    """
    layers = [layer for layer in other if hasattr(layer, "weight")]
    with torch.no_grad():
        for n, (ours, theirs) in enumerate(zip(net.layers, layers, strict=True)):
            theirs.weight.add_(0.5 * torch.randn_like(theirs.weight))  # far from the identity
            rows = torch.arange(len(theirs.weight))
            if n + 1 == len(layers):
                rows = rows.view(-1, width).T.flatten()
            inputs = kept if n == 0 else None
            ours.weight.copy_(theirs.weight[rows, :inputs])
            ours.bias.copy_(theirs.bias[rows])
            if hasattr(theirs, "mask"):
                ours.mask.copy_(theirs.mask[rows, :inputs])
            if n == 0:
                mask = theirs.mask[:, kept:] if hasattr(theirs, "mask") else 1
                net.from_context.weight.copy_(theirs.weight[:, kept:] * mask)


def assert_same(flow, transform):
    """Forward, its log-determinant and inverse, with each image's own context; some points lie beyond the bound."""
    z, context = 2 * points(K, B, Z), points(B, C, seed=1)
    theirs = transform(context)
    mapped, log_det = theirs.call_and_ladj(z)
    for found, right in zip(flow(z, context), (mapped, log_det), strict=True):
        assert_near(found, right)
    assert_near(flow.inverse(mapped, context)[0], theirs.inv(mapped))
    assert float((mapped - z).detach().abs().mean()) > 0.1


@transforms
def test_coupling(kind):
    torch.manual_seed(0)
    ours, theirs = TRANSFORMS[kind]
    flow = CouplingFlow(Z, ours(), hidden=(8, 6), context=C).double()
    transform = GeneralCouplingTransform(Z, C, mask=torch.arange(Z) < Z // 2, hidden_features=(8, 6), **theirs).double()
    take(flow.net, transform.hyper, Z // 2, flow.transform.width)
    assert_same(flow, transform)


@transforms
@pytest.mark.parametrize("reverse", [False, True])
def test_autoregressive(kind, reverse):
    torch.manual_seed(0)
    ours, theirs = TRANSFORMS[kind]
    flow = AutoregressiveFlow(Z, ours(), hidden=(8, 10), reverse=reverse, context=C).double()
    order = torch.arange(Z).flip(0) if reverse else torch.arange(Z)
    transform = MaskedAutoregressiveTransform(Z, C, order=order, hidden_features=(8, 10), **theirs).double()
    take(flow.net, transform.hyper, Z, flow.transform.width)
    assert_same(flow, transform)


@transforms
def test_the_density_that_masked_autoregressive_flows_make_of_a_normal(kind):
    torch.manual_seed(0)
    ours, theirs = TRANSFORMS[kind]
    layers = autoregressive_layers(Z, 3, ours(), hidden=(8, 10), context=C).double()
    density = MAF(Z, C, transforms=3, hidden_features=(8, 10), **theirs).double()
    for flow, transform in zip(layers.parts, density.transform.transforms, strict=True):
        take(flow.net, transform.hyper, Z, flow.transform.width)
    z, context, zero = 2 * points(K, B, Z), points(B, C, seed=1), torch.zeros(B, Z, dtype=torch.float64)
    found = TransformedGaussian(DiagonalGaussian(zero, zero), InverseFlow(layers), context)
    assert_near(found.log_density(z), density(context).log_prob(z))


@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_splines_under_any_parameters_and_their_gradients(scale):
    ours = SplineTransform(BINS, bound=BOUND, least=LEAST)
    params = (scale * points(ours.width, 200)).requires_grad_()
    x = (2 * points(200)).requires_grad_()
    theirs = zuko_spline(*params.T.split((BINS, BINS, BINS - 1), -1))
    values = ours.forward(x, params), theirs.call_and_ladj(x)
    for found, right in zip(*values, strict=True):
        assert_near(found, right)
    weights = points(200, seed=2)
    by_ours, by_theirs = (
        torch.autograd.grad(sum((each * weights).sum() for each in value), (x, params)) for value in values
    )
    for found, right in zip(by_ours, by_theirs, strict=True):
        assert_near(found, right)
    y = values[0][0].detach()
    assert_near(ours.inverse(y, params)[0], theirs.inv(y), rtol=1e-6, atol=1e-6)


def test_affine_is_torchs_with_a_clipped_scale():
    params, x = points(2, 50), points(50, seed=1)
    log_scale = params[1] / (1 + params[1].abs() / 5)
    torchs = TorchAffine(params[0], log_scale.exp())
    y, log_derivative = AffineTransform(5.0).forward(x, params)
    assert_near(y, torchs(x))
    assert_near(log_derivative, torchs.log_abs_det_jacobian(x, y))


def test_permutation():
    order, z = [2, 0, 4, 1, 3], points(B, Z)
    flow, transform = PermutationFlow(Z, order), PermutationTransform(torch.tensor(order))
    assert torch.equal(flow(z)[0], transform(z))
    assert torch.equal(flow.inverse(z)[0], transform.inv(z))
