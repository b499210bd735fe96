"""Tables of rows with noise of seeds and of images, and how often the rule of bold numbers is right about them.

    python tests/reports/simulated_tables.py --tables 1000

prints the shares that docs/results.md has.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from vaezoo.reports.contest import contest

IMAGES = 50
MIXTURES = {"seeds": (1.0, 0.01, 0.01), "images": (0.01, 1.0, 0.1), "both": (1.0, 1.0, 1.0), "crossed": (1.0, 0.3, 2.0)}
"""Standard deviations of a row's mean from its seed, from the images, and from the seed and the image together."""


@dataclass(frozen=True)
class Noise:
    """Standard deviations: of the mean of each row, or of all, over training anew; of a row's mean over the images that
    were drawn; and of a seed's mean from what only this seed does on these images.
    """

    seeds: float | list[float] = 1.0
    images: float = 1.0
    crossed: float = 1.0


def numbers(random, means, seeds, noise):
    """The number of each row, seed and image [R, S, N]. Seeds and images have effects that all rows share."""
    rows = len(means)
    of_seeds = np.broadcast_to(noise.seeds, rows)[:, None] * random.normal(size=(rows, seeds))
    of_images = noise.images * np.sqrt(IMAGES) * random.normal(size=(rows, 1, IMAGES))
    crossed = noise.crossed * np.sqrt(IMAGES) * random.normal(size=(rows, seeds, IMAGES))
    shared = random.normal(size=(seeds, 1)) + 20 * random.normal(size=IMAGES)
    return np.asarray(means)[:, None, None] + of_seeds[:, :, None] + of_images + crossed + shared


def bold(values, better=1):
    """The places of the bold rows of numbers [R, S, N]."""
    rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    return contest(rows, lambda row, seed: values[row, seed], better).bold(better)


def all_bold(tables, rows, seeds, noise, start=0):
    """The share of tables of equal rows in which all are bold."""
    random = np.random.default_rng(start)
    return np.mean([len(bold(numbers(random, [0.0] * rows, seeds, noise))) == rows for _ in range(tables)])


def power(tables, rows, seeds, noise, difference, start=0):
    """The share of rows, worse than the best by a difference, that are told from it."""
    random = np.random.default_rng(start)
    means = [0.0] + [-difference] * (rows - 1)
    found = [bold(numbers(random, means, seeds, noise)) for _ in range(tables)]
    return np.mean([(rows - len(places)) / (rows - 1) if 0 in places else 0.0 for places in found])


def main():
    """Prints both shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=2000)
    tables = parser.parse_args().tables
    print("all of R equal rows are bold (S seeds)")
    for name, noise in MIXTURES.items():
        for rows in (2, 3, 5, 8):
            shares = [f"S = {seeds}: {all_bold(tables, rows, seeds, Noise(*noise)):.1%}" for seeds in (2, 3, 5)]
            print(f"  {name}, R = {rows}: {', '.join(shares)}", flush=True)
    print("one row of R is ten times noisier over seeds")
    for images in (0.1, 1.0, 3.0):
        for rows in (2, 3, 5, 8):
            noise = Noise([10.0] + [1.0] * (rows - 1), images, 0.1)
            shares = [f"S = {seeds}: {all_bold(tables, rows, seeds, noise):.1%}" for seeds in (2, 3, 5)]
            print(f"  images {images}, R = {rows}: {', '.join(shares)}", flush=True)
    print("a row that is worse than the best of 5 by d is told from it (0.1 nats over seeds, 0.04 over images)")
    for difference in (0.2, 0.5, 1.0, 2.0):
        shares = [
            f"S = {seeds}: {power(tables, 5, seeds, Noise(0.1, 0.03, 0.03), difference):.0%}"
            for seeds in (1, 2, 3, 5, 10)
        ]
        print(f"  d = {difference}: {', '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
