"""Models whose log p(x) is known, on which objectives are proved: linear and Gaussian, or with codes as latents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from vaezoo.conformance.subject import Subject, jitter, keyed
from vaezoo.conformance.verdict import NotRun
from vaezoo.core.contracts import Latents, Objective, supports
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch, Draws
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel

LINEAR_GAUSSIAN_PARTS = {
    "encoder": "linear",
    "posterior": "gaussian",
    "prior": "normal",
    "decoder": "linear",
    "likelihood": "gaussian",
}
TWO_GROUPS_PARTS = LINEAR_GAUSSIAN_PARTS | {"posterior": "bottom-up", "prior": "top-down"}
ROWS = 160
"""Rows of a pass: every image several times, with noise of its own."""
OWN_IMAGES = 4
DRAWN = 20_000
"""Samples of each image by which log p(x) is estimated where it is not known."""
COMBINATIONS = 50_000
"""The largest number of rows of an exact expectation over codes."""
MASS = 1e-6


@dataclass
class Ground:
    """A model in float64 on which an objective is proved, the objective, and images.

    kind: `linear` where the model is linear and Gaussian, `codes` where its latents are discrete, else `sampled`. rows:
    the images of a pass, each several times.
    """

    model: LatentModel
    objective: Objective
    images: Batch
    kind: str
    quick: bool

    @property
    def rows(self) -> Batch:
        """The images of a pass, each several times, with an index of its own."""
        rows = (ROWS // 4 if self.quick else ROWS) * (5 if self.kind == "codes" else 1)  # scores are noisy
        return repeated(self.images, rows // len(self.images.x))

    @torch.no_grad()
    def evidence(self, weight: float = 1.0) -> float:
        """What the mean of a lower bound is at most, in nats: log p(x); at a KL weight w in (0, 1), for the
        linear-Gaussian model, w log E_p[p(x|z)^(1/w)]. Where log p(x) is estimated, 5 standard errors are added.
        """
        if self.kind == "linear":
            return float(log_evidence(self.model, self.images.x, weight).mean())
        with keyed(41, self.model, self.images):
            if self.kind == "codes":
                log_likelihood, log_prior = self.model.log_joint(self.images, codes(self.model, self.images))
                return float((log_likelihood + log_prior.sum(0)).logsumexp(0).mean())
            log_weight = self.model.draw(self.images, DRAWN).log_weight
        mean = log_weight.logsumexp(0) - math.log(DRAWN)
        errors = (log_weight - mean).exp().std(0) / math.sqrt(DRAWN)
        return float(mean.mean() + 5 * errors.square().sum().sqrt() / len(errors))


def ground(subject: Subject) -> Ground:
    """The model on which an objective is proved.

    Where the first variant that names the objective has discrete latents it is that variant. Else it is the
    linear-Gaussian model; where the objective refuses that, it is the variant. NotRun where there is none.
    """
    own = _own_model(subject)
    if own is None or own.kind != "codes":
        try:
            model, objective, batch = linear_gaussian(subject)
            with torch.no_grad(), keyed(1, model, batch):
                objective(model.draw(batch, objective.importance_samples))
            return Ground(model, objective, batch, "linear", subject.quick)
        except VaezooError as reason:
            if own is None:
                raise NotRun(f"it refuses the linear-Gaussian model, and no variant names it: {reason}") from None
    return own


def _own_model(subject: Subject) -> Ground | None:
    """The first variant that names the objective and can be built: of one latent dimension where latents are codes, so
    that these are few, else of two.
    """
    for other in islice(subject.in_each_variant(), 1, None):
        try:
            model, objective = other.build(latent=2, double=True)
            discrete = "discrete" in supports(model.posterior_net, len(model.latents or (1,)))
            if discrete and len(model.latents or ()) == 1:
                model, objective = other.build(latent=1, double=True)
        except (NotRun, VaezooError):
            continue
        images = other.batch(model, OWN_IMAGES)
        return Ground(model, objective, images, "codes" if discrete else "sampled", subject.quick)
    return None


def linear_gaussian(subject: Subject) -> tuple[LatentModel, Objective, Batch]:
    """The objective on probabilistic PCA of 4 dimensions and 2 latents, in float64, and 16 images drawn from it."""
    linear = Subject(subject.plugin, subject.quick)
    model, objective = linear.build_on(DataSpec((4,), "continuous"), (2,), 0, dict(LINEAR_GAUSSIAN_PARTS))
    jitter(model, 0)
    jitter(objective, 0)
    with torch.no_grad():  # a narrow q, as after training: near q = p, KL(q || p) and KL(p || q) are nearly equal
        _linear(model.posterior_net).bias[2:] -= 1
    model, objective = model.double(), objective.double()
    with torch.no_grad(), keyed(37, model):
        x = model.sample(16)
    return model, objective, Batch(x, None, torch.arange(16))


def two_groups(subject: Subject) -> Ground | None:
    """The objective on a model with two latent groups, or None where it refuses that."""
    try:
        model, objective = Subject(subject.plugin, subject.quick).build_on(
            DataSpec((4,), "continuous"), (1, 2), 0, dict(TWO_GROUPS_PARTS)
        )
        with torch.no_grad(), keyed(1, model):
            objective(model.draw(subject.batch(model, 2), objective.importance_samples))
    except VaezooError:
        return None
    jitter(model, 0)
    jitter(objective, 0)
    model, objective = model.double(), objective.double()
    with torch.no_grad(), keyed(37, model):
        x = model.sample(OWN_IMAGES)
    return Ground(model, objective, Batch(x, None, torch.arange(OWN_IMAGES)), "sampled", subject.quick)


def repeated(batch: Batch, times: int) -> Batch:
    """Every image of a batch several times, each with an index of its own."""
    x, context = (None if t is None else t.repeat(times, *[1] * (t.ndim - 1)) for t in (batch.x, batch.context))
    assert x is not None
    return Batch(x, context, torch.arange(len(x)), batch.progress)


@torch.no_grad()
def exact(model: LatentModel, weight: float = 1.0, spread: float = 1.0, shift: float = 0.0) -> None:
    """Make q(z|x) the posterior: W's columns orthogonal, mean M^-1 W'(x - b) and std s M^-1/2 with M = W'W + s^2 I,
    so that every log w_k is log p(x).

    weight: of the KL, at which the best q has w s^2 in place of s^2. spread, shift: the standard deviation of q, and
    how far its mean is off, in those of the best q.
    """
    layer, heads = _linear(model.decoder), _linear(model.posterior_net)
    columns, upper = torch.linalg.qr(layer.weight)
    layer.weight.copy_(columns * upper.diagonal())
    variance: Tensor = weight * model.likelihood.std.square()  # type: ignore[operator]
    diagonal = layer.weight.square().sum(0) + variance
    mean, log_std = layer.weight.T / diagonal[:, None], 0.5 * (variance.log() - diagonal.log())
    heads.weight.copy_(torch.cat([mean, torch.zeros_like(mean)]))
    heads.bias.copy_(torch.cat([shift * log_std.exp() - mean @ layer.bias, log_std + math.log(spread)]))


def _linear(module: torch.nn.Module) -> torch.nn.Linear:
    return next(m for m in module.modules() if isinstance(m, torch.nn.Linear))


def log_evidence(model: LatentModel, x: Tensor, weight: float = 1.0) -> Tensor:
    """log N(x; b, W W' + s^2 I) of the linear-Gaussian model, in nats. [B]

    At a KL weight w below 1 it is w log E_p[p(x|z)^(1/w)]: no q has a larger E_q[log p(x|z)] - w KL(q || p), nor, by
    Jensen's inequality, a larger mean of log (1/K) sum_k p(x|z_k) (p(z_k) / q(z_k))^w.
    """
    layer, size = _linear(model.decoder), x.shape[1]
    variance: Tensor = model.likelihood.std.square()  # type: ignore[operator]
    covariance = layer.weight @ layer.weight.T + weight * variance * torch.eye(size, dtype=x.dtype)
    normal: Tensor = torch.distributions.MultivariateNormal(layer.bias, covariance).log_prob(x)
    constant = 0.5 * size * ((weight - 1) * (2 * math.pi * variance).log() + weight * math.log(weight))
    return weight * normal + constant


def codes(model: LatentModel, batch: Batch) -> Latents:
    """All codes of a model with discrete latents, as samples of every image: a tuple of [S, B, Z_l].

    NotRun where those that were drawn are not all that p(z) and q(z|x) allow.
    """
    with torch.no_grad():
        drawn = model.draw(batch, 500).z
        groups = [torch.cat([a, b.flatten(0, 1)]) for a, b in zip(model.prior_sample(2000), drawn, strict=True)]
        rows = torch.cat(groups, -1).unique(dim=0)
        z = rows[:, None].expand(-1, len(batch.x), -1).split([group.shape[-1] for group in groups], -1)
        for name, each in (("p(z)", model.log_prior(batch, z)), ("q(z|x)", model.log_posterior(batch, z))):
            mass = each.sum(0).exp().sum(0)
            if not bool(((mass - 1).abs() <= MASS).all()):
                raise NotRun(f"undecided: {name} of the {len(rows)} codes that were drawn adds up to {mass.min():.6g}")
    return tuple(z)


def every_draw(model: LatentModel, batch: Batch, z: Latents, samples: int) -> tuple[Draws, Tensor]:
    """The Draws of every combination of K codes, and the probability of each row. [C * B]

    z: what `codes` gives, [S, B, Z_l] each. NotRun where the combinations are too many.
    """
    count, images = z[0].shape[:2]
    if count**samples * images > COMBINATIONS:
        raise NotRun(f"undecided: {samples} samples of {count} codes are too many combinations for a sum")
    places = torch.cartesian_prod(*[torch.arange(count)] * samples).view(-1, samples)
    every = repeated(batch, len(places))
    chosen = tuple(group[places.T].flatten(1, 2) for group in z)  # [K, C, B, Z] -> [K, C * B, Z]
    log_q = model.log_posterior(every, chosen)
    return Draws(model, every, model.posterior(every), chosen, log_q), log_q.sum((0, 1)).exp()
