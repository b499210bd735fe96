"""Wrong changes over training, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
objective, likelihood = vaezoo.register.objective, vaezoo.register.likelihood


@objective("moving-baseline")
class MovingBaseline(vaezoo.Objective):
    """E[log w], with a moving mean of log w in a buffer."""

    lower_bound = True

    def __init__(self):
        super().__init__()
        self.register_buffer("baseline", torch.zeros(()))
        self.scale, self.seen = nn.Parameter(torch.ones(())), []

    def forward(self, draws):
        return draws.log_weight.mean(0) + 0 * self.scale

    def update(self, draws):
        self.baseline = 0.9 * self.baseline + 0.1 * draws.log_weight.mean()


@objective("moving-baseline-list-wrong")
class MovingBaselineListWrong(MovingBaseline):
    """Keeps the values in a list beside the buffer."""

    def update(self, draws):
        super().update(draws)
        self.seen.append(float(self.baseline))


@objective("moving-baseline-data-wrong")
class MovingBaselineDataWrong(MovingBaseline):
    """Writes into a parameter past torch's count of changes."""

    def update(self, draws):
        super().update(draws)
        self.scale.data.mul_(0.99)


@objective("moving-baseline-other-wrong")
class MovingBaselineOtherWrong(MovingBaseline):
    """Writes into the decoder."""

    def update(self, draws):
        super().update(draws)
        next(draws.model.decoder.parameters()).data.mul_(0.99)


@objective("moving-baseline-random-wrong")
class MovingBaselineRandomWrong(MovingBaseline):
    """Draws from torch's own generator."""

    def update(self, draws):
        self.baseline = 0.9 * self.baseline + 0.1 * draws.log_weight.mean() + 0.01 * torch.randn(())


@objective("moving-baseline-packed-wrong")
class MovingBaselinePackedWrong(MovingBaseline):
    """Does otherwise where torch.func maps it."""

    def update(self, draws):
        super().update(draws)
        if torch._C._functorch.is_batchedtensor(self.baseline):
            self.baseline = 2 * self.baseline


@likelihood("fitted-scale")
class FittedScale(vaezoo.Likelihood):
    """Normal(x; parameters, scale^2), with the scale that is the best for the training images after each epoch."""

    measures = ("continuous",)

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.parameter_shape = spec.shape
        self.register_buffer("log_scale", torch.zeros(()))

    def log_prob(self, x, parameters):
        distance = (x - parameters) * (-self.log_scale).exp()
        return -(0.5 * distance.square() + self.log_scale + HALF_LOG_TWO_PI).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters

    def sample(self, parameters):
        return parameters + self.log_scale.exp() * vaezoo.noise.normal(*parameters.shape)

    def spread(self, images, parameters):
        """The mean square distance of the images from their means."""
        return (images - parameters(images)).square().mean()

    def refit(self, images, parameters):
        self.log_scale.copy_(0.5 * self.spread(images, parameters).log())


@likelihood("fitted-scale-random-wrong")
class FittedScaleRandomWrong(FittedScale):
    """Fits some images, drawn from torch's own generator."""

    def spread(self, images, parameters):
        chosen = torch.randperm(len(images))[: len(images) // 2]
        return (images - parameters(images))[chosen].square().mean()


@likelihood("fitted-scale-kept-wrong")
class FittedScaleKeptWrong(FittedScale):
    """Keeps the last images in its class."""

    kept = []  # noqa: RUF012

    def spread(self, images, parameters):
        self.kept.append(images)
        return super().spread(images, parameters)


@likelihood("fitted-scale-graph-wrong")
class FittedScaleGraphWrong(FittedScale):
    """Turns gradients on, so that the buffer keeps a graph."""

    def refit(self, images, parameters):
        with torch.enable_grad():
            super().refit(images, parameters)


@likelihood("fitted-scale-replaced-wrong")
class FittedScaleReplacedWrong(FittedScale):
    """Assigns the buffer instead of writing into it."""

    def refit(self, images, parameters):
        self.log_scale = 0.5 * self.spread(images, parameters).log()


@objective("warming")
class Warming(vaezoo.Objective):
    """E[log p(x|z)] - beta KL, beta rising from 0 to 1 over the first half of training."""

    annealed_until = 0.5

    def forward(self, draws):
        beta = (2 * draws.progress).clamp(max=1)
        return draws.log_likelihood.mean(0) - beta * draws.kl_estimate


@objective("warming-late-wrong")
class WarmingLateWrong(Warming):
    """Says that it ends earlier than it does."""

    annealed_until = 0.3


@objective("warming-untold-wrong")
class WarmingUntoldWrong(Warming):
    """Says nothing of its end."""

    annealed_until = 0.0


@vaezoo.register.decoder("cooling")
class Cooling(vaezoo.Decoder):
    """One layer, whose output is shrunk until a quarter of the training."""

    annealed_until = 0.25

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.net, self.shape = nn.Linear(latent, math.prod(parameter_shape)), parameter_shape

    def forward(self, z, progress):
        return (4 * progress).clamp(max=1) * self.net(z).unflatten(-1, self.shape)


@vaezoo.register.decoder("cooling-mode-wrong")
class CoolingModeWrong(Cooling):
    """Shrinks to the end, and not at all in eval mode: what is chosen is not what was trained."""

    def forward(self, z, progress):
        return super().forward(z, (progress / 2 if self.training else progress))
