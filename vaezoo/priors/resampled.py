"""The resampled prior: a Gaussian whose draws a learned network accepts or rejects."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.quasirandom import SobolEngine

from vaezoo.core import noise
from vaezoo.core.contracts import Prior
from vaezoo.core.draws import Draws
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.gaussian import DiagonalGaussian
from vaezoo.nets.dense import dense_stack
from vaezoo.nets.linear import Linear
from vaezoo.registry import register

KEY = noise.derive(0, "resampled prior")
FEWEST = 256
"""With fewer proposals the estimate of Z is too rough."""


@register.prior("resampled", paper="Bauer and Mnih (2019), arXiv:1810.11428")
class Resampled(Prior):
    """p(z): draws of N(0, I) are accepted with probability a(z), and the T-th draw always is.

    With Z = E[a(z)] over N(0, I), in nats

        log p(z) = log N(z; 0, I) + log(a(z) sum_{t < T-1} (1 - Z)^t + (1 - Z)^(T-1)),

    the paper's (1 - (1 - Z)^(T-1)) a(z) N(z) / Z + (1 - Z)^(T-1) N(z) without the division. A constant a gives N(0, I),
    for every T; so does the start of training, where a = 1/2.

    Z has no closed form. It is the mean of a over Sobol points that are shifted at random and mapped to N(0, I). In
    evaluation the shifts are fixed, `shifts` of them, so that log p(z) is a function of z and the weights alone. In
    training there is one shift a step, which the buffer `step` is the key of: a network could learn to reject fixed
    points alone. (The paper smooths the Z of its training steps; here the points of a step are more even.)

    The error of Z moves log p(x) of all images alike. `log_mass_error` gives it in nats, and the metric
    `prior-mass-error` puts it into the record.

    Skips more than 21,201 dimensions. truncation: T. width: of the two hidden layers of the network. proposals: Sobol
    points of a shift. [..., Z] -> [...]
    """

    def __init__(
        self,
        latent: int,
        *,
        truncation: int = 100,
        width: int = 100,
        proposals: int = 1024,
        shifts: int = 64,
        activation: str = "tanh",
    ):
        super().__init__()
        least = {"truncation": (truncation, 2), "proposals": (proposals, FEWEST), "shifts": (shifts, 2)}
        for name, (value, smallest) in least.items():
            if value < smallest:
                raise VaezooError(f"{name} must be {smallest} or more, got {value}")
        if latent > SobolEngine.MAXDIM:
            raise Skip(f"prior 'resampled' has proposals of at most {SobolEngine.MAXDIM} dimensions, got {latent}")
        self.truncation, self.shifts, self.latent = truncation, shifts, latent
        last = Linear(width, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.accept = nn.Sequential(dense_stack(latent, (width, width), activation), last)
        self.points: Tensor
        self.step: Tensor
        with torch.device("cpu"):  # the sequence cannot be drawn on the device that knows sizes alone
            points = SobolEngine(latent).draw(proposals)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def _score(self, z: Tensor) -> Tensor:
        """The log-odds of a(z). [..., Z] -> [...]"""
        score: Tensor = self.accept(z)
        return score.squeeze(-1)

    def _proposals(self) -> Tensor:
        """Points that are spread as N(0, I): of the training step, else the fixed ones. [R, S, Z]"""
        count, number = (1, self.step + 1) if self.training else (self.shifts, torch.zeros_like(self.step))
        with noise.stream(noise.mix(number ^ KEY), dtype=torch.float64):
            shift = noise.uniform(count, 1, self.latent)
        inside = (self.points.double() + shift).frac().clamp(2.0**-30, 1 - 2.0**-30)
        normal: Tensor = torch.special.ndtri(inside)
        return normal.to(self.points)

    def _log_tries(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """log sum_{t < T-1} (1 - Z)^t and log (1 - Z)^(T-1), given the log-odds of proposals. [R, S] -> [], []"""
        log_reject = logsigmoid(-scores).flatten().logsumexp(0) - math.log(scores.numel())
        tries = torch.arange(self.truncation - 1, device=log_reject.device, dtype=log_reject.dtype)
        return (tries * log_reject).logsumexp(0), (self.truncation - 1) * log_reject

    def log_density(self, z: Tensor) -> Tensor:
        """log p(z) in nats. [..., Z] -> [...]"""
        tries, last = self._log_tries(self._score(self._proposals()))
        origin = z.new_zeros(self.latent)
        chosen = torch.logaddexp(logsigmoid(self._score(z)) + tries, last)
        return DiagonalGaussian(origin, origin).log_density(z) + chosen

    @torch.no_grad()
    def log_mass_error(self) -> Tensor:
        """The standard error of log of the integral of p(z), in nats, in evaluation. []

        With the estimate Y of Z the integral is 1 + (Z - Y) sum_{t < T-1} (1 - Y)^t. The standard error of Y is that of
        the mean over the shifts.
        """
        scores = self._score(self._proposals())
        tries, _ = self._log_tries(scores)
        return tries.exp() * scores.sigmoid().mean(-1).std() / math.sqrt(len(scores))

    def sample(self, n: int) -> Tensor:
        """The first of T draws of N(0, I) that is accepted, else the last. [n, Z]"""
        z = noise.normal(n, self.latent).to(self.points)
        accepted = torch.zeros(n, dtype=torch.bool, device=z.device)
        for _ in range(self.truncation - 1):
            accepted = accepted | (noise.uniform(n).to(z) < self._score(z).sigmoid())
            z = torch.where(accepted[:, None], z, noise.normal(n, self.latent).to(z))
        return z

    def update(self, draws: Draws) -> None:
        """Counts the step, so that the next one has another shift."""
        self.step.add_(1)
