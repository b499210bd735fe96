"""The linear encoder and decoder are affine maps."""

import torch

from vaezoo import DataSpec
from vaezoo.builder import Ingredients, construct, resolve


def test_the_linear_parts_are_affine():
    spec = DataSpec((6,), "continuous")
    slots = resolve("vae", spec, {"encoder": ("linear", {}), "decoder": ("linear", {})})
    model, _ = construct(slots, Ingredients.blank(spec, 3, (9,), 10))
    model.double()
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.randn(2, size, generator=generator, dtype=torch.float64) for size in (6, 3))
    with torch.no_grad():
        for function, points in ((model.encoder, x), (model.decoder, z)):
            between = 0.3 * points[:1] + 0.7 * points[1:]
            torch.testing.assert_close(function(between), 0.3 * function(points[:1]) + 0.7 * function(points[1:]))
