"""The law of a Gaussian that a flow transforms: its base under the identity, densities, and flows without inverse."""

import pytest
import torch
from small_flows import FLOWS, NEEDS_TWO, made, points

from vaezoo import DiagonalGaussian, VaezooError, noise
from vaezoo.flows import (
    CouplingFlow,
    ElementwiseFlow,
    FlowSequence,
    SplineTransform,
    TransformedGaussian,
    coupling_layers,
)

Z, C, K, B = 3, 4, 5, 6


def base(latent=Z):
    return DiagonalGaussian(points(B, latent, seed=2), 0.3 * points(B, latent, seed=3))


def drawn(q, samples=K):
    with noise.stream(0, index=torch.arange(B), dtype=torch.float64):
        return q.rsample_and_log_prob(samples)


@pytest.mark.parametrize(
    ("name", "latent"), [(name, latent) for name in FLOWS for latent in (1, Z) if latent > 1 or name not in NEEDS_TWO]
)
@pytest.mark.parametrize("width", [0, C], ids=["own", "amortised"])
def test_samples_are_scored_by_the_change_of_variables(name, width, latent):
    flow, context = made(name, latent, width), points(B, C, seed=1)
    q = TransformedGaussian(base(latent), flow, context)
    with torch.no_grad():
        (z,), log_q = drawn(q)
        (start,), log_start = drawn(q.base)
        mapped, log_det = flow(start, context)
        again = q.log_prob((z,))
    assert log_q.shape == (1, K, B)
    assert torch.equal(z, mapped)
    torch.testing.assert_close(log_q, log_start - log_det)
    if flow.has_inverse:
        torch.testing.assert_close(again, log_q, rtol=0, atol=1e-7)
    else:
        assert again is None
        with pytest.raises(VaezooError, match="no inverse in closed form"):
            q.log_density(z)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_coupling_layers_start_as_the_identity_and_map_both_halves(latent):
    flow = coupling_layers(latent, 2, hidden=(8,), activation="tanh", context=C).double()
    z, context = points(B, latent), points(B, C, seed=1)
    assert torch.equal(flow(z, context)[0], z)
    with torch.no_grad():
        for n, parameter in enumerate(flow.parameters()):
            parameter.add_(0.5 * points(*parameter.shape, seed=n))
    jacobian = torch.autograd.functional.jacobian(lambda each: flow(each, context[0])[0], z[0])
    half = latent // 2
    one, other = (flow(z, each.expand(B, C))[0] for each in context[:2])
    assert (one != other).any(0).all(), "every dimension depends on the context"
    assert not torch.allclose(jacobian.diagonal(), torch.ones(latent).double(), atol=1e-2)
    if latent > 1:
        assert jacobian[half:, :half].any()
        assert jacobian[:half, half:].any()


def test_coupling_layers_alternate_and_one_dimension_gets_an_elementwise_flow():
    spline = SplineTransform(4)
    layers = coupling_layers(4, 3, spline)
    assert isinstance(layers, FlowSequence)
    assert [(type(each), each.swap) for each in layers.parts] == [(CouplingFlow, n == 1) for n in range(3)]
    assert all(each.transform is spline for each in layers.parts)
    single = coupling_layers(1, 3, spline)
    assert isinstance(single, ElementwiseFlow)
    assert single.transform is spline
    with pytest.raises(VaezooError, match="the number of coupling layers must be 1 or more, got 0"):
        coupling_layers(4, 0)
