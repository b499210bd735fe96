"""The multi-layer perceptrons: layers of the widths `hidden`, in reverse in the decoder."""

import pytest
import torch

from vaezoo import DataSpec, Variant
from vaezoo.builder import Ingredients, construct, resolve


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 3)])
def test_mlp_of_any_depth(hidden):
    spec = DataSpec((2, 3), "binary")
    slots = resolve(Variant("t", encoder="mlp", decoder="mlp"), spec)
    model, _ = construct(slots, Ingredients.blank(spec, 3, hidden, 10))
    assert model.encoder.features == ((hidden or (6,))[-1],)
    assert model.encoder(torch.zeros(4, 2, 3)).shape == (4, *model.encoder.features)
    widths = [m.out_features for m in model.decoder.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == [*hidden[::-1], 6]
