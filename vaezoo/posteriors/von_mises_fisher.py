"""The von Mises-Fisher posterior."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vaezoo.core.contracts import Posterior, Support, flat_parameters
from vaezoo.core.errors import Skip
from vaezoo.flows.sphere import VonMisesFisher
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.posterior("von-mises-fisher", paper="Davidson et al. (2018), arXiv:1804.00891")
class VonMisesFisherPosterior(Posterior):
    """q(z|x) proportional to exp(k(x) mu(x).z) on the unit sphere in R^Z, with respect to its surface.

    Linear heads map the features to mu, which is scaled to length 1, and to k = Z softplus(head), where the paper has 1
    + softplus(head): k may be 0, where q is uniform, and a head of the size 1 gives samples that depend on mu in any
    dimension. Samples are drawn by rejection (Wood 1994; Ulrich 1984) in a fixed number of rounds, with the exact,
    implicit gradient. Its KL divergence from the uniform distribution is in closed form.

    The Z numbers have Z - 1 degrees of freedom. Skips Z = 1, where the sphere is two points.
    [B, *features] -> a VonMisesFisher over [B, Z]
    """

    support: Support = "sphere"

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        if latent < 2:
            raise Skip("posterior 'von-mises-fisher' needs latent = 2 or more: a sphere in one dimension is two points")
        self.latent = latent
        self.heads = nn.Sequential(nn.Flatten(1), Linear(flat_parameters(features), latent + 1))

    def forward(self, features: Tensor) -> VonMisesFisher:
        """q(z|x) of each image. A mu of length 0 becomes the first axis."""
        head = self.heads(features)
        direction = head[:, :-1]
        first = torch.eye(1, self.latent, dtype=head.dtype, device=head.device)
        zero = (direction == 0).all(-1, keepdim=True)
        mean = F.normalize(torch.where(zero, first, direction), dim=-1)
        return VonMisesFisher(mean, self.latent * F.softplus(head[:, -1]))
