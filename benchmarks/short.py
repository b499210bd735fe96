"""Run the short form of a matrix: one seed, 5,000 training images, 20 epochs, 1,000 test images.

    python benchmarks/short.py benchmarks/priors.toml [--out results/priors-short]

It is a first look at whether each row learns; its numbers are not those of the matrix. The KL warm-up is that of 15
epochs, 750 updates: with the 100 updates of two such epochs the ladder's latents collapse. The results are in
results/NAME-short, where `vaezoo tables` and `vaezoo status` read them.
"""

import argparse
import tomllib
from pathlib import Path
from typing import Any

import vaezoo

LIMIT, EPOCHS, WARMUP, IMAGES = 5000, 20, 15, 1000


def short(path: Path) -> dict[str, Any]:
    """The matrix of a file, made short."""
    matrix = tomllib.loads(path.read_text(encoding="utf-8"))
    changed = {"name": f"{matrix['name']}-short", "seeds": 1}
    entries = [{"name": each} if isinstance(each, str) else each for each in matrix["datasets"]]
    changed["datasets"] = [entry | {"limit": LIMIT} for entry in entries]
    changed["train"] = {**matrix["train"], "epochs": EPOCHS, "kl_warmup": WARMUP}
    changed["evaluate"] = {**matrix["evaluate"], "images": IMAGES, "throughput": False}
    return matrix | changed


def main() -> None:
    """Run it and print a line for each cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("matrix", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--jobs", type=int)
    given = parser.parse_args()
    frame = vaezoo.run(short(given.matrix), given.out, jobs=given.jobs)
    print(frame[["label", "status", "iwll", "elbo", "train_seconds"]].to_string(index=False))


if __name__ == "__main__":
    main()
