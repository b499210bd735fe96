"""The linear encoder."""

import math

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.registry import register


@register.encoder("linear")
class LinearEncoder(Encoder):
    """The flattened pixels. With a posterior's linear heads the map from x to mean and log_std is linear.

    [B, *shape] -> [B, D]
    """

    def __init__(self, spec: DataSpec):
        super().__init__()
        self.features = (math.prod(spec.shape),)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)
