"""The encoder's first layer where the images are mostly 0, as those of digits are: its weight is laid out for the loop
that multiplies only the other pixels (`core/sparse_product.py`).
"""

from typing import Any

import torch
from torch import nn

from vaezoo.core import noise, products, sparse_product
from vaezoo.core.data import Split
from vaezoo.core.own_code import code_of, is_own, outside_code
from vaezoo.nets.linear import Linear
from vaezoo.training.module import TrainingModule

LOOKED_AT = 1000
"""The images, evenly spaced, of which the share of pixels that are not 0 is taken."""


def lay_out_first_layer(module: TrainingModule, images: Split, *, compiled: bool = False, seen_by: Any = None) -> None:
    """Lay out the weight of the encoder's first dense layer, a large one, for these training images where they are
    mostly 0 and the loop is faster here; else lay it back.

    Not where code from outside runs, which may count on the weight's layout: in the model, the objective, or `seen_by`,
    which is called as the model trains; nor where other operators multiply. compiled: by `torch.compile`.
    """
    lay_back(module.model)
    layer = next((each for each in module.model.encoder.modules() if type(each) is Linear), None)
    if (
        layer is not None
        and layer.in_features == images.spec.dimensions
        and layer.weight.numel() >= products.LARGE
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and module.model.precision in ("float32", "tf32")
        and torch.backends.mkldnn.enabled
        and not compiled
        and not any(True for each in module.modules() for _ in outside_code(each))
        and (seen_by is None or is_own(code_of(seen_by)))
        and _share_of_pixels(images) <= products.SHARE
        and products.loop_is_faster()
    ):
        sparse_product.lay_out(layer.weight)
        layer.sparse = True


def lay_back(model: nn.Module) -> None:
    """Lay the weight out as it was before training."""
    for layer in model.modules():
        if type(layer) is Linear and layer.sparse:
            layer.weight.data = layer.weight.data.contiguous()
            layer.sparse = False


def _share_of_pixels(images: Split) -> float:
    """The share of the pixels that are not 0."""
    with noise.stream(noise.derive(0, "share")):
        return float((images.images(slice(None, None, -(-len(images) // LOOKED_AT))) != 0).float().mean())
