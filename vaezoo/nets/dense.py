"""Dense layers and activations that encoders and decoders share."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.torch_internals import watched
from vaezoo.nets.linear import Linear, linear

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
    """Layers in turn. A ReLU is computed by the `Linear` before it; with hooks on either of the two, as `nn.Sequential`
    does.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[..., inputs] -> [..., widths[-1]]"""
        layers = list(self)
        fused = [
            type(layer) is Linear and type(next_) is nn.ReLU and not (watched(layer) or watched(next_))
            for layer, next_ in pairwise([*layers, None])
        ]
        done = False  # this layer, by the one before it
        for layer, with_next in zip(layers, fused, strict=True):
            if with_next:
                input = linear(input, layer.weight, layer.bias, layer.sparse, relu=True)  # type: ignore[arg-type]
            elif not done:
                input = layer(input)
            done = with_next
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
