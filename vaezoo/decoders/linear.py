"""The linear decoder."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.nets.linear import Linear
from vaezoo.registry import register


@register.decoder("linear")
class LinearDecoder(Decoder):
    """W z + b. With the likelihood `gaussian` and the prior `normal` the model is probabilistic PCA.

    [N, Z] -> [N, *parameter_shape]

    Tipping and Bishop (1999), Journal of the Royal Statistical Society B 61(3).
    """

    def __init__(self, latent: int, parameter_shape: tuple[int, ...]):
        super().__init__()
        self.net = nn.Sequential(Linear(latent, math.prod(parameter_shape)), nn.Unflatten(-1, parameter_shape))

    def forward(self, z: Tensor) -> Tensor:
        parameters: Tensor = self.net(z)
        return parameters
