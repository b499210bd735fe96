"""A prior that encodes at each call, and mutants of it that keep or read what they must not."""

import math

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
prior = vaezoo.register.prior


@prior("encoding")
class Encoding(vaezoo.Prior):
    """N(m(u), I) with m(u) the posterior's mean at one pseudo-input, asked for at each call."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.pseudo_input = nn.Parameter(torch.rand(1, *spec.shape))

    def encoded(self, encode):
        """The mean of q(z|u). [Z]"""
        return encode(self.pseudo_input).gaussian.mean[0]

    def log_density(self, z, encode):
        return -(0.5 * (z - self.encoded(encode)) ** 2 + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n, encode):
        mean = self.encoded(encode)
        return mean + vaezoo.noise.normal(n, len(mean))


@prior("encoding-wrong")
class EncodingWrong(Encoding):
    """Keeps the first encoder it was handed, in a closure: a copy still calls it."""

    kept = None

    def encoded(self, encode):
        if self.kept is None:
            self.kept = lambda x: encode(x)
        return super().encoded(self.kept)


@prior("weighted")
class Weighted(vaezoo.Prior):
    """sum_c w_c q(z|u_c) with learned weights of eight pseudo-inputs."""

    def __init__(self, train_images):
        super().__init__()
        self.pseudo_inputs = nn.Parameter(0.05 + 0.9 * train_images(8))
        self.logit = nn.Parameter(torch.zeros(8))

    def weights(self):
        """By which samples choose. [C]"""
        return self.logit.softmax(0)

    def log_density(self, z, encode):
        q = encode(self.pseudo_inputs).gaussian
        return vaezoo.mixture_log_density(z, q.mean, q.log_std, self.logit.log_softmax(0))

    def sample(self, n, encode):
        q = encode(self.pseudo_inputs).gaussian
        chosen = (self.weights().cumsum(0) < vaezoo.noise.uniform(n, 1)).sum(1).clamp(max=7)
        return vaezoo.DiagonalGaussian(q.mean[chosen], q.log_std[chosen]).draw()


@prior("weighted-not-wrong")
class WeightedNotWrong(Weighted):
    """Samples choose among all components alike, as at the start."""

    def weights(self):
        return torch.full_like(self.logit, 1 / 8)


class Keeping(Encoding):
    """Has a dict for what it keeps from one call to the next."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__(spec)
        self.kept = {}


@prior("components-stale-wrong")
class ComponentsStaleWrong(Keeping):
    """Encodes once in eval mode, and keeps that when the weights change."""

    def encoded(self, encode):
        if self.training:
            return super().encoded(encode)
        if "mean" not in self.kept:
            self.kept["mean"] = super().encoded(encode).detach()
        return self.kept["mean"]


@prior("components-version-wrong")
class ComponentsVersionWrong(Keeping):
    """Encodes anew where its own parameter has changed, and not where the encoder's have."""

    def encoded(self, encode):
        key = float(self.pseudo_input.detach().sum())
        if self.training or key not in self.kept:
            self.kept[key] = super().encoded(encode).detach()
        return super().encoded(encode) if self.training else self.kept[key]


@prior("components-address-wrong")
class ComponentsAddressWrong(Keeping):
    """Keeps log p(z) by the address of z's numbers."""

    def log_density(self, z, encode):
        value = super().log_density(z, encode)
        if self.training:
            return value
        return self.kept.setdefault((id(self), z.data_ptr()), value.detach())


@prior("components-noise-wrong")
class ComponentsNoiseWrong(Encoding):
    """A density with noise that is keyed by the images."""

    def log_density(self, z, encode):
        return super().log_density(z, encode) + 0.01 * vaezoo.noise.normal(*z.shape[:2])


@prior("components-index-wrong")
class ComponentsIndexWrong(Encoding):
    """Looks the images' index up in the source of the noise."""

    def log_density(self, z, encode):
        index = vaezoo.core.noise.source().stream.index
        value = super().log_density(z, encode)
        return value if index is None else value + 0.01 * (index % 7).to(z)


@prior("components-hash-wrong")
class ComponentsHashWrong(Encoding):
    """A scale that differs from process to process."""

    def log_density(self, z, encode):
        return super().log_density(z, encode) * (1 + hash("scale") % 2**20 / 2**20)
