"""Posteriors that are mixtures and draw uniform numbers: NAME is right, NAME-wrong is not."""

import math

import torch
from scored_heads import Heads, Scored

import vaezoo


class HalfBells(Scored):
    """Half N(m_1, s_1^2) + half N(m_2, s_2^2): a uniform number chooses."""

    def __init__(self, head):
        self.bells = [vaezoo.DiagonalGaussian.from_heads(each) for each in head.chunk(2, -1)]

    def draw(self, samples):
        first, second = (bell.rsample(samples) for bell in self.bells)
        chosen = vaezoo.noise.uniform(*first.shape[:2], 1).to(first) < 0.5
        return torch.where(chosen, first, second)

    def log_density(self, z):
        return torch.logaddexp(*(bell.log_density(z) for bell in self.bells)) - math.log(2)


@vaezoo.register.posterior("half-bells")
class HalfBellsHeads(Heads):
    """A mixture of two Gaussians."""

    width, kind = 4, HalfBells

    def distribution(self, head):
        return self.kind(head)


@vaezoo.register.posterior("half-bells-wrong")
class HalfBellsWrong(HalfBellsHeads):
    """The mixture's dimensions choose apart in the density, together in the samples."""

    class kind(HalfBells):
        def log_density(self, z):
            scores = [
                -(0.5 * ((z - b.mean) / b.std) ** 2 + b.log_std + 0.5 * math.log(2 * math.pi)) for b in self.bells
            ]
            return (torch.logaddexp(*scores) - math.log(2)).sum(-1)


class Choosing(HalfBells):
    """The same, with exactly as many draws as latents: one uniform and Z - 1 further normals are shared."""

    def draw(self, samples):
        eps = vaezoo.noise.normal(samples, *self.bells[0].mean.shape).to(self.bells[0].mean)
        chosen = vaezoo.noise.uniform(*eps.shape[:2], 1).to(eps) < 0.5
        first, second = (bell.mean + bell.std * eps for bell in self.bells)
        return torch.where(chosen, first, second)


@vaezoo.register.posterior("choosing")
class ChoosingHeads(HalfBellsHeads):
    """A mixture whose Z normal numbers are shared by its components: no change of variables gives its density."""

    kind = Choosing
