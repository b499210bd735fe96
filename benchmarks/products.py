"""How fast torch's own library and oneDNN compute each product of a dense layer here, and which of them vaezoo chose.

    python benchmarks/products.py --threads 1

prints GFLOP/s of a large layer with 784 inputs and 400 outputs and of a small one with 400 and 40. The choice is the
one in the user's cache, with which every run on this machine multiplies; a file that is removed from there is measured
anew.
"""

import argparse

import torch

from vaezoo.core import products
from vaezoo.core.processor import processor_name


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    products.ROUNDS, products.SECONDS = options.rounds, 60.0
    chosen = products.choice()
    print(f"{processor_name()}, torch {torch.__version__}, {options.threads} threads; GFLOP/s")
    print("| product | rows | torch | oneDNN | oneDNN / torch | chosen |\n|:--|--:|--:|--:|--:|:--|")
    for name, seconds in products.measured().items():
        rows = products.BLOCK if "of a block" in name else products.BATCH
        inputs, outputs = products.SHAPES[" in a small layer" if "small" in name else ""]
        work = 2e-9 * rows * inputs * outputs
        ratio = seconds["torch"] / seconds["onednn"]
        print(
            f"| {name} | {rows} | {work / seconds['torch']:.1f} | {work / seconds['onednn']:.1f} "
            f"| {ratio:.2f} | {chosen[name]} |"
        )


if __name__ == "__main__":
    main()
