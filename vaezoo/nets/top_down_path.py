"""The deterministic path of a deep hierarchy of convolutional blocks, and a chain of Gaussians that hangs on it.

Letters: N rows (samples times images), L latent groups, Z_l = c h w dimensions of group l, top first, W channels.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Latents
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.core.groups import GaussianGroups
from vaezoo.nets.conv import halved
from vaezoo.nets.resnet import ResidualBlock2d, UpBlock2d

Sides = tuple[int, int]
AtGroup = Callable[[int, Tensor, tuple[int, ...]], DiagonalGaussian]
"""(number of the group, the path before it [N, W, h, w], the leading axes of the groups above) -> its Gaussian."""


def levels(finest: Sides) -> list[Sides]:
    """The sides (h, w) on which groups may lie: the finest, halved (rounded up) until both are 1.

    >>> levels((14, 14))
    [(14, 14), (7, 7), (4, 4), (2, 2), (1, 1)]
    """
    found = [finest]
    while max(found[-1]) > 1:
        height, width = found[-1]
        found.append((halved(height, 1)[-1], halved(width, 1)[-1]))
    return found


def sides_of(latents: Sequence[int], finest: Sides) -> list[Sides]:
    """The sides (h, w) of each group: the largest level with h w channels that divide its size, and no larger than that
    of the group below. A group of any size lies on 1x1 at least.

    >>> sides_of([8, 16, 98], (14, 14))
    [(2, 2), (4, 4), (7, 7)]
    """
    allowed, found = levels(finest), []
    for size in reversed(latents):
        while size % (allowed[0][0] * allowed[0][1]):
            allowed = allowed[1:]
        found.append(allowed[0])
    return found[::-1]


def up_blocks(start: Sides, end: Sides, finest: Sides, width: int, activation: str) -> nn.Sequential:
    """Residual blocks from one level to a finer one; the identity where they are the same."""
    sizes = levels(finest)
    between = sizes[sizes.index(end) : sizes.index(start)][::-1]
    return nn.Sequential(*(UpBlock2d(width, width, size, activation=activation) for size in between))


class TopDownPath(nn.Module):
    """h_0 is learned; h_l = R_l(U_l(h_{l-1}) + M_l z_l), with a residual block R_l, residual blocks U_l that double the
    sides up to those of the group, and a 1x1 convolution M_l.

    latents: Z_l of each group. finest: the largest sides on which a group may lie. width: W. whole: whether the last
    group enters too, as in a decoder; without it, that group has no R and no M, which nothing would train.

    Child (2021), arXiv:2011.10650.
    """

    def __init__(self, latents: tuple[int, ...], finest: Sides, width: int, activation: str, *, whole: bool):
        super().__init__()
        self.width, self.sides = width, sides_of(latents, finest)
        self.channels = [size // (h * w) for size, (h, w) in zip(latents, self.sides, strict=True)]
        self.start = nn.Parameter(torch.zeros(width, *self.sides[0]))
        before = [self.sides[0], *self.sides[:-1]]
        self.up = nn.ModuleList(
            up_blocks(start, end, finest, width, activation) for start, end in zip(before, self.sides, strict=True)
        )
        entering = self.channels if whole else self.channels[:-1]
        self.merge = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in entering)
        self.blocks = nn.ModuleList(ResidualBlock2d(width, activation=activation) for _ in entering)

    def walk(self, choose: Callable[[int, Tensor], Tensor | None]) -> Tensor:
        """The path from the top down. choose: (number of a group, U_l(h_{l-1})) -> z_l [..., Z_l], whose leading axes
        are folded into N, or None, at which the walk ends before the group; it also ends before one that does not
        enter. -> the last h, [N, W, h, w]
        """
        h: Tensor = self.start[None]
        for number, (channels, sides) in enumerate(zip(self.channels, self.sides, strict=True)):
            h = self.up[number](h)
            z = choose(number, h)
            if z is None or number == len(self.merge):
                return h
            h = self.blocks[number](h + self.merge[number](z.reshape(-1, channels, *sides)))
        return h

    def given(self, above: Latents) -> Tensor:
        """The path before the next group, given those above. A tuple of [..., Z_l] -> [N, W, h, w], N = 1 for none"""
        return self.walk(lambda number, _: above[number] if number < len(above) else None)


def on_path(heads: Tensor, lead: tuple[int, ...]) -> DiagonalGaussian:
    """The Gaussian of a group from mean and bounded log_std as maps. [N, 2 c, h, w] -> over [*lead, Z_l]"""
    return DiagonalGaussian.from_heads(heads.flatten(1).reshape(*lead, -1))


class PathGroups(GaussianGroups):
    """A chain of Gaussians from the top down whose parents are a path: each block runs once for all groups.

    at: gives each group's Gaussian, see AtGroup; without groups above, it is over [B, Z_1].
    """

    def __init__(self, path: TopDownPath, at: AtGroup):
        self.path, self.at = path, at
        super().__init__(lambda above: at(len(above), path.given(above), _lead(above)), len(path.channels))

    def rsample_and_log_prob(self, samples: int) -> tuple[Latents, Tensor]:
        """K samples, a tuple of [K, B, Z_l], top first, and log q of each group [L, K, B] in nats."""
        drawn: list[Tensor] = []
        scores: list[Tensor] = []

        def draw(number: int, h: Tensor) -> Tensor:
            """Draws a group."""
            q = self.at(number, h, _lead(drawn))
            if drawn:
                z, score = q.draw_and_log_prob()
            else:
                (z,), each = q.rsample_and_log_prob(samples)
                score = each[0]
            drawn.append(z)
            scores.append(score)
            return z

        self.path.walk(draw)
        return tuple(drawn), torch.stack(scores)

    def log_prob(self, z: Latents) -> Tensor:
        """log q of given points in nats. (a tuple of [K, B, Z_l], top first) -> [L, K, B]"""
        return torch.stack([q.log_density(group) for q, group in zip(self.given_above(z), z, strict=True)])

    def given_above(self, z: Latents) -> tuple[DiagonalGaussian, ...]:
        """q(z_l|z_above, x) of each group, top first, where the groups above are those of z."""
        return along(self.path, self.at, z)


def along(path: TopDownPath, at: AtGroup, z: Latents) -> tuple[DiagonalGaussian, ...]:
    """The Gaussian of each group, given those of z above it, in one walk."""
    found: list[DiagonalGaussian] = []

    def score(number: int, h: Tensor) -> Tensor:
        """Notes the Gaussian of a group."""
        found.append(at(number, h, _lead(z[:number])))
        return z[number]

    path.walk(score)
    return tuple(found)


def _lead(above: Sequence[Tensor]) -> tuple[int, ...]:
    """The leading axes of the groups above: those of the next one."""
    return tuple(above[-1].shape[:-1]) if above else ()
