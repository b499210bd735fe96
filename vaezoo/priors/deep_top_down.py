"""The prior of a deep convolutional hierarchy."""

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Latents, PosteriorDistribution
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups, TopDownPrior
from vaezoo.nets.conv import halved
from vaezoo.nets.dense import activation_named
from vaezoo.nets.resnet import zero
from vaezoo.nets.top_down_path import TopDownPath, along, on_path
from vaezoo.registry import register


@register.prior("deep-top-down", paper="Child (2021), arXiv:2011.10650")
class DeepTopDown(TopDownPrior):
    """p(z) = p(z_1) p(z_2|z_1) .. p(z_L|z_1..z_{L-1}), diagonal Gaussians whose parents are all groups above, through a
    path of residual convolutional blocks (`vaezoo/nets/top_down_path.py`).

    A group of Z_l dimensions is c maps of h x w, flattened; h and w are half the image's sides, rounded up, or less:
    see `sides_of` there. The posterior `deep-top-down` shares the path. At the start of training all groups are
    N(0, I), independently. The KL of each group is in closed form where q is drawn from the top down too.

    width: the channels of the path. Raises Skip for data that are not images.
    """

    def __init__(self, spec: DataSpec, latents: tuple[int, ...], *, width: int = 16, activation: str = "silu"):
        super().__init__(latents)
        if len(spec.shape) != 3:
            raise Skip(f"prior 'deep-top-down' needs images [channels, height, width], got {list(spec.shape)}")
        height, columns = (halved(side, 1)[-1] for side in spec.shape[1:])
        self.path = TopDownPath(latents, (height, columns), width, activation, whole=False)
        self.heads = nn.ModuleList(
            nn.Sequential(activation_named(activation), zero(nn.Conv2d(width, 2 * channels, 3, padding=1)))
            for channels in self.path.channels
        )

    def _at(self, number: int, h: Tensor, lead: tuple[int, ...]) -> DiagonalGaussian:
        """p of a group, given the path before it. [N, W, h, w] -> over [*lead, Z_l]"""
        return on_path(self.heads[number](h), lead)

    def conditional(self, above: Latents) -> DiagonalGaussian:
        """p of the next group, given those above it."""
        return self._at(len(above), self.path.given(above), tuple(above[-1].shape[:-1]) if above else ())

    def log_prob(self, z: Latents) -> Tensor:
        """log p(z) of each group in nats, given the groups above it. -> [L, K, B]"""
        each = along(self.path, self._at, z)
        return torch.stack([p.log_density(group) for p, group in zip(each, z, strict=True)])

    def sample(self, n: int) -> Latents:
        """n draws, group by group from the top. A tuple of [n, Z_l]"""
        drawn: list[Tensor] = []

        def draw(number: int, h: Tensor) -> Tensor:
            """Draws a group."""
            p = self._at(number, h, (n,) if drawn else ())
            drawn.append(p.draw() if drawn else p.rsample(n))
            return drawn[-1]

        self.path.walk(draw)
        return tuple(drawn)

    def kl(self, q: PosteriorDistribution, z: Latents) -> tuple[Tensor, ...] | None:
        """As that of TopDownPrior, with one walk along the path."""
        each = q.given_above(z) if isinstance(q, GaussianGroups) else None
        if each is None:
            return super().kl(q, z)
        found = [own.kl(p) for own, p in zip(each, along(self.path, self._at, z), strict=True)]
        return tuple(kl.mean(0) if kl.ndim == 3 else kl for kl in found)
