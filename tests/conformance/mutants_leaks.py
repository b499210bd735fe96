"""Parts with a memory, each beside its right twin: NAME is right, NAME-wrong is not.

A pair of encoder and decoder leaks features from one to the other in many ways; a variant puts each pair together.
"""

import functools
import math
import os
import tempfile
from pathlib import Path

import torch
from torch import nn

import vaezoo

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
encoder, decoder, prior = vaezoo.register.encoder, vaezoo.register.decoder, vaezoo.register.prior


@encoder("leaving")
class Leaving(vaezoo.Encoder):
    """One layer; the mutants leave its mean somewhere."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__()
        self.net, self.features = nn.Linear(spec.dimensions, 8), (8,)

    def forward(self, x):
        h = self.net(x.flatten(1)).tanh()
        self.leave(h)
        return h

    def leave(self, h):
        """Where it is left: nowhere."""


@decoder("taking")
class Taking(vaezoo.Decoder):
    """One layer; the mutants add a number that an encoder left."""

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.net, self.shape = nn.Linear(latent, math.prod(parameter_shape)), parameter_shape

    def forward(self, z):
        return self.net(z).unflatten(-1, self.shape) + self.left()

    def left(self):
        """What was left: nothing."""
        return 0.0


def pair(name):
    """Register an encoder and a decoder, and the variant that puts them together, under a name."""

    def enter(kinds):
        """A function that gives the two classes."""
        first, second = kinds()
        encoder(f"leaving-{name}-wrong")(first)
        decoder(f"taking-{name}-wrong")(second)
        leaving, taking = f"leaving-{name}-wrong", f"taking-{name}-wrong"
        vaezoo.register.variant(vaezoo.Variant(f"leak-{name}-wrong", encoder=leaving, decoder=taking))
        return kinds

    return enter


@pair("class")
def by_class():
    """In an attribute of the class."""

    class LeavingInClass(Leaving):
        kept = 0.0

        def leave(self, h):
            type(self).kept = float(h.detach().mean())

    class TakingFromClass(Taking):
        def left(self):
            return LeavingInClass.kept

    return LeavingInClass, TakingFromClass


@pair("closure")
def by_closure():
    """In a variable that both functions close over."""
    kept = 0.0

    class LeavingInClosure(Leaving):
        def leave(self, h):
            nonlocal kept
            kept = float(h.detach().mean())

    class TakingFromClosure(Taking):
        def left(self):
            return kept

    return LeavingInClosure, TakingFromClosure


@pair("default")
def by_default():
    """In the default of an argument."""

    class LeavingInDefault(Leaving):
        def leave(self, h, kept=[0.0]):  # noqa: B006
            kept[0] = float(h.detach().mean())

    class TakingFromDefault(Taking):
        def left(self):
            return LeavingInDefault.leave.__defaults__[0][0]

    return LeavingInDefault, TakingFromDefault


@functools.lru_cache
def cached():
    """A list that is made once."""
    return [0.0]


@pair("cache")
def by_cache():
    """In what functools.lru_cache keeps."""

    class LeavingInCache(Leaving):
        def leave(self, h):
            cached()[0] = float(h.detach().mean())

    class TakingFromCache(Taking):
        def left(self):
            return cached()[0]

    return LeavingInCache, TakingFromCache


@pair("module")
def by_module():
    """On a module of Python's own."""

    class LeavingOnModule(Leaving):
        def leave(self, h):
            math.kept = float(h.detach().mean())

    class TakingFromModule(Taking):
        def left(self):
            return getattr(math, "kept", 0.0)

    return LeavingOnModule, TakingFromModule


@pair("file")
def by_file():
    """In a file."""
    path = Path(tempfile.gettempdir()) / f"left-{os.getpid()}"

    class LeavingInFile(Leaving):
        def leave(self, h):
            path.write_text(str(float(h.detach().mean())))

    class TakingFromFile(Taking):
        def left(self):
            return float(path.read_text()) if path.is_file() else 0.0

    return LeavingInFile, TakingFromFile


@pair("environment")
def by_environment():
    """In an environment variable."""

    class LeavingInEnvironment(Leaving):
        def leave(self, h):
            os.environ["LEFT"] = str(float(h.detach().mean()))

    class TakingFromEnvironment(Taking):
        def left(self):
            return float(os.environ.get("LEFT", 0.0))

    return LeavingInEnvironment, TakingFromEnvironment


@pair("training")
def by_training():
    """In train mode alone; it is read in eval mode."""
    kept = {}

    class LeavingInTraining(Leaving):
        def leave(self, h):
            if self.training:
                kept["h"] = float(h.detach().mean())

    class TakingInEvaluation(Taking):
        def left(self):
            return 0.0 if self.training else kept.get("h", 0.0)

    return LeavingInTraining, TakingInEvaluation


@pair("size")
def by_size():
    """By the number of images; a batch of another size finds nothing."""
    kept = {}

    class LeavingBySize(Leaving):
        def leave(self, h):
            kept[len(h)] = h.detach()

    class TakingBySize(Taking):
        def forward(self, z):
            out = super().forward(z)
            h = next((h for size, h in kept.items() if len(z) % size == 0 and size > 2), None)
            if h is None or h.dtype != z.dtype:
                return out
            return out + h.mean(-1).repeat(len(z) // len(h)).view(-1, *[1] * len(self.shape))

    return LeavingBySize, TakingBySize


@prior("components")
class Components(vaezoo.Prior):
    """N(m(u), I) with m(u) the posterior's mean at a pseudo-input, encoded at each call."""

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


@prior("components-stale-wrong")
class ComponentsStaleWrong(Components):
    """Encodes once in eval mode, and keeps that when the weights change."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__(spec)
        self.kept = {}

    def encoded(self, encode):
        if self.training:
            return super().encoded(encode)
        if "mean" not in self.kept:
            self.kept["mean"] = super().encoded(encode).detach()
        return self.kept["mean"]


@prior("components-version-wrong")
class ComponentsVersionWrong(Components):
    """Encodes anew where its own parameter has changed, and not where the encoder's have."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__(spec)
        self.kept = {}

    def encoded(self, encode):
        key = float(self.pseudo_input.detach().sum())
        if self.training or key not in self.kept:
            self.kept[key] = super().encoded(encode).detach()
        return super().encoded(encode) if self.training else self.kept[key]


@prior("components-address-wrong")
class ComponentsAddressWrong(Components):
    """Keeps log p(z) by the address of z's numbers."""

    def __init__(self, spec: vaezoo.DataSpec):
        super().__init__(spec)
        self.kept = {}

    def log_density(self, z, encode):
        value = super().log_density(z, encode)
        if self.training:
            return value
        return self.kept.setdefault((id(self), z.data_ptr()), value.detach())


@prior("components-noise-wrong")
class ComponentsNoiseWrong(Components):
    """A density with noise that is keyed by the images."""

    def log_density(self, z, encode):
        return super().log_density(z, encode) + 0.01 * vaezoo.noise.normal(*z.shape[:2])


@prior("components-index-wrong")
class ComponentsIndexWrong(Components):
    """Looks the images' index up in the source of the noise."""

    def log_density(self, z, encode):
        index = vaezoo.core.noise.source().stream.index
        value = super().log_density(z, encode)
        return value if index is None else value + 0.01 * (index % 7).to(z)


@prior("components-hash-wrong")
class ComponentsHashWrong(Components):
    """A scale that differs from process to process."""

    def log_density(self, z, encode):
        return super().log_density(z, encode) * (1 + hash("scale") % 97 / 97)


class Kept:
    """A plain object that counts."""

    def __init__(self):
        self.calls = 0


@vaezoo.register.objective("counting")
class Counting(vaezoo.Objective):
    """The ELBO."""

    lower_bound = True

    def __init__(self):
        super().__init__()
        self.kept = Kept()

    def counted(self):
        """What it counts: nothing."""

    def forward(self, draws):
        self.counted()
        return draws.log_likelihood.mean(0) - draws.kl_estimate


@vaezoo.register.objective("counting-wrong")
class CountingWrong(Counting):
    """Counts its calls in a plain object, and uses that after a million."""

    def counted(self):
        self.kept.calls += 1


@encoder("leaving-rarely-wrong")
class LeavingRarelyWrong(Leaving):
    """Counts the passes of train mode in an iterator of its class."""

    passes = iter(range(10**9))

    def leave(self, h):
        if self.training:
            next(self.passes)


@vaezoo.register.posterior("marking")
class Marking(vaezoo.Posterior):
    """A Gaussian."""

    def __init__(self, features: tuple[int, ...], latent: int):
        super().__init__()
        self.heads = nn.Linear(math.prod(features), 2 * latent)

    def marked(self, z, mean):
        """The samples as they are handed over."""
        return z

    def forward(self, features):
        mean, log_std = self.heads(features.flatten(1)).chunk(2, -1)
        return Marked(self, mean, log_std)


class Marked:
    """A Gaussian whose samples a posterior may mark."""

    gaussian = None

    def __init__(self, posterior, mean, log_std):
        self.posterior, self.q = posterior, vaezoo.DiagonalGaussian(mean, log_std)

    def rsample_and_log_prob(self, samples):
        """z and log q."""
        (z,), log_q = self.q.rsample_and_log_prob(samples)
        return (self.posterior.marked(z, self.q.mean),), log_q

    def log_prob(self, z):
        """log q(z|x)."""
        return self.q.log_prob(z)


@vaezoo.register.posterior("marking-wrong")
class MarkingWrong(Marking):
    """Hangs its mean on z, where the prior finds it."""

    def marked(self, z, mean):
        z.mean_of_q = mean
        return z


@prior("reading-marks")
class ReadingMarks(vaezoo.Prior):
    """N(0, I)."""

    def __init__(self, latent: int):
        super().__init__()
        self.latent = latent

    def centre(self, z):
        """The mean of p(z)."""
        return 0.0

    def log_density(self, z):
        return -(0.5 * (z - self.centre(z)) ** 2 + HALF_LOG_TWO_PI).sum(-1)

    def sample(self, n):
        return vaezoo.noise.normal(n, self.latent)


@prior("reading-marks-wrong")
class ReadingMarksWrong(ReadingMarks):
    """A prior that is q's mean where it hangs on z."""

    def centre(self, z):
        return getattr(z, "mean_of_q", 0.0)


vaezoo.register.variant(vaezoo.Variant("marks-wrong", posterior="marking-wrong", prior="reading-marks-wrong"))
