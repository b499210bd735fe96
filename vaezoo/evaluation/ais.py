"""Annealed importance sampling with Hamiltonian moves: a second estimate of log p(x), and bounds from both sides.

Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273; Grosse et al. (2015), arXiv:1511.02543.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value

from vaezoo.core import heartbeat, noise
from vaezoo.core.contracts import Latents
from vaezoo.core.draws import Batch
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating

TARGET = 0.65
"""The acceptance rate that the pilot tunes the step size to (Neal 2011, arXiv:1206.1901)."""
PACE = 1.05
"""The pilot multiplies or divides the step size by this factor after each move."""
PILOT_MOVES = 100
"""The fewest moves of a pilot, also at few temperatures, so that the step size converges."""


@dataclass(frozen=True)
class Annealing:
    """Settings of an annealing.

    chains: C independent chains for each image. temperatures: T steps from the prior (0) to the posterior (1).
    leapfrogs: steps of one Hamiltonian move. seed: of the noise.
    """

    chains: int = 16
    temperatures: int = 200
    leapfrogs: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("chains", "temperatures", "leapfrogs"):
            if getattr(self, name) < 1:
                raise VaezooError(f"{name} must be 1 or more, got {getattr(self, name)}")


def sigmoid_schedule(temperatures: int, width: float = 4.0) -> list[float]:
    """beta_0 = 0 < ... < beta_T = 1, slow at both ends: S(width (2 t/T - 1)), scaled to [0, 1]."""
    raw = [1 / (1 + math.exp(-width * (2 * t / temperatures - 1))) for t in range(temperatures + 1)]
    return [(value - raw[0]) / (raw[-1] - raw[0]) for value in raw]


class _Target:
    """log p(z) + beta log p(x|z) of C chains of B images, flat in z [C, B, sum of Z_l]."""

    def __init__(self, model: LatentModel, batch: Batch, sizes: tuple[int, ...]):
        self.model, self.batch, self.sizes = model, batch, sizes

    def log_likelihood(self, z: Tensor) -> Tensor:
        """log p(x|z). [C, B]"""
        return self.model.log_likelihood(self.batch, self._groups(z))

    def _groups(self, z: Tensor) -> Latents:
        return tuple(z.split(self.sizes, -1))

    def gradient(self, z: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """Gradient [C, B, Z] and value [C, B] of the annealed log-density."""

        def total(point: Tensor) -> tuple[Tensor, Tensor]:
            """The sum of the annealed log-density, whose gradient is taken, and its values."""
            groups = self._groups(point)
            value = self.model.log_prior(self.batch, groups).sum(0)
            if beta:
                value = value + beta * self.model.log_likelihood(self.batch, groups)
            return value.sum(), value

        slope, (_, value) = grad_and_value(total, has_aux=True)(z)
        return slope, value


def _move(target: _Target, z: Tensor, beta: float, step: Tensor, leapfrogs: int) -> tuple[Tensor, Tensor]:
    """One Hamiltonian move, which leaves p(z) p(x|z)^beta invariant: z [C, B, Z] and the acceptance probability [C, B].

    step: [B], the step size of each image.
    """
    start = noise.normal(*z.shape)
    size = step[None, :, None]
    slope, before = target.gradient(z, beta)
    point, momentum = z, start
    after = before
    for _ in range(leapfrogs):
        momentum = momentum + 0.5 * size * slope
        point = point + size * momentum
        slope, after = target.gradient(point, beta)
        momentum = momentum + 0.5 * size * slope
    energy = after - before + 0.5 * (start.square() - momentum.square()).sum(-1)
    accept = torch.nan_to_num(energy, nan=-math.inf).clamp(max=0).exp()
    return torch.where((noise.uniform(*accept.shape) < accept)[..., None], point, z), accept


def _sweep(
    target: _Target, z: Tensor, annealing: Annealing, steps: Tensor, *, pilot: bool = False, reverse: bool = False
) -> Tensor:
    """log w of each chain [C, B], from z ~ prior upwards or (reverse) from z ~ posterior downwards.

    steps: [T, B], step sizes. A pilot writes the tuned sizes into it.
    """
    beta = sigmoid_schedule(annealing.temperatures)
    log_weight = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
    order = range(1, annealing.temperatures + 1)
    current = steps[0]
    for t in reversed(order) if reverse else order:
        heartbeat.beat()
        if not reverse:
            log_weight += (beta[t] - beta[t - 1]) * target.log_likelihood(z).double()
        current = current if pilot else steps[t - 1]
        for _ in range(-(-PILOT_MOVES // annealing.temperatures) if pilot else 1):
            z, accept = _move(target, z, beta[t], current, annealing.leapfrogs)
            if pilot:
                current = torch.where(accept.mean(0) > TARGET, current * PACE, current / PACE)
                steps[t - 1] = current
        if reverse:
            log_weight += (beta[t] - beta[t - 1]) * target.log_likelihood(z).double()
    return log_weight


def _begin(model: LatentModel, batch: Batch, annealing: Annealing, axis: str) -> tuple[_Target, Tensor]:
    images = batch.x.shape[0]
    first = 0 if batch.index is None else int(batch.index[0])  # each block of images has its own draws
    with noise.stream(noise.derive(annealing.seed, axis, "prior", first), device=model.device, dtype=model.dtype):
        context = None if batch.context is None else batch.context.repeat(annealing.chains, 1)
        groups = model.prior_sample(annealing.chains * images, context)
    sizes = tuple(group.shape[-1] for group in groups)
    z = torch.cat(groups, -1).view(annealing.chains, images, -1)
    return _Target(model, batch, sizes), z


def _tuned(model: LatentModel, batch: Batch, annealing: Annealing) -> Tensor:
    """Step sizes [T, B] from a pilot whose chains are discarded: adapting the steps within the run would bias it."""
    target, z = _begin(model, batch, annealing, "pilot")
    steps = torch.full((annealing.temperatures, batch.x.shape[0]), 0.1, device=z.device, dtype=z.dtype)
    with noise.stream(noise.derive(annealing.seed, "pilot"), index=batch.index, dtype=model.dtype):
        _sweep(target, z, annealing, steps, pilot=True)
    return steps


def _indexed(model: LatentModel, x: Tensor, index: Tensor | None, context: Tensor | None) -> Batch:
    index = torch.arange(x.shape[0]) if index is None else index
    return model.batch(x, None if context is None else context.to(model.device), index.to(model.device))


def ais(
    model: LatentModel,
    x: Tensor,
    annealing: Annealing | None = None,
    index: Tensor | None = None,
    context: Tensor | None = None,
) -> Tensor:
    """Annealed importance sampling's estimate of log p(x) of each image, in nats: log (1/C) sum_c w_c. [B], float64

    E[w] = p(x), so the estimate is a lower bound in expectation. It needs no posterior network. Chains go from p(z) to
    p(z) p(x|z) in T steps, each followed by a Hamiltonian move whose size a discarded pilot has tuned.

    x: [B, *shape], as stored or as floats. index: [B], the images' numbers in their split (0..B-1 when left out).
    context: [B, C], of a conditional model.

    Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273.
    """
    annealing = annealing or Annealing()
    with evaluating(model):
        batch = _indexed(model, x, index, context)
        return _forward(model, batch, annealing, _tuned(model, batch, annealing))


def _forward(model: LatentModel, batch: Batch, annealing: Annealing, steps: Tensor) -> Tensor:
    target, z = _begin(model, batch, annealing, "forward")
    with noise.stream(noise.derive(annealing.seed, "forward"), index=batch.index, dtype=model.dtype):
        log_weight = _sweep(target, z, annealing, steps)
    return (log_weight.logsumexp(0) - math.log(annealing.chains)).cpu()


@dataclass(frozen=True)
class Sandwich:
    """Bounds on log p(x) of simulated images, in nats, [B] each.

    In expectation, mean lower <= mean log p(x) <= mean upper. The interval of a single image need not contain its
    log p(x). x: the images, [B, *shape].
    """

    x: Tensor
    lower: Tensor
    upper: Tensor


def bdmc(
    model: LatentModel, images: int, annealing: Annealing | None = None, context: Tensor | None = None
) -> Sandwich:
    """Bidirectional Monte Carlo on images simulated from the model, each with its own z, an exact draw from p(z|x).

    The lower bound is `ais`; the upper one runs the same frozen kernels backwards from that z: -log (1/C) sum_c 1/w_c.
    context: one for each image [B, C], of a conditional model. Grosse et al. (2015), arXiv:1511.02543.
    """
    annealing = annealing or Annealing()
    with evaluating(model):
        with noise.stream(noise.derive(annealing.seed, "simulate"), device=model.device, dtype=model.dtype):
            z = model.prior_sample(images, context)
            x = model.simulate(z, context)
        batch = _indexed(model, x, None, context)
        steps = _tuned(model, batch, annealing)
        lower = _forward(model, batch, annealing, steps)
        target = _Target(model, batch, tuple(group.shape[-1] for group in z))
        start = torch.cat(z, -1).expand(annealing.chains, -1, -1)
        with noise.stream(noise.derive(annealing.seed, "reverse"), index=batch.index, dtype=model.dtype):
            log_weight = _sweep(target, start, annealing, steps, reverse=True)
        upper = math.log(annealing.chains) - (-log_weight).logsumexp(0)
    return Sandwich(x.cpu(), lower, upper.cpu())
