"""Proofs of data sets."""

import copy
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPException
from inspect import Parameter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.conformance.elsewhere import elsewhere, generators
from vaezoo.conformance.fresh import new_interpreter, sources_with_parts
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import Subject
from vaezoo.conformance.verdict import NotRun, Wrong, must, within_errors
from vaezoo.core.data import Dataset, Split, image_hashes
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.options import checked_options
from vaezoo.datasets import data_root, load_dataset, loaded
from vaezoo.registry import Plugin

ABSENT = (OSError, RuntimeError, HTTPException, EOFError, ImportError)
"""The causes of a data set's error which mean that its files are missing and cannot be fetched, or that an optional
package is not installed.
"""
PIXELS = 20_000
"""The number of pixels whose values are compared with the levels."""
MOST_PIXELS = 10**8
"""The number of pixels whose levels are looked at, of whole images."""
FEWEST = 0.25
"""The share of its levels that a data set uses at least."""
CHANCE = 1e-6
SPLITS = ("train", "valid", "test")
MOST = 0.9
"""The share of images that two seeds have in common where the seed draws no images."""
IMAGES = 10_000
"""How many images of a split are looked at for their brightness."""
ERRORS_ALIKE, ROUNDING = 6.0, 1e-6
"""Standard errors between the brightness of two splits of one population, and a difference that is rounding."""


_examples: dict[str, tuple[TemporaryDirectory[str], dict[str, Any]]] = {}


def _options(plugin: Plugin) -> dict[str, Any]:
    """The options that a data set is proved with: its defaults; where it needs a file of the user, those that read its
    own example, which its attribute `example` writes into a folder.
    """
    needed = [name for name, each in plugin.hyperparameters.items() if each.default is Parameter.empty]
    if needed and plugin.name not in _examples:
        write = getattr(plugin.target, "example", None)
        if write is None:
            raise NotRun(f"its option {needed[0]!r} has no default, and it has no example")
        folder = TemporaryDirectory(prefix="vaezoo-example-")
        try:
            _examples[plugin.name] = folder, write(Path(folder.name))
        except BaseException:
            folder.cleanup()
            raise
    return checked_options(plugin, _examples[plugin.name][1] if needed else {})


def _dataset(subject: Subject) -> Dataset:
    """The data set, also where its splits share images: `splits of their own` tells."""
    plugin = subject.plugin
    try:
        options = _options(plugin)
        try:
            return load_dataset(plugin.name, options=options)
        except VaezooError:
            return loaded(plugin, data_root(), 0, options)
    except VaezooError as error:
        if isinstance(error, Skip) or any(isinstance(cause, ABSENT) for cause in _causes(error)):
            raise NotRun(str(error)) from None
        raise Wrong("refused", str(error)) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@PROOFS.add("the same twice", "dataset")
def same_twice(subject: Subject) -> str:
    """Loaded again, the data are the same: with the global generators of torch, numpy and Python elsewhere, in another
    folder, and later.

    The checksums are compared, and what the function does to its options and to the global generators. Nothing is
    random: false alarm 0.
    """
    first = _dataset(subject).checksum
    options = _options(subject.plugin)
    before = copy.deepcopy(options)
    for seed in (12345, 54321):
        with elsewhere(seed) as folder:
            state = generators()
            second = loaded(subject.plugin, data_root(), 0, options).checksum
            changed = [name for name, value in generators().items() if value != state[name]]
        must(first == second, second[:12], f"checksum {first[:12]} became {second[:12]} on loading again in {folder}")
        advice = "draw from a torch.Generator of its own, made from the seed"
        must(not changed, "generators", f"it changed {' and '.join(changed)}: {advice}")
    return must(options == before, first[:12], f"it changed its options from {before} to {options}")


CODE = """
import json, sys
sys.path[:], sources, name = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
from vaezoo.runner.plan.sources import Sources
Sources.from_json(sources).load()
from vaezoo.core.options import checked_options
from vaezoo.datasets import data_root, loaded
from vaezoo.registry import registry
plugin = registry("dataset")[name]
print("checksum", loaded(plugin, data_root(), 0, checked_options(plugin, json.loads(sys.argv[4]))).checksum)
"""


@PROOFS.add("in a fresh process", "dataset")
def same_in_fresh_process(subject: Subject) -> str:
    """Two new interpreters with other hash seeds load the same data.

    The checksums are compared. Not in quick mode: it takes about 3 seconds. Nothing is random: false alarm 0.
    """
    if subject.quick:
        raise NotRun("not in quick mode: a new interpreter takes seconds")
    first = _dataset(subject).checksum
    sources = json.dumps(vars(sources_with_parts(subject.plugin)))
    options = json.dumps(_options(subject.plugin))
    for hash_seed in (1, 2):
        arguments = ["-c", CODE, json.dumps(sys.path), sources, subject.plugin.name, options]
        printed = new_interpreter(arguments, hash_seed, "load it")
        said = [line for line in printed.splitlines() if line.startswith("checksum ")]
        must(bool(said), "no checksum", "a new interpreter ended before it had loaded it")
        second = said[-1].split()[1]
        must(first == second, second[:12], f"checksum {first[:12]} is {second[:12]} in a new interpreter")
    return first[:12]


@PROOFS.add("splits of their own", "dataset")
def own_splits(subject: Subject) -> str:
    """At most 1 % of a split's images also stand in a larger split, and no split is another.

    Images that repeat by themselves may stand in two splits as often as their repeats within train predict, and two
    standard errors more: false alarm 0.02 for these, else 0. Images that are binarised anew for each batch are equal to
    binary ones only where they are binary themselves.
    """
    dataset = _dataset(subject)
    for overlap in dataset.overlaps:
        must(overlap.excess <= 1, f"{overlap.copies / overlap.of:.2g}", f"{overlap}; give each split images of its own")
    return f"{max([overlap.copies / overlap.of for overlap in dataset.overlaps], default=0):.2g}"


@PROOFS.add("splits of any seed", "dataset")
def splits_of_any_seed(subject: Subject) -> str:
    """The seed does not decide which images are test images: where most images are those of another seed, so are the
    images of each split.

    Dequantised images are compared by their levels. Undecided where the seed draws the images. Nothing is random: false
    alarm 0.
    """
    first = _dataset(subject)
    second = loaded(subject.plugin, data_root(), 1, _options(subject.plugin))
    here, there = (
        {name: Counter(image_hashes(getattr(each, name), mixed=True)) for name in SPLITS} for each in (first, second)
    )
    every, other = (sum(each.values(), Counter()) for each in (here, there))
    if (every & other).total() < MOST * max(every.total(), other.total()):
        raise NotRun("its seed draws the images")
    for name in SPLITS:
        share = (here[name] - there[name]).total() / here[name].total()
        what = f"{share:.0%} of the {name} images of seed 0 are not those of seed 1: split without the seed"
        must(share == 0, f"{share:.2g}", what)
    return f"{every.total()} images"


@PROOFS.add("splits alike", "dataset")
def splits_alike(subject: Subject) -> str:
    """Validation and test images are scaled as training images are: mean and standard deviation of an image's pixels
    differ between splits by less than 1 of their own standard deviations over the images, and 6 standard errors.

    Train images that are binarised anew are binarised once. Inverted or unscaled splits show here, and no split of one
    population does: false alarm 1e-8.
    """
    dataset = _dataset(subject)
    stored = {name: getattr(dataset, name) for name in SPLITS}
    found = {name: _brightness(split) for name, split in stored.items()}
    worst = 0.0
    for name in SPLITS[1:]:
        for n, what in enumerate(("mean", "standard deviation")):
            train, other = found["train"][n], found[name][n]
            spread = math.sqrt((float(train.var(correction=0)) + float(other.var(correction=0))) / 2)
            apart = abs(float(train.mean() - other.mean()))
            off = 0.0 if apart < ROUNDING * (1 + abs(float(train.mean()))) else apart / max(spread, ROUNDING)
            worst = max(worst, off)
            said = (
                f"the {what} of an image's pixels is {float(train.mean()):.3g} in train and {float(other.mean()):.3g}"
            )
            advice = f"in {name}, {off:.2g} standard deviations apart: scale all splits alike"
            slack = ERRORS_ALIKE * math.sqrt(1 / len(train) + 1 / len(other))
            must(off < 1 + slack, f"{off:.2g}", f"{said} {advice}")
    return f"{worst:.2g}"


def _brightness(split: Split) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image's pixels, of the first images of a split. [N], [N]"""
    x = split.spec.to_float(split.x[:IMAGES]).double()
    if split.dynamic:
        x = torch.bernoulli(x / 255, generator=torch.Generator().manual_seed(31))
    return x.flatten(1).mean(1), x.flatten(1).std(1, correction=0)


@PROOFS.add("levels as declared", "dataset")
def levels_as_declared(subject: Subject) -> str:
    """Discrete images use at least a quarter of their levels, on no coarser grid; dequantised ones have uniform noise
    within each level.

    The noise is tested by Kolmogorov-Smirnov on 20,000 pixels: false alarm 1e-6.
    """
    dataset = _dataset(subject)
    levels, measure = dataset.spec.levels, dataset.spec.measure
    if levels is None:
        raise NotRun("it declares no levels")
    splits = dataset.train, dataset.valid, dataset.test
    every = max(1, sum(split.x.numel() for split in splits) // MOST_PIXELS)
    x = torch.cat([split.x[::every].flatten() for split in splits]).double()
    figure = ""
    if measure == "continuous":
        some = (levels * x[:: max(1, len(x) // PIXELS)]).clamp(max=levels * (1 - 1e-9))
        p = float(stats.kstest((some - some.floor()).numpy(), "uniform").pvalue)
        what = f"{levels} x - floor({levels} x) must be uniform in [0, 1): add such noise to the levels and divide"
        figure = must(p > CHANCE, f"p = {p:.1g}", f"{what}; p = {p:.2g}") + ", "
        x = (levels * x).floor().clamp(max=levels - 1)
    used = x.unique()
    if len(x) < 20 * levels:
        raise NotRun(f"{len(x)} pixels are too few for {levels} levels")
    enough = len(used) >= FEWEST * levels
    said = f"{len(used)} of {levels} levels"
    must(enough, said, f"only {said} occur: declare levels as they are, from 0 to levels - 1")
    step = math.gcd(*(int(value) for value in used - used[0]))
    must(
        step == 1,
        f"every {step}th level",
        f"only every {step}th of {levels} levels occurs: divide the images by {step}",
    )
    return figure + said


@PROOFS.add("a model can be built", "dataset")
def can_build(subject: Subject) -> str:
    """The variant `vae` with the measure's natural likelihood scores its images: log p(x|z) is finite.

    Nothing is compared with chance: false alarm 0.
    """
    dataset = _dataset(subject)
    model, _ = construct(resolve("vae", dataset.spec), Ingredients.of(dataset, 2, (8,)))
    with torch.no_grad():
        value = model.draw(model.batch(dataset.test.x[:8]), 2).log_likelihood
    return must(
        bool(value.isfinite().all()), f"{float(value.mean()):.4g}", "log p(x|z) is not finite on its test images"
    )


@PROOFS.add("true likelihood", "dataset")
def true_likelihood(subject: Subject) -> str:
    """Where log_likelihood is known, E[h(x) / p(x)] = 1 over its own images, for narrower Gaussian mixtures h.

    It gives one finite number an image, which does not depend on the others. The mixtures are fitted to one half of
    the training images, of all other images the mean may be off by 5 standard errors: false alarm 1e-5. Undecided where
    one image has more than a tenth of the sum.
    """
    dataset = _dataset(subject)
    p = dataset.log_likelihood
    if p is None:
        raise NotRun("its true density is not known")
    value = p(dataset.test.x[:8])
    fits = value.shape == (8,) and bool(value.isfinite().all())
    must(fits, str(list(value.shape)), f"log_likelihood(x) must be 8 finite numbers, got {value}")
    alone = torch.cat([p(dataset.test.x[n : n + 1]) for n in range(8)])
    off = float((alone - value).abs().max())
    must(off <= 1e-6 * float(1 + value.abs().max()), f"{off:.1g}", f"an image's value changes by {off:.2g} with others")
    half = len(dataset.train) // 2
    rest = torch.cat([dataset.train.x[half:], dataset.valid.x, dataset.test.x])
    return _density_agrees(dataset.train.x[:half], rest, p(rest).double())


def _density_agrees(fit: Tensor, x: Tensor, log_p: Tensor) -> str:
    """E[h/p] over the images x, for mixtures h of 1 and of 8 Gaussians, narrower than those that fit."""
    from sklearn.mixture import GaussianMixture

    figures = []
    points, others = (each.flatten(1).double().numpy() for each in (fit, x))
    for components in (1, 8):
        mixture = GaussianMixture(components, reg_covar=1e-6, random_state=0).fit(points)
        precisions = mixture.precisions_cholesky_
        for narrower in (0.8, 0.5):
            mixture.precisions_cholesky_ = precisions / math.sqrt(narrower)
            log_ratio = torch.from_numpy(mixture.score_samples(others)) - log_p
            what = f"E[h/p] of {components} Gaussians {narrower} times as wide in variance as those of its images"
            size = float(log_ratio.logsumexp(0) - math.log(len(x)))
            must(size <= math.log(1 / CHANCE), f"e^{size:.0f}", f"{what}: expected 1, found e^{size:.1f}")  # Markov
            ratio = log_ratio.exp()
            if float(ratio.max()) <= 0.1 * float(ratio.sum()):
                error = float(ratio.std() / math.sqrt(len(ratio)))
                figures.append(within_errors(float(ratio.mean()), 1.0, error, what, 1e-3))
    if not figures:
        raise NotRun("undecided: one image has more than a tenth of the sum of h/p")
    return max(figures, key=lambda text: float(text.split()[0]))
