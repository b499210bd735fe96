"""The Sylvester-flow posterior."""

from typing import Literal

from vaezoo.core.errors import VaezooError
from vaezoo.flows import (
    Flow,
    FlowPosterior,
    HouseholderSylvesterFlow,
    OrthogonalSylvesterFlow,
    TriangularSylvesterFlow,
    flow_layers,
)
from vaezoo.registry import register


@register.posterior("sylvester", paper="van den Berg et al. (2018), arXiv:1803.05649")
class Sylvester(FlowPosterior):
    """q(z|x): a diagonal Gaussian pushed through Sylvester flows z' = z + Q R tanh(S Q' z + b), with upper triangular
    R and S [M, M] and M orthonormal columns Q.

    log q(z|x) = log N(z0; mean(x), std(x)) - sum_f sum_i log(1 + (1 - tanh_fi^2) R_fii S_fii) in nats, over the flows
    f. The features give R, S, b and Q of each flow, so that each image has a map of its own. The maps are invertible,
    though not in closed form: only its own samples are scored, and `log_prob` of given points is None. Equals the
    posterior `gaussian` where R = 0.

    kind: of Q. "orthogonal" (O-SNF): the orthonormal factor of a matrix. "householder" (H-SNF): a product of
    reflections, M = Z. "triangular" (T-SNF): the identity and the reversal of the coordinates in turn, M = Z.
    flows: number of maps. columns: M of the kind "orthogonal"; left out, Z. reflections: those of each Q of the kind
    "householder"; left out, 8. [B, *features] -> a TransformedGaussian over [B, Z]. Raises VaezooError for no flows,
    and for columns or reflections of another kind.
    """

    def __init__(
        self,
        features: tuple[int, ...],
        latent: int,
        *,
        kind: Literal["orthogonal", "householder", "triangular"] = "orthogonal",
        flows: int = 4,
        columns: int | None = None,
        reflections: int | None = None,
    ):
        super().__init__(features, latent)
        for name, value, owner in (("columns", columns, "orthogonal"), ("reflections", reflections, "householder")):
            if value is not None and kind != owner:
                raise VaezooError(f"{name} are those of the kind {owner!r}; leave them out for the kind {kind!r}")

        def make(number: int) -> Flow:
            """One layer of the chosen kind."""
            if kind == "orthogonal":
                return OrthogonalSylvesterFlow(latent, columns, context=self.width)
            if kind == "householder":
                return HouseholderSylvesterFlow(latent, 8 if reflections is None else reflections, context=self.width)
            return TriangularSylvesterFlow(latent, reverse=number % 2 == 1, context=self.width)

        self.flow = flow_layers(flows, make)
