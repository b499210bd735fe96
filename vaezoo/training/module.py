"""A model with its objective, as one pure function of a batch and a key."""

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.model import LatentModel
from vaezoo.training.updates import updated_buffers

Values = dict[str, Tensor]
"""{group of parameters: the objective's value for it}, or {"all": its one value}; or {name of a buffer: its value}."""


class TrainingModule(nn.Module):
    """A model with its objective: stored images -> the values to maximise, and the buffers' new values.

    A pure function, so that `torch.func` can map it over seeds. Its random numbers depend on `key` alone (an int64
    scalar tensor): first the binarisation of dynamic images, then the samples.
    """

    def __init__(self, model: LatentModel, objective: Objective, dynamic: bool = False):
        super().__init__()
        self.model, self.objective, self.dynamic = model, objective, dynamic

    def forward(
        self,
        stored: Tensor,
        index: Tensor,
        key: Tensor,
        kl_weight: Tensor,
        context: Tensor | None = None,
        prefetched: Mapping[int, Tensor] | None = None,
        progress: Tensor | None = None,
    ) -> tuple[Values, Values]:
        """The mean over the batch, in nats an image, of each value of the objective ({"all": value} where it gives
        one), and the new value of each buffer of the parts that have `update(draws)`.

        prefetched: results of calls of `noise.normal`, from `noise.normals_of_calls`. progress: a scalar in 0..1.
        """
        with noise.stream(key, index=index, dtype=self.model.dtype, prefetched=prefetched):
            x = noise.bernoulli(stored) if self.dynamic else stored
            batch = self.model.batch(x, context, index, progress)
            draws = self.model.draw(batch, self.objective.importance_samples)
            draws.kl_weight = kl_weight
            value = self.objective(draws)
            buffers = updated_buffers(self.parts(), draws)
        values = value if isinstance(value, dict) else {"all": value}
        return {group: v.mean() for group, v in values.items()}, buffers

    def parts(self) -> dict[str, nn.Module]:
        """The model's parts and the objective, each by its name among this module's submodules."""
        return parts_of(self.model, self.objective)


def parts_of(model: LatentModel, objective: Objective) -> dict[str, nn.Module]:
    """The model's parts and the objective, each by its name among a TrainingModule's submodules."""
    return {**{f"model.{name}": part for name, part in model.named_children()}, "objective": objective}
