"""The number of latent dimensions in use."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.contracts import PosteriorDistribution
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.registry import register


def _means(q: PosteriorDistribution, samples: int) -> Tensor:
    if q.gaussian is not None:
        return q.gaussian.mean
    return torch.cat([group.mean(0) for group in q.rsample_and_log_prob(samples)[0]], -1)


@register.metric("active-units", paper="Burda et al. (2016), arXiv:1509.00519")
def active_units(
    model: LatentModel, images: Tensor, context: Evaluation, *, threshold: float = 0.01, samples: int = 64
) -> dict[str, float | None]:
    """Number of latent dimensions j with Var_x(E_q[z_j]) > threshold, the variance being over the images.

    E_q[z_j] is the mean of a Gaussian posterior, else that of `samples` draws.
    """
    means = []
    with evaluating(model):
        for rows in torch.arange(len(images)).split(1000):
            index = context.index[rows].to(model.device)
            with noise.stream(noise.derive(context.seed, "active-units"), index=index, dtype=model.dtype):
                means.append(_means(model.posterior(model.batch(images[rows], index=index)), samples))
    return {"active_units": int((torch.cat(means).double().var(0) > threshold).sum())}
