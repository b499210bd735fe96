"""Dense layers and activations that encoders and decoders share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.torch_internals import watched
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


class DenseStack(nn.Sequential):
    """Layers in turn. Without gradients a ReLU is computed in the memory of the `Linear` before it, which no other code
    has; with hooks on either of the two, as `nn.Sequential` does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] -> [..., widths[-1]]"""
        writable = not (torch.is_grad_enabled() or torch.compiler.is_compiling())
        unshared = False
        for layer in self:
            unwatched = writable and not watched(layer)
            in_place = unshared and unwatched and type(layer) is nn.ReLU
            input = torch.relu_(input) if in_place else layer(input)
            unshared = unwatched and type(layer) is Linear
        return input


def dense_stack(inputs: int, widths: Sequence[int], activation: str) -> DenseStack:
    """Linear layers, each followed by the activation; the identity where there are no widths. [..., inputs] -> [...,
    widths[-1]]
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [Linear(inputs, width), activation_named(activation)]
        inputs = width
    return DenseStack(*layers)
