"""Your own data, from arrays to a table. The data: pictures of 8 x 8 pixels with random bars.

    python examples/own_data.py
    vaezoo run examples/own_data.toml

The first command writes `bars.npz` beside the matrix file, which names it with what its numbers mean; the second trains
two models on it. Nothing else tells vaezoo about these data. `own_data` below shows the same arrays in Python, without
a file.
"""

from pathlib import Path

import numpy as np

import vaezoo

FILE = Path(__file__).with_name("bars.npz")


def bars(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, 8, 8] of 0 and 1, in which each row and each column is on with probability 1/8, and how many are on.

    Földiák (1990), Forming sparse representations by local anti-Hebbian learning, Biological Cybernetics 64.
    """
    rows, columns = rng.random((2, count, 8)) < 1 / 8
    pictures = (rows[:, :, None] | columns[:, None, :]).astype(np.uint8)
    return pictures, (rows.sum(1) + columns.sum(1)).astype(np.int64)


def own_data(count: int = 2000, seed: int = 0) -> vaezoo.Dataset:
    """The same data without a file: arrays [N, C, H, W] of each split, and what their numbers mean."""
    pictures, labels = bars(count, np.random.default_rng(seed))
    x = pictures[:, None]
    tenth = count // 10
    train, valid, test = (slice(2 * tenth, None), slice(tenth, 2 * tenth), slice(0, tenth))
    splits = [(x[part], labels[part]) for part in (train, valid, test)]
    return vaezoo.Dataset(*splits, measure="binary")


if __name__ == "__main__":
    pictures, labels = bars(2000, np.random.default_rng(0))
    np.savez_compressed(FILE, x=pictures, y=labels)
    print(f"wrote {len(pictures):,} pictures to {FILE}")
