"""CPU seconds of the estimator for priors that encode images, with and without encodings that are kept, beside `vae`.

    python benchmarks/encoded_once.py [--images 100] [--samples 200] [--rounds 3] [--latent 40] [--hidden 200 200]

Each round times every contestant once, in one process on one thread, on random binary images of MNIST's size and the
nets of benchmarks/mnist.toml. It fails where an estimate with kept encodings differs in one bit from that without.
"""

import argparse
import statistics
import time

import torch

import vaezoo
from vaezoo.core import fixed_weights

CONTESTANTS = (
    ("vae", 0),
    ("exemplar-vae", 0),
    ("exemplar-vae", fixed_weights.KEPT),
    ("vae-vampprior", 0),
    ("vae-vampprior", fixed_weights.KEPT),
)
"""Variant, and how many encodings are kept."""


def main() -> None:
    """Time all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 100), ("samples", 200), ("rounds", 3), ("latent", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hidden", type=int, nargs="+", default=[200, 200])
    given = parser.parse_args()
    torch.set_num_threads(1)
    x = (torch.rand(1000, 1, 28, 28, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    data = vaezoo.Dataset(x, x, x, measure="binary")
    models = {name: vaezoo.build(name, data, latent=given.latent, hidden=given.hidden) for name, _ in CONTESTANTS}
    seconds: dict[tuple[str, int], list[float]] = {each: [] for each in CONTESTANTS}
    for _ in range(given.rounds + 1):  # the first is a warm-up
        found: dict[str, torch.Tensor] = {}
        for name, kept in CONTESTANTS:
            fixed_weights.KEPT = kept
            start = time.process_time()
            estimate = vaezoo.log_likelihood(models[name], x[: given.images], given.samples).estimate
            seconds[name, kept].append(time.process_time() - start)
            assert torch.equal(found.setdefault(name, estimate), estimate), name
    plain = statistics.median(seconds["vae", 0][1:])
    print(f"{given.images} images, {given.samples} samples, torch {torch.__version__}, medians of {given.rounds}")
    for (name, kept), times in seconds.items():
        low, middle, high = statistics.quantiles(times[1:], n=4)
        how = "encodings kept" if kept else "encoded at each block" if name != "vae" else ""
        print(f"{name:14} {how:22} {middle:6.2f} s ({low:.2f} .. {high:.2f}), {middle / plain:5.2f} times vae")


if __name__ == "__main__":
    main()
