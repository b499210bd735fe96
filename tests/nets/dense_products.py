"""Dense layers, large and small, beside float64, and which of their products oneDNN makes."""

import pytest
import torch

from vaezoo.core import products as chosen
from vaezoo.core.torch_internals import onednn_linear

OUT, IN = 300, 250
"""Of a large layer."""
SMALL = 120, 90
"""The outputs and inputs of a small one."""
BOUND = 1e-5
"""Relative to the largest element: sums of OUT products in float32, or of as many as there are images."""
ONEDNN = onednn_linear()
here = pytest.mark.skipif(ONEDNN is None, reason="this build of torch has no oneDNN")


def tensors(*shape, out=OUT, seed=0):
    """x, weight and bias, of which the product is about 1."""
    generator, inputs = torch.Generator().manual_seed(seed), shape[-1]
    x, weight, bias = (torch.randn(each, generator=generator) for each in (shape, (out, inputs), (out,)))
    return [x, weight / inputs**0.5, bias]


def assert_near(found, exact):
    """Of float32 beside float64."""
    found, exact = found.detach(), exact.detach()
    assert found.shape == exact.shape
    assert found.dtype == torch.float32
    if exact.numel():
        assert float((found - exact).abs().max()) <= BOUND * float(exact.abs().max())


def near(found, left, right, more=0.0):
    """Whether left right + more, in float32, is within its rounding of the same in float64."""
    left, right = left.double(), right.double()
    size = left.abs() @ right.abs() + abs(more) + 1e-30
    return bool(((found.double() - left @ right - more).abs() <= 2e-6 * size).all())


@pytest.fixture(autouse=True)
def setting(monkeypatch):
    """oneDNN multiplies, unless a test says otherwise."""
    monkeypatch.setenv(chosen.SETTING, "onednn")


@pytest.fixture(name="products")
def products_made(monkeypatch):
    """The shapes of the products that oneDNN has made."""
    made = []

    def multiply(*given):
        value = ONEDNN(*given)
        made.append(tuple(value.shape))
        return value

    monkeypatch.setattr(chosen, "onednn_linear", lambda: multiply)
    return made
