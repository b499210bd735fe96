"""Wrong data sets and metrics, each beside its right twin: NAME is right, NAME-wrong is not."""

import math

import torch

import vaezoo

dataset, metric = vaezoo.register.dataset, vaezoo.register.metric


def _binary(generator=None, top=2):
    x = torch.randint(0, top, (60, 1, 4, 4), dtype=torch.uint8, generator=generator)
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="binary")


@dataset("steady")
def steady(root, seed):
    """The same each time."""
    return _binary(torch.Generator().manual_seed(seed))


@dataset("unsteady-wrong")
def unsteady(root, seed):
    """Another each time."""
    return _binary()


@dataset("values-wrong")
def values(root, seed):
    """Not of its measure."""
    return _binary(torch.Generator().manual_seed(seed), top=3)


@dataset("absent")
def absent(root, seed):
    """Its file is not here: nothing is proved of it."""
    torch.load(root / "no-such-file.pt")


def _continuous(size, log_likelihood=None):
    x = size * torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    return vaezoo.Dataset(x[:40], x[40:50], x[50:], measure="continuous", log_likelihood=log_likelihood)


@dataset("known")
def known(root, seed):
    """Its density is known."""
    return _continuous(1, lambda x: -(0.5 * x**2 + 0.5 * math.log(2 * math.pi)).sum(-1))


@dataset("known-wrong")
def known_wrong(root, seed):
    """One number for all images."""
    return _continuous(1, lambda x: -(0.5 * x**2 + 0.5 * math.log(2 * math.pi)).sum())


@dataset("vast-wrong")
def vast(root, seed):
    """Images so large that no density of them is finite."""
    return _continuous(1e30)


@metric("typed")
def typed(model, images, context, *, factor: float = 1.0):
    """Its option has a type."""
    return {"factor": factor}


@metric("untyped-wrong")
def untyped(model, images, context, *, factor=1.0):
    """Its option has none."""
    return {"factor": factor}


@metric("counting")
def counting(model, images, context):
    """Repeatable."""
    return {"count": len(images), "none": None}


@metric("weights-wrong")
def weights(model, images, context):
    """Changes the weights."""
    with torch.no_grad():
        next(model.parameters()).add_(1)
    return {"count": len(images)}


@metric("mode-wrong")
def mode(model, images, context):
    """Leaves the model in eval mode."""
    model.eval()
    return {"count": len(images)}


@metric("random-wrong")
def random(model, images, context):
    """Another number each time."""
    return {"value": float(torch.rand(()))}


@metric("nan-wrong")
def nan(model, images, context):
    """No number."""
    return {"value": math.nan}


_seen = []


@metric("columns-wrong")
def columns(model, images, context):
    """Other columns each time."""
    _seen.append(1)
    return {f"column_{len(_seen)}": 1.0}


@metric("iwll-wrong")
def iwll(model, images, context):
    """A column of the metric `likelihood`."""
    return {"iwll": 0.0}


@metric("frame-wrong")
def frame(model, images, context):
    """A column that every row of the results has."""
    return {"images": len(images)}


@metric("tensor-wrong")
def tensor(model, images, context):
    """No dict of numbers."""
    return {"value": torch.zeros(())}
