"""A stack of dense layers that a context enters."""

from collections.abc import Sequence

from torch import Tensor, nn

from vaezoo.core.errors import VaezooError
from vaezoo.nets.dense import activation_named
from vaezoo.nets.linear import Linear


class ContextStack(nn.Module):
    """Linear layers with an activation between them; the first one adds a linear map of a context.

    f(x, c) = W_n a(... a(W_1 x + b_1 + V c)) + b_n. [..., inputs], [..., C] -> [..., outputs]

    The context is mapped before it is broadcast: for x [K, B, inputs] and c [B, C] its product is made once an image.
    layers: one or more, the first and last of which give `inputs` and `outputs`. context: C; 0 for none, and then what
    is given as context is ignored.
    """

    def __init__(self, layers: Sequence[nn.Linear], activation: str, *, context: int = 0):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation_named(activation)
        self.from_context = Linear(context, layers[0].out_features, bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The layers in turn, the context added to what the first one gives. [..., in], [..., C] -> [..., out]"""
        first, *others = self.layers
        x = first(x)
        if self.from_context is not None:
            check_context(context, self.from_context.in_features, self)
            x = x + self.from_context(context)
        for layer in others:
            x = layer(self.activation(x))
        return x

    def zero_outputs(self) -> None:
        """Set the last layer to 0, so that f = 0 whatever the input, until training moves it."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        if self.from_context is not None and len(self.layers) == 1:  # the context enters at the last layer
            nn.init.zeros_(self.from_context.weight)


def check_context(context: Tensor | None, width: int, owner: nn.Module) -> None:
    """Raises VaezooError where a module built for contexts [..., width] is given another one or none."""
    if context is None or context.shape[-1:] != (width,):
        found = "none" if context is None else str(list(context.shape))
        raise VaezooError(
            f"{type(owner).__name__} was built with context={width} and needs a context [..., {width}], got {found}"
        )
