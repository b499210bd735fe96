"""A density fitted to samples: a Gaussian mixture, or one in the coordinates in which each marginal is normal."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from scipy.linalg import solve_triangular
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from vaezoo.conformance.verdict import NotRun

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
"""The numbers of components that are tried in turn, until the held-out score falls."""
DEGREES = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, math.inf)
"""Degrees of freedom of Student's t that are tried for each marginal; with infinitely many it is normal."""
FITTED = 5000
"""The most samples that are fitted."""
GAIN = 0.01
"""The held-out nats a sample that more components must gain."""
KNOTS = 32
"""The probability of a marginal is spread evenly over so many pieces."""
EDGE = 1e-300
"""The least probability that is turned into a normal number."""


@dataclass(frozen=True)
class Marginals:
    """The map of each coordinate z_j to y_j = Phi^-1(F_j(z_j)), with F_j fitted to samples.

    F_j = L_j(T(z_j)): T is the distribution function of a Student's t, whose degrees of freedom fit best, and L_j is
    piecewise linear through the quantiles of T(z_j). So the tails of F_j are those of the Student's t.
    """

    centre: np.ndarray
    scale: np.ndarray
    degrees: np.ndarray
    knots: np.ndarray

    @staticmethod
    def of(samples: np.ndarray) -> Marginals:
        """Fitted to samples [N, Z]."""
        lower, centre, upper = np.quantile(samples, [0.25, 0.5, 0.75], axis=0)
        spread = np.maximum(upper - lower, 1e-12) / 2
        scores = [_log_t((samples - centre) / (s := spread / _quartile(n)), n).mean(0) - np.log(s) for n in DEGREES]
        degrees = np.array(DEGREES)[np.argmax(scores, 0)]
        scale = spread / np.array([_quartile(n) for n in degrees])
        u = np.stack([_t_below(z, n) for z, n in zip(((samples - centre) / scale).T, degrees, strict=True)])
        inner = np.quantile(u, np.arange(1, KNOTS) / KNOTS, axis=1).T
        knots = np.concatenate([np.zeros((len(u), 1)), inner, np.ones((len(u), 1))], 1)
        return Marginals(centre, scale, degrees, np.maximum.accumulate(knots + 1e-12 * np.arange(KNOTS + 1), 1))

    def forward(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """y [N, Z] and log |det dy/dz| [N]."""
        y, log_det = np.empty_like(z), np.zeros(len(z))
        for j, column in enumerate(((z - self.centre) / self.scale).T):
            # the upper half is computed from above, where probabilities near 1 would lose their digits
            below, above = _t_below(column, self.degrees[j]), _t_below(-column, self.degrees[j])
            knots = self.knots[j]
            piece = np.clip(np.searchsorted(knots, below, side="right") - 1, 0, KNOTS - 1)
            slope = 1 / (KNOTS * np.diff(knots)[piece])
            low = piece / KNOTS + slope * (below - knots[piece])
            high = (KNOTS - 1 - piece) / KNOTS + slope * (above - (knots[-1] - knots[piece + 1]))
            y[:, j] = np.where(low < 0.5, special.ndtri(np.clip(low, EDGE, 1)), -special.ndtri(np.clip(high, EDGE, 1)))
            log_det += np.log(slope) + _log_t(column, self.degrees[j]) - np.log(self.scale[j])
            log_det -= _log_t(y[:, j], math.inf)
        return y, log_det

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """z of y [N, Z]."""
        z = np.empty_like(y)
        for j, column in enumerate(y.T):
            knots, low, high = self.knots[j], special.ndtr(column), special.ndtr(-column)
            piece = np.clip((low * KNOTS).astype(int), 0, KNOTS - 1)
            width = np.diff(knots)[piece] * KNOTS
            below = knots[piece] + width * (low - piece / KNOTS)
            above = (knots[-1] - knots[piece + 1]) + width * (high - (KNOTS - 1 - piece) / KNOTS)
            from_below = _t_quantile(np.clip(below, EDGE, 1), self.degrees[j])
            from_above = -_t_quantile(np.clip(above, EDGE, 1), self.degrees[j])
            z[:, j] = np.where(below < 0.5, from_below, from_above)
        return np.asarray(self.centre + self.scale * z)


class Fitted:
    """A density h(z) of R^Z that can be drawn from, fitted to samples [N, Z].

    A Gaussian mixture of 1 to 64 components of full covariance, of z itself or of the coordinates of `Marginals`:
    whichever scores best on a fifth of the samples.
    """

    def __init__(self, samples: Tensor):
        every = samples[:FITTED].numpy()
        held = len(every) - len(every) // 5
        self.marginals, self.mixture = None, GaussianMixture()
        best, marginals = -math.inf, Marginals.of(every[:held])
        for chosen in (None, marginals):
            points, log_det = (every, np.zeros(len(every))) if chosen is None else chosen.forward(every)
            if not np.isfinite(points).all():
                continue
            for mixture in _mixtures(points[:held]):
                score = float((mixture.score_samples(points[held:]) + log_det[held:]).mean())
                if score <= best + GAIN:
                    break
                best, self.marginals, self.mixture = score, chosen, mixture
        if best == -math.inf:
            raise NotRun("undecided: no mixture of Gaussians fits its samples")

    @property
    def components(self) -> int:
        """The number of the mixture's components."""
        return len(self.mixture.weights_)

    def log_density(self, points: Tensor) -> Tensor:
        """log h(z). [N, Z] -> [N]"""
        z, log_det = points.numpy(), np.zeros(len(points))
        if self.marginals is not None:
            z, log_det = self.marginals.forward(z)
        return torch.from_numpy(self.mixture.score_samples(z) + log_det)

    def sample(self, count: int) -> Tensor:
        """Draws from h, by the same factors of its precisions as its density, also where one is nearly singular.
        [count, Z]
        """
        random = np.random.default_rng(0)
        counts = random.multinomial(count, self.mixture.weights_)
        factors = zip(counts, self.mixture.means_, self.mixture.precisions_cholesky_, strict=True)
        y = np.concatenate(
            [
                mean + solve_triangular(factor.T, random.standard_normal((len(mean), some)), lower=True).T
                for some, mean, factor in factors
            ]
        )
        return torch.from_numpy(y if self.marginals is None else self.marginals.inverse(y))


def _mixtures(points: np.ndarray) -> Iterator[GaussianMixture]:
    """Mixtures of more and more components, as long as each can have 3 samples for each coordinate."""
    for components in COMPONENTS:
        if components > 1 and 3 * components * points.shape[1] > len(points):
            return
        options = {"reg_covar": 1e-9, "max_iter": 40, "random_state": 0, "init_params": "k-means++"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                yield GaussianMixture(components, **options).fit(points)
            except ValueError:  # a component's covariance is singular, as where samples lie on few directions
                return


def _quartile(degrees: float) -> float:
    return float(_t_quantile(np.array([0.75]), degrees)[0])


def _t_below(z: np.ndarray, degrees: float) -> np.ndarray:
    """The distribution function of Student's t."""
    return np.asarray(special.ndtr(z) if degrees == math.inf else special.stdtr(degrees, z))


def _t_quantile(p: np.ndarray, degrees: float) -> np.ndarray:
    """Its inverse."""
    return np.asarray(special.ndtri(p) if degrees == math.inf else special.stdtrit(degrees, p))


def _log_t(z: np.ndarray, degrees: float) -> np.ndarray:
    """The log density of Student's t."""
    if degrees == math.inf:
        return np.asarray(-0.5 * z**2 - 0.5 * math.log(2 * math.pi))
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    return np.asarray(constant - (degrees + 1) / 2 * np.log1p(z**2 / degrees))
