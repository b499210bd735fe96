"""Whether the latents are used at all."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._batches import batches
from vaezoo.metrics.active_unit_vector import mean_variances
from vaezoo.metrics.aggregate_kl import REASON, aggregate
from vaezoo.registry import register

IDLE = 0.01
"""A dimension of smaller KL (nats), or smaller variance of its mean, is not used."""


@register.metric("collapse", paper="Bowman et al. (2016), arXiv:1511.06349; Lucas et al. (2019), arXiv:1911.02469")
def collapse(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    count: int = 1000,
    samples: int = 8,
    threshold: float = 0.1,
) -> dict[str, float | None]:
    """Posterior collapse on the first `count` test images, in nats an image where it is nats.

    idle_dimensions: share of dimensions with KL_j < 0.01 (of Var_x(E_q[z_j]) < 0.01 without a closed-form KL).
    reconstruction_gain: mean log p(x|z) with z ~ q(z|x) minus with z ~ p(z), over `samples` draws each; 0 where the
    decoder, or q, ignores its input. collapse_mutual_information: I_q(x;z), see `aggregate-kl`. collapsed: 1 where z
    says nothing of x or nothing is made of it, that is where the gain or the mutual information is under `threshold`
    nats or no dimension is active (Var_x(E_q[z_j]) > 0.01), else 0. A q that is the prior has idle_dimensions 1, mutual
    information 0 and gain 0 in the mean.
    """
    chosen = images[:count]
    variances = mean_variances(model, chosen, context, 64)
    inside: list[Tensor] = []
    outside: list[Tensor] = []
    divergences: list[Tensor | None] = []
    with evaluating(model):
        for batch in batches(model, chosen, context, 100):
            with noise.stream(noise.derive(context.seed, "collapse"), index=batch.index, dtype=model.dtype):
                draws = model.draw(batch, samples)
                inside.append(draws.log_likelihood.double().mean(0))
                divergences.append(draws.kl)
            seed = noise.derive(context.seed, "collapse", "prior", int(context.index[0]), len(outside))
            with noise.stream(seed, device=model.device, dtype=model.dtype):
                z = model.prior_sample(samples * len(batch.x))
                outside.append(
                    model.log_likelihood(batch, tuple(group.unflatten(0, (samples, -1)) for group in z))
                    .double()
                    .mean(0)
                )
    known = [kl.double().sum(1) for kl in divergences if kl is not None]
    idle = torch.stack(known).sum(0) / len(chosen) < IDLE if known else variances < IDLE
    gain = float((torch.cat(inside) - torch.cat(outside)).mean())
    shared = aggregate(model, chosen, context, 1)
    if shared is None:
        context.notes["collapse_mutual_information"] = REASON
    silent = gain < threshold or bool((variances <= IDLE).all())
    return {
        "idle_dimensions": float(idle.double().mean()),
        "reconstruction_gain": gain,
        "collapse_mutual_information": shared.information if shared else None,
        "collapsed": int(silent or (shared is not None and shared.information < threshold)),
    }
