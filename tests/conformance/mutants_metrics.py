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


@metric("tidy-training-mode-wrong")
def training_mode(model, images, context):
    """Leaves the model in train mode, if that is what it was not."""
    model.train(not model.training)
    return tidy(model, images, context)


@metric("tidy-one-layer-wrong")
def one_layer(model, images, context):
    """Leaves one layer in another mode."""
    found = tidy(model, images, context)
    list(model.modules())[-1].train(not model.training)
    return found


@metric("tidy-gradients-wrong")
def gradients(model, images, context):
    """Leaves gradients behind."""
    batch = model.batch(images, None, context.index)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        vaezoo.bounds.elbo(model.draw(batch, 1)).mean().backward()
    return {"tidy": 1.0}


@metric("tidy-frozen-wrong")
def frozen(model, images, context):
    """Freezes the weights."""
    for p in model.parameters():
        p.requires_grad_(False)
    return tidy(model, images, context)


@metric("tidy-images-wrong")
def writes(model, images, context):
    """Writes into the images."""
    found = tidy(model, images, context)
    images[:, :, :2] = 0
    return found


@metric("tidy-dataset-wrong")
def writes_dataset(model, images, context):
    """Writes into the data set's own images, and gives them back a moment too early."""
    context.dataset.valid.x.clamp_(max=1)
    context.index.add_(1)
    return {"tidy": 1.0}


@metric("tidy-settings-wrong")
def settings(model, images, context):
    """Asks for more samples than the evaluation."""
    context.importance_samples *= 2
    return tidy(model, images, context)


@metric("tidy-dtype-wrong")
def dtype(model, images, context):
    """Sets torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    return tidy(model, images, context)


@metric("tidy-seeds-wrong")
def seeds(model, images, context):
    """Seeds torch's generator."""
    torch.manual_seed(0)
    return tidy(model, images, context)


@metric("tidy-numpy-wrong")
def numpy_seeds(model, images, context):
    """Seeds numpy's generator."""
    np.random.seed(0)
    return tidy(model, images, context)


@metric("tidy-python-wrong")
def python_seeds(model, images, context):
    """Seeds Python's generator."""
    python_random.seed(0)
    return tidy(model, images, context)


@metric("tidy-environment-wrong")
def environment(model, images, context):
    """Sets a variable of the environment."""
    os.environ["TIDY"] = str(len(os.environ))
    return tidy(model, images, context)


@metric("tidy-shape-wrong")
def shape(model, images, context):
    """One value for all images."""
    context.per_image["tidy"] = bound(model, images, context).mean()
    return {"tidy": 1.0}


@metric("tidy-infinite-wrong")
def infinite(model, images, context):
    """A value that is no number."""
    value = bound(model, images, context)
    value[3] = float("nan")
    context.per_image["tidy"] = value
    return {"tidy": 1.0}


@metric("tidy-order-wrong")
def order(model, images, context):
    """The difference from the image before."""
    value = bound(model, images, context)
    context.per_image["tidy"] = value - value.roll(1)
    return {"tidy": 1.0}


@metric("tidy-batch-wrong")
def batch(model, images, context):
    """Each value less the mean of all."""
    value = bound(model, images, context)
    context.per_image["tidy"] = value - value.mean()
    return {"tidy": 1.0}


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
