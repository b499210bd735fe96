"""Wrong data sets, each beside its right twin: NAME is right, NAME-wrong is not."""

import math
import os
import random as python_random
import time

import numpy as np
import torch

import vaezoo

dataset = vaezoo.register.dataset


def generator(seed, axis=0):
    return torch.Generator().manual_seed(1000 * seed + axis)


def bits(seed, count=600, axis=0):
    """[count, 1, 6, 6]"""
    return torch.randint(0, 2, (count, 1, 6, 6), dtype=torch.uint8, generator=generator(seed, axis))


def split(x, *, measure="binary", train=400, valid=100, **more):
    return vaezoo.Dataset(x[:train], x[train : train + valid], x[train + valid :], measure, **more)


@dataset("apart")
def apart(root, seed):
    """Each split has images of its own."""
    return split(bits(seed))


@dataset("apart-test-in-train-wrong")
def shares_test_with_train(root, seed):
    """A twentieth of the test images are training images."""
    x = bits(seed)
    x[500:505] = x[:5]
    return split(x)


@dataset("apart-valid-is-test-wrong")
def valid_is_test(root, seed):
    """Validation is the test set in another order."""
    x = bits(seed)
    return vaezoo.Dataset(x[:400], x[400:500], x[400:500].flip(0), "binary")


@dataset("apart-copied-wrong")
def copied(root, seed):
    """Every image twice, and then split at random."""
    return split(bits(seed, 300).repeat(2, 1, 1, 1)[torch.randperm(600, generator=generator(seed, 2))])


# --- splits of one population, whatever the seed

DYNAMIC = {"binarisation": "dynamic"}


def gray(seed, count=600):
    """[count, 1, 6, 6], 0..255, mostly dark."""
    return (255 * torch.rand(count, 1, 6, 6, generator=generator(seed)).pow(4)).to(torch.uint8)


def binarised(x, seed):
    return torch.bernoulli(x / 255, generator=generator(seed, 3))


@dataset("populated")
def populated(root, seed):
    """Binarised anew for each batch, of one set of gray images."""
    x = gray(0)
    return vaezoo.Dataset(x[:400], binarised(x[400:500], seed), binarised(x[500:], seed + 1), "binary", **DYNAMIC)


@dataset("populated-levels-wrong")
def of_few_levels(root, seed):
    """Its training images are levels 0..16, which are taken as 0..255."""
    x = gray(0)
    held = binarised(x[400:500], seed), binarised(x[500:], seed + 1)
    return vaezoo.Dataset((x[:400] / 16).to(torch.uint8), *held, "binary", **DYNAMIC)


@dataset("populated-inverted-wrong")
def inverted(root, seed):
    """Its test images are white on black where the others are black on white."""
    x = gray(0)
    return vaezoo.Dataset(x[:400], binarised(x[400:500], seed), 1 - binarised(x[500:], seed + 1), "binary", **DYNAMIC)


@dataset("standardised")
def standardised(root, seed):
    """Continuous images by the mean and standard deviation of the training images."""
    x = gray(0).float()
    x = (x - x[:400].mean()) / x[:400].std()
    return split(x, measure="continuous")


@dataset("standardised-apart-wrong")
def standardised_apart(root, seed):
    """The training images alone are standardised."""
    x = gray(0).float()
    x[:400] = (x[:400] - x[:400].mean()) / x[:400].std()
    return split(x, measure="continuous")


@dataset("seeded")
def seeded(root, seed):
    """The seed adds the noise within the levels and leaves the split."""
    x = gray(0).float() + torch.rand(600, 1, 6, 6, generator=generator(seed, 4))
    return split((x / 256).clamp(max=1 - 2.0**-24), measure="continuous", levels=256)


@dataset("seeded-split-wrong")
def seeded_split(root, seed):
    """The seed decides which images are test images."""
    return split(gray(0)[torch.randperm(600, generator=generator(seed, 5))], measure="discrete", levels=256)


# --- levels


@dataset("leveled")
def leveled(root, seed):
    """Sixteen levels."""
    x = torch.randint(0, 16, (600, 1, 6, 6), dtype=torch.uint8, generator=generator(seed))
    return split(x, measure="discrete", levels=16)


@dataset("leveled-unused-wrong")
def unused(root, seed):
    """Five levels, declared 256."""
    x = torch.randint(0, 5, (600, 1, 6, 6), dtype=torch.uint8, generator=generator(seed))
    return split(x, measure="discrete", levels=256)


@dataset("leveled-coarse-wrong")
def coarse(root, seed):
    """Every third of 256 levels."""
    x = 3 * torch.randint(0, 86, (600, 1, 6, 6), generator=generator(seed))
    return split(x.to(torch.uint8), measure="discrete", levels=256)


@dataset("dequantised")
def dequantised(root, seed):
    """(level + u) / 16."""
    x = torch.randint(0, 16, (600, 1, 6, 6), generator=generator(seed))
    return split((x + torch.rand(x.shape, generator=generator(seed, 1))) / 16, measure="continuous", levels=16)


@dataset("dequantised-not-wrong")
def not_dequantised(root, seed):
    """level / 16, without noise."""
    x = torch.randint(0, 16, (600, 1, 6, 6), generator=generator(seed))
    return split(x / 16, measure="continuous", levels=16)


@dataset("dequantised-narrow-wrong")
def narrow(root, seed):
    """Noise of nine tenths of a level."""
    x = torch.randint(0, 16, (600, 1, 6, 6), generator=generator(seed))
    return split((x + 0.9 * torch.rand(x.shape, generator=generator(seed, 1))) / 16, measure="continuous", levels=16)


# --- the true density


def known(seed, log_p):
    x = 2 * torch.randn(4000, 3, generator=generator(seed))
    x[:, 1] += x[:, 0]
    return split(x, measure="continuous", train=3000, valid=500, log_likelihood=log_p)


def density(x, spread=2.0):
    z = torch.stack([x[:, 0], x[:, 1] - x[:, 0], x[:, 2]], 1).double() / spread
    return -(0.5 * z**2 + math.log(spread) + 0.5 * math.log(2 * math.pi)).sum(-1)


@dataset("stated")
def stated(root, seed):
    """A Gaussian with its density."""
    return known(seed, density)


@dataset("stated-constant-wrong")
def stated_constant(root, seed):
    """Without log sqrt(2 pi) of one pixel."""
    return known(seed, lambda x: density(x) + 0.5 * math.log(2 * math.pi))


@dataset("stated-width-wrong")
def stated_width(root, seed):
    """A normalised density that is too wide."""
    return known(seed, lambda x: density(x, 2.3))


@dataset("stated-coupled-wrong")
def stated_coupled(root, seed):
    """An image's density depends on the others."""
    return known(seed, lambda x: density(x - x.mean(0) * (len(x) < 9)))


# --- what a load depends on


@dataset("alone")
def alone(root, seed, *, sizes: list[int] = [400, 100, 100]):  # noqa: B006
    """Depends on its seed and options alone."""
    return vaezoo.Dataset(*bits(seed).split(sizes), measure="binary")


def drawn(numbers):
    x = torch.as_tensor(numbers).view(600, 1, 6, 6) < 0.5
    return split(x.to(torch.uint8))


@dataset("alone-numpy-wrong")
def from_numpy(root, seed):
    """numpy's global generator."""
    return drawn(np.random.rand(600 * 36))


@dataset("alone-python-wrong")
def from_python(root, seed):
    """Python's global generator."""
    return drawn([python_random.random() for _ in range(600 * 36)])


@dataset("alone-seeds-wrong")
def seeds(root, seed):
    """The same each time; it sets torch's generator for all that follows."""
    torch.manual_seed(seed)
    return drawn(torch.rand(600 * 36))


@dataset("alone-time-wrong")
def from_time(root, seed):
    """The day of the year."""
    return drawn(torch.rand(600 * 36, generator=generator(int(time.time() // 86400))))


@dataset("alone-folder-wrong")
def from_folder(root, seed):
    """The name of the working folder."""
    return drawn(torch.rand(600 * 36, generator=generator(len(os.getcwd()) % 97, sum(map(ord, os.getcwd())))))


@dataset("alone-options-wrong")
def mutated(root, seed, *, sizes: list[int] = [400, 100, 100]):  # noqa: B006
    """Changes its options."""
    sizes.sort()
    return alone(root, seed, sizes=[400, 100, 100])


@dataset("alone-hash-wrong")
def from_hash(root, seed):
    """The hash of a text, which every process has another of."""
    return drawn(torch.rand(600 * 36, generator=generator(hash("digits") % 10**6)))
