"""Proofs of every part: precision, saving and copying, determinism, mapping over seeds."""

import copy

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from vaezoo.conformance.modules import off_by, terms, total, value_of
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import MODULE_SLOTS, Subject, contexts, jitter, keyed
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core import noise
from vaezoo.core.contracts import supports
from vaezoo.core.draws import Batch
from vaezoo.core.model import LatentModel
from vaezoo.training.module import TrainingModule
from vaezoo.training.pack import Pack

MANY = 200
"""Discrete samples that are not all the same with two seeds."""
KINKS = 1e-11
"""What the kinks of a network change a value by over a step of 1e-6, as a share of it."""


@PROOFS.add("float64", *MODULE_SLOTS)
def float64(subject: Subject) -> str:
    """The same numbers in float32 and float64, but for rounding: nothing is cast or kept in one precision."""
    with torch.no_grad():
        single, objective = subject.build()
        double, objective_double = copy.deepcopy(single).double(), copy.deepcopy(objective).double()
        batch, batch_double = subject.batch(single), subject.batch(double)
        a, b = terms(single, batch, 3), terms(double, batch_double, 3)
        a["objective"] = total(value_of(subject, single, objective, batch))
        b["objective"] = total(value_of(subject, double, objective_double, batch_double))
    worst = 0.0
    for name, value in b.items():
        must(
            value.dtype == torch.float64,
            str(value.dtype),
            f"{name} of a float64 model must be float64, got {value.dtype}",
        )
        worst = max(worst, off_by(a[name].double(), value))
        must(worst < 1e-3, f"{worst:.2g}", f"{name} differs between float32 and float64 by {worst:.3g}, relatively")
    _smooth(subject, double, objective_double, batch_double)
    return f"{worst:.1g}"


@torch.no_grad()
def _smooth(subject: Subject, model: LatentModel, objective: nn.Module, batch: Batch) -> None:
    """Finite differences over 1e-6 and 3e-6 agree: rounding to float32 on the way would make them noise, of 1e-8 of the
    value where all of it is rounded. The kinks of a large network change slopes too, by less than KINKS of the value.
    """
    start = [p.clone() for p in model.parameters()]
    generator = torch.Generator().manual_seed(5)
    way = [0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in start]

    def moved(step: float) -> dict[str, Tensor]:
        """Every term with the parameters moved so far along the way."""
        for parameter, place, direction in zip(model.parameters(), start, way, strict=True):
            parameter.copy_(place + step * direction)
        found = {name: value.sum() for name, value in terms(model, batch, 3).items()}
        return found | {"objective": total(value_of(subject, model, objective, batch))}

    ends = [moved(step) for step in (1e-6, -1e-6, 3e-6, -3e-6)]
    values = moved(0.0)
    for name in ends[0]:
        near, far = (ends[0][name] - ends[1][name]) / 2e-6, (ends[2][name] - ends[3][name]) / 6e-6
        if bool(near.isfinite() and far.isfinite()):
            off = off_by(near, far)
            rounded = abs(float(near - far)) * 1e-6 > KINKS * (1 + abs(float(values[name])))
            must(
                off < 1e-4 or not rounded,
                f"{off:.2g}",
                f"the slope of {name} is {float(near):.6g} over 1e-6 and {float(far):.6g} over 3e-6: "
                "it is rounded to float32 on its way",
            )


@PROOFS.add("save and load", *MODULE_SLOTS)
def save_and_load(subject: Subject) -> str:
    """Weights saved as safetensors into a model of another seed give the same values, and so does a deep copy."""
    model, objective = subject.build(seed=0)
    other, other_objective = subject.build(seed=1)
    batch = subject.batch(model)
    for seed in (8, 9):  # what a pass leaves behind must be saved too
        total(value_of(subject, model, objective, batch, seed)).backward()
    for part in (model, objective, other, other_objective):
        part.eval()
        part.zero_grad()
    other.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
    other_objective.load_state_dict(objective.state_dict())
    try:
        copied, copied_objective = copy.deepcopy(model), copy.deepcopy(objective)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise Wrong("no copy", f"a model that has run cannot be copied: something keeps a graph ({first})") from None
    with torch.no_grad():
        expected = terms(model, batch, 3) | {"objective": total(value_of(subject, model, objective, batch))}
        jitter(model, 5)  # so that a copy that shares a tensor with it differs
        for title, found, own in (
            ("loaded", other, other_objective),
            ("copied", copied, copied_objective),
        ):
            values = terms(found, batch, 3) | {"objective": total(value_of(subject, found, own, batch))}
            for name, value in expected.items():
                off = off_by(values[name], value)
                must(
                    off < 1e-5,
                    f"{off:.2g}",
                    f"{name} of a {title} model differs by {off:.3g}: something is not saved, or shared by the two",
                )
    return f"{sum(p.numel() for p in model.parameters())} parameters"


@PROOFS.add("seeds", *MODULE_SLOTS)
def seeds(subject: Subject) -> str:
    """One seed gives the same model and the same numbers each time, another seed others: all come from vaezoo.noise."""
    first, objective = subject.build(seed=3)
    second, again = subject.build(seed=3)
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        must(torch.equal(a, b), name, f"{name} differs between two builds of one seed")
    batch = subject.batch(first)
    found = []
    for torch_seed, model, own in ((1, first, objective), (2, second, again), (3, first, objective)):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(torch_seed)
            found.append(terms(model, batch, 3) | {"objective": total(value_of(subject, model, own, batch))})
            with keyed(5, model):
                found[-1]["a draw from p(z)"] = torch.cat(model.prior_sample(4, contexts(model, 4)), -1)
    for name, value in found[0].items():
        off = off_by(found[1][name], value)
        must(off == 0, f"{off:.2g}", f"{name} changes by {off:.3g} with torch's own generator: draw from vaezoo.noise")
        off = off_by(found[2][name], value)
        must(
            off == 0,
            f"{off:.2g}",
            f"{name} changes by {off:.3g} when computed again: a pass leaves something behind",
        )
    _differ(subject, first, batch, found[0])
    return "equal"


@torch.no_grad()
def _differ(subject: Subject, model: LatentModel, batch: Batch, found: dict[str, Tensor]) -> None:
    """Check that another seed gives other samples. Noise that a plugin seeds itself would be the same at every step."""
    if subject.plugin.slot in ("posterior", "variant"):
        groups = supports(model.posterior_net, len(model.latents or (1,)))
        other = terms(model, batch, 3, seed=1)
        for n, kind in enumerate(groups):
            if kind == "discrete":  # of which single numbers are often the same
                first, second = (terms(model, batch, MANY, seed=seed)[f"z[{n}]"] for seed in (0, 1))
                same = torch.equal(first, second)
            else:
                same = bool((other[f"z[{n}]"] == found[f"z[{n}]"]).any())
            must(not same, "same", f"z[{n}] holds the same numbers with another seed: draw from vaezoo.noise")
    if subject.plugin.slot in ("prior", "variant"):
        count = MANY if "discrete" in supports(model.prior, len(model.latents or (1,))) else 4
        drawn = []
        for seed in (5, 6):
            with keyed(seed, model):
                drawn.append(torch.cat(model.prior_sample(count, contexts(model, count)), -1))
        must(not torch.equal(*drawn), "same", "sample(n) is the same with another seed: draw from vaezoo.noise")


@PROOFS.add("mapped over seeds", *MODULE_SLOTS)
def mapped(subject: Subject) -> str:
    """Copied and mapped over two seeds with torch.func, each loss and gradient equals that of its single run."""
    modules = [TrainingModule(*subject.build(seed=seed)) for seed in (0, 1)]
    pack = Pack([copy.deepcopy(module) for module in modules])
    if reason := pack.not_mapped:
        raise NotRun(f"it declares: {reason}")
    x, index, context = subject.batch(pack.model, 4).x, torch.arange(4), contexts(pack.model, 4)
    keys = torch.tensor([noise.derive(seed, "noise") for seed in (0, 1)])
    weight = torch.ones(())
    named = dict(pack.named_parameters())
    try:
        twice = None if context is None else torch.stack([context] * 2)
        values, _ = pack(torch.stack([x] * 2), torch.stack([index] * 2), keys, weight, twice)
        losses = torch.stack(list(values.values())).sum(0)
        found = torch.autograd.grad(losses.sum(), list(named.values()), allow_unused=True)
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        raise Wrong("cannot", f"torch.func cannot map it ({first}); else set not_mapped = its reason") from None
    grads = {name: torch.zeros_like(named[name]) if g is None else g for name, g in zip(named, found, strict=True)}
    worst = 0.0
    for n, module in enumerate(modules):
        own = total(module(x, index, keys[n], weight, context)[0])
        own.backward()
        worst = max(worst, off_by(losses[n].detach(), own.detach()))
        for name, p in module.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            worst = max(worst, off_by(grads[name][n], expected))
    return must(
        worst < 1e-4, f"{worst:.1g}", f"a mapped seed's loss or gradient differs from its single run by {worst:.3g}"
    )
