"""One training step: the runner trains with it and the throughput measure times it."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaezoo.core import denormals, noise, products
from vaezoo.core.contracts import PARAMETER_GROUPS, Objective
from vaezoo.core.data import Split
from vaezoo.core.errors import VaezooError, VaezooWarning, unknown
from vaezoo.core.freed_memory import keep_freed_memory
from vaezoo.core.precision import computing
from vaezoo.training.adam import Adam
from vaezoo.training.module import TrainingModule, Values
from vaezoo.training.options import TrainingOptions
from vaezoo.training.pack import Pack
from vaezoo.training.replay.cuda_graph import CudaGraphStep
from vaezoo.training.replay.prefetch import PrefetchedNoise, row_of
from vaezoo.training.replay.recorded_step import RecordedStep
from vaezoo.training.replay.rule import replay_rule
from vaezoo.training.schedules import kl_weights, learning_rates, progress
from vaezoo.training.stream import ImageStream

_STARTS = (
    ("model.encoder.", "model.posterior_net."),
    ("model.prior.", "model.decoder.", "model.likelihood."),
    ("objective.",),
)
GROUPS = dict(zip(PARAMETER_GROUPS, _STARTS, strict=True))
"""The parameters that each value of an objective's dictionary moves."""


def parameter_groups(module: TrainingModule | Pack) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each group of GROUPS, and of "all"."""
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups = {group: [p for name, p in named if name.startswith(starts)] for group, starts in GROUPS.items()}
    return {**groups, "all": [p for _, p in named]}


class TrainingStep:
    """Gather a batch on the device, draw, differentiate, clip, and take one fused Adam step, without waiting for the
    device.

    An epoch begins with `start_epoch(order)`; each call is then the step on the next row of that order, in which
    denormal numbers count as 0 (afterwards as before `start_epoch`). With a Pack, everything has a first axis S: each
    seed has its own images, noise and gradient norm. After a warm-up the whole step is one captured graph on CUDA and a
    recording on a CPU, where the replay rule allows it; else, or where `eager`, it runs eagerly, and a warning names
    the part that the rule does not allow. Where code from outside is replayed, one random step of each epoch is
    compared with the eager step; ReplayDiffers is raised where they differ. Where
    `torch.compile` (options.compile) fails, one warning says so and the step runs without it. `values` holds the
    objective of each step since `start_epoch`, on the device: [steps_per_epoch] or [steps_per_epoch, S]; where an
    objective has a value for each group, that of `generative`, or else the first. Images that are not on the model's
    device are copied there step by step (`ImageStream`). Adam: Kingma and Ba (2015),
    arXiv:1412.6980.
    """

    def __init__(
        self,
        module: TrainingModule | Pack,
        split: Split,
        options: TrainingOptions,
        *,
        seed: int | Sequence[int] = 0,
        eager: bool = False,
        staged: bool = False,
    ):
        keep_freed_memory()
        self.module, self.split, self.gradient_clip = module, split, options.gradient_clip
        self.forward = torch.compile(module) if options.compile else module
        self.device = module.model.device
        batch_size = min(options.batch_size, len(split))
        steps_per_epoch = len(split) // batch_size
        cuda = self.device.type == "cuda"
        if not cuda:
            products.choice()  # before the step is recorded
        self.groups = parameter_groups(module)
        self.modules = modules = [module] if isinstance(module, TrainingModule) else module.members
        rated = list(_rated_groups(self.groups, modules[0].objective, options))
        self.learning_rates = [torch.tensor(rate, device=self.device if cuda else "cpu") for _, rate in rated]
        self.optimizer = Adam([(group, rate) for (group, _), rate in zip(rated, self.learning_rates, strict=True)])
        tables = [learning_rates(replace(options, learning_rate=rate), steps_per_epoch) for _, rate in rated]
        self.schedules = torch.stack(
            [kl_weights(options, steps_per_epoch), progress(options, steps_per_epoch), *tables]
        )
        self.schedules = self.schedules.to(self.device)
        self.varying = options.schedule != "constant"
        keys = noise.derive(seed, "noise") if isinstance(seed, int) else [noise.derive(one, "noise") for one in seed]
        self.key = torch.tensor(keys, device=self.device)
        self.count = 0
        self.position = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.values = torch.zeros(steps_per_epoch, *self.key.shape, device=self.device)
        self._keys = torch.zeros(steps_per_epoch, *self.key.shape, dtype=torch.int64, device=self.device)
        self._order = self._keys.new_zeros(*self._keys.shape, batch_size)
        self._images = ImageStream(split.x, self._order, self.device, staged)
        self._steps = self._next = 0
        self._flushed = False
        self._weights, self._progress, *self._rates = self.values.new_zeros(len(self.schedules), steps_per_epoch)
        self._down = -torch.ones_like(self.values[0])  # Adam descends
        self.prefetched_noise = PrefetchedNoise(self._keys, self._order, module.model.dtype)
        self._buffers = dict(module.named_buffers())
        self._run: Callable[[], None] = self._step
        rule = replay_rule(modules[0].model, modules[0].objective)
        replayed = not eager and (cuda or not options.compile)
        self._watched, self._checked = rule.watched and replayed, -1
        if replayed and rule.reason is not None:
            warnings.warn(f"runs eagerly: {rule.reason}", VaezooWarning, stacklevel=3)
        elif replayed:
            graph = CudaGraphStep(self._step, self.device, self._state) if cuda else None
            self._run = graph or RecordedStep(self._step, modules)

    def start_epoch(self, order: Tensor) -> None:
        """Begin an epoch: `values` are filled anew, and keys, learning rates and KL weights of its steps are computed.

        order: the training images of each step, int64 [steps, B], of a pack [steps, S, B], on any device; an epoch may
        have fewer steps than there are batches. VaezooError for more, and for another shape.
        """
        most, *row = self._order.shape
        if list(order.shape[1:]) != row or not 1 <= len(order) <= most:
            expected = ", ".join([f"1 to {most} steps", *map(str, row)])
            raise VaezooError(f"the order of an epoch must be [{expected}], got {list(order.shape)}")
        self._order[: len(order)].copy_(order)
        self._steps, self._next, self._flushed = len(order), 0, denormals.flushed()
        steps = self.count + torch.arange(len(self.values), device=self.device)
        self._keys.copy_(noise.mix(self.key + steps.view(-1, *[1] * self.key.dim()) * noise.GOLDEN))
        now = steps.clamp(max=self.schedules.shape[1] - 1)  # beyond its end a schedule keeps its last value
        for row, table in zip((self._weights, self._progress, *self._rates), self.schedules, strict=True):
            row.copy_(table[now])
        self._checked = noise.derive(self.count, "checked") % len(order) if self._watched else -1
        self.position.zero_()
        self.prefetched_noise.start_epoch()
        self._images.start_epoch(order)

    def go_to(self, values: Tensor) -> None:
        """Continue the epoch after its first steps, which were taken before; values: their objectives, [steps, ...].

        If the replay was not compared in those steps, it is in the last one, because the warm-up begins anew.
        """
        row = len(values)
        self.values[:row] = values
        self.position.fill_(row)
        self._next = row
        self.count += row
        self._images.load(row)
        if row <= self._checked:
            self._checked = self._steps - 1

    @property
    def left(self) -> int:
        """How many steps are left of the epoch's order."""
        return self._steps - self._next

    @property
    def values_so_far(self) -> Tensor:
        """The objective of each step that was taken since `start_epoch`."""
        return self.values[: self._next]

    def __call__(self, compared: bool = False) -> None:
        """One step on the next row of the epoch's order. VaezooError where no row is left, also after a failed step.

        compared: where code from outside is replayed, this step's replay is compared with the eager step.
        """
        step, steps = self._next, self._steps
        if step >= steps:
            raise VaezooError("no step is left of the epoch's order: call start_epoch(order) before the next step")
        self._steps = 0  # a step that fails leaves the epoch unusable
        prefetching = self.forward is self.module
        denormals.flush()
        try:
            with self.prefetched_noise.around(step, steps) if prefetching else nullcontext():
                checked = step == self._checked or (compared and self._watched)
                if checked and isinstance(self._run, RecordedStep | CudaGraphStep):
                    self._run.checked()
                else:
                    self._run()
        finally:
            denormals.flush(self._flushed)
        self._images.load(step + 1)
        self._steps, self._next = steps, step + 1
        self.count += 1

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, dict[int, Tensor], Tensor]:
        """What the module gets at this step: stored images, index, key, KL weight, context, prefetched noise,
        progress.
        """
        tables = (self._order, self._keys, self._weights, self._progress)
        index, key, weight, now = (row_of(table, self.position) for table in tables)
        given = self.split.context if self.module.model.conditional else None
        context = None if given is None else _gathered(given, index)
        images = self._images.images if self._images.staged else _gathered(self.split.x, index)
        return images, index, key, weight, context, self.prefetched_noise.rows(), now

    def _step(self) -> None:
        if self.varying:
            for rate, row in zip(self.learning_rates, self._rates, strict=True):
                rate.copy_(row_of(row, self.position))
        values, buffers = self._values()
        with computing("tf32" if self.module.model.precision == "tf32" else "float32", self.device):
            self._differentiate(values)
        if self.gradient_clip is not None:
            self._clip(self.gradient_clip)
        self.optimizer.step()
        for name, value in buffers.items():
            self._buffers[name].copy_(value)
        self.values.index_copy_(0, self.position, _reported(values).detach()[None].to(self.values))
        self.position += 1
        self.prefetched_noise.advance()

    def _state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        adam = [tensor for own in self.optimizer.state.values() for tensor in own.values()]
        places = [self.position, self.values, *self.learning_rates, self.prefetched_noise.row]
        return [*self.groups["all"], *self._buffers.values(), *adam, *places]

    def _values(self) -> tuple[Values, Values]:
        """The objective's values and the buffers' new ones, through `torch.compile` where it works."""
        inputs = self.inputs()
        if self.forward is self.module:
            return self.module(*inputs)
        try:
            return self.forward(*inputs)
        except Exception as error:  # the compiler's; an error of the plugin itself is raised again below
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"torch.compile failed, the step runs without it: {reason}", VaezooWarning, stacklevel=2)
            self.forward = self.module
            return self.module(*inputs)

    def _differentiate(self, values: Mapping[str, Tensor]) -> None:
        """Set the gradient of each group of parameters to that of its own value."""
        self.optimizer.zero_grad()
        for number, (group, value) in enumerate(values.items()):
            if group not in (GROUPS if len(values) > 1 else self.groups):  # "all" is allowed only alone
                raise VaezooError(f"objective: {unknown('group of parameters', group, GROUPS)}")
            parameters = self.groups[group]
            keep = number + 1 < len(values)
            gradients = torch.autograd.grad(value, parameters, self._down, retain_graph=keep, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = None if gradient is None else _laid_out_as(parameter, gradient)

    def _clip(self, largest: float) -> None:
        """Scale each seed's gradient so that its L2 norm is at most `largest`."""
        gradients = [p.grad for p in self.groups["all"] if p.grad is not None]
        seeds = self.key.shape
        squares = torch.stack([g.reshape(*seeds, -1).square().sum(-1) for g in gradients])
        scale = (largest / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale.view([*seeds, *[1] * (gradient.dim() - len(seeds))]))


def _rated_groups(
    groups: Mapping[str, list[nn.Parameter]], objective: Objective, options: TrainingOptions
) -> Iterator[tuple[list[nn.Parameter], float]]:
    """Parameters with their learning rate: those of each group that has its own, and all others."""
    own = dict(objective.learning_rates)
    for group, rate in own.items():
        if group not in GROUPS:
            raise VaezooError(f"learning_rates of the objective: {unknown('group of parameters', group, GROUPS)}")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise VaezooError(f"learning_rates[{group!r}] of the objective must be a number > 0, got {rate!r}")
    rated = {id(p) for group in own for p in groups[group]}
    named = [([p for p in groups["all"] if id(p) not in rated], options.learning_rate)]
    named += [(groups[group], float(rate)) for group, rate in own.items()]
    yield from (each for each in named if each[0])


def _reported(values: Mapping[str, Tensor]) -> Tensor:
    """The objective's value that a history shows: that of `generative`, or else the first; not finite where any other
    is not.
    """
    shown = values.get("generative", next(iter(values.values())))
    if len(values) == 1:
        return shown
    total = torch.stack(list(values.values())).sum(0)
    return torch.where(total.isfinite(), shown, total)


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with its parameter's strides: the fused Adam reads both in the order of their memory. VaezooError
    for a sparse one.
    """
    if gradient.layout != torch.strided:
        raise VaezooError("a parameter's gradient is sparse; make its layer without sparse=True")
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _gathered(rows: Tensor, index: Tensor) -> Tensor:
    """rows[index], by the operator that is fast on a CPU."""
    return rows.index_select(0, index.reshape(-1)).view(*index.shape, *rows.shape[1:])
