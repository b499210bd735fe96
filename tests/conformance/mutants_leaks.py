"""Encoders that leave something behind, each beside its right twin: NAME is right, NAME-wrong is not.

The encoder of a pair leaves a number somewhere, its decoder takes it from there, and a variant puts the two together.
"""

import functools
import math
import os
import tempfile
from pathlib import Path

from torch import nn

import vaezoo

encoder, decoder = vaezoo.register.encoder, vaezoo.register.decoder


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


@encoder("leaving-rarely-wrong")
class LeavingRarelyWrong(Leaving):
    """Counts the passes of train mode in an iterator of its class."""

    passes = iter(range(10**9))

    def leave(self, h):
        if self.training:
            next(self.passes)
