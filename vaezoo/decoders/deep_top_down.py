"""The decoder of a deep convolutional hierarchy, which sees all groups."""

import math

from torch import Tensor, nn

from vaezoo.core.contracts import Decoder, Latents
from vaezoo.core.errors import Skip
from vaezoo.nets.conv import halved
from vaezoo.nets.dense import activation_named
from vaezoo.nets.resnet import UpBlock2d
from vaezoo.nets.top_down_path import TopDownPath, up_blocks
from vaezoo.registry import register


@register.decoder("deep-top-down", paper="Child (2021), arXiv:2011.10650")
class DeepTopDown(Decoder):
    """A path of residual convolutional blocks that all groups enter, then blocks up to the image's sides.

    The path is as the prior's (`vaezoo/nets/top_down_path.py`), with weights of its own: in the paper p(x|z) continues
    the prior's path, and a decoder is not served the prior. groups [N, Z_l], top first -> [N, *parameter_shape], whose
    last two axes are height and width. width: the channels. Raises Skip for data that are not images.
    """

    def __init__(
        self,
        latents: tuple[int, ...],
        parameter_shape: tuple[int, ...],
        *,
        width: int = 16,
        activation: str = "silu",
    ):
        super().__init__()
        if len(parameter_shape) < 3:
            raise Skip(f"decoder 'deep-top-down' needs images [channels, height, width], got {list(parameter_shape)}")
        height, columns = parameter_shape[-2:]
        finest = halved(height, 1)[-1], halved(columns, 1)[-1]
        self.path = TopDownPath(latents, finest, width, activation, whole=True)
        self.out = nn.Sequential(
            up_blocks(self.path.sides[-1], finest, finest, width, activation),
            UpBlock2d(width, width, (height, columns), activation=activation),
            activation_named(activation),
            nn.Conv2d(width, math.prod(parameter_shape[:-2]), 3, padding=1),
        )
        self.parameter_shape = parameter_shape

    def forward(self, z: Tensor, groups: Latents) -> Tensor:
        parameters: Tensor = self.out(self.path.walk(lambda number, _: groups[number]))
        return parameters.reshape(-1, *self.parameter_shape)
