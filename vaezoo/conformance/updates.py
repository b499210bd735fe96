"""Proofs of what changes over training: `update(draws)`, `refit(images)` and `progress`."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vaezoo.conformance.modules import off_by, terms, value_of
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.state_digest import StateDigest
from vaezoo.conformance.subject import MODULE_SLOTS, Subject, contexts, images
from vaezoo.conformance.traces import digest
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core import noise
from vaezoo.core.contracts import Objective
from vaezoo.core.data import Split
from vaezoo.core.draws import Batch
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.training.module import TrainingModule, Values, parts_of
from vaezoo.training.pack import Pack
from vaezoo.training.updates import refit

IMAGES = 8
REFITTED = 32
"""Images that `refit` is given."""
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, None, Tensor]
"""Images, index, key, KL weight, context, no prefetched noise, progress."""


def _parts_with(method: str, model: LatentModel, objective: Objective) -> dict[str, nn.Module]:
    """The parts that have a method; NotRun where none has."""
    parts = {name: part for name, part in parts_of(model, objective).items() if callable(getattr(part, method, None))}
    if not parts:
        raise NotRun(f"no part has {method}")
    return parts


def _refuse(before: StateDigest, after: StateDigest, what: str, allowed: Iterable[str] = ()) -> None:
    """Wrong where anything has changed that may not."""
    if changed := [name for name in before.changes(after) if name not in set(allowed)]:
        raise Wrong(changed[0], f"{what} changes {', '.join(changed[:3])}")


@PROOFS.add("update(draws)", *MODULE_SLOTS)
def update_writes_buffers(subject: Subject) -> str:
    """update(draws) gives new values of declared buffers and changes nothing else, gives the same twice, and the same
    in a pack.

    A step is taken twice on the same draws, with other states of torch's generator: the buffers are equal bit for bit.
    Mapped over two seeds they are those of the single runs, to 1e-4. Everything that is reachable from the parts is
    compared before and after. Nothing is random: false alarm 0.
    """
    modules = [TrainingModule(*subject.build(seed=seed)) for seed in (0, 1)]
    _parts_with("update", modules[0].model, modules[0].objective)
    inputs = [_inputs(subject, module.model, seed) for seed, module in enumerate(modules)]
    single = [_new_buffers(module, given) for module, given in zip(modules, inputs, strict=True)]
    for title, value in single[0].items():
        must(bool(value.isfinite().all()), "not finite", f"the new value of {title} is not finite")
    return f"{len(single[0])} buffers, {_packed(modules, inputs, single)}"


def _packed(modules: list[TrainingModule], inputs: list[Inputs], single: list[Values]) -> str:
    """How far the new buffers of a pack are from those of the single runs."""
    pack, worst = Pack([copy.deepcopy(module) for module in modules]), 0.0
    if reason := pack.not_mapped:
        return f"not packed: {reason}"
    stacked = [torch.stack([given[n] for given in inputs]) for n in range(3)]  # type: ignore[misc]
    context = None if inputs[0][4] is None else torch.stack([given[4] for given in inputs])  # type: ignore[misc]
    try:
        _, found = pack(*stacked, inputs[0][3], context, None, inputs[0][6])
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise Wrong("cannot", f"torch.func cannot map it ({first}); else set not_mapped = its reason") from None
    for seed, buffers in enumerate(single):
        for title, value in buffers.items():
            off = off_by(found[title][seed].double(), value.double())
            worst = max(worst, off)
            must(off < 1e-4, f"{off:.2g}", f"{title} of a packed seed is {off:.3g} off that of its single run")
    return f"packed {worst:.1g} off"


def _inputs(subject: Subject, model: LatentModel, seed: int) -> Inputs:
    """The inputs of a TrainingModule, without prefetched noise, halfway through training."""
    x, context = images(model.spec, IMAGES, 11 + seed), contexts(model, IMAGES, seed)
    key = torch.tensor(noise.derive(seed, "update"))
    return x, torch.arange(IMAGES), key, torch.ones(()), context, None, torch.full((), 0.5)


def _new_buffers(module: TrainingModule, inputs: Inputs) -> Values:
    """The new buffers of a step, which is taken twice; Wrong where it changes anything, or differs from itself."""
    found: list[Values] = []
    objective = module.objective
    for torch_seed in (1, 2):
        before = digest(module.model, objective)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)
            try:
                found.append(module(*inputs)[1])
            except VaezooError as error:
                raise Wrong("refused", str(error)) from None
        _refuse(before, digest(module.model, objective), "a step with update(draws)")
    for title, value in found[0].items():
        off = off_by(found[1][title].double(), value.double())
        must(
            off == 0, f"{off:.2g}", f"the new value of {title} differs by {off:.3g} when the same draws are given again"
        )
    return found[0]


@PROOFS.add("refit(images)", *MODULE_SLOTS)
def refit_writes_its_own(subject: Subject) -> str:
    """refit(images) writes the parameters and buffers of its own part alone, without gradients, and the same twice.

    It is called as after an epoch, on a model and on its copy, with other states of torch's generator: all numbers are
    equal bit for bit. Everything that is reachable from the parts is compared before and after. Nothing is random:
    false alarm 0.
    """
    model, objective = subject.build()
    refitted = _parts_with("refit", model, objective)
    twin, twin_objective = copy.deepcopy(model), copy.deepcopy(objective)
    x, context = images(model.spec, REFITTED, 12), contexts(model, REFITTED)
    split = Split(x, None, model.spec, context=context)
    names = {title.removeprefix("model.").removesuffix("_net"): part for title, part in refitted.items()}
    own = {f"{title}.{name}" for title, part in names.items() for name in part.state_dict(keep_vars=True)}
    before = digest(model, objective)
    for torch_seed, parts in ((1, refitted), (2, _parts_with("refit", twin, twin_objective))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)
            _refit(model if parts is refitted else twin, parts, split)
        if parts is refitted:
            _refuse(before, digest(model, objective), "refit(images)", own)
    for part, other in ((model, twin), (objective, twin_objective)):
        for (name, value), again in zip(part.state_dict().items(), other.state_dict().values(), strict=True):
            off = off_by(again.double(), value.double())
            must(off == 0, f"{off:.2g}", f"{name} differs by {off:.3g} when the same images are given to a copy")
            must(bool(value.isfinite().all()), "not finite", f"{name} is not finite after refit(images)")
        for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
            graph = tensor.grad_fn is not None or (tensor.is_leaf and tensor.grad is not None)
            must(not graph, name, f"refit(images) leaves a gradient, or a graph, in {name}: it runs without gradients")
    return f"{len(own)} tensors, equal twice"


def _refit(model: LatentModel, parts: dict[str, nn.Module], split: Split) -> None:
    """`refit` of these parts after the first epoch; Wrong where it is refused."""
    try:
        refit(model, parts, split, seed=0, epoch=1)
    except VaezooError as error:
        raise Wrong("refused", str(error)) from None


@PROOFS.add("progress", *MODULE_SLOTS)
def annealing_ends(subject: Subject) -> str:
    """From progress = annealed_until on, every term and the objective's value are those at progress 1, which evaluation
    has.

    In train and in eval mode, at annealed_until, at three places between it and 1, and outside training, at the same
    noise; a difference up to 1e-5 is rounding. Nothing is random: false alarm 0.
    """
    model, objective = subject.build()
    until = max(float(getattr(part, "annealed_until", 0.0)) for part in parts_of(model, objective).values())
    must(0 <= until <= 1, str(until), f"annealed_until must be in 0..1, got {until!r}")
    worst, before = 0.0, 0.0
    for training in (False, True):
        model.train(training)
        objective.train(training)
        expected = _at_progress(subject, model, objective, 1.0)
        for progress in (None, until, *(until + share * (1 - until) for share in (0.25, 0.5, 0.9))):
            for name, value in _at_progress(subject, model, objective, progress).items():
                off = off_by(value, expected[name])
                worst = max(worst, off)
                where = "outside training" if progress is None else f"at progress {progress:g}"
                what = f"{name} {where} is {off:.3g} off that at progress 1: declare annealed_until = its last change"
                must(off < 1e-5, f"{off:.2g}", f"{what} (annealed_until is {until:g})")
        start = _at_progress(subject, model, objective, 0.0)
        before = max(before, *(off_by(value, expected[name]) for name, value in start.items()))
    return f"{worst:.1g} from {until:g} to 1, {before:.1g} at 0"


@torch.no_grad()
def _at_progress(subject: Subject, model: LatentModel, objective: Objective, progress: float | None) -> Values:
    """Every term, and the objective's values, of images that are no training images, at this progress."""
    given = subject.batch(model)
    now = None if progress is None else torch.full((), progress, dtype=model.dtype)
    batch = Batch(given.x, given.context, None, now)
    found = terms(model, batch, 3)
    value = value_of(subject, model, objective, batch)
    return found | {
        f"the objective ({k})": v for k, v in (value if isinstance(value, dict) else {"all": value}).items()
    }
