"""The state of a training: everything that it goes on from to the same numbers, as tensors and JSON values."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from vaezoo.training.seed_run import Diverged, EpochResult, SeedRun
from vaezoo.training.step import TrainingStep

T = TypeVar("T")
ADAM = ("step", "exp_avg", "exp_avg_sq")


class Unusable(Exception):
    """Training cannot go on from a saved state; the message says why."""


@dataclass(frozen=True)
class SavedState:
    """A state of training. tensors: on the CPU, by name. facts: JSON values by name."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    @property
    def is_trained(self) -> bool:
        """Whether training has ended, so that only the best weights and the history are here."""
        return self.facts.get("stage") == "trained"


@dataclass(frozen=True)
class Place:
    """Where training goes on: at the step after `values` [steps, ...], the objectives of this epoch's first steps.

    seconds: in training steps so far, each seed's share.
    """

    epoch: int = 1
    values: Tensor | None = None
    seconds: float = 0.0


def current_state(step: TrainingStep, runs: Sequence[SeedRun], epoch: int, seconds: float) -> SavedState:
    """The state between two steps of an epoch."""
    adam = {name: step.optimizer.state[p] for name, p in step.module.named_parameters() if step.optimizer.state.get(p)}
    live = dict(_module_tensors(step))
    live |= {f"adam.{part}.{name}": own[part] for name, own in adam.items() for part in ADAM}
    live |= {"values": step.values_so_far, **_generators(step.device)}
    for run in runs:
        live |= {f"best.{run.place}.{name}": value for name, value in (run.best_weights or {}).items()}
    facts = {"stage": "training", "epoch": epoch, "seconds": seconds, "adam": list(adam)}
    return SavedState(_copied(live), {**facts, "runs": [_facts_of(run) for run in runs]})


def trained_state(run: SeedRun) -> SavedState:
    """The state of one seed after its last epoch."""
    best = {f"best.0.{name}": value for name, value in (run.best_weights or {}).items()}
    return SavedState(_copied(best), {"stage": "trained", "runs": [_facts_of(run)]})


def restore(saved: SavedState, step: TrainingStep, runs: Sequence[SeedRun]) -> Place:
    """Put a step and its runs, which are as before training, into a saved state; where training goes on.

    Raises Unusable before anything has changed.
    """
    facts, found = saved.facts, saved.tensors
    epoch = _whole(facts, "epoch", 1, runs[0].options.epochs)
    seconds = _number(facts.get("seconds"))
    parameters = {name: p for name, p in step.module.named_parameters() if p.requires_grad}
    adam = list_of(facts, "adam", str)
    if len(set(adam)) < len(adam) or not set(adam) <= set(parameters):
        raise Unusable("it lists other parameters")
    values = found.get("values")
    if values is None or values.dim() != step.values.dim() or len(values) > len(step.values):
        raise Unusable("its epoch is not of these steps")
    wanted: dict[str, Tensor] = dict(_module_tensors(step))
    wanted |= {"values": step.values[: len(values)], **_generators(step.device)}
    for name in adam:
        own = (torch.zeros((), dtype=torch.float32), parameters[name], parameters[name])
        wanted |= {f"adam.{part}.{name}": tensor for part, tensor in zip(ADAM, own, strict=True)}
    wanted |= _checked_runs(facts, runs, epoch)
    _check(found, wanted)
    _check_generators(found, step.device)
    with torch.no_grad():
        for title, tensor in _module_tensors(step):
            tensor.copy_(found[title])
        counts: dict[float, Tensor] = {}  # parameters share a count; Adam parts those that it moves in turn
        for name in adam:
            count = found[f"adam.step.{name}"]
            own_count = counts.setdefault(float(count), count.to(step.device, copy=True))
            step.optimizer.state[parameters[name]] = {"step": own_count} | {
                part: torch.zeros_like(parameters[name]).copy_(found[f"adam.{part}.{name}"]) for part in ADAM[1:]
            }
    _set_generators(found, step.device)
    for run, own_facts in zip(runs, facts["runs"], strict=True):
        _restore_run(run, own_facts, found, run.place)
    step.count = (epoch - 1) * len(step.values)
    return Place(epoch, values, seconds)


def restore_trained(saved: Sequence[SavedState], runs: Sequence[SeedRun]) -> None:
    """Put each run, which is as before training, into its own state after training. Raises Unusable before anything has
    changed.
    """
    for state, run in zip(saved, runs, strict=True):
        _check(state.tensors, _checked_runs(state.facts, [run], None))
    for state, run in zip(saved, runs, strict=True):
        _restore_run(run, state.facts["runs"][0], state.tensors, 0)


def _module_tensors(step: TrainingStep) -> Iterable[tuple[str, Tensor]]:
    """The parameters and buffers of a step's module, by their names in a state."""
    for name, tensor in (*step.module.named_parameters(), *step.module.named_buffers()):
        yield f"module.{name}", tensor


def _copied(live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in live.items()}


def _generators(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's own generators, from which a plugin may draw."""
    cuda = {"generator.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"generator.cpu": torch.get_rng_state(), **cuda}


def _check_generators(found: Mapping[str, Tensor], device: torch.device) -> None:
    try:
        for title in _generators(device):
            torch.Generator(device if title == "generator.cuda" else "cpu").set_state(found[title])
    except (RuntimeError, TypeError):
        raise Unusable("it holds no state of a random generator") from None


def _set_generators(found: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(found["generator.cpu"])
    if "generator.cuda" in found:
        torch.cuda.set_rng_state(found["generator.cuda"], device)


def _facts_of(run: SeedRun) -> dict[str, Any]:
    return {
        "history": [[each.objective, each.validation_iwll, each.seconds] for each in run.training.history],
        "best_epoch": run.training.best_epoch,
        "refit_seconds": run.refit_seconds,
        "failure": None if run.failure is None else str(run.failure),
        "ended": run.ended,
    }


def _restore_run(run: SeedRun, facts: Mapping[str, Any], found: Mapping[str, Tensor], place: int) -> None:
    training, epochs = run.training, run.options.epochs
    training.history = [EpochResult(number, epochs, *row) for number, row in enumerate(facts["history"], 1)]
    training.seconds = training.history[-1].seconds if training.history else 0.0
    training.best_epoch = facts["best_epoch"]
    run.refit_seconds, run.ended = facts["refit_seconds"], facts["ended"]
    run.failure = None if facts["failure"] is None else Diverged(facts["failure"])
    if training.best_epoch:
        best = training.history[training.best_epoch - 1].validation_iwll
        assert best is not None  # `_checked_runs`
        training.best_iwll = best
        own = run.model.state_dict()
        run.best_weights = {name: found[f"best.{place}.{name}"].to(value.device) for name, value in own.items()}


def _checked_runs(facts: Mapping[str, Any], runs: Sequence[SeedRun], epoch: int | None) -> dict[str, Tensor]:
    """Check what a state says of each run in this epoch, or (None) after training; tensors like the best weights that
    must be with it. Raises Unusable.
    """
    given = list_of(facts, "runs", dict)
    if len(given) != len(runs):
        raise Unusable("it is not of these seeds")
    wanted: dict[str, Tensor] = {}
    for place, (own, run) in enumerate(zip(given, runs, strict=True)):
        history, failure, ended = list_of(own, "history", list), own.get("failure"), own.get("ended")
        if any(len(row) != 3 for row in history) or len(history) > run.options.epochs:
            raise Unusable("its history is not of these epochs")
        validated = [iwll for _, iwll, _ in history if iwll is not None]
        others = [each for objective, _, seconds in history for each in (objective, seconds)]
        for number in (own.get("refit_seconds"), *validated, *others):
            _number(number)
        best = _whole(own, "best_epoch", 0, len(history))
        if best and history[best - 1][1] is None:
            raise Unusable("its best epoch was not validated")
        if not (failure is None or type(failure) is str) or type(ended) is not bool or (failure and not ended):
            raise Unusable("it does not say how a seed has ended")
        if epoch is None and not (best or failure):
            raise Unusable("it has no best epoch")
        if epoch is not None and (len(history) >= epoch if ended else len(history) != epoch - 1):
            raise Unusable("its history is not of these epochs")
        if best:
            wanted |= {f"best.{place}.{name}": value for name, value in run.model.state_dict().items()}
    if epoch is not None and all(own["ended"] for own in given):
        raise Unusable("all its seeds have ended")
    return wanted


def _check(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise Unusable where the tensors found have other names, shapes or dtypes than those wanted."""
    for name in (*wanted, *found):
        if name not in found or name not in wanted:
            raise Unusable(f"it has {'no' if name in wanted else 'an unknown'} tensor {name[:100]!r}")
        one, other = found[name], wanted[name]
        if (one.shape, one.dtype) != (other.shape, other.dtype):
            expected, came = (f"{list(each.shape)} of {each.dtype}" for each in (other, one))
            raise Unusable(f"its tensor {name!r} must be {expected}, got {came}")


def list_of(facts: Mapping[str, Any], name: str, kind: type[T]) -> list[T]:
    """The list of values of this very type under a name. Raises Unusable where something else is there."""
    values = facts.get(name)
    if type(values) is not list or not all(type(each) is kind for each in values):
        raise Unusable(f"its {name} must be a list of {kind.__name__}")
    return values


def _whole(facts: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = facts.get(name)
    if type(value) is not int or not least <= value <= most:
        raise Unusable(f"its {name} must be a whole number in {least}..{most}")
    return value


def _number(value: Any) -> float:
    if type(value) is not float or not math.isfinite(value):
        raise Unusable("it holds something else in place of a number")
    return value
