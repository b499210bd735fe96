"""Packs: seeds that train together, their parameters stacked and the pass mapped over them with `torch.func`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.training.module import TrainingModule, Values

TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 0.2}
"""How far a pack's values and gradients may be from the single run's, relative to the largest element of each tensor,
or to a tenth of the largest of all: room for rounding in another order, and far less than a dependence between
seeds would cause.
"""

LARGE = 2**15
"""Where parameters have more numbers than these on average, a pack of them is slower on a CPU than its seeds one by
one. Each step passes over the weights, gradients and moments of all seeds, where those of one seed may stay in the
processor's cache, and few operations on large tensors leave little to save (`docs/speed.md`).
"""


class Pack:
    """S training modules of one variant as one. Its parameters are [S, ...]; each member's become views of them.

    It is called like a TrainingModule, with a first axis S on images, index and key, and gives {group: [S]}. A seed's
    value and gradient depend on its own slices alone.
    """

    def __init__(self, members: Sequence[TrainingModule]):
        self.members = list(members)
        self.model = self.members[0].model
        self._parameters = {
            name: nn.Parameter(_stacked([p.detach() for p in each]), first.requires_grad)
            for name, first, each in _by_name(self.members, "named_parameters")
        }
        self._buffers = {
            name: torch.stack([b.detach() for b in each]) for name, _, each in _by_name(self.members, "named_buffers")
        }
        for stacked, kind in ((self._parameters, "named_parameters"), (self._buffers, "named_buffers")):
            for name, _, each in _by_name(self.members, kind):
                for seed, tensor in enumerate(each):
                    tensor.data = stacked[name].data[seed]

    @property
    def not_mapped(self) -> str | None:
        """Why a part declares that it cannot be mapped over seeds (its attribute `not_mapped`), or None."""
        reasons = [part.not_mapped for part in self.members[0].modules() if hasattr(part, "not_mapped")]
        return str(reasons[0]) if reasons else None

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, [S, ...]) of each parameter."""
        yield from self._parameters.items()

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(name, [S, ...]) of each buffer."""
        yield from self._buffers.items()

    def train(self) -> None:
        """Put every member in training mode."""
        for module in self.members:
            module.train()

    def __call__(self, *inputs: Any) -> tuple[Values, Values]:
        """A TrainingModule's inputs, in its order, with a first axis S on all but the KL weight and the progress ->
        {group: [S]}, the mean over each seed's batch, and {buffer: [S, ...]}, the new value of each that is updated.
        """

        def one_seed(state: tuple[Any, ...], *inputs: Any) -> tuple[Values, Values]:
            """One seed's pass."""
            return cast(tuple[Values, Values], functional_call(self.members[0], state, inputs))

        axes = tuple(0 if _differs_by_seed(value) else None for value in inputs)
        return torch.vmap(one_seed, (0, *axes))((self._parameters, self._buffers), *inputs)


def _stacked(seeds: list[Tensor]) -> Tensor:
    """The seeds' tensors as one [S, ...], laid out as they are: matrices may lie in memory column by column."""
    by_columns = seeds[0].dim() == 2 and not seeds[0].is_contiguous() and seeds[0].t().is_contiguous()
    return torch.stack([each.t() for each in seeds]).mT if by_columns else torch.stack(seeds)


def _differs_by_seed(value: Any) -> bool:
    """Whether an input has an axis of seeds: every tensor but a scalar (the KL weight, the progress), and the
    prefetched noise.
    """
    return bool(value.dim() if isinstance(value, Tensor) else value)


def _by_name(members: Sequence[TrainingModule], kind: str) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """(name, the first member's tensor, all members' tensors) of each parameter or buffer."""
    named = [dict(getattr(module, kind)()) for module in members]
    for name, first in named[0].items():
        yield name, first, [tensors[name] for tensors in named]


def slower(model: nn.Module, objective: nn.Module, device: torch.device) -> str | None:
    """Why seeds of this model train faster one by one than in a pack, or None where a pack is faster."""
    sizes = [p.numel() for module in (model, objective) for p in module.parameters() if p.requires_grad]
    average = sum(sizes) / max(1, len(sizes))
    if device.type != "cpu" or average <= LARGE:
        return None
    return f"a parameter has {average:,.0f} numbers on average, and above {LARGE:,} a pack is slower on a CPU"


def disagreement(pack: Pack, *inputs: Any) -> str | None:
    """Why these seeds cannot be packed, or None where they can.

    A part may declare it, the pass may not be mappable, or a value or gradient on this batch may differ from the single
    run's. inputs: those of the first step, before any noise is prefetched.
    """
    if reason := pack.not_mapped:
        return f"it declares: {reason}"
    try:
        values, buffers = pack(*inputs)
        mapped = {**values, **_titled(buffers), **_gradients(values, dict(pack.named_parameters()))}
    except Exception as error:  # a plugin may do anything that torch.func cannot map
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"the step cannot be mapped over seeds: {first}"
    tolerance = TOLERANCE[pack.model.precision]
    for seed, module in enumerate(pack.members):
        values, buffers = module(*(value[seed] if _differs_by_seed(value) else value for value in inputs))
        for single in (values, _titled(buffers), _gradients(values, dict(module.named_parameters()))):
            largest = max((float(value.detach().abs().max()) for value in single.values()), default=0.0)
            for name, expected in single.items():
                found, expected = mapped[name][seed].detach(), expected.detach()
                scale = max(float(expected.abs().max()), 0.1 * largest, 1e-12)  # small ones carry the sum's rounding
                off = float((found - expected).abs().max()) / scale
                if not off <= tolerance and math.isfinite(scale):
                    return f"mapped over seeds, {name} differs from the single run by {off:.2g}, relatively"
    return None


def _titled(buffers: Values) -> Values:
    return {f"the buffer {name}": value.double() for name, value in buffers.items()}


def _gradients(values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of the sum of all values for each parameter that has one."""
    wanted = {name: p for name, p in parameters.items() if p.requires_grad}
    total = torch.stack([value.sum() for value in values.values()]).sum()
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {f"the gradient of {name}": g for name, g in zip(wanted, found, strict=True) if g is not None}
