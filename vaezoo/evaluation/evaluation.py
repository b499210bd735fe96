"""The argument that a metric receives besides the model and the images."""

from dataclasses import dataclass, field

from torch import Tensor

from vaezoo.core.data import Dataset


@dataclass
class Evaluation:
    """How a trained model is evaluated, and where a metric leaves what is not a column.

    importance_samples: K. seed: of the evaluation's noise, the same for every variant. dataset: the dataset of the test
    images. index: [N], the images' numbers in their split. context: [N, C], the images' contexts where the model is
    conditional, else None. per_image: name -> [N], values of each image, which are stored beside the record. vectors:
    name -> any other tensor (a KL for each dimension), stored in the record. notes: column -> why a metric has no
    number for it, stored in the record.
    """

    importance_samples: int
    seed: int
    dataset: Dataset
    index: Tensor
    context: Tensor | None = None
    per_image: dict[str, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
