"""The mass of a prior's density under wide proposals: shows a density that is too large far from its samples."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import Latents, supports
from vaezoo.core.draws import Batch
from vaezoo.core.gaussian import HALF_LOG_TWO_PI
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating

SCALES = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Standard deviations of the wide Gaussians."""
LIMIT = math.log(1000)
"""The largest log mass of a right prior: it exceeds this with a probability of at most 1e-3 for each proposal."""
SAMPLES = 2000
"""Points of each proposal, over all images together."""
BLOCK = 500
"""Points that are scored at once."""


def log_mass(model: LatentModel, batch: Batch, *, samples: int = SAMPLES, seed: int = 0) -> dict[float, float]:
    """log of the mean of p(z) / g(z) over z ~ g = N(0, s^2 I), in nats, for each s of SCALES.

    For a density E_g[p/g] is at most 1, so by Markov's inequality the mean exceeds 1000 (its logarithm exceeds LIMIT)
    with a probability of at most 1e-3 for each s. A density with a floor, such as log(p + 1e-10), has no finite
    integral: in 20 dimensions its log mass is above 14. p(z) is summed over the latent groups. Where z lives on a
    sphere, in a ball or in [0, 1]^Z, g is uniform there; for discrete codes it is uniform over the codes that the prior
    drew. NaN counts as a density of 0. Computed without gradients in eval mode; the ratios and their mean are float64.

    batch: the images, of which a prior may request context or index; p depends on nothing else of them. seed: of the
    keyed noise.
    """
    images = len(batch.x)
    each = -(-samples // images)
    drawn = _codes(model, batch, seed)
    found = {}
    with evaluating(model):
        for scale in SCALES:
            ratios = []
            for first, count in _blocks(each, images):
                z, log_g = _proposed(model, drawn, images, count, scale, seed, first)
                given = tuple(group.to(model.device, model.dtype) for group in z)
                ratios.append((model.log_prior(batch, given).double().sum(0).cpu() - log_g).flatten())
            ratio = torch.cat(ratios).nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
            found[scale] = float(ratio.logsumexp(0)) - math.log(len(ratio))
    return found


def log_sphere_area(size: int) -> float:
    """The logarithm of the area of the unit sphere in R^size: 2 pi^(size/2) / Gamma(size/2)."""
    return math.log(2) + 0.5 * size * math.log(math.pi) - math.lgamma(0.5 * size)


def _blocks(samples: int, images: int) -> Iterator[tuple[int, int]]:
    """The number of the first sample of each block, and the block's samples."""
    step = max(1, BLOCK // images)
    for first in range(0, samples, step):
        yield first, min(step, samples - first)


def _codes(model: LatentModel, batch: Batch, seed: int) -> Latents:
    """Draws from the prior, a tuple of [N, Z_l] in float64: the distinct rows of a discrete group, all of another."""
    count = 1024
    context = None if batch.context is None else batch.context[torch.arange(count) % len(batch.x)]
    key = noise.derive(seed, "prior mass", "codes")
    with evaluating(model), noise.stream(key, device=model.device, dtype=model.dtype):
        z = model.prior_sample(count, context)
    kinds = supports(model.prior, len(z))
    return tuple(
        (group.unique(dim=0) if kind == "discrete" else group).double().cpu()
        for group, kind in zip(z, kinds, strict=True)
    )


def _proposed(
    model: LatentModel, drawn: Latents, images: int, samples: int, scale: float, seed: int, first: int
) -> tuple[Latents, Tensor]:
    """z ~ g, a tuple of [K, B, Z_l], and log g(z) [K, B], in float64."""
    groups, total = [], torch.zeros(samples, images, dtype=torch.float64)
    key = noise.derive(seed, "prior mass", scale)
    with noise.stream(key, index=torch.arange(images), first=first, dtype=torch.float64):
        for kind, like in zip(supports(model.prior, len(drawn)), drawn, strict=True):
            size = like.shape[-1]
            if kind == "unit":
                z, log_g = noise.uniform(samples, images, size), torch.zeros(())
            elif kind == "discrete":
                chosen = noise.categorical(torch.zeros(samples, images, len(like), dtype=torch.float64))
                z, log_g = like[chosen], torch.tensor(-math.log(len(like)))
            elif kind in ("sphere", "ball"):
                eps = noise.normal(samples, images, size)
                z, log_g = eps / eps.norm(dim=-1, keepdim=True), torch.tensor(-log_sphere_area(size))
                if kind == "ball":  # the volume of the unit ball is its surface / size
                    z, log_g = z * noise.uniform(samples, images, 1) ** (1 / size), log_g + math.log(size)
            else:
                # scored where the model's precision puts it
                z = (scale * noise.normal(samples, images, size)).to(model.dtype).double()
                log_g = -(0.5 * (z / scale).square() + math.log(scale) + HALF_LOG_TWO_PI).sum(-1)
            groups.append(z)
            total = total + log_g
    return tuple(groups), total
