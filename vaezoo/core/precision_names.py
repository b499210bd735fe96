"""The names of the precisions. Needs no torch."""

from typing import Literal, get_args

Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
