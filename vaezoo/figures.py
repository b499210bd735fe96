"""Figures of a trained model and of results, as matplotlib figures: `vaezoo.figures.samples(model)`.

A notebook shows the figure that a cell ends with; `figure.savefig("samples.png")` writes it. No function changes the
state of pyplot. The images are E[x|z], the decoder's mean, and the noise is keyed by `seed`: the same call gives the
same figure.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from vaezoo.core.data import Dataset, Split
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import Images, LatentModel
from vaezoo.evaluation import pictures
from vaezoo.reports.drawing import charts, grids
from vaezoo.reports.drawing.charts import curves, quality_speed

__all__ = ["curves", "interpolations", "latent_map", "quality_speed", "reconstructions", "samples", "traversal"]


def samples(model: LatentModel, n: int = 64, context: Images | None = None, seed: int = 0) -> Figure:
    """E[x|z] of n draws z from the prior. context: [m, C] of a conditional model, whose rows are taken in turn."""
    _refuse_other_data(model)
    given = None if context is None else torch.as_tensor(context)
    found = pictures.sample_means(model, n, given, seed)
    return grids.samples(pictures.to_pixels(model.spec, found, pictures.value_range(model.spec, found)))


def reconstructions(model: LatentModel, x: Images, context: Images | None = None, seed: int = 0) -> Figure:
    """Images above E[x|z] at one draw z of q(z|x) of each. x: [n, *shape], as stored or as floats; context: [n, C]"""
    images, given = _given(model, x, context)
    found = pictures.reconstruction_means(model, images, given, seed)
    pixels, limits = _pixels(model, images)
    return grids.reconstructions(pixels, pictures.to_pixels(model.spec, found, limits))


def interpolations(
    model: LatentModel, x: Images, context: Images | None = None, seed: int = 0, steps: int = pictures.STEPS
) -> Figure:
    """A row for each pair of neighbouring images: E[x|z] between the latents of the two, both under the context of the
    first. x: [n, *shape] of 2 images or more, context: [n, C]
    """
    images, given = _given(model, x, context)
    _refuse_immovable(model)
    if len(images) < 2:
        raise VaezooError(f"an interpolation needs 2 images or more, got {len(images)}")
    found = pictures.interpolation_means(model, images, given, seed, pairs=len(images), steps=steps)
    return grids.interpolations(pictures.to_pixels(model.spec, found, _pixels(model, images)[1]))


def traversal(
    model: LatentModel,
    x: Images,
    dims: Sequence[int] | None = None,
    context: Images | None = None,
    seed: int = 0,
) -> Figure:
    """A row for each dimension of the lowest latent group: E[x|z] where it moves over its quantiles in the aggregate
    posterior of the images, and the others stay at one draw of q(z|x) of the first image.

    x: [n, *shape]; the more images, the better the quantiles are known. dims: the most active dimensions where they are
    left out. VaezooError for another model than one of images with real latents, and for a dimension that it lacks.
    """
    images, given = _given(model, x, context)
    _refuse_immovable(model)
    encoded = pictures.encode(model, images, given, seed)
    chosen = pictures.most_active(encoded) if dims is None else list(dims)
    values = pictures.quantiles(encoded, chosen)
    found = pictures.traversal_means(model, images, chosen, values, given, seed)
    pixels = pictures.to_pixels(model.spec, found, _pixels(model, images)[1])
    return grids.traversals(pixels, chosen, pictures.SHARES)


def latent_map(
    model: LatentModel,
    images: Images | Split | Dataset,
    labels: Images | None = None,
    context: Images | None = None,
    seed: int = 0,
) -> Figure:
    """Images as points of the plane: their posterior means, or the two principal components of these.

    images: [n, *shape], a split, or a data set, whose test images are taken, 2,000 at most; both bring labels and
    context along. labels: [n], which colour the points. context: [n, C]
    """
    split = images.test if isinstance(images, Dataset) else images
    if isinstance(split, Split):
        split = split.rows(slice(pictures.MAPPED))
        x, y, given = split.x, split.y, split.context if model.conditional else None
    else:
        x, y = torch.as_tensor(split), None if labels is None else torch.as_tensor(labels)
        given = None if context is None else torch.as_tensor(context)
    points, method = pictures.plane(pictures.encode(model, x, given, seed).means)
    return charts.latent_map(points, pictures.class_labels(y), method)


def _refuse_other_data(model: LatentModel) -> None:
    if not pictures.is_image(model.spec):
        shape, measure = list(model.spec.shape), model.spec.measure
        raise VaezooError(f"this is no model of images, its data are {measure} {shape}; draw latent_map(model, ...)")


def _refuse_immovable(model: LatentModel) -> None:
    if not pictures.can_move(model):
        raise VaezooError(
            "this model has discrete codes or draws its images pixel by pixel: its images do not follow a latent that "
            "moves; draw samples(model) or reconstructions(model, x)"
        )


def _given(model: LatentModel, x: Images, context: Images | None) -> tuple[Tensor, Tensor | None]:
    """Images and context as tensors; the model checks their shapes."""
    _refuse_other_data(model)
    return torch.as_tensor(x), None if context is None else torch.as_tensor(context)


def _pixels(model: LatentModel, x: Tensor) -> tuple[np.ndarray, tuple[float, float]]:
    """The images to be shown, and the values that are black and white."""
    stored = model.spec.to_float(x)
    limits = pictures.value_range(model.spec, stored)
    return pictures.to_pixels(model.spec, stored, limits), limits
