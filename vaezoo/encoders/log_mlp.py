"""The multi-layer perceptron encoder of log-counts."""

from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip
from vaezoo.nets.dense import dense_stack
from vaezoo.registry import register


@register.encoder("log-mlp", paper="Lopez et al. (2018), scVI, doi:10.1038/s41592-018-0229-2")
class LogMLP(Encoder):
    """The encoder `mlp` of log(1 + x), so that large counts do not rule the features. [B, *shape] -> [B, hidden[-1]]

    Raises Skip for continuous images that may be negative.
    """

    def __init__(self, spec: DataSpec, hidden: tuple[int, ...], *, activation: str = "relu"):
        super().__init__()
        if spec.measure == "continuous" and spec.levels is None:
            raise Skip("encoder 'log-mlp' takes log(1 + x), and these images may be negative")
        self.net = dense_stack(spec.dimensions, hidden, activation)
        self.features = (hidden[-1] if hidden else spec.dimensions,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x.flatten(1).log1p())
        return features
