"""Wrong posteriors, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch
from torch import nn
from torch.nn import functional as F

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
posterior = vaezoo.register.posterior


class Normal:
    """N(mean, diag(std^2)) written by hand."""

    gaussian = None

    def __init__(self, mean, log_std):
        self.mean, self.log_std = mean, log_std

    def noise(self, samples):
        """eps. [K, B, Z]"""
        return vaezoo.noise.normal(samples, *self.mean.shape)

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        eps = self.noise(samples)
        return (self.mean + self.log_std.exp() * eps,), self.score(eps)

    def score(self, eps):
        """log q of mean + std eps. [1, K, B]"""
        return -(0.5 * eps**2 + self.log_std + HALF_LOG_TWO_PI).sum(-1)[None]

    def log_prob(self, z):
        """log q(z|x)."""
        return self.score((z[0] - self.mean) * (-self.log_std).exp())


class Heads(vaezoo.Posterior):
    """Two linear heads for a `Normal`."""

    kind = Normal

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def forward(self, features):
        return self.kind(*self.heads(features.flatten(1)).chunk(2, -1))


@posterior("by-hand")
class ByHand(Heads):
    """The right twin of many."""


@posterior("std-without-gradient-wrong")
class StdWithoutGradientWrong(Heads):
    """log_std is cut from the graph; the bias of both heads still has a gradient, that of the mean."""

    def forward(self, features):
        mean, log_std = self.heads(features.flatten(1)).chunk(2, -1)
        return self.kind(mean, log_std.detach())


@posterior("sign-wrong")
class SignWrong(Heads):
    """The sign of log std in log q."""

    class kind(Normal):
        def score(self, eps):
            return -(0.5 * eps**2 - self.log_std + HALF_LOG_TWO_PI).sum(-1)[None]


@posterior("constant-wrong")
class ConstantWrong(Heads):
    """Without -D/2 log 2 pi, in both ways to score."""

    class kind(Normal):
        def score(self, eps):
            return -(0.5 * eps**2 + self.log_std).sum(-1)[None]


@posterior("variance-wrong")
class VarianceWrong(Heads):
    """Sigma for variance where given points are scored."""

    class kind(Normal):
        def log_prob(self, z):
            square = (z[0] - self.mean) ** 2
            return -(0.5 * square * (-self.log_std).exp() + 0.5 * self.log_std + HALF_LOG_TWO_PI).sum(-1)[None]


@posterior("one-eps-for-all-samples-wrong")
class OneEpsSamplesWrong(Heads):
    """The same eps for all K samples."""

    class kind(Normal):
        def noise(self, samples):
            return super().noise(1).expand(samples, *self.mean.shape)


@posterior("one-eps-for-all-images-wrong")
class OneEpsImagesWrong(Heads):
    """The same eps for all images."""

    class kind(Normal):
        def noise(self, samples):
            eps = vaezoo.noise.normal(samples, *self.mean.shape)
            return eps[:, :1].expand_as(eps)


@posterior("torch-randn-wrong")
class RandnWrong(Heads):
    """torch.randn instead of vaezoo.noise."""

    class kind(Normal):
        def noise(self, samples):
            return torch.randn(samples, *self.mean.shape).to(self.mean)


@posterior("own-generator-wrong")
class OwnGeneratorWrong(Heads):
    """A generator of its own, begun anew each time: the same noise at every step."""

    class kind(Normal):
        def noise(self, samples):
            generator = torch.Generator().manual_seed(0)
            shape = (samples, *self.mean.shape)
            return torch.randn(shape, generator=generator, dtype=self.mean.dtype)


@posterior("shape-wrong")
class ShapeWrong(Heads):
    """log q without its axis of groups."""

    class kind(Normal):
        def score(self, eps):
            return super().score(eps)[0]


class Affine:
    """A flow's samples z = eps + u h(w.eps + b) (planar), which cannot score given points."""

    gaussian, sign, share, u_share = None, 1.0, 1.0, 1.0

    def __init__(self, mean, log_std, u, w, b):
        self.mean, self.log_std, self.u, self.w, self.b = mean, log_std, u, w, b

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        eps = vaezoo.noise.normal(samples, *self.mean.shape)
        start = self.mean + self.log_std.exp() * eps
        inner = (self.w * self.u).sum(-1, keepdim=True)
        u = self.u + (F.softplus(inner) - 1 - inner) * self.w / (self.w**2).sum(-1, keepdim=True)
        h = torch.tanh((start * self.w).sum(-1, keepdim=True) + self.b)
        log_det = (1 + (1 - h[..., 0] ** 2) * (self.w * u).sum(-1)).log()
        log_q = -(0.5 * eps**2 + self.log_std + HALF_LOG_TWO_PI).sum(-1)
        return (start + u * h,), (log_q - self.sign * self.share * log_det)[None]

    def log_prob(self, z):
        """None: given points cannot be scored."""
        return None


@posterior("one-plane")
class Planar(vaezoo.Posterior):
    """One planar flow, at the identity to begin with."""

    kind = Affine

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.latent = latent
        self.heads = nn.Linear(math.prod(features), 2 * latent)
        self.flow = nn.Linear(math.prod(features), 2 * latent + 1)
        nn.init.zeros_(self.flow.weight)
        with torch.no_grad():
            self.flow.bias.copy_(torch.ones(2 * latent + 1))

    def forward(self, features):
        mean, log_std = self.heads(features.flatten(1)).chunk(2, -1)
        u, w, b = self.flow(features.flatten(1)).split([self.latent, self.latent, 1], -1)
        return self.kind(mean, log_std, 2 * u, 2 * w, b)


@posterior("one-plane-sign-wrong")
class PlanarSignWrong(Planar):
    """The sign of the log-determinant."""

    class kind(Affine):
        sign = -1.0


@posterior("one-plane-missing-wrong")
class PlanarMissingWrong(Planar):
    """Without the log-determinant."""

    class kind(Affine):
        share = 0.0


@posterior("one-plane-tenth-wrong")
class PlanarTenthWrong(Planar):
    """A log-determinant that is a tenth off."""

    class kind(Affine):
        share = 0.9
