"""One training step, the one that the runner trains with and the throughput measure times."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Split
from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.model import LatentModel
from vaezoo.training.schedules import kl_weights, learning_rates

GROUPS = {
    "inference": ("model.encoder.", "model.posterior_net."),
    "generative": ("model.prior.", "model.decoder.", "model.likelihood."),
    "own": ("objective.",),
}
"""The parameters that each value of an objective's dictionary moves."""


class Trainee(nn.Module):
    """A model with its objective: stored images -> the value to maximise. Pure, so that `torch.func` may map it over
    seeds.

    Its numbers come from `key` alone (an int64 scalar tensor): the binarisation of dynamic images, then the samples.
    """

    def __init__(self, model: LatentModel, objective: Objective, dynamic: bool = False):
        super().__init__()
        self.model, self.objective, self.dynamic = model, objective, dynamic

    def forward(
        self, stored: Tensor, index: Tensor, key: Tensor, kl_weight: Tensor, context: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The mean over the batch, in nats an image, of each value of the objective ({"all": value} where it gives
        one).
        """
        with noise.stream(key, index=index, dtype=self.model.dtype):
            x = noise.bernoulli(stored) if self.dynamic else stored
            draws = self.model.draw(self.model.batch(x, context, index), self.objective.importance_samples)
            draws.kl_weight = kl_weight
            value = self.objective(draws)
        values = value if isinstance(value, dict) else {"all": value}
        return {group: v.mean() for group, v in values.items()}


def parameter_groups(trainee: Trainee) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each group of GROUPS, and of "all"."""
    named = [(name, p) for name, p in trainee.named_parameters() if p.requires_grad]
    groups = {group: [p for name, p in named if name.startswith(starts)] for group, starts in GROUPS.items()}
    return {**groups, "all": [p for _, p in named]}


class TrainingStep:
    """Gather a batch on the device, draw, differentiate, clip, one fused Adam step. Nothing in it waits for the device.

    `values` holds the objective of each step since `restart`, on the device. Adam: Kingma and Ba (2015),
    arXiv:1412.6980.
    """

    def __init__(
        self,
        trainee: Trainee,
        split: Split,
        *,
        epochs: int,
        steps_per_epoch: int,
        learning_rate: float = 1e-3,
        schedule: str = "constant",
        kl_warmup: float = 0.0,
        gradient_clip: float | None = None,
        seed: int = 0,
    ):
        self.trainee, self.split, self.gradient_clip = trainee, split, gradient_clip
        self.device = trainee.model.device
        cuda = self.device.type == "cuda"
        self.groups = parameter_groups(trainee)
        self.rate = torch.tensor(learning_rate, device=self.device) if cuda else torch.tensor(learning_rate)
        self.optimizer = torch.optim.Adam(self.groups["all"], lr=self.rate, fused=True, capturable=cuda)
        self.rates = learning_rates(schedule, learning_rate, epochs, steps_per_epoch).to(self.device)
        self.kl_weights = kl_weights(kl_warmup, epochs, steps_per_epoch).to(self.device)
        self.varying = schedule != "constant"
        self.key = torch.tensor(noise.derive(seed, "noise"), device=self.device)
        self.count = torch.zeros((), dtype=torch.int64, device=self.device)
        self.values = torch.zeros(steps_per_epoch, device=self.device)
        self.position = torch.zeros((), dtype=torch.int64, device=self.device)

    def restart(self) -> None:
        """Begin to fill `values` anew, at an epoch's start."""
        self.position.zero_()

    def __call__(self, index: Tensor) -> None:
        """One step on the training images of these numbers. [B] int64, on the device"""
        step = self.count.clamp(max=len(self.rates) - 1)
        if self.varying:
            self.rate.copy_(self.rates[step])
        key = noise.mix(self.key + self.count * noise.GOLDEN)
        context = None if self.split.context is None else self.split.context[index]
        values = self.trainee(self.split.x[index], index, key, self.kl_weights[step], context)
        self._differentiate(values)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.groups["all"], self.gradient_clip)
        self.optimizer.step()
        total = torch.stack([value.detach() for value in values.values()]).sum()
        self.values.index_copy_(0, self.position.view(1), total.view(1).to(self.values))
        self.count += 1
        self.position += 1

    def _differentiate(self, values: Mapping[str, Tensor]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if set(values) == {"all"}:
            (-values["all"]).backward()
            return
        for number, (group, value) in enumerate(values.items()):
            if group not in GROUPS:
                raise VaezooError(f"objective: {unknown('group of parameters', group, GROUPS)}")
            parameters = self.groups[group]
            keep = number + 1 < len(values)
            gradients = torch.autograd.grad(-value, parameters, retain_graph=keep, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
