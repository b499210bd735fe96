"""Whether the model uses its latents at all."""

import torch
from torch import Tensor

from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches, mean_variances
from vaezoo.metrics.aggregate_kl import NOT_SCORED, aggregate
from vaezoo.registry import register

IDLE = 0.01
"""A dimension with a smaller KL (in nats), or a smaller variance of its mean, is idle."""


@register.metric(
    "collapse",
    paper="Bowman et al. (2016), arXiv:1511.06349; Lucas et al. (2019), arXiv:1911.02469",
    columns=(
        Column("idle_dimensions", "idle dimensions (share)"),
        Column("reconstruction_gain", "reconstruction gain (nats)", "nats"),
        Column("collapse_mutual_information", "mutual information, collapse (nats)", "nats"),
        Column("collapsed", "collapsed (0 or 1)", "count"),
    ),
)
def collapse(
    model: LatentModel,
    images: Tensor,
    context: Evaluation,
    *,
    count: int = 1000,
    samples: int = 8,
    threshold: float = 0.1,
) -> dict[str, float | None]:
    """Posterior collapse on the first `count` test images.

    idle_dimensions: the share of dimensions with KL_j < 0.01 nats (Var_x(E_q[z_j]) < 0.01 without a closed-form KL).
    reconstruction_gain: the mean of log p(x|z) over z ~ q(z|x) minus its mean over z ~ p(z), `samples` draws each, in
    nats an image; 0 where the decoder, or q, ignores its input. collapse_mutual_information: I_q(x;z) in nats, see
    `aggregate-kl`. collapsed: 1 where z carries no information about x or the decoder ignores it, which is where the
    gain or the mutual information is below `threshold` nats or no dimension is active (Var_x(E_q[z_j]) > 0.01), else 0.
    A q that equals the prior has idle_dimensions 1, mutual information 0 and, in the mean, gain 0.
    """
    chosen = images[:count]
    variances = mean_variances(model, chosen, context, 64)
    inside: list[Tensor] = []
    outside: list[Tensor] = []
    divergences: list[tuple[Tensor, ...] | None] = []
    with evaluating(model):
        for batch in batches(model, chosen, context, 100):
            with noise.stream(noise.derive(context.seed, "collapse"), index=batch.index, dtype=model.dtype):
                draws = model.draw(batch, samples)
                inside.append(draws.log_likelihood.double().mean(0))
                divergences.append(draws.kl)
            seed = noise.derive(context.seed, "collapse", "prior", int(context.index[0]), len(outside))
            with noise.stream(seed, device=model.device, dtype=model.dtype):
                repeated = None if batch.context is None else batch.context.repeat(samples, 1)
                z = model.prior_sample(samples * len(batch.x), repeated)
                outside.append(
                    model.log_likelihood(batch, tuple(torch.unflatten(group, 0, (samples, -1)) for group in z))
                    .double()
                    .mean(0)
                )
    known = [torch.cat([each.double().sum(0) for each in kl]) for kl in divergences if kl is not None]
    idle = torch.stack(known).sum(0) / len(chosen) < IDLE if known else variances < IDLE
    gain = float((torch.cat(inside) - torch.cat(outside)).mean())
    shared = aggregate(model, chosen, context, 1)
    if shared is None:
        context.notes["collapse_mutual_information"] = NOT_SCORED
    unused = gain < threshold or bool((variances <= IDLE).all())
    return {
        "idle_dimensions": float(idle.double().mean()),
        "reconstruction_gain": gain,
        "collapse_mutual_information": shared.information if shared else None,
        "collapsed": int(unused or (shared is not None and shared.information < threshold)),
    }
