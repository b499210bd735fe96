"""Small images of a known kind, which the formats' examples write."""

from typing import Any

import numpy as np

from vaezoo.datasets._own.parts import Array

OPTIONS: dict[str, Any] = {"measure": "discrete", "levels": 4}


def images(count: int = 60, height: int = 6, width: int = 5) -> Array:
    """Levels 0..3, uint8 [count, height, width], the same on every machine."""
    return np.random.default_rng(0).integers(0, 4, (count, height, width), dtype=np.uint8)
