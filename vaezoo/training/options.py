"""The options of a training run. The matrix file, the training step and a cell's key all use this one dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt

from vaezoo.core.precision_names import Precision

Schedule = Literal["constant", "cosine", "stages"]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    epochs: passes over the training images. batch_size: images a step. learning_rate: Adam's, and schedule: how it
    changes over the steps (`vaezoo.training.schedules`). kl_warmup: epochs over which the weight of the KL rises from
    0 to 1. kl_cycles: how many equal parts training has, each of which begins with this warm-up (cyclical annealing).
    gradient_clip: largest L2 norm of the whole gradient, or None. patience: epochs without a better validation iwll
    before training stops, or None. validation_images: how many validation images choose the epoch after each one, None
    for all; "auto" takes as many, after as many epochs, as a tenth of the time of training allows
    (`vaezoo.training.validation`).
    compile: whether the pass goes through `torch.compile`. precision: in which encoder and decoder multiply.

    The annotations state each option's range. The matrix file's [train] table has these options, defaults and ranges.
    """

    epochs: Annotated[int, Ge(1)] = 100
    batch_size: Annotated[int, Ge(1)] = 128
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    schedule: Schedule = "constant"
    kl_warmup: Annotated[float, Ge(0)] = 0.0
    kl_cycles: Annotated[int, Ge(1)] = 1
    gradient_clip: Annotated[float, Gt(0)] | None = None
    patience: Annotated[int, Ge(1)] | None = None
    validation_images: Annotated[int, Ge(1)] | Literal["auto"] | None = "auto"
    compile: bool = False
    precision: Precision = "float32"

    def to_json(self) -> dict[str, Any]:
        """Every option by name, as a specification stores it. `TrainingOptions(**options.to_json()) == options`.

        A kl_cycles of 1 is left out, so that the keys of cells without it are what they were before it existed.
        """
        return {name: value for name, value in vars(self).items() if (name, value) != ("kl_cycles", 1)}

    @property
    def kl_annealed_after(self) -> float:
        """The epochs after which the weight of the KL stays 1: the end of the last cycle's warm-up."""
        return self.epochs * (self.kl_cycles - 1) / self.kl_cycles + self.kl_warmup if self.kl_warmup else 0.0

    @property
    def unfinished_warmup(self) -> str | None:
        """A remark where the weight of the KL does not reach 1 within training or a cycle of it, or where cycles have
        no warm-up to repeat; or None.
        """
        if self.kl_cycles > 1 and not self.kl_warmup:
            return f"{self.kl_cycles} KL cycles change nothing without a KL warm-up (kl_warmup)"
        cycle = self.epochs / self.kl_cycles
        if self.kl_warmup < cycle:
            return None
        within = _epochs(cycle) if self.kl_cycles == 1 else f"a cycle of {_epochs(cycle)}"
        return f"the KL warm-up of {_epochs(self.kl_warmup)} does not end within {within}"


def _epochs(count: float) -> str:
    return f"{count:g} epoch{'' if count == 1 else 's'}"


def out_of_range(value: Any, annotation: Any) -> str | None:
    """The limit of an option's annotation that a value breaks, in words, or None where it is within them.

    >>> out_of_range(0, Annotated[int, Ge(1)])
    '>= 1'
    """
    if value is None or isinstance(value, str):
        return None
    for option in (annotation, *get_args(annotation)):
        for limit in getattr(option, "__metadata__", ()):
            if isinstance(limit, Ge) and not value >= limit.ge:
                return f">= {limit.ge}"
            if isinstance(limit, Gt) and not value > limit.gt:
                return f"> {limit.gt}"
    return None
