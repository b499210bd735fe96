"""The gated multi-layer perceptron encoder of a conditional model."""

from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.core.contracts import Encoder
from vaezoo.core.data import DataSpec
from vaezoo.encoders.gated_mlp import GatedMLP
from vaezoo.registry import register


@register.encoder("conditional-gated-mlp", paper="Sohn et al. (2015), NeurIPS")
class ConditionalGatedMLP(Encoder):
    """The encoder `gated-mlp` of an image and its context, concatenated, for q(z|x, context). [B, *shape], [B, C'] ->
    [B, hidden[-1]]

    Equals `gated-mlp` where the first layer's weights of the context are 0. The builder skips images without context.
    """

    def __init__(self, spec: DataSpec, hidden: tuple[int, ...]):
        super().__init__()
        assert spec.context is not None
        self.net = GatedMLP(replace(spec, shape=(spec.dimensions + spec.context,)), hidden)
        self.features = self.net.features

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        features: Tensor = self.net(torch.cat([x.flatten(1), context], -1))
        return features
