"""In what precision an encoder or a decoder multiplies; everything else keeps the model's own floating type."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vaezoo.core.errors import VaezooError, unknown
from vaezoo.core.precision_names import PRECISIONS

_PRODUCTS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]


def known_precision(name: str) -> str:
    """The name itself; VaezooError with the near misses for one that is not there."""
    if name not in PRECISIONS:
        raise VaezooError(unknown("precision", name, PRECISIONS))
    return name


def lacking(precision: str, device: str) -> str | None:
    """Why a kind of device ("cpu", "cuda") cannot compute in a precision; None where it can."""
    if precision == "tf32" and device != "cuda":
        return f"precision 'tf32' needs a CUDA device, this run is on {device}; use float32 or bfloat16"
    return None


def _set_float32(*names: str) -> None:
    for products, name in zip(_PRODUCTS, names, strict=True):
        products.fp32_precision = name


def no_hidden_tf32() -> None:
    """From now on float32 is float32 on a GPU, too: by default cuDNN computes convolutions of float32 in TF32."""
    _set_float32("ieee", "ieee")


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Inside, matrix products and convolutions of float32 tensors are rounded to a precision.

    float32: nothing changes. bfloat16 (8 bits of mantissa): torch's autocast, which casts what enters a product and
    leaves its results in bfloat16; the backward pass is in bfloat16, too, and gradients of float32 weights are float32.
    Its weight cache is off: casting costs little beside a block of samples, while a cached weight would go stale in a
    captured CUDA graph. tf32 (11 bits, CUDA only; elsewhere nothing changes): cuBLAS and cuDNN read float32 as TF32,
    in a backward pass where that is inside, too.
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
