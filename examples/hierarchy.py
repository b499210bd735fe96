"""A hierarchy of two latent groups in one plugin file: a prior, a posterior, and the variant that joins them.

    vaezoo check examples/hierarchy.py

proves it. A matrix file runs it with `plugins = ["hierarchy.py"]`, the row "two-group-vae", and in [model]
`latent = [4, 8]`: the sizes of the groups, top first. Shapes: K samples, B images, Z_l dimensions of group l.
"""

import math

import torch
from torch import Tensor, nn

import vaezoo


def two(latents: tuple[int, ...]) -> tuple[int, int]:
    """The sizes of two groups. Skip, with what to write instead, where there are not two."""
    if len(latents) != 2:
        raise vaezoo.Skip(f"it takes two latent groups, such as latent = [4, 8], got {list(latents)}")
    return latents[0], latents[1]


@vaezoo.register.prior("two-group")
class TwoGroupPrior(vaezoo.TopDownPrior):
    """p(z) = N(z_1; 0, I) N(z_2; W z_1 + b, diag(std^2)). TopDownPrior adds log_prob, sample and the closed-form KL."""

    replayable = True  # a pass stores nothing, so a training step may be repeated without its Python

    def __init__(self, latents: tuple[int, ...], *, start_std: float = 0.5):
        super().__init__(latents)
        top, low = two(latents)
        self.map = vaezoo.nets.Linear(top, low)
        self.log_std = nn.Parameter(torch.full((low,), math.log(start_std)))

    def conditional(self, above: tuple[Tensor, ...]) -> vaezoo.DiagonalGaussian:
        """p(z_1) where no group is above, else p(z_2|z_1)."""
        if not above:
            return self.standard_normal()
        return vaezoo.DiagonalGaussian(self.map(above[0]), self.log_std)


@vaezoo.register.posterior("two-group")
class TwoGroupPosterior(vaezoo.Posterior):
    """q(z|x) = q(z_1|x) q(z_2|z_1, x), diagonal Gaussians whose mean and log_std are linear in the features and z_1."""

    replayable = True

    def __init__(self, features: tuple[int, ...], latents: tuple[int, ...]):
        super().__init__()
        top, low = two(latents)
        self.top = vaezoo.nets.Linear(math.prod(features), 2 * top)
        self.low = vaezoo.nets.Linear(math.prod(features) + top, 2 * low)

    def forward(self, features: Tensor) -> vaezoo.GaussianGroups:
        """GaussianGroups draws, scores and gives the closed-form KL its conditionals. [B, *features]"""
        flat = features.flatten(1)

        def conditional(above: tuple[Tensor, ...]) -> vaezoo.DiagonalGaussian:
            """q(z_1|x) [B, Z_1] where nothing is drawn yet, else q(z_2|z_1, x) [K, B, Z_2]."""
            if not above:
                return vaezoo.DiagonalGaussian.from_heads(self.top(flat))
            (z,) = above
            both = torch.cat([flat.expand(len(z), *flat.shape), z], -1)
            return vaezoo.DiagonalGaussian.from_heads(self.low(both))

        return vaezoo.GaussianGroups(conditional, 2)


vaezoo.register.variant(
    vaezoo.Variant(
        "two-group-vae",
        posterior="two-group",
        prior="two-group",
        about="a VAE with two latent groups, latent = [4, 8], top first",
    )
)
