"""Plain layers that several parts are made of."""

from collections.abc import Sequence

from torch import nn

from vaezoo.core.errors import VaezooError, unknown

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky-relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
}


def activation_named(name: str) -> nn.Module:
    """A fresh activation layer; VaezooError with the near misses for a name that is not there."""
    if name not in ACTIVATIONS:
        raise VaezooError(unknown("activation", name, ACTIVATIONS))
    return ACTIVATIONS[name]()


def dense_stack(inputs: int, widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers, each followed by the activation. [..., inputs] -> [..., widths[-1]]; the identity without."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), activation_named(activation)]
        inputs = width
    return nn.Sequential(*layers)


def halved(size: int, times: int) -> list[int]:
    """[size, ceil(size/2), ...]: the sides of an image under `times` strided convolutions."""
    sides = [size]
    for _ in range(times):
        sides.append((sides[-1] + 1) // 2)
    return sides
