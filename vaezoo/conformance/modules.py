"""Proofs of every part: shapes, gradients, independence of the images, precision, saving, determinism, mapping over
seeds.
"""

import copy
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

from vaezoo.conformance.proof import PROOFS, NotRun, Wrong, must
from vaezoo.conformance.subject import MODULES, Subject, keyed
from vaezoo.core import noise
from vaezoo.core.draws import Batch
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.training.step import Trainee

ALONE = ("encoder", "posterior", "prior", "decoder", "likelihood", "variant")


def terms(model: LatentModel, batch: Batch, samples: int, seed: int = 0) -> dict[str, Tensor]:
    """Every tensor of one pass, by name."""
    with keyed(seed, model, batch):
        draws = model.draw(batch, samples)
        found = {"log p(x|z)": draws.log_likelihood, "log p(z)": draws.log_prior, "log q(z|x)": draws.log_posterior}
        found |= {f"z[{n}]": group for n, group in enumerate(draws.z)}
        if draws.kl is not None:
            found["KL"] = draws.kl
    return found


def value_of(subject: Subject, model: LatentModel, objective: nn.Module, batch: Batch, seed: int = 0) -> Any:
    """The objective's value on one pass."""
    with keyed(seed, model, batch):
        return objective(model.draw(batch, objective.importance_samples))  # type: ignore[arg-type]


def total(value: Any) -> Tensor:
    """One scalar of whatever an objective gives."""
    return sum((v.sum() for v in value.values()), torch.zeros(())) if isinstance(value, dict) else value.sum()


@PROOFS.add("shapes", *MODULES)
def shapes(subject: Subject) -> str:
    """z [K, B, Z], log p(x|z) [K, B], log p(z) and log q(z|x) [L, K, B], KL [L, B, Z], for K = 1 and 5."""
    model, objective = subject.build()
    batch = subject.batch(model)
    for samples in (1, 5):
        try:
            found = terms(model, batch, samples)
        except Skip as reason:
            raise NotRun(str(reason)) from None
        except VaezooError as error:
            raise Wrong(f"K={samples}", str(error)) from None
        groups = sum(name.startswith("z[") for name in found)
        kl = found.get("KL")
        if kl is not None and (kl.ndim != 3 or kl.shape[:2] != (groups, 3)):
            raise Wrong(f"K={samples}", f"kl must be [L={groups}, B=3, Z], got {list(kl.shape)}")
        objective.importance_samples, asked = samples, objective.importance_samples
        value = value_of(subject, model, objective, batch)
        objective.importance_samples = asked
        for part in value.values() if isinstance(value, dict) else [value]:
            must(
                part.shape in ((3,), ()),
                f"K={samples}",
                f"an objective gives [B=3] or a scalar, got {list(part.shape)}",
            )
    with torch.no_grad():
        try:
            drawn = model.sample(4)
        except NotImplementedError:
            return "K = 1, 5; no sampling"
    wanted = (4, *model.spec.shape)
    return must(tuple(drawn.shape) == wanted, "K = 1, 5", f"sample(4) must be {list(wanted)}, got {list(drawn.shape)}")


@PROOFS.add("gradients", *MODULES)
def gradients(subject: Subject) -> str:
    """Every parameter gets a finite gradient from the objective."""
    model, objective = subject.build()
    trainee = Trainee(model, objective)
    total(value_of(subject, model, objective, subject.batch(model, 8))).backward()
    part = subject.part(model, objective)
    named = list(part.named_parameters())
    without = [name for name, p in named if p.requires_grad and p.grad is None]
    must(not without, f"{len(without)} without", f"these parameters get no gradient: {', '.join(without[:5])}")
    bad = [name for name, p in trainee.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    return must(not bad, f"{len(named)} tensors", f"these gradients are not finite: {', '.join(bad[:5])}")


@PROOFS.add("nothing hidden", *MODULES)
def nothing_hidden(subject: Subject) -> str:
    """No trainable tensor outside named_parameters(): what is not there is neither saved, nor packed, nor trained."""
    model, objective = subject.build()
    known = {id(p) for p in Trainee(model, objective).parameters()}
    value = total(value_of(subject, model, objective, subject.batch(model)))
    seen, hidden, waiting = set(), [], [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            hidden.append(list(leaf.shape))
        waiting += [parent for parent, _ in node.next_functions]
    return must(
        not hidden,
        f"{len(hidden)} hidden",
        f"trainable tensors of shapes {hidden} are in no named_parameters(): register them",
    )


@PROOFS.add("images alone", *ALONE)
def images_alone(subject: Subject) -> str:
    """Every term of an image is the same whatever the other images of its batch are, in train and in eval mode."""
    model, _ = subject.build()
    batch = subject.batch(model, 4)
    worst = 0.0
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            together = terms(model, batch, 3)
            assert batch.index is not None
            for n in range(4):
                alone = terms(model, Batch(batch.x[n : n + 1], None, batch.index[n : n + 1]), 3)
                for name, value in alone.items():
                    axis = 2 if name.startswith("log p(z") or name.startswith("log q") else 1
                    other = together[name].narrow(axis, n, 1)
                    worst = max(worst, _off(value, other))
                    mode = "train" if training else "eval"
                    must(
                        worst < 1e-3,
                        f"{worst:.2g}",
                        f"{name} of an image changes by {worst:.3g} with the other images of its batch, in {mode} mode",
                    )
    return f"{worst:.1g}"


def _off(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to 1 + the size of the numbers; infinite where NaN or a shape is in it."""
    if a.shape != b.shape:
        return float("inf")
    off = ((a - b).abs() / (1 + b.abs())).max() if a.numel() else torch.zeros(())
    return float(off.detach()) if bool(off.isfinite()) else float("inf")


@PROOFS.add("uncoupled", "objective")
def uncoupled(subject: Subject) -> str:
    """An image's value does not depend on its batch, unless the objective declares batch_coupled."""
    model, objective = subject.build()
    if objective.batch_coupled:
        raise NotRun("it declares batch_coupled")
    batch = subject.batch(model, 4)
    with torch.no_grad():
        together = value_of(subject, model, objective, batch)
        if isinstance(together, dict) or together.ndim == 0:
            raise NotRun("its value is not one number an image; declare batch_coupled")
        assert batch.index is not None
        rows = [Batch(batch.x[n : n + 1], None, batch.index[n : n + 1]) for n in range(4)]
        alone = torch.cat([value_of(subject, model, objective, row) for row in rows])
    off = _off(together, alone)
    return must(off < 1e-3, f"{off:.1g}", f"the value of an image alone and in its batch differ by {off:.3g}")


@PROOFS.add("float64", *MODULES)
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
        worst = max(worst, _off(a[name].double(), value))
        must(worst < 1e-3, f"{worst:.2g}", f"{name} differs between float32 and float64 by {worst:.3g}, relatively")
    return f"{worst:.1g}"


@PROOFS.add("save and load", *MODULES)
def save_and_load(subject: Subject) -> str:
    """Weights saved as safetensors into a model of another seed give the same values, and a deep copy does."""
    model, objective = subject.build(seed=0)
    other, other_objective = subject.build(seed=1)
    other.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
    other_objective.load_state_dict(objective.state_dict())
    batch = subject.batch(model)
    with torch.no_grad():
        expected = terms(model, batch, 3) | {"objective": total(value_of(subject, model, objective, batch))}
        for title, found, own in (("loaded", other, other_objective), ("copied", copy.deepcopy(model), objective)):
            values = terms(found, batch, 3) | {"objective": total(value_of(subject, found, own, batch))}
            for name, value in expected.items():
                off = _off(values[name], value)
                must(
                    off < 1e-5, f"{off:.2g}", f"{name} of a {title} model differs by {off:.3g}: something is not saved"
                )
    return f"{sum(p.numel() for p in model.parameters())} parameters"


@PROOFS.add("seeds", *MODULES)
def seeds(subject: Subject) -> str:
    """One seed gives one model and one set of numbers: every random number comes from vaezoo.noise, none from
    elsewhere.
    """
    first, objective = subject.build(seed=3)
    second, again = subject.build(seed=3)
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        must(torch.equal(a, b), name, f"{name} differs between two builds of one seed")
    batch = subject.batch(first)
    found = []
    for torch_seed, model, own in ((1, first, objective), (2, second, again)):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(torch_seed)
            found.append(terms(model, batch, 3) | {"objective": total(value_of(subject, model, own, batch))})
            with keyed(5, model):
                found[-1]["prior samples"] = torch.cat(model.prior_sample(4), -1)
    for name, value in found[0].items():
        off = _off(found[1][name], value)
        must(off == 0, f"{off:.2g}", f"{name} changes by {off:.3g} with torch's own generator: draw from vaezoo.noise")
    return "equal"


@PROOFS.add("mapped over seeds", *MODULES)
def mapped(subject: Subject) -> str:
    """Mapped over two seeds with torch.func, each loss and gradient equals that of its single run."""
    trainees = []
    for seed in (0, 1):
        model, objective = subject.build(seed=seed)
        if reason := getattr(subject.part(model, objective), "not_mapped", None):
            raise NotRun(f"it declares: {reason}")
        trainees.append(Trainee(model, objective))
    stored, index = images_stored(subject, trainees[0].model), torch.arange(4)
    keys = torch.tensor([noise.derive(seed, "noise") for seed in (0, 1)])
    weight = torch.ones(())

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor], key: Tensor) -> Tensor:
        values = functional_call(base, (parameters, buffers), (stored, index, key, weight))
        return total(values)

    base = copy.deepcopy(trainees[0])
    parameters, buffers = stack_module_state(trainees)  # type: ignore[arg-type]
    grads, losses = vmap(grad_and_value(loss), (0, 0, 0), randomness="different")(parameters, buffers, keys)
    worst = 0.0
    for n, trainee in enumerate(trainees):
        own = total(trainee(stored, index, keys[n], weight))
        own.backward()
        worst = max(worst, _off(losses[n].detach(), own.detach()))
        for name, p in trainee.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            worst = max(worst, _off(grads[name][n], expected))
    return must(
        worst < 1e-4, f"{worst:.1g}", f"a mapped seed's loss or gradient differs from its single run by {worst:.3g}"
    )


def images_stored(subject: Subject, model: LatentModel) -> Tensor:
    """Four images for a trainee."""
    return subject.batch(model, 4).x
