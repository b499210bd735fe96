"""Seeds that train together: parameters stacked, the pass mapped over them with `torch.func`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from vaezoo.training.module import TrainingModule

TOLERANCE = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 0.2}
"""How far a pack's values and gradients may be from the single ones, relative to the largest element of each tensor, or
to a tenth of the largest of all: rounding in another order, and far less than any sharing between seeds.
"""


class Pack:
    """S modules of one variant as one: `parameters` are [S, ...], and each module's own become views of them.

    Called like a TrainingModule with a first axis S on images, index and key; gives {group: [S]}. A seed's value and gradient
    depend on its own slices alone.
    """

    def __init__(self, modules: Sequence[TrainingModule]):
        self.members = list(modules)
        self.model = self.members[0].model
        self._parameters = {
            name: nn.Parameter(torch.stack([p.detach() for p in each]), first.requires_grad)
            for name, first, each in _each(self.members, "named_parameters")
        }
        self._buffers = {
            name: torch.stack([b.detach() for b in each]) for name, _, each in _each(self.members, "named_buffers")
        }
        for held, kind in ((self._parameters, "named_parameters"), (self._buffers, "named_buffers")):
            for name, _, each in _each(self.members, kind):
                for seed, own in enumerate(each):
                    own.data = held[name].data[seed]

    @property
    def not_mapped(self) -> str | None:
        """Why a part declares that it cannot be mapped over seeds (its attribute `not_mapped`), or None."""
        reasons = [part.not_mapped for part in self.members[0].modules() if hasattr(part, "not_mapped")]
        return str(reasons[0]) if reasons else None

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """(name, [S, ...]) of each parameter."""
        yield from self._parameters.items()

    def train(self) -> None:
        """Training mode."""
        for module in self.members:
            module.train()

    def __call__(self, *given: Any) -> dict[str, Tensor]:
        """What a TrainingModule is given, in its order, with a first axis S on all but the KL weight -> {group: [S]}, the mean
        over each seed's batch.
        """

        def one(own: tuple[Any, ...], *batch: Any) -> dict[str, Tensor]:
            """One seed's pass."""
            return cast(dict[str, Tensor], functional_call(self.members[0], own, batch))

        places = tuple(0 if _of_each(value) else None for value in given)
        return cast(dict[str, Tensor], torch.vmap(one, (0, *places))((self._parameters, self._buffers), *given))


def _of_each(value: Any) -> bool:
    """Whether each seed has its own of this argument: of every tensor but a scalar, the KL weight, and of its noise."""
    return bool(value.dim() if isinstance(value, Tensor) else value)


def _each(modules: Sequence[TrainingModule], kind: str) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    named = [dict(getattr(module, kind)()) for module in modules]
    for name, first in named[0].items():
        yield name, first, [own[name] for own in named]


def disagreement(pack: Pack, *given: Any) -> str | None:
    """Why these seeds cannot be packed, in words: a part declares it, the pass cannot be mapped, or on this batch a
    value or gradient is not that of the single run. None where they agree. given: the first step's, whose noise is not
    drawn ahead.
    """
    if reason := pack.not_mapped:
        return f"it declares: {reason}"
    try:
        values = pack(*given)
        mapped = {**values, **_gradients(values, dict(pack.named_parameters()))}
    except Exception as error:  # whatever a plugin does that torch.func cannot map
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"the step cannot be mapped over seeds: {first}"
    tolerance = TOLERANCE[pack.model.precision]
    for seed, module in enumerate(pack.members):
        own = module(*(value[seed] if _of_each(value) else value for value in given))
        for single in (own, _gradients(own, dict(module.named_parameters()))):
            largest = max((float(value.detach().abs().max()) for value in single.values()), default=0.0)
            for name, expected in single.items():
                found, expected = mapped[name][seed].detach(), expected.detach()
                scale = max(float(expected.abs().max()), 0.1 * largest, 1e-12)  # rounding in a small one is the sum's
                off = float((found - expected).abs().max()) / scale
                if not off <= tolerance and math.isfinite(scale):
                    return f"mapped over seeds, {name} differs from the single run by {off:.2g}, relatively"
    return None


def _gradients(values: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of the sum of all values for each parameter that has one."""
    wanted = {name: p for name, p in parameters.items() if p.requires_grad}
    total = torch.stack([value.sum() for value in values.values()]).sum()
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {f"the gradient of {name}": g for name, g in zip(wanted, found, strict=True) if g is not None}
