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
    0 to 1. gradient_clip: largest L2 norm of the whole gradient, or None. patience: epochs without a better validation
    iwll before training stops, or None. validation_images: how many validation images choose the epoch, None for all.
    compile: whether the pass goes through `torch.compile`. precision: in which encoder and decoder multiply.

    The annotations state each option's range. The matrix file's [train] table has these options, defaults and ranges.
    """

    epochs: Annotated[int, Ge(1)] = 100
    batch_size: Annotated[int, Ge(1)] = 128
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    schedule: Schedule = "constant"
    kl_warmup: Annotated[float, Ge(0)] = 0.0
    gradient_clip: Annotated[float, Gt(0)] | None = None
    patience: Annotated[int, Ge(1)] | None = None
    validation_images: Annotated[int, Ge(1)] | None = None
    compile: bool = False
    precision: Precision = "float32"

    def to_json(self) -> dict[str, Any]:
        """Every option by name, as a specification stores it. `TrainingOptions(**options.to_json()) == options`."""
        return dict(vars(self))

    @property
    def unfinished_warmup(self) -> str | None:
        """A remark where the weight of the KL does not reach 1 within training, or None."""
        if self.kl_warmup < self.epochs:
            return None
        return f"the KL warm-up of {_epochs(self.kl_warmup)} does not end within {_epochs(self.epochs)}"


def _epochs(count: float) -> str:
    return f"{count:g} epoch{'' if count == 1 else 's'}"


def out_of_range(value: Any, annotation: Any) -> str | None:
    """The limit of an option's annotation that a value breaks, in words, or None where it is within them.

    >>> out_of_range(0, Annotated[int, Ge(1)])
    '>= 1'
    """
    for option in (annotation, *get_args(annotation)):
        for limit in getattr(option, "__metadata__", ()):
            if isinstance(limit, Ge) and value is not None and not value >= limit.ge:
                return f">= {limit.ge}"
            if isinstance(limit, Gt) and value is not None and not value > limit.gt:
                return f"> {limit.gt}"
    return None
