"""Passes of the posterior over the images, for the metrics that need them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation


def batches(model: LatentModel, images: Tensor, context: Evaluation, size: int = 1000) -> Iterator[Batch]:
    """The images in batches of `size` on the model's device, each image with its number in the split."""
    for rows in torch.split(torch.arange(len(images)), size):
        seen = None if context.context is None else context.context[rows].to(model.device)
        yield model.batch(images[rows], seen, context.index[rows].to(model.device))


def posterior_mean(q: PosteriorDistribution, samples: int) -> Tensor:
    """E_q[z] of each image over the dimensions of all groups; the mean of `samples` draws where q is not Gaussian.
    [B, Z]
    """
    if q.gaussian is not None:
        return q.gaussian.mean
    return torch.cat([group.mean(0) for group in q.rsample_and_log_prob(samples)[0]], -1)


def mean_variances(model: LatentModel, images: Tensor, context: Evaluation, samples: int) -> Tensor:
    """Var_x(E_q[z_j]) of each dimension j of all groups, the variance being over the images. [Z], float64 on the CPU"""
    means = []
    with evaluating(model):
        for batch in batches(model, images, context):
            with noise.stream(noise.derive(context.seed, "active-units"), index=batch.index, dtype=model.dtype):
                means.append(posterior_mean(model.posterior(batch), samples))
    return torch.cat(means).double().var(0).cpu()
