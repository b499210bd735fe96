"""The multi-layer perceptron encoder."""

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.nets.dense import dense_stack
from vaezoo.registry import register


@register.encoder("mlp")
class MLP(Encoder):
    """Dense layers of the widths `hidden`, each followed by the activation. [B, *shape] -> [B, hidden[-1]]"""

    def __init__(self, spec: DataSpec, hidden: tuple[int, ...], *, activation: str = "relu"):
        super().__init__()
        self.net = dense_stack(spec.dimensions, hidden, activation)
        self.features = (hidden[-1] if hidden else spec.dimensions,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x.flatten(1))
        return features
