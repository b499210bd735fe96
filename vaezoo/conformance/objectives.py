"""Proofs of objectives, on the linear-Gaussian model, where log p(x) is known."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vaezoo.conformance.modules import value_of
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject, jitter, keyed
from vaezoo.conformance.verdict import ERRORS, NotRun, must, within_errors
from vaezoo.core.contracts import Objective
from vaezoo.core.data import DataSpec
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.training.module import TrainingModule, Values
from vaezoo.training.step import parameter_groups

LINEAR_GAUSSIAN_PARTS = {
    "encoder": "linear",
    "posterior": "gaussian",
    "prior": "normal",
    "decoder": "linear",
    "likelihood": "gaussian",
}
STEP = 1e-4
DIRECTIONS = 6


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


@torch.no_grad()
def exact(model: LatentModel) -> None:
    """Make q(z|x) the posterior: W's columns orthogonal, mean M^-1 W'(x - b) and std s M^-1/2 with M = W'W + s^2 I,
    so that every log w_k is log p(x).
    """
    layer, heads = _linear(model.decoder), _linear(model.posterior_net)
    columns, upper = torch.linalg.qr(layer.weight)
    layer.weight.copy_(columns * upper.diagonal())
    std: Tensor = model.likelihood.std  # type: ignore[assignment]
    diagonal = layer.weight.square().sum(0) + std.square()
    mean = layer.weight.T / diagonal[:, None]
    heads.weight.copy_(torch.cat([mean, torch.zeros_like(mean)]))
    heads.bias.copy_(torch.cat([-mean @ layer.bias, std.log() - 0.5 * diagonal.log()]))


def _linear(module: torch.nn.Module) -> torch.nn.Linear:
    return next(m for m in module.modules() if isinstance(m, torch.nn.Linear))


def log_evidence(model: LatentModel, x: Tensor) -> Tensor:
    """log N(x; b, W W' + s^2 I) of the linear-Gaussian model, in nats. [B]"""
    layer = _linear(model.decoder)
    std: Tensor = model.likelihood.std  # type: ignore[assignment]
    covariance = layer.weight @ layer.weight.T + std.square() * torch.eye(x.shape[1], dtype=x.dtype)
    value: Tensor = torch.distributions.MultivariateNormal(layer.bias, covariance).log_prob(x)
    return value


def _claims(model: LatentModel, objective: Objective, batch: Batch, seed: int, groups: Iterable[str]) -> Values:
    """The mean over the batch of what the objective claims to estimate, for each of its groups that has a claim."""
    with keyed(seed, model, batch):
        claimed = objective.estimates(model.draw(batch, objective.importance_samples))
    if claimed is None:
        raise NotRun("it makes no claim: write estimates(draws)")
    if not isinstance(claimed, dict):
        claimed = {group: claimed for group in groups if group != "own"}
    return {group: value.mean() for group, value in claimed.items()}


def _values(subject: Subject, model: LatentModel, objective: Objective, batch: Batch, seed: int) -> Values:
    """The mean over the batch of the objective's value for each group, {"all": value} where it gives one for all."""
    value: Tensor | Values = value_of(subject, model, objective, batch, seed)
    each = value if isinstance(value, dict) else {"all": value}
    return {group: part.mean() for group, part in each.items()}


def _claimed_groups(subject: Subject, model: LatentModel, objective: Objective, batch: Batch) -> tuple[str, ...]:
    """The groups of parameters for which the objective claims a formula."""
    with torch.no_grad():
        given = _values(subject, model, objective, batch, 0)
        claimed = tuple(_claims(model, objective, batch, 0, given))
    unknown = [group for group in claimed if group not in given]
    must(not unknown, str(unknown), f"estimates has {unknown}, forward has {list(given)}: the groups must agree")
    return claimed


@PROOFS.add("value as claimed", "objective")
def value_as_claimed(subject: Subject) -> str:
    """The mean of its value, or of each group's, is the mean of what it claims to estimate, in nats."""
    model, objective, batch = linear_gaussian(subject)
    groups = _claimed_groups(subject, model, objective, batch)
    if objective.surrogate:
        raise NotRun("it declares surrogate: only its gradient is what it claims")
    off, claims = [], []
    with torch.no_grad():
        for seed in range(subject.count(400)):
            value = _values(subject, model, objective, batch, seed)
            claim = _claims(model, objective, batch, seed, value)
            off.append(torch.stack([value[group] - claim[group] for group in groups]))
            claims.append(torch.stack([claim[group] for group in groups]))
    apart, claimed, figure = torch.stack(off), torch.stack(claims).mean(0), ""
    for n, group in enumerate(groups):
        error = float(apart[:, n].std() / math.sqrt(len(apart)))
        found = float(claimed[n] + apart[:, n].mean())
        figure = within_errors(found, float(claimed[n]), error, f"the objective's mean value ({group})")
    return figure


@PROOFS.add("gradient as claimed", "objective")
def gradient_as_claimed(subject: Subject) -> str:
    """In expectation its gradient is the derivative (finite differences) of what it claims to estimate, in six
    directions.

    Where it gives a value for each group of parameters, a group's value is tested along directions of that group alone.
    """
    model, objective, batch = linear_gaussian(subject)
    groups = _claimed_groups(subject, model, objective, batch)
    figure = ""
    for group in groups:
        figure = _gradient_of_group(subject, model, objective, batch, group, max(1, DIRECTIONS // len(groups)))
    return figure


def _gradient_of_group(
    subject: Subject, model: LatentModel, objective: Objective, batch: Batch, group: str, count: int
) -> str:
    """Compare the derivatives by one group of parameters, along `count` random directions."""
    parameters = parameter_groups(TrainingModule(model, objective))[group]
    start = parameters_to_vector(parameters).detach().clone()
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(count, len(start), generator=generator, dtype=start.dtype)
    directions /= directions.norm(dim=1, keepdim=True)
    off, slopes = [], []
    for seed in range(subject.count(160)):
        vector_to_parameters(start, parameters)
        values = _values(subject, model, objective, batch, seed)
        gradient = torch.autograd.grad(values[group], parameters, allow_unused=True)
        flat = torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(gradient, parameters, strict=True)]
        )
        with torch.no_grad():
            claimed = []
            for direction in directions:
                ends = []
                for sign in (1, -1):
                    vector_to_parameters(start + sign * STEP * direction, parameters)
                    ends.append(_claims(model, objective, batch, seed, values)[group])
                claimed.append((ends[0] - ends[1]) / (2 * STEP))
            slopes.append(torch.stack(claimed))
            off.append(directions @ flat - slopes[-1])
    vector_to_parameters(start, parameters)
    stacked, expected = torch.stack(off), torch.stack(slopes).mean(0)
    figure = ""
    for n in range(count):
        error = float(stacked[:, n].std() / math.sqrt(len(stacked)))
        found = float(expected[n] + stacked[:, n].mean())
        what = f"the mean gradient ({group}) along direction {n}"
        figure = within_errors(found, float(expected[n]), error, what, 1e-5)
    return figure


@PROOFS.add("below log p(x)", "objective")
def below(subject: Subject) -> str:
    """The mean of a lower bound is at most log p(x), at its own K and at K = 1, with any q and with q the posterior,
    where it is tight. It may exceed log p(x) by 4 standard errors with any q, and by ERRORS of them with the posterior.
    Where it gives a value for each group, the generative one counts.
    """
    model, objective, batch = linear_gaussian(subject)
    if not objective.lower_bound:
        raise NotRun("it does not declare lower_bound")
    figures = [_below(subject, model, objective, batch, 4, "any q")]
    exact(model)
    figures.append(_below(subject, model, objective, batch, ERRORS, "q the posterior"))
    return ", ".join(figures)


@torch.no_grad()
def _below(subject: Subject, model: LatentModel, objective: Objective, batch: Batch, errors: float, title: str) -> str:
    own, figure = objective.importance_samples, ""
    group = "all" if "all" in _values(subject, model, objective, batch, 0) else "generative"
    truth = float(log_evidence(model, batch.x).mean())
    for samples in sorted({own, 1}):
        objective.importance_samples = samples
        every = [_values(subject, model, objective, batch, seed) for seed in range(subject.count(400))]
        values = torch.stack([value[group] for value in every])
        error = float(values.std() / math.sqrt(len(values)))
        mean = float(values.mean())
        figure = must(
            mean <= truth + errors * error + 1e-9,
            f"{mean - truth:+.4f}",
            f"its mean at K={samples} with {title} is {mean:.5g} +- {error:.2g}, above log p(x) = {truth:.5g}",
        )
    objective.importance_samples = own
    return figure
