"""The encoder's first layer where the images are mostly 0, as those of digits are: its weight is laid out for the loop
that multiplies only the other pixels (`core/sparse_product.py`).
"""

import torch
from torch import nn

from vaezoo.core import noise, products, sparse_product
from vaezoo.core.data import Split
from vaezoo.core.own_code import outside_code
from vaezoo.nets.linear import Linear
from vaezoo.training.module import TrainingModule

LOOKED_AT = 1000
"""The images, evenly spaced, of which the share of pixels that are not 0 is taken."""


def lay_out_first_layer(module: TrainingModule, images: Split) -> None:
    """Lay out the weight of the encoder's first dense layer, a large one, for these training images where they are
    mostly 0 and the loop is faster here; not where code from outside runs, which may count on the weight's layout.
    """
    layer = next((each for each in module.model.encoder.modules() if type(each) is Linear), None)
    if (
        layer is not None
        and layer.in_features == images.spec.dimensions
        and layer.weight.numel() >= products.LARGE
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and not any(True for each in module.modules() for _ in outside_code(each))
        and _share_of_pixels(images) <= products.SHARE
        and products.loop_is_faster()
    ):
        sparse_product.lay_out(layer.weight)
        layer.sparse = True


def lay_back(model: nn.Module) -> None:
    """Lay the weights out as they were before training."""
    for layer in model.modules():
        if type(layer) is Linear and layer.sparse:
            layer.weight.data = layer.weight.data.contiguous()
            layer.sparse = False


def _share_of_pixels(images: Split) -> float:
    """The share of the pixels that are not 0."""
    with noise.stream(noise.derive(0, "share")):
        return float((images.images(slice(None, None, -(-len(images) // LOOKED_AT))) != 0).float().mean())
