"""The argument that a metric receives besides the model and the images."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from vaezoo.core.data import Dataset

FINDINGS = ("per_image", "vectors", "notes")
"""The fields in which a metric leaves what is not a column."""


@dataclass
class Evaluation:
    """How a trained model is evaluated, and where a metric leaves what is not a column.

    importance_samples: K. seed: of the evaluation's noise, the same for every variant. dataset: the dataset of the test
    images. index: [N], the images' numbers in their split. context: [N, C], the images' contexts where the model is
    conditional, else None. objective: the registered name and the hyper-parameters of the objective that trained the
    model, or None where there is none. per_image: name -> [N], values of each image, which are stored beside the
    record. vectors: name -> any other tensor (a KL for each dimension), stored in the record. notes: column -> why a
    metric has no number for it, stored in the record.

    The settings cannot be changed: AttributeError. Entries can be added to the last three.
    """

    importance_samples: int
    seed: int
    dataset: Dataset
    index: Tensor
    context: Tensor | None = None
    objective: tuple[str, Mapping[str, Any]] | None = None
    per_image: dict[str, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field once; `evaluation.vectors |= {...}` sets what is there already."""
        if name in vars(self) and not (name in FINDINGS and value is vars(self)[name]):
            raise AttributeError(f"the evaluation's {name} cannot be changed by a metric, got {value!r:.60}")
        super().__setattr__(name, value)

    def own_copy(self) -> "Evaluation":
        """The same evaluation for one metric, which changes nothing of this one."""
        context = None if self.context is None else self.context.clone()
        found: dict[str, Any] = {name: dict(getattr(self, name)) for name in FINDINGS[1:]}
        per_image = {name: value.clone() for name, value in self.per_image.items()}
        return replace(self, index=self.index.clone(), context=context, per_image=per_image, **found)

    def take(self, other: "Evaluation") -> None:
        """Take over what a metric has added to its copy. What was there before stays as it is."""
        for name in FINDINGS:
            mine = getattr(self, name)
            mine.update({key: value for key, value in getattr(other, name).items() if key not in mine})
