"""The aggregate posterior q(z) = (1/N) sum_n q(z|x_n): its KL from the prior, and the information in z about x."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register

BLOCK = 2**22
"""How many numbers one block of points x images x dimensions holds."""
COLUMNS = (
    Column("aggregate_kl", "aggregate kl (nats)", "nats"),
    Column("mutual_information", "mutual information (nats)", "nats"),
    Column("mutual_information_limit", "mutual information limit (nats)", "nats"),
)
NOT_SCORED = "the posterior cannot score given points (its log_prob(z) is None)"


@dataclass(frozen=True)
class Aggregate:
    """In nats: divergence KL(q(z) || p(z)), information I_q(x;z), and limit log N, the largest value it can take."""

    divergence: float
    information: float
    limit: float


def aggregate(model: LatentModel, images: Tensor, context: Evaluation, samples: int) -> Aggregate | None:
    """Both terms of the mean KL from the same `samples` draws of each image.

    None where the posterior cannot score given points; NOT_SCORED is the note that says so.
    """
    posteriors, points, own, prior = [], [], [], []
    with evaluating(model):
        for batch in batches(model, images, context):
            with noise.stream(noise.derive(context.seed, "aggregate-kl"), index=batch.index, dtype=model.dtype):
                q = model.posterior(batch)
                draws = model.draw_from(q, batch, samples)
                if q.log_prob(draws.z) is None:
                    return None
                posteriors.append((q, len(batch.x)))
                points.append(tuple(group.flatten(0, 1) for group in draws.z))
                own.append(draws.log_posterior.double().sum(0).flatten())
                prior.append(draws.log_prior.double().sum(0).flatten())
        count, width = len(images), sum(group.shape[-1] for group in points[0])
        size = max(1, BLOCK // (min(count, 1000) * width))
        mixture = []
        for z in points:
            for part in zip(*(torch.split(group, size) for group in z), strict=True):
                scores = []
                for q, many in posteriors:
                    value = q.log_prob(tuple(group[:, None].expand(-1, many, -1) for group in part))
                    assert value is not None
                    scores.append(value.double().sum(0))
                mixture.append(torch.cat(scores, 1).logsumexp(1) - math.log(count))
    log_mixture = torch.cat(mixture)
    return Aggregate(
        float((log_mixture - torch.cat(prior)).mean()), float((torch.cat(own) - log_mixture).mean()), math.log(count)
    )


@register.metric("aggregate-kl", paper="Hoffman and Johnson (2016), ELBO surgery", columns=COLUMNS)
def aggregate_kl(
    model: LatentModel, images: Tensor, context: Evaluation, *, count: int = 2000, samples: int = 1
) -> dict[str, float | None]:
    """aggregate_kl = KL(q(z) || p(z)) and mutual_information = I_q(x;z), in nats, of the first `count` test images.

    q(z) is the mixture of these images' posteriors, log q(z) = logsumexp_n log q(z|x_n) - log N. It is scored at
    `samples` draws of each image; the image's own posterior is one of the N. E_x KL(q(z|x) || p) = mutual_information +
    aggregate_kl holds exactly where the left side is the mean of log q(z|x) - log p(z) over the same draws.
    0 <= I <= log N, which is mutual_information_limit: an I near this limit depends on N and needs more images.

    A posterior without log_prob gives no numbers. Hoffman and Johnson (2016), ELBO surgery, NIPS workshop on
    approximate inference.
    """
    found = aggregate(model, images[:count], context, samples)
    names = [column.name for column in COLUMNS]
    if found is None:
        context.notes |= dict.fromkeys(names, NOT_SCORED)
        return dict.fromkeys(names)
    return dict(zip(names, (found.divergence, found.information, found.limit), strict=True))
