"""In a child: evaluates stored models anew with other noise, and compares with what their records say."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vaezoo.core import heartbeat, noise
from vaezoo.core.data import Dataset
from vaezoo.core.errors import VaezooError
from vaezoo.core.model import LatentModel
from vaezoo.core.precision import no_hidden_tf32
from vaezoo.datasets import load_dataset
from vaezoo.evaluation.audit import ROUNDING
from vaezoo.evaluation.estimate import Estimate, log_likelihood
from vaezoo.evaluation.evaluation import Evaluation
from vaezoo.evaluation.pareto import RELIABLE
from vaezoo.registry import registry
from vaezoo.runner.plan.fingerprint import fingerprint
from vaezoo.runner.plan.sources import Sources
from vaezoo.runner.plan.specification import DatasetChoice
from vaezoo.runner.records import Record, reason_of
from vaezoo.runner.store import Store
from vaezoo.runner.work.checkpoint import trained_model

LIMIT = math.sqrt(2 * math.log(2 / 1e-6))
"""The largest z-score of a right record, 5.39: it exceeds this with a chance of at most 1e-6."""
ENOUGH = 64
"""Images from which on the z-score needs no standard errors."""
FINITE = 0.5
"""Pareto k-hat below which the weights of an image have a variance, so that its own standard error means something."""
ONE_IMAGE = 12.0
"""Standard errors by which one such image's value may differ."""


def reevaluate(
    send: Any,
    folder: str,
    sources: Mapping[str, Sequence[str]],
    dataset: Mapping[str, Any],
    code: Sequence[tuple[str, str]],
    stems: Sequence[str],
    device: str,
    data_root: str | None,
    seed: int,
) -> None:
    """Load the sources and a data set, and evaluate the cells of these stems anew.

    code: (`slot/name`, fingerprint) of plugins, which are compared first. Sends `changed` (their titles), `checksum`
    and `context_checksum` of the data, or `unloaded`, and for each cell `stem` with `found`, what `compared` gives, or
    `failed`.
    """
    heartbeat.listen(lambda message: send(**message))
    no_hidden_tf32()
    Sources.from_json(sources).load()
    send(changed=[title for title, digest in code if fingerprint_of(title) != digest])
    choice = DatasetChoice(**dataset)
    try:
        data = load_dataset(choice.name, data_root, options=choice.options)
    except VaezooError as error:
        send(unloaded=str(error))
        return
    send(checksum=data.checksum, context_checksum=data.context_checksum)
    if data.checksum != choice.checksum:
        return
    store = Store(folder)
    for stem in stems:
        heartbeat.beat()
        try:
            record = store.read("cells", stem)
            if record is None:
                raise VaezooError("its record is gone")
            model = trained_model(record, store, stem).to(device)
            values = store.images(stem, record)
            send(stem=stem, found=compared(record, model, values, data, noise.derive(seed, "verify", stem)))
        except Exception as error:  # whatever a plugin raises is said of this cell alone
            send(stem=stem, failed=reason_of(error))


def fingerprint_of(title: str) -> str | None:
    """The fingerprint of the plugin `slot/name`, or None where there is none."""
    slot, _, name = title.partition("/")
    return fingerprint(registry(slot)[name]) if name in registry(slot) else None


def compared(
    record: Record, model: LatentModel, values: Mapping[str, np.ndarray], data: Dataset, seed: int
) -> dict[str, Any]:
    """The new iwll with its standard error, its z-score (None where it is not decided, with the reason why), and what
    differs, a line each.
    """
    count = record.comparability.images
    x, index = data.test.x[:count], torch.arange(count)
    context = data.test.context[:count] if model.conditional and data.test.context is not None else None
    samples = record.comparability.importance_samples
    new = log_likelihood(model, x, samples, seed, context=context, index=index)
    old = {name: torch.from_numpy(np.asarray(value, dtype=np.float64)) for name, value in values.items()}
    if any(len(value) != count for value in old.values()):
        return {
            "iwll": float(new.estimate.mean()),
            "differs": [f"its per-image values are not those of {count} images"],
        }
    rounding = ROUNDING[model.precision]
    z, differs, undecided = None, [], None
    for name, value in (("iwll", new.estimate), ("elbo", new.elbo), ("reconstruction", new.reconstruction)):
        if name in old:
            score, undecided_now = z_score(name, old, new, value)
            z, undecided = (score, undecided_now) if name == "iwll" else (z, undecided)
            mean = float((value - old[name]).mean())
            if score is not None and not abs(score) <= LIMIT and not abs(mean) <= rounding * _size(new).mean():
                differs.append(f"its {name} is {-mean:+.4g} nats from that of its weights, z = {score:.1f}")
    differs += _single_images(old, new, rounding)
    differs += _counted(record, model, x, Evaluation(samples, 0, data, index, context))
    error = float(new.standard_error.square().sum().sqrt()) / count
    found = {"iwll": float(new.estimate.mean()), "error": error, "z": z, "undecided": undecided, "differs": differs}
    return {name: each for name, each in found.items() if each is not None}


def _size(new: Estimate) -> torch.Tensor:
    return 1 + new.estimate.abs() + new.reconstruction.abs() + new.kl.abs()


def z_score(
    name: str, old: Mapping[str, torch.Tensor], new: Estimate, value: torch.Tensor
) -> tuple[float | None, str | None]:
    """The z-score of the new values of the images against the recorded ones, or None and why it is not decided.

    Of the same weights, old and new values of an image are independent draws of one distribution, whatever that is, so
    their difference d is symmetric about 0 and z = sum d / sqrt(sum d^2) exceeds a bound b with a chance of at most
    2 exp(-b^2 / 2) (Hoeffding's inequality), also where no standard error can be trusted. |z| is at most sqrt(N): of
    few images, those are compared by both standard errors whose k-hat is below 0.7.
    """
    d = value - old[name]
    if not bool(d.isfinite().all()):
        return math.inf, None
    if len(d) >= ENOUGH:
        return _over(d.sum(), d.square().sum()), None
    if name != "iwll" or "iwll_standard_error" not in old or "pareto_k" not in old:
        return None, f"{len(d)} images are too few without standard errors"
    reliable = (old["pareto_k"] < RELIABLE) & (new.pareto_k < RELIABLE)
    if not bool(reliable.any()):
        return None, f"{len(d)} images are too few where no Pareto k-hat is below {RELIABLE}"
    errors = (old["iwll_standard_error"].square() + new.standard_error.square())[reliable]
    return _over(d[reliable].sum(), errors.sum()), None


def _over(total: torch.Tensor, squares: torch.Tensor) -> float:
    return 0.0 if float(total) == 0 else float(total / squares.clamp(min=1e-300).sqrt())


def _single_images(old: Mapping[str, torch.Tensor], new: Estimate, rounding: float) -> list[str]:
    """A line where single images differ by more than their noise allows, of those whose weights have a variance."""
    if not {"iwll", "iwll_standard_error", "pareto_k"} <= set(old):
        return []
    sure = (old["pareto_k"] < FINITE) & (new.pareto_k < FINITE)
    error = (old["iwll_standard_error"].square() + new.standard_error.square()).sqrt()
    off = (new.estimate - old["iwll"]).abs() > ONE_IMAGE * error + rounding * _size(new)
    count = int((sure & off).sum())
    return [f"the iwll of {count} of its images differs by more than {ONE_IMAGE:g} standard errors"] if count else []


def _counted(record: Record, model: LatentModel, x: torch.Tensor, evaluation: Evaluation) -> list[str]:
    """A line for each count that is not that of the weights. Active units depend on rounding in coarser precisions."""
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    options = dict(record.specification.metrics or ())
    if "active-units" in options and model.precision == "float32":
        found |= registry("metric")["active-units"].target(model, x, evaluation, **options["active-units"])
    said = {name: record.results[name] for name in found if name in record.results}
    return [
        f"its {name} is {said[name]}, and {found[name]} of its weights" for name in said if said[name] != found[name]
    ]
