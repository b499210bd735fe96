"""Dense layers and activations that encoders and decoders share."""

from collections.abc import Sequence

from torch import nn

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.nets.linear import Linear

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky-relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
}


def activation_named(name: str) -> nn.Module:
    """A new activation layer. VaezooError with near misses for an unknown name."""
    if name not in ACTIVATIONS:
        raise VaezooError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def dense_stack(inputs: int, widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers, each followed by the activation; the identity where there are no widths. [..., inputs] -> [...,
    widths[-1]]
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [Linear(inputs, width), activation_named(activation)]
        inputs = width
    return nn.Sequential(*layers)
