"""Proofs of every part: shapes, gradients, nothing hidden, independence of the images."""

from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.conformance.places import spread
from vaezoo.conformance.proof import PROOFS
from vaezoo.conformance.subject import MODULE_SLOTS, Subject, contexts, keyed, rows
from vaezoo.conformance.verdict import NotRun, Wrong, must
from vaezoo.core.draws import Batch
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.core.requests import call_with_requests
from vaezoo.training.module import TrainingModule

ALONE = ("encoder", "posterior", "prior", "decoder", "likelihood", "variant")
SCALES_ALONE = {1: 1e-7, 4: 1e-4}
"""Factor of all weights -> the most that a term may change with other images: rounding grows with the weights."""


def terms(model: LatentModel, batch: Batch, samples: int, seed: int = 0) -> dict[str, Tensor]:
    """Every tensor of one pass, by name."""
    with keyed(seed, model, batch):
        draws = model.draw(batch, samples)
        found = {"log p(x|z)": draws.log_likelihood, "log p(z)": draws.log_prior, "log q(z|x)": draws.log_posterior}
        found |= {f"z[{n}]": group for n, group in enumerate(draws.z)}
        if draws.kl is not None:
            found |= {f"KL[{n}]": group for n, group in enumerate(draws.kl)}
    return found


def value_of(subject: Subject, model: LatentModel, objective: nn.Module, batch: Batch, seed: int = 0) -> Any:
    """The objective's value on one pass."""
    with keyed(seed, model, batch):
        return objective(model.draw(batch, objective.importance_samples))  # type: ignore[arg-type]


def total(value: Any) -> Tensor:
    """The sum of an objective's value, or of all its values."""
    return sum((v.sum() for v in value.values()), torch.zeros(())) if isinstance(value, dict) else value.sum()


def is_shaped(value: Any, images: int) -> bool:
    """Whether an objective's value, or each of its values, is [B] or a scalar."""
    return all(part.shape in ((images,), ()) for part in (value.values() if isinstance(value, dict) else [value]))


@PROOFS.add("shapes", *MODULE_SLOTS)
def shapes(subject: Subject) -> str:
    """z [K, B, Z], log p(x|z) [K, B], log p(z) and log q(z|x) [L, K, B], KL [B, Z_l], for K = 1 and 5; an objective [B]
    or a scalar.
    """
    model, objective = subject.build()
    batch = subject.batch(model)
    for samples in (1, 5):
        try:
            _shapes_of_parts(model, batch, samples)
            terms(model, batch, samples)
        except Skip as reason:
            raise NotRun(str(reason)) from None
        except VaezooError as error:
            raise Wrong(f"K={samples}", str(error)) from None
    value = value_of(subject, model, objective, batch)
    for part in value.values() if isinstance(value, dict) else [value]:
        own = f"K={objective.importance_samples}"
        must(part.shape in ((3,), ()), own, f"an objective gives [B=3] or a scalar, got {list(part.shape)}")
    with torch.no_grad():
        try:
            drawn = model.sample(4, contexts(model, 4))
        except NotImplementedError:
            return "K = 1, 5; no sampling"
    wanted = (4, *model.spec.shape)
    return must(tuple(drawn.shape) == wanted, "K = 1, 5", f"sample(4) must be {list(wanted)}, got {list(drawn.shape)}")


def _fits(what: str, value: Tensor, samples: int, *wanted: int) -> None:
    must(tuple(value.shape) == wanted, f"K={samples}", f"{what} must be {list(wanted)}, got {list(value.shape)}")


def _shapes_of_parts(model: LatentModel, batch: Batch, samples: int) -> None:
    """Check the shapes that LatentModel does not: a wrong one would be broadcast without an error."""
    served = {"context": batch.context, "index": batch.training_index, "progress": batch.training_progress}
    features = call_with_requests(model.encoder.forward, batch.x, parts=served)
    _fits("features [B, *self.features]", features, samples, 3, *model.encoder.features)
    with keyed(0, model, batch):
        z = model.draw(batch, samples).z
    parameters = model.decoder_output(batch, z)
    shape = model.likelihood.parameter_shape
    _fits("the decoder's parameters [K, B, *parameter_shape]", parameters, samples, samples, 3, *shape)
    mean = model.mean_image(batch, parameters[0])
    _fits("mean(parameters) [B, *shape]", mean, samples, 3, *model.spec.shape)


@PROOFS.add("gradients", *MODULE_SLOTS)
def gradients(subject: Subject) -> str:
    """Every parameter gets a finite gradient from the objective."""
    model, objective = subject.build()
    module = TrainingModule(model, objective)
    total(value_of(subject, model, objective, subject.batch(model, 8, training=True))).backward()
    part = subject.part(model, objective)
    named = list(part.named_parameters())
    without = [name for name, p in named if p.requires_grad and p.grad is None]
    must(not without, f"{len(without)} without", f"these parameters get no gradient: {', '.join(without[:5])}")
    bad = [name for name, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
    return must(not bad, f"{len(named)} tensors", f"these gradients are not finite: {', '.join(bad[:5])}")


@PROOFS.add("nothing hidden", *MODULE_SLOTS)
def nothing_hidden(subject: Subject) -> str:
    """Every trainable tensor is in named_parameters(): one that is not is neither saved, nor packed, nor trained."""
    model, objective = subject.build()
    known = {id(p) for p in TrainingModule(model, objective).parameters()}
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
        f"trainable tensors of shapes {hidden} are not in named_parameters(): register them",
    )


def _axis_of_images(term: str) -> int:
    """Which axis of a term goes over the images."""
    if term.startswith("KL"):
        return 0
    return 2 if term.startswith(("log p(z", "log q")) else 1


@PROOFS.add("images alone", *ALONE)
def images_alone(subject: Subject) -> str:
    """Every term of an image is the same whatever the other images of its batch are, in train and in eval mode, also
    with all weights times 4.
    """
    model, _ = subject.build(double=True)
    worst = 0.0
    for factor, most in SCALES_ALONE.items():
        if factor > 1:
            spread(model)
        for training in (False, True):
            model.train(training)
            batch = subject.batch(model, 4, training=training)
            with torch.no_grad():
                together = terms(model, batch, 3)
                for n, pair in enumerate(pairs(batch)):
                    for name, value in terms(model, pair, 3).items():
                        other = together[name].narrow(_axis_of_images(name), 2 * n, 2)
                        off = off_by(value.nan_to_num(), other.nan_to_num())
                        mode = f"in {'train' if training else 'eval'} mode" + f", weights times {factor}" * (factor > 1)
                        what = f"{name} of an image changes by {off:.3g} with the other images of its batch, {mode}"
                        must(off < most, f"{off:.2g}", what)
                        worst = max(worst, off if factor == 1 else 0.0)
    return f"{worst:.1g}"


def pairs(batch: Batch) -> list[Batch]:
    """Cut a batch into batches of two: with two images a plugin can still divide by the spread of its batch."""
    return [rows(batch, slice(n, n + 2)) for n in range(0, len(batch.x), 2)]


def off_by(a: Tensor, b: Tensor) -> float:
    """Largest difference, relative to 1 + the size of the numbers; infinite where NaN or a shape is in it. Equal
    infinities (log p outside a support) are equal.
    """
    if a.shape != b.shape:
        return float("inf")
    apart = torch.where(a == b, 0.0, (a - b).abs() / (1 + b.abs()))
    off = apart.max() if a.numel() else torch.zeros(())
    return float(off.detach()) if bool(off.isfinite()) else float("inf")


@PROOFS.add("uncoupled", "objective")
def uncoupled(subject: Subject) -> str:
    """An image's value does not depend on its batch, and a scalar is the mean of such values, unless the objective
    declares batch_coupled; also where q is near N(0, I), and with all weights times 4.
    """
    worst = 0.0
    for factor in (1.0, 0.05, 4.0):
        model, objective = subject.build(double=True)
        if objective.batch_coupled:
            raise NotRun("it declares batch_coupled")
        batch, off = subject.batch(model, 4, training=True), 0.0
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(factor)
            together = _named(value_of(subject, model, objective, batch))
            apart = [_named(value_of(subject, model, objective, pair)) for pair in pairs(batch)]
        for name, value in together.items():
            two = [each[name] for each in apart]
            off = max(off, off_by(value, torch.stack(two).mean(0) if value.ndim == 0 else torch.cat(two)))
        what = f"its value on four images and on two pairs of them differ by {off:.3g}, weights times {factor:g}"
        must(off < 1e-10, f"{off:.1g}", f"{what}: declare batch_coupled = True")
        worst = max(worst, off)
    return f"{worst:.1g}"


def _named(value: Any) -> dict[str, Tensor]:
    return value if isinstance(value, dict) else {"all": value}
