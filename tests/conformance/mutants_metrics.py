"""Wrong metrics, each beside its right twin: NAME is right, NAME-wrong is not."""

import os
import random as python_random

import numpy as np
import torch

import vaezoo

metric = vaezoo.register.metric


def bound(model, images, context, samples=4):
    """The importance-weighted bound of each image. [N]"""
    x = model.spec.to_float(images)
    with torch.no_grad(), vaezoo.evaluating(model):
        return vaezoo.log_likelihood(model, x, samples, seed=3, index=context.index).estimate


@metric("tidy")
def tidy(model, images, context):
    """A mean over images, with its values."""
    context.per_image["tidy"] = bound(model, images, context)
    return {"tidy": float(context.per_image["tidy"].mean())}


def left_gradients(model, images, context):
    """Runs backwards through the ELBO, and leaves the gradients."""
    batch = model.batch(images, None, context.index)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        vaezoo.bounds.elbo(model.draw(batch, 1)).mean().backward()


def more_samples(model, images, context):
    """Asks for more samples than the evaluation."""
    context.importance_samples *= 2


MEDDLING = {
    "training-mode": lambda model, images, context: model.train(not model.training),
    "one-layer": lambda model, images, context: list(model.modules())[-1].train(not model.training),
    "gradients": left_gradients,
    "frozen": lambda model, images, context: model.requires_grad_(False),
    "images": lambda model, images, context: images[:, :, :2].zero_(),
    "dataset": lambda model, images, context: context.index.add_(1),
    "settings": more_samples,
    "dtype": lambda model, images, context: torch.set_default_dtype(torch.float64),
    "seeds": lambda model, images, context: torch.manual_seed(0),
    "numpy": lambda model, images, context: np.random.seed(0),
    "python": lambda model, images, context: python_random.seed(0),
    "environment": lambda model, images, context: os.environ.update(TIDY=str(len(os.environ))),
}
"""What a metric changes after it has measured, by its name: tidy-NAME-wrong."""

SPOILING = {
    "shape": lambda value: value.mean(),  # one value for all images
    "infinite": lambda value: value.index_fill(0, torch.tensor([3]), float("nan")),
    "order": lambda value: value - value.roll(1),  # from the image before
    "batch": lambda value: value - value.mean(),
}
"""What a metric makes of the values of the images, by its name: tidy-NAME-wrong."""


def meddling(act):
    """A metric that changes what it must leave."""

    def measured(model, images, context):
        """A mean over images."""
        found = tidy(model, images, context)
        act(model, images, context)
        return found

    return measured


def spoiling(act):
    """A metric whose values of the images are wrong."""

    def measured(model, images, context):
        """Values of the images."""
        context.per_image["tidy"] = act(bound(model, images, context))
        return {"tidy": 1.0}

    return measured


for _kinds, _metric_of in ((MEDDLING, meddling), (SPOILING, spoiling)):
    for _name, _act in _kinds.items():
        metric(f"tidy-{_name}-wrong")(_metric_of(_act))


@metric("tidy-place-wrong")
def place(model, images, context):
    """Noise of the place in the batch, not of the image."""
    with torch.no_grad(), vaezoo.evaluating(model):
        value = vaezoo.log_likelihood(model, model.spec.to_float(images), 4, seed=3).estimate
    context.per_image["tidy"] = value
    return {"tidy": float(value.mean())}


FIRST = []


@metric("tidy-memory-wrong")
def memory(model, images, context):
    """The difference from the first model that it measured."""
    value = float(bound(model, images, context).mean())
    FIRST.append(value)
    return {"tidy": value - FIRST[0] if len(FIRST) > 1 else value}


@metric("tidy-global-wrong")
def reads_generator(model, images, context):
    """numpy's global generator."""
    return {"tidy": float(np.random.rand())}
