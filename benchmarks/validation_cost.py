"""What the choice of the epoch costs, and whether "auto" chooses worse than all validation images after each epoch.

    python benchmarks/validation_cost.py [--seeds 3]

For `vae` and `iwae` on two data sets, from the same weights: the time of validation beside that of training, the chosen
epochs, and the test iwll of their weights (K = 1,000, 1,000 images), with the difference to the choice by all images,
paired over seeds and images.
"""

import argparse
import statistics

import torch

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import VaezooError
from vaezoo.runner.machine.device import describe
from vaezoo.training.loop import train
from vaezoo.training.options import TrainingOptions
from vaezoo.training.seed_run import TrainingResult

RUNS = {"digits-binary": (200, 64, [64], 8), "caltech-silhouettes": (120, 100, [300], 40)}
"""Data set -> epochs, batch size, hidden, latent."""
IMAGES, SAMPLES = 1000, 1000


def trained(
    variant: str, dataset: vaezoo.Dataset, name: str, seed: int, images: str | None
) -> tuple[TrainingResult, torch.Tensor]:
    """The result of training, and the test iwll of each image."""
    epochs, batch, hidden, latent = RUNS[name]
    resolved = resolve(variant, dataset.spec)
    torch.manual_seed(seed)
    model, objective = construct(resolved, Ingredients.of(dataset, latent, tuple(hidden)), seed=seed)
    options = TrainingOptions(epochs=epochs, batch_size=batch, validation_images=images)
    outcome = train(model, objective, dataset, options, seed=seed)
    return outcome, vaezoo.log_likelihood(model, dataset.test.x[:IMAGES], SAMPLES).estimate


def main() -> None:
    """Train, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{describe('cpu')}, one thread, torch {torch.__version__}, {given.seeds} seeds\n")
    print("| data set, variant | validation / training | by all | epochs | by all | test iwll (difference) | by all |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    for name in RUNS:
        try:
            dataset = vaezoo.load_dataset(name)
        except VaezooError as error:
            print(f"{name} is left out: {error}")
            continue
        for variant in ("vae", "iwae"):
            row(name, variant, dataset, given.seeds)


def row(name: str, variant: str, dataset: vaezoo.Dataset, seeds: int) -> None:
    """Print the row of a variant."""
    ways = {way: [trained(variant, dataset, name, seed, way) for seed in range(seeds)] for way in ("auto", None)}
    share = {w: statistics.mean(r.validation_seconds / r.seconds for r, _ in runs) for w, runs in ways.items()}
    chosen = {way: ", ".join(str(result.best_epoch) for result, _ in runs) for way, runs in ways.items()}
    test = {way: torch.stack([estimate for _, estimate in runs]) for way, runs in ways.items()}
    rise = (test["auto"] - test[None]).mean(0)
    error = float(rise.std()) / len(rise) ** 0.5
    both = f"{float(test['auto'].mean()):.2f} ({float(rise.mean()):+.2f} ± {2 * error:.2f})"
    print(
        f"| {name}, {variant} | {share['auto']:.3f} | {share[None]:.2f} | {chosen['auto']} | {chosen[None]} | "
        f"{both} | {float(test[None].mean()):.2f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
