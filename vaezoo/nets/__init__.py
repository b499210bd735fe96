"""Layers that encoders, decoders and flows share."""

from vaezoo.nets.context import ContextStack
from vaezoo.nets.conv import halved
from vaezoo.nets.dense import activation_named, dense_stack
from vaezoo.nets.dropout import Dropout
from vaezoo.nets.gated import GatedConv2d, GatedConvTranspose2d, GatedLinear
from vaezoo.nets.gaussian import GaussianNet
from vaezoo.nets.linear import Linear
from vaezoo.nets.masked import MADE, MaskedLinear
from vaezoo.nets.resnet import DownBlock2d, ResidualBlock2d, UpBlock2d

__all__ = [
    "MADE",
    "ContextStack",
    "DownBlock2d",
    "Dropout",
    "GatedConv2d",
    "GatedConvTranspose2d",
    "GatedLinear",
    "GaussianNet",
    "Linear",
    "MaskedLinear",
    "ResidualBlock2d",
    "UpBlock2d",
    "activation_named",
    "dense_stack",
    "halved",
]
