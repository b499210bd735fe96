"""The logistic distribution: a relaxed Bernoulli on the logistic line."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vaezoo.core import noise


class Logistic:
    """Independent logistic numbers about `mean`, of the scale exp(log_scale), over the last axis; as q(z|x) of one
    latent group, L = 1.

    z = mean + scale * log(u / (1 - u)) with u uniform in (0, 1). Its density integrates to 1.

    mean, log_scale: [..., Z], or what broadcasts to it; of a posterior the mean is [B, Z].
    """

    gaussian = None

    def __init__(self, mean: Tensor, log_scale: Tensor):
        self.mean, self.log_scale = mean, log_scale

    def rsample(self, samples: int) -> Tensor:
        """z = mean + scale * log(u / (1 - u)). [K, ..., Z]"""
        u = noise.uniform(samples, *self.mean.shape).to(self.mean)
        return self.mean + self.log_scale.exp() * (u.log() - torch.log1p(-u))

    def log_density(self, value: Tensor) -> Tensor:
        """log density summed over the last axis, in nats. [..., Z] -> [...]"""
        unit = (value - self.mean) * (-self.log_scale).exp()
        return (F.logsigmoid(unit) + F.logsigmoid(-unit) - self.log_scale).sum(-1)

    def rsample_and_log_prob(self, samples: int) -> tuple[tuple[Tensor], Tensor]:
        """K samples ([K, B, Z],) and their log q(z|x) [L=1, K, B] in nats."""
        z = self.rsample(samples)
        return (z,), self.log_density(z)[None]

    def log_prob(self, z: tuple[Tensor, ...]) -> Tensor:
        """log q(z|x) of given points in nats. ([K, B, Z],) -> [L=1, K, B]"""
        return self.log_density(z[0])[None]


def binary_concrete(logits: Tensor, temperature: float) -> Logistic:
    """The logit y of a relaxed bit, which is logistic with mean logits / temperature and scale 1 / temperature.

    sigmoid(y) is BinConcrete(exp(logits), temperature), and y > 0 with the probability sigmoid(logits) at every
    temperature. [..., Z] -> a Logistic. Maddison et al. (2017), arXiv:1611.00712, appendix B.
    """
    log_scale = logits.new_tensor(temperature).log().neg()
    return Logistic(logits / temperature, log_scale)
