"""The importance-weighted bound against the number of samples K."""

import math

import torch
from torch import Tensor

from vaezoo.core import heartbeat, noise
from vaezoo.core.fixed_weights import weights_fixed
from vaezoo.core.model import LatentModel
from vaezoo.evaluation import blocks
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register


@register.metric("iwll-curve", paper="Burda et al. (2016), arXiv:1509.00519")
def iwll_curve(model: LatentModel, images: Tensor, context: Evaluation, *, count: int = 200) -> dict[str, float | None]:
    """The mean over the first `count` test images of the bound L_k = log (1/k) sum_j w_j for k = 1, 2, 5, 10, .. and
    the evaluation's K, in nats an image.

    All L_k come from the K samples of each image that iwll takes: L_k is the mean over the K / k disjoint blocks of k
    samples, which has less noise than one block. L_1 is the mean of log w, the ELBO; L_K is the iwll of these images;
    between them the expectation of L_k rises with k, and tends to log p(x). Where the curve has not become flat, the
    iwll is still a loose bound.

    context.vectors holds `iwll_curve_samples` [S], `iwll_curve` [S] and `iwll_curve_standard_error` [S], the
    Monte-Carlo standard error of that mean: by the variance of the blocks, and where there is one block alone by the
    variance of its weights (delta method). There is no column.
    """
    samples = context.importance_samples
    sizes = [k * 10**power for power in range(len(str(samples))) for k in (1, 2, 5) if k * 10**power < samples]
    sizes.append(samples)
    found = []
    with evaluating(model), weights_fixed(model):
        for batch in batches(model, images[:count], context, blocks.images_a_block(model.device, samples)):
            with noise.stream(noise.derive(context.seed, "posterior"), index=batch.index, dtype=model.dtype):
                q = model.posterior(batch)
            log_weights, first, size = [], 0, blocks.BlockSize(model, len(batch.x), samples, len(batch.x))
            while first < samples:
                heartbeat.beat()
                key, many = noise.derive(context.seed, "samples"), min(size.samples, samples - first)
                with size.timed(), noise.stream(key, index=batch.index, first=first, dtype=model.dtype):
                    log_weights.append(model.draw_from(q, batch, many).log_weight.double().cpu())
                first += many
            found.append(torch.stack([bound(torch.cat(log_weights), k) for k in sizes]))
    means, variances = torch.cat(found, -1).unbind(1)
    context.vectors |= {
        "iwll_curve_samples": torch.tensor(sizes),
        "iwll_curve": means.mean(1),
        "iwll_curve_standard_error": variances.sum(1).sqrt() / means.shape[1],
    }
    return {}


def bound(log_weights: Tensor, k: int) -> Tensor:
    """The mean of L_k over the disjoint blocks of k samples of each image, and the variance of that mean.

    log_weights: [K, N] -> [2, N]
    """
    many = len(log_weights) // k
    values = log_weights[: many * k].unflatten(0, (many, k)).logsumexp(1) - math.log(k)
    if many > 1:
        return torch.stack([values.mean(0), values.var(0) / many])
    share = log_weights[:k].softmax(0)
    spread = (share.square().sum(0) - 1 / k).clamp(min=0)
    return torch.stack([values[0], spread * k / (k - 1) if k > 1 else torch.full_like(spread, math.nan)])
