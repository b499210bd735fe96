"""Layers that encoders, decoders and flows share."""

from vaezoo.nets.conv import halved
from vaezoo.nets.dense import activation_named, dense_stack
from vaezoo.nets.linear import Linear

__all__ = ["Linear", "activation_named", "dense_stack", "halved"]
