"""The posterior of a deep convolutional hierarchy, which shares the prior's path."""

from typing import cast

from torch import Tensor, nn

from vaezoo.core.contracts import Posterior, Prior
from vaezoo.core.errors import Skip
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.dense import activation_named
from vaezoo.nets.resnet import DownBlock2d
from vaezoo.nets.top_down_path import PathGroups, Sides, TopDownPath, levels, on_path, sides_of
from vaezoo.registry import register


@register.posterior("deep-top-down", paper="Child (2021), arXiv:2011.10650")
class DeepTopDown(Posterior):
    """q(z|x) = q(z_1|x) q(z_2|z_1, x) .. q(z_L|z_1..z_{L-1}, x), diagonal Gaussians that see the prior's path and the
    image's features.

    Residual blocks that halve the sides lead from the features up to the level of each group. Convolutions map the
    path before the group and the features of its level to mean and log_std, both maps, flattened. The prior's path has
    parameters of q too. Z_l, h and w: see the prior `deep-top-down`.

    width: the channels, which must be the prior's. [B, C, h, w] -> PathGroups over [B, Z_l], top first. Raises Skip
    for features that are no image, and where the prior has no path of this width.
    """

    def __init__(
        self, features: tuple[int, ...], latents: tuple[int, ...], *, width: int = 16, activation: str = "silu"
    ):
        super().__init__()
        if len(features) != 3:
            raise Skip(
                "posterior 'deep-top-down' needs features [channels, height, width], "
                f"got {list(features)}; use the encoder 'residual'"
            )
        finest = cast(Sides, tuple(features[1:]))
        self.width, self.sides = width, sides_of(latents, finest)
        allowed = levels(finest)
        self.level = [allowed.index(sides) for sides in self.sides]
        self.stem = nn.Conv2d(features[0], width, 1)
        self.down = nn.ModuleList(DownBlock2d(width, width, activation=activation) for _ in range(max(self.level)))
        self.from_path = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in latents)
        self.from_image = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in latents)
        channels = [size // (h * w) for size, (h, w) in zip(latents, self.sides, strict=True)]
        self.heads = nn.ModuleList(
            nn.Sequential(activation_named(activation), nn.Conv2d(width, 2 * each, 3, padding=1)) for each in channels
        )

    def forward(self, features: Tensor, prior: Prior) -> PathGroups:
        """q(z|x) of each image. [B, C, h, w] -> groups top first, each [K, B, Z_l]"""
        path = getattr(prior, "path", None)
        if not isinstance(path, TopDownPath) or (path.width, path.sides) != (self.width, self.sides):
            raise Skip(
                f"posterior 'deep-top-down' needs a prior with a path of width {self.width} on the sides {self.sides}, "
                f"which {type(prior).__name__} does not have; use the prior 'deep-top-down' with the same width"
            )
        maps = [self.stem(features)]
        for block in self.down:
            maps.append(block(maps[-1]))
        images = [merge(maps[level]) for merge, level in zip(self.from_image, self.level, strict=True)]

        def at(number: int, h: Tensor, lead: tuple[int, ...]) -> DiagonalGaussian:
            """q of a group: [1, W, h, w] for the top one, over [B, Z_1], else [K B, W, h, w], over [K, B, Z_l]."""
            seen = self.from_path[number](h)
            both = seen.unflatten(0, lead) + images[number] if lead else seen + images[number]
            heads = self.heads[number](both.flatten(0, -4))
            return on_path(heads, lead or (len(features),))

        return PathGroups(path, at)
