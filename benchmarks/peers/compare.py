"""vaezoo beside plain PyTorch loops, Pythae and JAX, in the same process, on the same images and from the same weights.

    python benchmarks/peers/compare.py [--threads N] [--rounds 15] [--device cpu|cuda] [--json FILE]
    python benchmarks/peers/compare.py --hidden 300 300 --latent 40

784-400(ReLU)-20-400-784, Bernoulli, N(0, I), Adam 1e-3, batches of 128, MNIST binarised once. In a round every
contestant does the same work in turn, and ratios are taken within rounds: other load on the machine affects all alike.
On a CPU the process keeps to as many cores as it has threads, since JAX takes a thread for each core that it sees.
Fails where the contestants do not reach the same ELBO, or where their log-likelihoods differ by more than chance.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from loops import BATCH, RATE, Fast, Flushed, Loop, Net, Resident, log_likelihood
from rounds import Table, agree, same_objective
from torch import Tensor

import vaezoo
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import denormals
from vaezoo.core.errors import VaezooError, VaezooWarning
from vaezoo.runner.machine.device import cores, describe
from vaezoo.training.loop import epoch_order, make_step
from vaezoo.training.options import TrainingOptions

pythae_peer: Any = None
jax_peer: Any = None

HAND_WRITTEN = {
    "plain PyTorch loop with DataLoader": Loop,
    "the same, data resident in memory": Resident,
    "resident, BCE on logits, fused Adam": Fast,
    "the same, denormal numbers flushed": Flushed,
}
VAEZOO, PYTHAE, JAX = "vaezoo", "Pythae 0.1.2", "JAX, one compiled epoch"
TEST_IMAGES = 100


class Ours:
    """The step and the order of images that `vaezoo run` trains with."""

    def __init__(self, dataset: vaezoo.Dataset, rounds: int, device: str, hidden: Sequence[int], latent: int):
        spec, self.sizes = resolve("vae", dataset.spec), (tuple(hidden), latent)
        self.model, objective = construct(spec, Ingredients.of(dataset, latent=latent, hidden=tuple(hidden)))
        self.model.to(device)
        self.images, self.count = len(dataset.train), 0
        settings = TrainingOptions(epochs=rounds + 1, batch_size=BATCH, learning_rate=RATE)
        self.step = make_step(self.model, objective, dataset, settings, seed=0)

    def net(self) -> Net:
        """Plain PyTorch's net with a copy of the model's weights as they stand."""
        net = Net(784, *self.sizes).to(self.model.device)
        with torch.no_grad():
            for ours, theirs in zip(weights(self.model), net.parameters(), strict=True):
                theirs.copy_(ours)
        return net

    def epoch(self) -> float:
        """Train for one epoch; the mean ELBO in nats an image."""
        self.count += 1
        self.step.module.train()
        order = epoch_order(self.images, BATCH, 0, self.count)
        self.step.start_epoch(order)
        for _ in range(len(order)):
            self.step()
        return float(self.step.values.mean())


def weights(model: vaezoo.LatentModel) -> list[Tensor]:
    """The parameters in the order in which `Net` has them."""
    return [p for part in (model.encoder, model.posterior_net, model.decoder) for p in part.parameters()]


def images_of(mnist: vaezoo.Dataset, count: int) -> vaezoo.Dataset:
    """The first training images, as many as fill whole batches, with the test images of the estimate."""
    x = mnist.train.x[: count // BATCH * BATCH]
    return vaezoo.Dataset(x, mnist.valid.x[:BATCH], mnist.test.x[:TEST_IMAGES], "binary", binarisation="fixed")


def training(ours: Ours, x: Tensor, rounds: int) -> Table:
    """An epoch of each contestant a round, all from the weights that `ours` begins with."""
    contestants = {name: loop(ours.net(), x) for name, loop in HAND_WRITTEN.items()}
    if pythae_peer:
        contestants[PYTHAE] = pythae_peer.Training(ours.net(), x)
    if jax_peer:
        contestants[JAX] = jax_peer.Training(ours.net(), x)
    contestants[VAEZOO] = ours
    work = {name: contestant.epoch for name, contestant in contestants.items()}
    table = Table(f"training, {len(x):,} images a round", "images/s", len(x), x.device)
    values = table.run(work, rounds)
    same_objective({name: float(value) for name, value in values.items()})
    return table


def estimators(ours: Ours, x: Tensor, samples: int) -> dict[str, Callable[[int], Tensor]]:
    """name -> samples -> estimates [N], on the weights of `ours` as they stand; vaezoo last. samples: a round's."""
    net, stored = ours.net(), x.view(-1, 1, 28, 28).to(torch.uint8)
    found: dict = {}
    if pythae_peer:
        model = pythae_peer.model_of(ours.net())
        for size in (100, 500):
            found[f"{PYTHAE} `get_nll`, batch {size}"] = partial(pythae_peer.log_likelihood, model, x, batch_size=size)
    if jax_peer:
        name, way = jax_peer.estimator(net, x, samples)
        found[name] = way
    found["vectorised in plain PyTorch"] = partial(log_likelihood, net, x)
    found[f"{VAEZOO}.log_likelihood"] = lambda samples: vaezoo.log_likelihood(ours.model, stored, samples).estimate
    return found


def use_cores(count: int) -> None:
    """Keep this process to so many cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def import_peers() -> list[str]:
    """Import the peers that are installed; why each other one is left out."""
    global pythae_peer, jax_peer
    lacking = []
    try:
        import pythae_peer
    except ImportError as error:
        lacking.append(f"Pythae is left out ({error}): pip install vaezoo[peers]")
    try:
        import jax_peer
    except ImportError as error:
        lacking.append(f"JAX is left out ({error}): pip install vaezoo[peers-jax]")
    return lacking


def main() -> None:
    """Measure, check, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", help="write a line for each row of the tables here")
    parser.add_argument("--hidden", type=int, nargs="+", default=[400], help="widths of the hidden layers")
    parser.add_argument("--latent", type=int, default=20, help="latent dimensions")
    parser.add_argument("--images", type=int, default=10_000, help="training images")
    parser.add_argument("--samples", type=int, default=500, help="importance samples of each of 100 images a round")
    parser.add_argument("--check-samples", type=int, default=5000, help="K of the check that the estimates agree")
    args = parser.parse_args()
    denormals.use_threads(args.threads)  # before any operation starts torch's threads
    try:
        mnist = vaezoo.load_dataset("mnist-fixed")
    except VaezooError as error:
        sys.exit(f"nothing to compare on: {error}")
    available = cores()
    if args.device == "cpu":
        use_cores(args.threads)
    lacking = import_peers()
    torch.manual_seed(0)
    warnings.simplefilter("ignore", VaezooWarning)  # that the estimates agree is checked here
    dataset = images_of(mnist, args.images)
    x, test = (split.images().flatten(1).to(args.device) for split in (dataset.train, dataset.test))

    ours = Ours(dataset, args.rounds, args.device, args.hidden, args.latent)
    net = "-".join(map(str, (784, *args.hidden, args.latent)))
    print(f"{describe(args.device)}, {args.threads} of {available} threads, torch {torch.__version__}, {net}\n")
    for line in lacking:
        print(f"{line}\n")
    trained = training(ours, x, args.rounds)
    print(trained.markdown(), end="\n\n")
    print(trained.against(VAEZOO, HAND_WRITTEN, "fastest hand-written loop"), end="\n\n")
    if jax_peer:
        print(trained.against(VAEZOO, [JAX], "JAX"), end="\n\n", flush=True)

    ways = estimators(ours, test, args.samples)
    agreement = agree({name: way(args.check_samples) for name, way in ways.items()}, args.check_samples)
    work = len(test) * args.samples
    table = Table(f"log-likelihood, {len(test)} x {args.samples} a round", "image-samples/s", work, test.device)
    table.run({name: lambda way=way: way(args.samples) for name, way in ways.items()}, args.rounds)
    print(table.markdown(), end="\n\n")
    for peer in ("Pythae", "JAX"):
        if theirs := [name for name in ways if name.startswith(peer)]:
            print(table.against(list(ways)[-1], theirs, f"fastest of {peer}"), end="\n\n")
    print(agreement)
    if args.json:
        facts = {"device": describe(args.device), "threads": args.threads, "torch": torch.__version__, "net": net}
        with open(args.json, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({**facts, **row}) + "\n" for t in (trained, table) for row in t.rows())


if __name__ == "__main__":
    main()
