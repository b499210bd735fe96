"""The precision in which encoder and decoder multiply. Everything else keeps the model's own floating type."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.precision_names import PRECISIONS

_PRODUCTS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]


def known_precision(name: str) -> str:
    """The name itself. VaezooError with near misses for an unknown one."""
    if name not in PRECISIONS:
        raise VaezooError(unknown("precision", name, PRECISIONS))
    return name


def unsupported_precision(precision: str, device: str) -> str | None:
    """Why a kind of device ("cpu", "cuda") cannot compute in a precision; None where it can."""
    if precision == "tf32" and device != "cuda":
        return f"precision 'tf32' needs a CUDA device, this run is on {device}; use float32 or bfloat16"
    return None


def _set_float32(*names: str) -> None:
    for products, name in zip(_PRODUCTS, names, strict=True):
        products.fp32_precision = name


def no_hidden_tf32() -> None:
    """Make a GPU compute float32 in float32 from now on. (By default cuDNN computes float32 convolutions in TF32.)"""
    _set_float32("ieee", "ieee")


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Inside, matrix products and convolutions of float32 tensors are computed in this precision.

    float32: nothing changes. bfloat16 (8 bits of mantissa): torch's autocast casts the inputs of a product and leaves
    its result in bfloat16. The backward pass is in bfloat16 too, and gradients of float32 weights are float32. The
    weight cache of autocast is off: casting costs little beside a block of samples, and a cached weight would be
    outdated in a captured CUDA graph. tf32 (11 bits, CUDA only; elsewhere nothing changes): cuBLAS and cuDNN read
    float32 as TF32, also in a backward pass that runs inside.
    """
    if precision == "bfloat16":
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    elif precision == "tf32" and device.type == "cuda":
        before = [products.fp32_precision for products in _PRODUCTS]
        try:
            _set_float32("tf32", "tf32")
            yield
        finally:
            _set_float32(*before)
    else:
        yield
