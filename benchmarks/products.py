"""How fast torch's own library, oneDNN and vaezoo's loop compute each product of a dense layer, and which is chosen.

    python benchmarks/products.py --threads 1

prints GFLOP/s of a large layer with 784 inputs and 400 outputs and of a small one with 400 and 40; then the
milliseconds of the two products of images of which 20 % of the pixels are not 0, by the chosen libraries and by the
loop that multiplies only these. The choices are those in the user's cache, with which every run on this machine
multiplies; a file that is removed from there is measured anew.
"""

import argparse

import torch

from vaezoo.core import compiled, products, sparse_product
from vaezoo.core.processor import processor_name


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    products.ROUNDS, products.SECONDS = options.rounds, 60.0
    chosen, libraries = products.choice(), products.available()
    print(f"{processor_name()}, torch {torch.__version__}, {options.threads} threads; GFLOP/s")
    print(f"| product | rows | {' | '.join(libraries)} | chosen |\n|:--|--:{'|--:' * len(libraries)}|:--|")
    for name, seconds in products.measured().items():
        rows = products.BLOCK if "of a block" in name else products.BATCH
        inputs, outputs = products.SHAPES[" in a small layer" if "small" in name else ""]
        rates = (2e-9 * rows * inputs * outputs / seconds[library] for library in libraries)
        print(f"| {name} | {rows} | {' | '.join(f'{rate:.1f}' for rate in rates)} | {chosen[name]} |")
    if compiled.loop(sparse_product.LOOP) is not None:
        milliseconds = products.measured_sparse((chosen["forward"], chosen["by weight"]))[products.SPARSE]
        taken = ", ".join(f"{1e3 * seconds:.3f} ms by the {name}" for name, seconds in milliseconds.items())
        print(f"\n{products.SPARSE}: {taken}; chosen: {'loop' if products.loop_is_faster() else 'libraries'}")


if __name__ == "__main__":
    main()
