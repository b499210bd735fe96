"""Pictures of a trained model: what its prior, its posterior and its latent dimensions look like, as numpy arrays.

All of them are E[x|z], the decoder's mean, and all noise is keyed: the same model and images give the same pictures.
Letters: n images, Z latent dimensions, an image is [H, W, C] with C 1 or 3 and values 0..255.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaezoo.core import heartbeat, noise
from vaezoo.core.contracts import supports
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import VaezooError
from vaezoo.core.fixed_weights import weights_fixed
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.picture_arrays import Pictures

SAMPLES = 64
FEWEST_SAMPLES = 4
DRAWN_PIXELS = 2**16
"""Samples of an autoregressive decoder, which runs once for each of the D pixels: so many D^2 as make up DRAWN_PIXELS,
and FEWEST_SAMPLES at least.
"""
RECONSTRUCTED = 20
PAIRS = 6
STEPS = 9
DIMENSIONS = 8
SHARES = tuple(np.linspace(0.05, 0.95, 9))
"""Where a traversal goes: shares of the aggregate posterior."""
MAPPED = 2000
"""Test images on the latent map."""
BATCH = 500
DRAWS = 16
"""Draws of q(z|x) whose mean stands for E_q[z] where q is not Gaussian."""


@dataclass(frozen=True)
class Encoded:
    """The latents of n images: E_q[z] over the dimensions of all groups, float64 [n, Z], and one draw of q(z|x) for
    each group, [n, Z_l]. Both on the CPU.
    """

    means: Tensor
    draws: tuple[Tensor, ...]


def encode(model: LatentModel, x: Tensor, context: Tensor | None = None, seed: int = 0) -> Encoded:
    """The latents of images as they are stored. x: [n, *shape], context: [n, C]"""
    means, draws = [], []
    with evaluating(model), weights_fixed(model):
        for rows in torch.arange(len(x)).split(BATCH):
            heartbeat.beat()
            key = noise.derive(seed, "pictures", "encode")
            with noise.stream(key, index=rows.to(model.device), dtype=model.dtype):
                q = model.encode(x[rows], None if context is None else context[rows])
                gaussian = q.gaussian
                z = q.rsample_and_log_prob(DRAWS if gaussian is None else 1)[0]
                mean = torch.cat([group.mean(0) for group in z], -1) if gaussian is None else gaussian.mean
                means.append(mean.double().cpu())
                draws.append(tuple(group[0].double().cpu() for group in z))
    return Encoded(torch.cat(means), tuple(torch.cat(group) for group in zip(*draws, strict=True)))


def is_image(spec: DataSpec) -> bool:
    """Whether what the model models can be looked at: [H, W], [1, H, W] or [3, H, W] of values that are no counts."""
    shape = spec.shape if len(spec.shape) == 3 else (1, *spec.shape)
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1 and spec.measure != "counts"


def value_range(spec: DataSpec, x: Tensor) -> tuple[float, float]:
    """The values that are black and white: 0 and 1, or the least and the largest of x where they lie outside."""
    if spec.measure != "continuous" or spec.levels is not None:
        return 0.0, 1.0
    low, high = float(x.min()), float(x.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))


def to_pixels(spec: DataSpec, x: Tensor, limits: tuple[float, float]) -> np.ndarray:
    """Floats as the model gives them as gray levels or colours. [..., *shape] -> uint8 [..., H, W, C]"""
    low, high = limits
    value = x.detach().double().cpu() if len(spec.shape) == 3 else x.detach().double().cpu().unsqueeze(-3)
    scaled = ((value - low) / (high - low)).nan_to_num(0.0).clamp(0, 1)
    return (255 * scaled).round().to(torch.uint8).movedim(-3, -1).contiguous().numpy()


def _noise(model: LatentModel, seed: int, name: str) -> AbstractContextManager[noise.Stream]:
    return noise.stream(noise.derive(seed, "pictures", name), device=model.device, dtype=model.dtype)


def sample_means(model: LatentModel, n: int, context: Tensor | None = None, seed: int = 0) -> Tensor:
    """E[x|z] of n draws z from the prior; of an autoregressive decoder see `LatentModel.decode`. [n, *shape]

    context: [m, C], whose rows are taken in turn.
    """
    chosen = None if context is None else context[torch.arange(n) % len(context)]
    with evaluating(model), _noise(model, seed, "samples"):
        return model.decode(model.prior_sample(n, chosen), chosen)


def reconstruction_means(model: LatentModel, x: Tensor, context: Tensor | None = None, seed: int = 0) -> Tensor:
    """E[x|z] at one draw z of q(z|x) of each image. [n, *shape] -> [n, *shape]"""
    with evaluating(model), _noise(model, seed, "reconstructions"):
        return model.reconstruct(x, context)


def can_move(model: LatentModel) -> bool:
    """Whether an image at a moved latent says something about that latent: not of discrete codes, which have nothing
    between them, and not of an autoregressive decoder, whose drawn pixels differ between any two images.
    """
    return "discrete" not in supports(model.prior, len(model.latents or (1,))) and not model.decoder.autoregressive


def interpolation_means(
    model: LatentModel, x: Tensor, context: Tensor | None = None, seed: int = 0, pairs: int = PAIRS, steps: int = STEPS
) -> Tensor:
    """E[x|z] between the latents of pairs of the images, both of a pair under one context. [pairs, steps, *shape]"""
    first, second = _pairs(context, len(x), pairs)
    with evaluating(model), _noise(model, seed, "interpolations"):
        given = None if context is None else context[first]
        return model.interpolate(x[first], x[second], steps, given).transpose(0, 1)


def _pairs(context: Tensor | None, n: int, pairs: int) -> tuple[list[int], list[int]]:
    """The numbers of the images of each pair: neighbours, or the next image with the same context where there is
    one.
    """
    first = list(range(0, min(2 * pairs, n - 1), 2))
    second = []
    for place in first:
        same = [] if context is None else (context[place + 1 :] == context[place]).all(1).nonzero().flatten().tolist()
        second.append(place + 1 + (same[0] if same else 0))
    return first, second


def traversal_means(
    model: LatentModel, x: Tensor, dims: Sequence[int], values: Tensor, context: Tensor | None = None, seed: int = 0
) -> Tensor:
    """E[x|z] where one dimension of the lowest latent group takes each of its values, and the others stay at one draw
    of q(z|x) of the first image. values: [dims, values] -> [dims, values, *shape]
    """
    found, given = [], None if context is None else context[:1]
    for dim, row in zip(dims, values.tolist(), strict=True):
        heartbeat.beat()
        with evaluating(model), _noise(model, seed, "traversals"):  # the same draw for each dimension
            found.append(model.traverse(x[:1], dim, row, given)[:, 0])
    return torch.stack(found)


def most_active(encoded: Encoded, most: int = DIMENSIONS) -> list[int]:
    """The dimensions of the lowest latent group whose posterior mean varies most over the images, by the share of the
    aggregate posterior's variance, Var(E_q[z_j]) / Var(z_j), most active first.
    """
    lowest = encoded.draws[-1]
    spread = encoded.means[:, -lowest.shape[1] :].var(0) / lowest.var(0).clamp(min=1e-12)
    return torch.sort(spread, descending=True, stable=True).indices[:most].tolist()


def quantiles(encoded: Encoded, dims: Sequence[int]) -> Tensor:
    """The values at SHARES of the aggregate posterior of these dimensions of the lowest latent group. [dims, values]

    VaezooError for a dimension that the group lacks.
    """
    lowest = encoded.draws[-1]
    if lacking := [dim for dim in dims if not 0 <= dim < lowest.shape[1]]:
        raise VaezooError(f"dims must be of the {lowest.shape[1]} latent dimensions, got {lacking[0]}")
    return lowest[:, list(dims)].quantile(torch.tensor(SHARES, dtype=torch.float64), dim=0).T


def plane(means: Tensor) -> tuple[np.ndarray, str]:
    """Points of a plane: the latents themselves where Z is 1 or 2 (`z`), else their two principal components (`PCA`),
    each with the sign that makes its largest entry positive. float64 [n, Z] -> float32 [n, 2]
    """
    if means.shape[1] <= 2:
        return torch.nn.functional.pad(means, (0, 2 - means.shape[1])).float().numpy(), "z"
    centred = means - means.mean(0)
    if means.shape[1] <= len(means):
        points = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -2:].flip(1)
    else:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        points = (vectors * values.clamp(min=0).sqrt())[:, -2:].flip(1)
    largest = points.gather(0, points.abs().argmax(0, keepdim=True))
    return (points * torch.where(largest < 0, -1.0, 1.0)).float().numpy(), "PCA"


def class_labels(labels: Tensor | None) -> np.ndarray | None:
    """Labels as whole numbers [n]; of several factors [n, F] the first that varies. None where there are none."""
    if labels is None or labels.is_floating_point() or labels.ndim not in (1, 2):
        return None
    columns = labels.reshape(len(labels), -1).cpu()
    varied = [column for column in columns.T if bool((column != column[0]).any())]
    return None if not varied else varied[0].to(torch.int64).numpy()


def pictures(
    model: LatentModel, images: Tensor, labels: Tensor | None = None, context: Tensor | None = None, seed: int = 0
) -> Pictures:
    """The pictures of a model on test images as they are stored.

    Data that are no images have the latent map alone. Of several latent groups, the map shows the principal components
    of all, and traversals move the lowest one, which every decoder sees.

    images: [N, *shape]. labels: [N] or [N, F]. context: [N, C] of a conditional model, else None.
    """
    x, seen = images[:MAPPED], None if context is None else context[:MAPPED]
    encoded = encode(model, x, seen, seed)
    found: dict[str, object] = {}
    if len(x) > 2 and bool(encoded.means.isfinite().all()):
        found["latent"], found["latent_method"] = plane(encoded.means)
        found["latent_labels"] = class_labels(None if labels is None else labels[:MAPPED])
    if is_image(model.spec):
        found |= _images(model, x, seen, seed, encoded)
    return Pictures(**found)  # type: ignore[arg-type]


def _affordable(model: LatentModel) -> int:
    """How many samples a picture shows."""
    drawn = DRAWN_PIXELS // model.spec.dimensions**2
    return min(SAMPLES, max(FEWEST_SAMPLES, drawn)) if model.decoder.autoregressive else SAMPLES


def _images(model: LatentModel, x: Tensor, context: Tensor | None, seed: int, encoded: Encoded) -> dict[str, object]:
    stored = model.spec.to_float(x)
    limits = value_range(model.spec, stored)

    def pixels(value: Tensor) -> np.ndarray:
        """The images of these values."""
        return to_pixels(model.spec, value, limits)

    few, given = x[:RECONSTRUCTED], None if context is None else context[:RECONSTRUCTED]
    found: dict[str, object] = {
        "samples": pixels(sample_means(model, _affordable(model), context, seed)),
        "originals": pixels(stored[:RECONSTRUCTED]),
        "reconstructions": pixels(reconstruction_means(model, few, given, seed)),
    }
    if not can_move(model) or len(x) < 2:
        return found
    found["interpolations"] = pixels(interpolation_means(model, x, context, seed))
    dims = most_active(encoded)
    found["traversals"] = pixels(traversal_means(model, x, dims, quantiles(encoded, dims), context, seed))
    found["traversal_dims"] = np.asarray(dims, dtype=np.int64)
    found["traversal_values"] = np.asarray(SHARES, dtype=np.float32)
    return found
