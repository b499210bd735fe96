"""What a metric is handed besides the model and the images."""

from dataclasses import dataclass, field

from torch import Tensor

from vaezoo.core.data import Dataset


@dataclass
class Evaluation:
    """How a trained model is being evaluated.

    importance_samples: K. seed: of the evaluation's noise, the same for every variant. dataset: whose test images these
    are. index: [N], the images' numbers in their split. per_image: a metric leaves values of each image here, name ->
    [N]; they are stored beside the record. vectors: and here numbers that are neither one column nor of each image (a
    KL for each dimension), stored in the record. notes: column -> why a metric has no number for it, stored there too.
    """

    importance_samples: int
    seed: int
    dataset: Dataset
    index: Tensor
    per_image: dict[str, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
