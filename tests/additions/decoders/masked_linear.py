"""The masked linear decoder."""

import math

import torch
from torch import Tensor, nn

from vaezoo.core.contracts import Decoder
from vaezoo.core.errors import Skip
from vaezoo.nets import Linear
from vaezoo.registry import register


@register.decoder("masked-linear", paper="Germain et al. (2015), arXiv:1502.03509")
class MaskedLinear(Decoder):
    """Parameters linear in z and in the pixels before: p(x|z) = prod_d p(x_d | x_1 ... x_{d-1}, z).

    [N, Z], x [N, *shape] -> [N, *parameter_shape]
    """

    autoregressive = True

    def __init__(self, latent: int, spec, parameter_shape: tuple[int, ...]):
        super().__init__()
        pixels, parameters = math.prod(spec.shape), math.prod(parameter_shape)
        if parameters % pixels or tuple(parameter_shape[-len(spec.shape) :]) != spec.shape:
            raise Skip("needs a likelihood whose parameters are one or more images")
        self.parameter_shape = tuple(parameter_shape)
        self.from_latents = Linear(latent, parameters)
        self.from_pixels = nn.Parameter(0.1 * torch.randn(parameters, pixels) / math.sqrt(pixels))
        before = torch.ones(pixels, pixels).tril(-1)
        self.register_buffer("mask", before.repeat(parameters // pixels, 1), persistent=False)

    def pixel_order(self, shape: tuple[int, ...]) -> Tensor:
        """The order of the flattened image."""
        return torch.arange(math.prod(shape))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        pixels = x.flatten(1) @ (self.from_pixels * self.mask).T
        return (self.from_latents(z) + pixels).unflatten(-1, self.parameter_shape)
