"""Small plugins that change over training in each of the legal ways, and networks with Dropout."""

import torch
from small_models import pair

import vaezoo
from vaezoo import Objective


class Annealed(Objective):
    """E[log p(x|z)] - beta KL, beta rising from 0 to 1 over the first half of training."""

    replayable = True
    annealed_until = 0.5

    def forward(self, draws):
        beta = (2 * draws.progress).clamp(max=1)
        return draws.log_likelihood.mean(0) - beta * draws.kl_estimate


class Baseline(Objective):
    """The ELBO's surrogate E[(log w - baseline)] with a moving baseline, and a pull that depends on it."""

    replayable = True

    def __init__(self):
        super().__init__()
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, draws):
        advantage = (draws.log_weight.mean(0) - self.baseline).detach()
        return draws.log_weight.mean(0) * (1 + 0.1 * advantage.tanh())

    def update(self, draws):
        self.baseline = 0.9 * self.baseline + 0.1 * draws.log_weight.mean()
        self.steps += 1


class OptimalScale(vaezoo.Likelihood):
    """Normal(x; parameters, scale^2), with the scale that is the best for the training images after each epoch.

    Rybkin et al. (2021), arXiv:2006.13202.
    """

    measures = ("binary", "continuous")
    replayable = True

    def __init__(self, spec):
        super().__init__()
        self.parameter_shape = spec.shape
        self.register_buffer("log_scale", torch.zeros(()))

    def log_prob(self, x, parameters):
        distance = (x - parameters) / self.log_scale.exp()
        return -(0.5 * distance.square() + self.log_scale + 0.9189385332046727).flatten(2).sum(-1)

    def mean(self, parameters):
        return parameters

    def refit(self, images, parameters):
        self.log_scale.copy_(0.5 * (images - parameters(images)).square().mean().log())


class SparseEncoder(vaezoo.Encoder):
    """A layer, half of whose features are dropped in training."""

    replayable = True

    def __init__(self, spec):
        super().__init__()
        self.net, self.features = vaezoo.nets.Linear(spec.dimensions, 5), (5,)
        self.dropout = vaezoo.nets.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.net(x.flatten(1)).relu())


class SparseDecoder(vaezoo.Decoder):
    """A layer on latents, half of which are dropped in training."""

    replayable = True

    def __init__(self, latent, shape):
        super().__init__()
        self.shape, self.net = shape, vaezoo.nets.Linear(latent, torch.Size(shape).numel())
        self.dropout = vaezoo.nets.Dropout(0.5)

    def forward(self, z):
        return self.net(self.dropout(z)).unflatten(-1, self.shape)


def with_scale(model):
    model.likelihood = OptimalScale(model.spec)
    return model


def sparse(data, seed, objective=None):
    """A model whose networks drop what they compute, with weights and masks of this seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, own = pair(data, seed=seed, objective=objective)
        model.encoder, model.decoder = SparseEncoder(data.spec), SparseDecoder(2, data.spec.shape)
    return model, own


WAYS = {
    "progress": lambda data, seed: (pair(data, seed=seed)[0], Annealed()),
    "update": lambda data, seed: (pair(data, seed=seed)[0], Baseline()),
    "refit": lambda data, seed: (with_scale(pair(data, seed=seed)[0]), pair(data)[1]),
    "dropout": sparse,
}
