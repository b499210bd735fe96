"""A prior of several groups, drawn from the top down, whose top group has a variational mixture of posteriors."""

from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.core.contracts import Latents, PosteriorDistribution
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups
from vaezoo.priors.top_down import TopDown
from vaezoo.priors.vampprior import VampPrior
from vaezoo.registry import register

Encode = Callable[[Tensor], PosteriorDistribution]
"""Images [N, *shape] -> q(z|x)."""


@register.prior("top-down-vampprior", paper="Tomczak and Welling (2018), arXiv:1705.07120")
class TopDownVampPrior(TopDown):
    """p(z) = p(z_1) p(z_2|z_1) .. p(z_L|z_{L-1}) with p(z_1) = (1/C) sum_c q(z_1|u_c), where z_1 is the top group.

    The C pseudo-inputs u_c are learned, and start and are bounded as those of the prior `vampprior`, which this prior
    is with one group. Below, p(z_l|z_{l-1}) is that of the prior `top-down`. In the paper p(x|z) sees both groups; here
    it sees those that the decoder requests.

    components: C. Raises Skip for counts, and at the first use of a posterior whose top group is no Gaussian given the
    image, as one that is drawn from the bottom up.
    """

    def __init__(
        self,
        spec: DataSpec,
        latents: tuple[int, ...],
        hidden: tuple[int, ...],
        train_images: Callable[[int], Tensor],
        *,
        components: int = 500,
        activation: str = "relu",
    ):
        super().__init__(latents, hidden, activation=activation)
        self.top = VampPrior(spec, train_images, components=components)

    def conditional(self, above: Latents) -> DiagonalGaussian:
        """p of the next group, given those above it. Raises Skip for the top group, which is a mixture."""
        if not above:
            raise Skip("the top group of prior 'top-down-vampprior' is a mixture, not a Gaussian")
        return super().conditional(above)

    # LatentModel serves `encode`, which TopDownPrior does not request.
    def log_prob(self, z: Latents, encode: Encode) -> Tensor:  # type: ignore[override]
        """log p(z) of each group in nats, given the groups above it. -> [L, K, B]"""
        scores = [self.top.log_density(z[0], _of_top_group(encode))]
        scores += [self.conditional(z[:n]).log_density(z[n]) for n in range(1, len(z))]
        return torch.stack(scores)

    def sample(self, n: int, encode: Encode) -> Latents:  # type: ignore[override]
        """n draws, group by group from the top. A tuple of [n, Z_l]"""
        drawn: Latents = (self.top.sample(n, _of_top_group(encode)),)
        while len(drawn) < len(self.latents):
            drawn = (*drawn, self.conditional(drawn).draw())
        return drawn

    def kl(self, q: PosteriorDistribution, z: Latents) -> None:
        """None: the divergence from a mixture has no closed form."""
        return None


def _of_top_group(encode: Encode) -> Encode:
    """Images [N, *shape] -> q(z_1|x) of the top group alone."""

    def top(images: Tensor) -> PosteriorDistribution:
        """The Gaussian of the top group."""
        q = encode(images)
        found = q.conditional(()) if isinstance(q, GaussianGroups) and not q.bottom_up else q.gaussian
        if found is None:
            raise Skip(
                "prior 'top-down-vampprior' needs q(z_1|x) of the top group as a Gaussian, for the densities of its "
                "components; use a posterior that is drawn from the top down, such as 'top-down' or 'ladder'"
            )
        return found

    return top
