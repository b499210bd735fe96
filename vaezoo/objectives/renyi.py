"""The variational Rényi bound."""

import math
from typing import Literal

import torch
from torch import Tensor

from vaezoo.core.contracts import Objective
from vaezoo.core.draws import Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.objective_terms import weighted_log_weight
from vaezoo.registry import register

NEAR_1 = 0.1
"""Below this |1 - alpha| the mean is taken of exp(...) - 1, which stays exact where the exponent goes to 0."""


@register.objective("renyi", paper="Li and Turner (2016), arXiv:1602.02311")
class Renyi(Objective):
    """1 / (1 - alpha) log (1/K) sum_k w_k^(1 - alpha) of each image. [B]

    log w_k = log p(x|z_k) + w (log p(z_k) - log q(z_k|x)), where w is the weight of the KL warm-up. It is log of the
    power mean of the w_k, which falls as alpha rises: `iwae` at alpha = 0, the bound `elbo` at alpha = 1. At "-inf" it
    is VR-max, max_k log w_k.

    At alpha >= 0 it is at most IWAE's bound and so a lower bound. At a negative alpha, VR-max included, its mean may
    exceed log p(x), and the objective does not declare `lower_bound`.

    alpha: a number, or the text "-inf". importance_samples: K.
    """

    def __init__(self, *, alpha: float | Literal["-inf"] = 0.5, importance_samples: int = 5):
        super().__init__()
        if not isinstance(alpha, str) and not math.isfinite(alpha):
            raise VaezooError(f'alpha must be a finite number, or the text "-inf" for VR-max, got {alpha}')
        self.alpha, self.importance_samples = float(alpha), importance_samples
        self.lower_bound = self.alpha >= 0

    def estimates(self, draws: Draws) -> Tensor:
        """The power mean of the plain weights. [B]"""
        return log_power_mean(draws.log_weight, 1 - self.alpha)

    def forward(self, draws: Draws) -> Tensor:
        """Nats to maximise. [B]"""
        return log_power_mean(weighted_log_weight(draws), 1 - self.alpha)


def log_power_mean(log_weight: Tensor, power: float) -> Tensor:
    """log of the power mean, (1/s) log (1/K) sum_k w_k^s, over the first axis. [K, B] -> [B]

    The mean of log w_k at s = 0 and their maximum at s = inf. Near s = 0 it is c + log(1 + m) / s, where c is the
    log w_k with the largest s log w_k and m the mean of exp(s (log w_k - c)) - 1: nothing overflows, and the error is
    that of rounding, not rounding / s.
    """
    if power == 0:
        return log_weight.mean(0)
    if power == math.inf:
        return log_weight.amax(0)
    if abs(power) >= NEAR_1:
        return ((power * log_weight).logsumexp(0) - math.log(len(log_weight))) / power
    centre = (log_weight.amax(0) if power > 0 else log_weight.amin(0)).detach()
    return centre + torch.expm1(power * (log_weight - centre)).mean(0).log1p() / power
