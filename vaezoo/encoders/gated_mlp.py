"""The gated multi-layer perceptron encoder."""

from itertools import pairwise

from torch import Tensor, nn

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.nets.gated import GatedLinear
from vaezoo.registry import register


@register.encoder(
    "gated-mlp", paper="Tomczak and Welling (2018), arXiv:1705.07120; Dauphin et al. (2017), arXiv:1612.08083"
)
class GatedMLP(Encoder):
    """Gated dense layers of the widths `hidden`: each gives h * sigmoid(g), with h and g linear in what it gets.

    [B, *shape] -> [B, hidden[-1]]. No other activation: where every g is large, the map is linear.
    """

    def __init__(self, spec: DataSpec, hidden: tuple[int, ...]):
        super().__init__()
        self.net = nn.Sequential(*(GatedLinear(a, b) for a, b in pairwise((spec.dimensions, *hidden))))
        self.features = (hidden[-1] if hidden else spec.dimensions,)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.net(x.flatten(1))
        return features
