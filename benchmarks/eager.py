"""The training step of every variant beside an eager loop written by hand around the same model and objective.

    python benchmarks/eager.py [NAME ...] [--threads 1] [--rounds 15] [--markdown results/throughput/eager.md]

The loop gathers a batch, draws, takes the gradient and an Adam step (fused), as one writes it with vaezoo's parts. Both
start from the same weights. In each round both take an epoch of steps in turn; the ratio is the step's rate over the
loop's. The data are scikit-learn's digits, binary where the variant scores such images, else the first of DATA that it
takes.
"""

import argparse
import math
import statistics
import warnings
from pathlib import Path

import torch
from torch import Tensor

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals, noise
from vaezoo.core.errors import Skip, VaezooWarning
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.blocks import now
from vaezoo.runner.machine.device import describe
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions
from vaezoo.training.step import parameter_groups

DATA = (
    ("digits-binary", {}),
    ("digits-binary", {"context": "labels"}),
    ("digits", {}),
    ("digits-dequantised", {}),
    ("simulated-counts", {"context": "library", "limit": 1000}),
    ("linear-gaussian", {}),
)
BATCH, HIDDEN = 64, (64,)
OPTIONS = TrainingOptions(epochs=100, batch_size=BATCH)


class Loop:
    """A training loop around a model and its objective, without replay."""

    def __init__(self, model: vaezoo.LatentModel, objective: vaezoo.Objective, data: vaezoo.Dataset):
        self.model, self.objective, self.split = model, objective, data.train
        self.step = 0
        module = torch.nn.ModuleDict({"model": model, "objective": objective})
        self.groups = parameter_groups_of(module)
        self.adam = torch.optim.Adam(self.groups["all"], lr=OPTIONS.learning_rate, fused=True)

    def epoch(self, order: Tensor) -> None:
        """A step on each batch of the order."""
        self.model.train()
        for index in order:
            self.step += 1
            context = None if self.split.context is None or not self.model.conditional else self.split.context[index]
            with noise.stream(noise.derive(0, "loop", self.step), index=index, dtype=self.model.dtype):
                x = noise.bernoulli(self.split.x[index]) if self.split.dynamic else self.split.x[index]
                progress = torch.tensor(self.step / 1e6)
                draws = self.model.draw(
                    self.model.batch(x, context, index, progress), self.objective.importance_samples
                )
                value = self.objective(draws)
            values = {"all": value} if isinstance(value, Tensor) else value
            self.adam.zero_grad(set_to_none=True)
            for number, (group, each) in enumerate(values.items()):
                mine = self.groups[group]
                keep = number + 1 < len(values)
                found = torch.autograd.grad(-each.mean(), mine, retain_graph=keep, allow_unused=True)
                for parameter, gradient in zip(mine, found, strict=True):
                    parameter.grad = gradient
            self.adam.step()


def parameter_groups_of(module: torch.nn.Module) -> dict[str, list[torch.nn.Parameter]]:
    """The parameters that each value of an objective moves."""
    return parameter_groups(module)  # type: ignore[arg-type]


def made(name: str) -> tuple[str, vaezoo.Dataset, int | tuple[int, ...]]:
    """The data and the latents of a variant: the first of DATA that its parts take, and one to three groups."""
    reason = ""
    for dataset, options in DATA:
        data = load_dataset(dataset, options=options)
        for latent in (8, (4, 8), (4, 4, 8)):
            try:
                construct(resolve(name, data.spec), Ingredients.of(data, latent, HIDDEN))
            except (Skip, vaezoo.VaezooError) as error:
                reason = str(error)
            else:
                return ", ".join([dataset, *(f"{key}={value}" for key, value in options.items())]), data, latent
    raise vaezoo.VaezooError(f"{name}: no data set fits: {reason}")


def row(name: str, rounds: int) -> str:
    """The Markdown row of a variant."""
    title, data, latent = made(name)
    pairs = [construct(resolve(name, data.spec), Ingredients.of(data, latent, HIDDEN)) for _ in range(2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VaezooWarning)
        step, loop = make_step(*pairs[0], data, OPTIONS, 0), Loop(*pairs[1], data)
        ratios, rates = [], []
        for number in range(rounds + 2):  # two rounds warm up
            order = epoch_order(len(data.train), BATCH, 0, number + 1)
            started = now(step.device)
            step.module.train()
            step.start_epoch(order)
            for _ in range(len(order)):
                step()
            middle = now(step.device)
            loop.epoch(order)
            if number > 1:
                ratios.append((now(step.device) - middle) / (middle - started))
                rates.append(order.numel() / (middle - started))
    low, median, high = statistics.quantiles(ratios, n=4)
    eager = any("eagerly" in str(each.message) for each in caught)
    mark = " (runs eagerly)" if eager else ""
    return f"| {name}{mark} | {title} | {statistics.median(rates):,.0f} | {median:.2f} | {low:.2f} .. {high:.2f} |"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--markdown", type=Path, help="write the table here too")
    given = parser.parse_args()
    denormals.use_threads(given.threads)
    lines = [
        f"{describe('cpu')}, threads: {given.threads}, torch {torch.__version__}, {given.rounds} rounds, batch {BATCH}",
        "",
        "    python benchmarks/eager.py --markdown results/throughput/eager.md",
        "",
        "| variant | data | images/s | step / eager loop | quartiles |",
        "|:--|:--|--:|--:|--:|",
    ]
    print(*lines, sep="\n")
    for name in given.names or vaezoo.names("variant"):
        lines.append(row(name, given.rounds))
        print(lines[-1], flush=True)
    ratios = [float(line.split("|")[4]) for line in lines[6:]]
    lines += [
        "",
        f"Smallest ratio {min(ratios):.2f}, geometric mean {math.exp(statistics.fmean(map(math.log, ratios))):.2f}.",
    ]
    print(*lines[-2:], sep="\n")
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
