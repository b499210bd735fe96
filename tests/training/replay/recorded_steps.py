"""Steps to record, and the state after them."""

import torch
from small_tasks import images_of

import vaezoo
from vaezoo import Objective, Skip
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.registry import registry
from vaezoo.training.loop import make_packed_step, make_step
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.recorded_step import COMPARISONS, WARM_UP

SETTINGS = TrainingOptions(epochs=2, batch_size=10, kl_warmup=0.5, schedule="cosine", gradient_clip=1.0)
STEPS = WARM_UP + 1 + COMPARISONS + 4
CONV = {"encoder": ("conv", {"channels": (4, 6), "width": 8}), "decoder": ("conv", {"channels": (6, 4)})}


def dataset(measure="binary", n=600):
    x = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    if measure != "binary":
        return images_of(measure, x)
    gray = (255 * x).round().to(torch.uint8)
    binary = (gray[:20] > 127).to(torch.uint8)
    context = x.flatten(1)[:, :3]  # which a conditional model takes and others ignore
    train, valid = (gray, None, context), (binary, None, context[:20])
    return vaezoo.Dataset(train, valid, valid, "binary", binarisation="dynamic")


def made_on_images(variant, seeds, nets=None):
    """Two equal steps of a variant on images of the first measure that it scores, with these nets where they fit it."""
    for chosen in (nets, None):
        for measure in ("binary", "continuous", "counts"):
            try:
                return [made(dataset(measure), seeds, variant, chosen) for _ in range(2)]
            except Skip:
                continue
    raise AssertionError(f"{variant} scores images of no measure")


def made(data, seeds=1, variant="vae", nets=None, objective=None):
    slots = resolve(variant, data.spec, nets or {})
    for slot, (name, values) in slots.items():
        if "width" in registry(slot)[name].hyperparameters:
            values["width"] = 16
    pairs = [construct(slots, Ingredients.of(data, 3, (8,)), seed=s) for s in range(seeds)]
    pairs = [(model, objective() if objective else own) for model, own in pairs]
    if seeds == 1:
        return make_step(*pairs[0], data, SETTINGS, 0)
    return make_packed_step(*zip(*pairs, strict=True), data, SETTINGS, range(seeds))


def state_after(step, eager=False, steps=STEPS):
    """The state after some steps: parameters, buffers, the optimiser's state, the objective of each step."""
    if eager:
        step._run = step._step
    order = torch.stack([torch.randperm(100, generator=torch.Generator().manual_seed(n)) for n in range(steps)])
    torch.manual_seed(0)
    step.start_epoch(order[:, : 10 * step.key.numel()].view(steps, *step.key.shape, 10))
    for _ in range(steps):
        step()
    return [*state_of(step), step.values.clone()]


def state_of(step):
    """Parameters, buffers, the optimiser's state."""
    modules = [step.module] if isinstance(step.module, TrainingModule) else step.module.members
    kept = [tensor for one in modules for tensor in (*one.parameters(), *one.buffers())]
    kept += [tensor for own in step.optimizer.state.values() for tensor in own.values()]
    return [tensor.detach().clone() for tensor in kept]


def assert_identical(one, other):
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


class Layered(Objective):
    """Has a layer of its own between the likelihood and its value."""

    replayable = True

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, draws):
        return self.layer(draws.log_weight.mean(0)[:, None])[:, 0] / 100
