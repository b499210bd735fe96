"""Every flow of vaezoo.flows, small, in each of its forms."""

import torch

from vaezoo.flows import (
    AffineTransform,
    AutoregressiveFlow,
    CouplingFlow,
    ElementwiseFlow,
    FlowSequence,
    HouseholderFlow,
    HouseholderSylvesterFlow,
    InverseFlow,
    OrthogonalSylvesterFlow,
    PermutationFlow,
    PlanarFlow,
    SplineTransform,
    TriangularSylvesterFlow,
)

HIDDEN = (8, 6)


def spline():
    return SplineTransform(4, bound=3.0)


FLOWS = {
    "planar": lambda z, c: PlanarFlow(z, context=c),
    "householder": lambda z, c: HouseholderFlow(z, context=c),
    "orthogonal-sylvester": lambda z, c: OrthogonalSylvesterFlow(z, max(z - 1, 1), context=c),
    "square-sylvester": lambda z, c: OrthogonalSylvesterFlow(z, context=c),
    "householder-sylvester": lambda z, c: HouseholderSylvesterFlow(z, 2, context=c),
    "triangular-sylvester": lambda z, c: TriangularSylvesterFlow(z, context=c),
    "reversed-triangular": lambda z, c: TriangularSylvesterFlow(z, reverse=True, context=c),
    "elementwise-affine": lambda z, c: ElementwiseFlow(z, AffineTransform(), context=c),
    "elementwise-spline": lambda z, c: ElementwiseFlow(z, spline(), context=c),
    "coupling": lambda z, c: CouplingFlow(z, hidden=HIDDEN, activation="tanh", context=c),
    "coupling-swapped": lambda z, c: CouplingFlow(z, hidden=HIDDEN, activation="tanh", swap=True, context=c),
    "coupling-spline": lambda z, c: CouplingFlow(z, spline(), hidden=HIDDEN, activation="tanh", context=c),
    "autoregressive": lambda z, c: AutoregressiveFlow(z, hidden=HIDDEN, activation="tanh", context=c),
    "autoregressive-reversed": lambda z, c: AutoregressiveFlow(
        z, hidden=(8,), activation="tanh", reverse=True, context=c
    ),
    "autoregressive-linear": lambda z, c: AutoregressiveFlow(z, hidden=(), context=c),
    "autoregressive-spline": lambda z, c: AutoregressiveFlow(z, spline(), hidden=(8,), activation="tanh", context=c),
    "permutation": lambda z, c: PermutationFlow(z),
    "random-permutation": lambda z, c: PermutationFlow(z, "random"),
    "inverse": lambda z, c: InverseFlow(AutoregressiveFlow(z, hidden=(8,), activation="tanh", context=c)),
    "sequence": lambda z, c: FlowSequence(
        AutoregressiveFlow(z, hidden=(8,), activation="tanh", context=c),
        PermutationFlow(z),
        ElementwiseFlow(z, spline(), context=c),
    ),
    "sequence-planar": lambda z, c: FlowSequence(PlanarFlow(z, context=c), HouseholderFlow(z), PlanarFlow(z)),
}
"""Name -> a flow of (latent, context)."""
IDENTITIES = {name for name in FLOWS if name.startswith(("elementwise", "coupling", "autoregressive", "inverse"))}
"""Those whose documentation promises the identity at initialisation."""
NEEDS_TWO = {name for name in FLOWS if name.startswith("coupling")}


def made(name, latent=3, context=0, seed=0, dtype=torch.float64):
    """A flow far from its initialisation: all parameters are moved by noise of 0.5."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        flow = FLOWS[name](latent, context)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    return flow.to(dtype)


def points(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
