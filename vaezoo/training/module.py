"""A model with its objective, as one pure function of a batch and a key."""

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.model import LatentModel


class TrainingModule(nn.Module):
    """A model with its objective: stored images -> the values to maximise.

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
    ) -> dict[str, Tensor]:
        """The mean over the batch, in nats an image, of each value of the objective ({"all": value} where it gives
        one).

        prefetched: results of calls of `noise.normal`, from `noise.normals_of_calls`.
        """
        with noise.stream(key, index=index, dtype=self.model.dtype, prefetched=prefetched):
            x = noise.bernoulli(stored) if self.dynamic else stored
            draws = self.model.draw(
                self.model.batch(x, context, index, kl_weight.new_ones(())), self.objective.importance_samples
            )
            draws.kl_weight = kl_weight
            value = self.objective(draws)
        values = value if isinstance(value, dict) else {"all": value}
        return {group: v.mean() for group, v in values.items()}
