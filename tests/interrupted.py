"""Trainings that are stopped at a chosen step and go on in fresh models, from a file in memory."""

import pytest
import torch

from vaezoo.training import loop
from vaezoo.training.checkpoint import Checkpoint, CheckpointClock, Interrupted


class MemoryFile:
    """A checkpoint's file, without a disk."""

    def __init__(self, content=None):
        self.content = content

    def read(self, most):
        return self.content

    def write(self, content):
        self.content = content


class StopsAfter(CheckpointClock):
    """Requests a stop so that this many steps are taken."""

    def __init__(self, steps):
        super().__init__(seconds=1e9)
        self.steps = steps

    def is_due(self):
        self.steps -= 1
        if self.steps == 0:
            self.request_stop()
        return super().is_due()


def checkpoint(files, clock=None, warned=None, seeds=(3,), **changes):
    facts = {"keys": [f"key {seed}" for seed in seeds], "seeds": list(seeds), "device": "cpu", **changes}
    return Checkpoint(files, clock=clock or StopsAfter(0), warned=[] if warned is None else warned, **facts)


class Training:
    """One kind of training. make: (data, seed) -> (model, objective)."""

    def __init__(self, make, data, options, seeds=(3,)):
        self.make, self.data, self.options, self.seeds = make, data, options, seeds

    def run(self, own=None):
        """Train fresh models to the end, with a checkpoint or without one; all that may differ."""
        pairs = [self.make(self.data, seed) for seed in self.seeds]
        made = []
        with pytest.MonkeyPatch.context() as patch:
            for name in ("make_step", "make_packed_step"):
                original = getattr(loop, name)
                patch.setattr(
                    loop, name, lambda *a, original=original, **k: (made.append(original(*a, **k)), made[-1])[1]
                )
            models, objectives = zip(*pairs, strict=True)
            if len(pairs) > 1:
                more = {"seeds": self.seeds, "checkpoint": own}
                outcomes = loop.train_pack(models, objectives, self.data, self.options, **more)
            else:
                more = {"seed": self.seeds[0], "checkpoint": own}
                outcomes = [loop.train(*pairs[0], self.data, self.options, **more)]
        return everything(pairs, outcomes, made[-1] if made else None)

    def stopped(self, files, steps, **more):
        """Train until the stop."""
        with pytest.raises(Interrupted) as stop:
            self.run(checkpoint(files, StopsAfter(steps), seeds=self.seeds, **more))
        return str(stop.value)

    def files(self):
        return [MemoryFile() for _ in self.seeds]

    def resumed(self, files, **more):
        return self.run(checkpoint(files, seeds=self.seeds, **more))


def everything(pairs, outcomes, step):
    """What two trainings may differ in: weights of the best epochs, a list for each seed; histories without seconds,
    or why a seed diverged; and the last state of the step: all its tensors, those of the optimiser, and its count.
    """
    weights = [
        [] if isinstance(outcome, Exception) else [value.clone() for value in model.state_dict().values()]
        for (model, _), outcome in zip(pairs, outcomes, strict=True)
    ]
    curves = [
        str(each)
        if isinstance(each, Exception)
        else (each.best_epoch, each.best_iwll, [(e.epoch, e.objective, e.validation_iwll) for e in each.history])
        for each in outcomes
    ]
    return weights, curves, [] if step is None else last_state(step)


def last_state(step):
    adam = [step.optimizer.state.get(p, {}) for p in step.groups["all"]]
    moments = [own[name] for own in adam for name in sorted(own)]
    return [*step.groups["all"], *step._buffers.values(), *moments, step.values, torch.tensor(step.count)]


def assert_same(found, expected, trained=False):
    """trained: only what is known of a training that was not done again."""
    assert found[1] == expected[1]
    one, other = ([tensor for own in each[0] for tensor in own] for each in (found, expected))
    if not trained:
        one, other = one + found[2], other + expected[2]
    assert len(one) == len(other) > 0
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(one, other, strict=True))
