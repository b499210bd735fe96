"""How far the gradient of the cell's own objective stands out of its noise."""

import torch
from torch import Tensor

from vaezoo.builder import objective_for
from vaezoo.core import noise
from vaezoo.core.columns import Column
from vaezoo.core.contracts import Objective
from vaezoo.core.model import LatentModel
from vaezoo.evaluation.estimate import evaluating
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.metrics._posterior import batches
from vaezoo.registry import register
from vaezoo.training.module import TrainingModule
from vaezoo.training.step import parameter_groups

COLUMNS = (
    Column("inference_snr", "gradient signal to noise, inference"),
    Column("generative_snr", "gradient signal to noise, generative"),
)


@register.metric("gradient-snr", paper="Rainforth et al. (2018), arXiv:1802.04537", columns=COLUMNS)
def gradient_snr(
    model: LatentModel, images: Tensor, context: Evaluation, *, count: int = 16, steps: int = 400
) -> dict[str, float | None]:
    """The mean over parameters of |mean| / std of their gradient over `steps` draws of the noise, at the final weights.

    The gradient is that of the cell's own objective (its own K, KL weight 1), averaged over the first `count` test
    images, in evaluation mode. inference_snr: over the parameters of encoder and posterior. generative_snr: over those
    of prior, decoder and likelihood. A parameter whose gradient does not vary does not count. A gradient of mean 0 has
    about 0.8 / sqrt(steps), 0.04 for 400, and no value below that means anything. Multiply by sqrt(N / count) for
    batches of N images. For IWAE inference_snr falls as 1 / sqrt(K), for DReG it does not.

    No numbers where a model is evaluated without its objective, and where the objective has parameters of its own,
    which no record keeps.
    """
    names = [column.name for column in COLUMNS]
    objective = None if context.objective is None else objective_for(model, *context.objective, context.dataset)
    if objective is None or any(True for _ in objective.parameters()):
        why = "the model has no objective here" if objective is None else "its objective has weights that are not kept"
        context.notes |= dict.fromkeys(names, why)
        return dict.fromkeys(names)
    found = _ratios(model, objective, images[:count], context, steps)
    context.notes |= {f"{group}_snr": "no gradient varies" for group, value in found.items() if value is None}
    return {f"{group}_snr": value for group, value in found.items()}


def _ratios(
    model: LatentModel, objective: Objective, images: Tensor, context: Evaluation, steps: int
) -> dict[str, float | None]:
    """The mean of |mean| / std over the parameters of each group; the moments are Welford's, in float64."""
    module = TrainingModule(model, objective)
    groups = {group: parameter_groups(module)[group] for group in ("inference", "generative")}
    moments = {group: [_Moments() for _ in parameters] for group, parameters in groups.items()}
    with evaluating(model), torch.enable_grad():
        (batch,) = batches(model, images, context, len(images))
        weight = torch.ones((), device=model.device, dtype=model.dtype)
        for step in range(steps):
            key = noise.derive(context.seed, "gradient-snr", step)
            with noise.stream(key, index=batch.index, dtype=model.dtype):
                draws = model.draw(batch, objective.importance_samples)
                draws.kl_weight = weight
                value = objective(draws)
            for group, parameters in groups.items():
                if not parameters:
                    continue
                own = value[group] if isinstance(value, dict) else value
                gradients = torch.autograd.grad(own.mean(), parameters, allow_unused=True, retain_graph=True)
                for each, gradient in zip(moments[group], gradients, strict=True):
                    each.add(gradient)
    return {group: _mean_ratio(each) for group, each in moments.items()}


class _Moments:
    """The running mean and sum of squared deviations of one tensor."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, value: Tensor | None) -> None:
        """Add one gradient; None, of a parameter that was not used, adds nothing."""
        if value is None:
            return
        value = value.double()
        self.count += 1
        change = value - (self.mean if self.count > 1 else 0.0)
        self.mean = value if self.count == 1 else self.mean + change / self.count
        self.squares = torch.zeros_like(value) if self.count == 1 else self.squares + change * (value - self.mean)


def _mean_ratio(moments: list[_Moments]) -> float | None:
    """The mean of |mean| / std over the elements whose std is not 0; None where there is none."""
    ratios = []
    for each in moments:
        if each.count > 1:
            std = (each.squares / (each.count - 1)).sqrt()
            ratios.append((each.mean.abs() / std)[std > 0].flatten())
    every = torch.cat(ratios) if ratios else torch.zeros(0)
    return float(every.mean()) if every.numel() else None
