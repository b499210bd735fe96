"""Several latent groups, each a diagonal Gaussian given the groups drawn before it: q(z|x), and p(z) from the top down.

Letters: K importance samples, B images, L latent groups, Z_l dimensions of group l. Groups are numbered from the top.
"""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from vaezoo.core.contracts import Latents, PosteriorDistribution, Prior
from vaezoo.core.gaussian import DiagonalGaussian


class GaussianGroups:
    """q(z|x) as a chain of diagonal Gaussians, each given x and the groups drawn before it; a PosteriorDistribution.

    From the top down it is q(z_1|x) q(z_2|z_1, x) .. q(z_L|z_1.., x), from the bottom up q(z_L|x) q(z_{L-1}|z_L, x) ..
    A chain of one group is that Gaussian.

    conditional: the groups drawn so far, in the order of drawing -> the Gaussian of the next one, [B, Z_l] where it is
    the same for all samples (as that of the first), else [K, B, Z_l]. groups: L. bottom_up: whether the lowest group is
    drawn first.
    """

    def __init__(self, conditional: Callable[[Latents], DiagonalGaussian], groups: int, *, bottom_up: bool = False):
        self.conditional, self.groups, self.bottom_up = conditional, groups, bottom_up

    @property
    def gaussian(self) -> DiagonalGaussian | None:
        """The Gaussian of a chain of one group, else None."""
        return self.conditional(()) if self.groups == 1 else None

    def rsample_and_log_prob(self, samples: int) -> tuple[Latents, Tensor]:
        """K samples, a tuple of [K, B, Z_l], top first, and log q of each group [L, K, B] in nats."""
        drawn: Latents = ()
        scores: list[Tensor] = []
        for _ in range(self.groups):
            q = self.conditional(drawn)
            if q.mean.ndim == 2:
                (z,), score = q.rsample_and_log_prob(samples)
                score = score[0]
            else:
                z, score = q.draw_and_log_prob()
            drawn, scores = (*drawn, z), [*scores, score]
        return (drawn[::-1], torch.stack(scores[::-1])) if self.bottom_up else (drawn, torch.stack(scores))

    def log_prob(self, z: Latents) -> Tensor:
        """log q of given points in nats. (a tuple of [K, B, Z_l], top first) -> [L, K, B]"""
        drawn = z[::-1] if self.bottom_up else z
        scores = [self.conditional(drawn[:n]).log_density(group) for n, group in enumerate(drawn)]
        return torch.stack(scores[::-1] if self.bottom_up else scores)

    def given_above(self, z: Latents) -> tuple[DiagonalGaussian, ...] | None:
        """q(z_l|z_above, x) of each group, top first, where the groups above are those of z; None from the bottom up,
        where q(z_l|z_above, x) is no Gaussian.
        """
        if self.bottom_up and self.groups > 1:
            return None
        return tuple(self.conditional(z[:n]) for n in range(self.groups))


class TopDownPrior(Prior):
    """p(z) = p(z_1) p(z_2|z_1) .. p(z_L|z_1..), each a diagonal Gaussian. A subclass writes `conditional`.

    latents: the size of each group, top first. A prior of one group is that Gaussian.
    """

    def __init__(self, latents: tuple[int, ...]):
        super().__init__()
        self.latents = latents
        self.origin: Tensor
        self.register_buffer("origin", torch.zeros(latents[0]), persistent=False)

    @abstractmethod
    def conditional(self, above: Latents) -> DiagonalGaussian:
        """p(z_l|z_above) of the next group. above: the groups above it, a tuple of [..., Z], empty for the top group.
        The mean is [..., Z_l], or [Z_l] where it depends on none of them.
        """

    def standard_normal(self) -> DiagonalGaussian:
        """N(0, I) over the top group. [Z_1]"""
        return DiagonalGaussian(self.origin, self.origin)

    def log_prob(self, z: Latents) -> Tensor:
        return torch.stack([self.conditional(z[:n]).log_density(group) for n, group in enumerate(z)])

    def sample(self, n: int) -> Latents:
        """n draws, group by group from the top. A tuple of [n, Z_l]"""
        drawn: Latents = ()
        for _ in self.latents:
            p = self.conditional(drawn)
            drawn = (*drawn, p.rsample(n) if p.mean.ndim == 1 else p.draw())
        return drawn

    def kl(self, q: PosteriorDistribution, z: Latents) -> tuple[Tensor, ...] | None:
        """KL(q(z_l|z_above, x) || p(z_l|z_above)) of each group and dimension, the mean over the samples of the groups
        above, in nats: a tuple of [B, Z_l].

        It is in closed form where q draws from the top down (or has one group): z_l is then Gaussian given the same
        z_above in both, and E_q[log q - log p] is the sum of these divergences, in the mean over z_above. A q that
        draws from the bottom up gives z_l other parents than p(z_l|z_above) does, so that the mean of a group's
        log q - log p is no divergence of two Gaussians: then this is None.
        """
        if isinstance(q, GaussianGroups):
            each = q.given_above(z)
        else:
            each = (q.gaussian,) if q.gaussian is not None and len(z) == 1 else None
        if each is None:
            return None
        found = [own.kl(self.conditional(z[:n])) for n, own in enumerate(each)]
        return tuple(kl.mean(0) if kl.ndim == 3 else kl for kl in found)
