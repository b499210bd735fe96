"""The multi-layer perceptron encoder of a conditional model."""

import torch
from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.nets.dense import dense_stack
from vaezoo.registry import register


@register.encoder("conditional-mlp", paper="Sohn et al. (2015), NeurIPS")
class ConditionalMLP(Encoder):
    """The encoder `mlp` of an image and its context, concatenated, for q(z|x, context). [B, *shape], [B, C] ->
    [B, hidden[-1]]

    Equals `mlp` where the first layer's weights of the context are 0. The builder skips images without context.
    """

    def __init__(self, spec: DataSpec, hidden: tuple[int, ...], *, activation: str = "relu"):
        super().__init__()
        assert spec.context is not None
        inputs = spec.dimensions + spec.context
        self.net = dense_stack(inputs, hidden, activation)
        self.features = (hidden[-1] if hidden else inputs,)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.net(torch.cat([x.flatten(1), context], -1))
        return features
