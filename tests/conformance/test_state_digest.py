"""The digest of what a pass may leave: each change is named, and what does not change is not."""

import array
import collections
import contextvars
import itertools
import math
import os
import random

import pytest
import torch
from torch import nn

from vaezoo.conformance.state_digest import StateDigest

VARIABLE = contextvars.ContextVar("variable", default=0)
GLOBAL = {"h": torch.zeros(2)}


class Holder:
    __slots__ = ("kept",)


class Part(nn.Module):
    """Keeps something of every kind."""

    counted = [0]  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.count, self.inner, self.holder = 0, {"deep": [collections.deque([1])]}, Holder()
        self.holder.kept, self.numbers, self.places = 0.5, array.array("d", [1.0]), itertools.count()
        self.random, self.generator = random.Random(0), torch.Generator()
        value = 0

        def remember(add=0, kept=[0]):  # noqa: B006
            nonlocal value
            value += add
            kept[0] += add

        self.remember = remember


def default_of(part):
    part.remember(1)


CHANGES = {
    "part.mean": lambda part: part.mean.add_(1),
    "part.count": lambda part: setattr(part, "count", 1),
    "part.inner['deep'][0][0]": lambda part: (
        part.inner["deep"][0].rotate() or part.inner["deep"].__setitem__(0, collections.deque([2]))
    ),
    "part.holder.kept": lambda part: setattr(part.holder, "kept", 1.0),
    "part.numbers": lambda part: part.numbers.append(2.0),
    "part.places": lambda part: next(part.places),
    "part.random": lambda part: part.random.random(),
    "part.generator": lambda part: torch.rand((), generator=part.generator),
    "value in the closure of part.remember": default_of,
    "Part.counted[0]": lambda part: part.counted.__setitem__(0, part.counted[0] + 1),
    "test_state_digest.GLOBAL['h']": lambda part: GLOBAL["h"].add_(1),
    "test_state_digest.VARIABLE": lambda part: VARIABLE.set(VARIABLE.get() + 1),
    "torch's global generator": lambda part: torch.rand(()),
    "the generator of `random`": lambda part: random.random(),
    "os.environ['LEFT_BY_A_PART']": lambda part: os.environ.__setitem__("LEFT_BY_A_PART", "1"),
    "math.left_by_a_part": lambda part: setattr(math, "left_by_a_part", 1.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named(name):
    part = Part()
    before = StateDigest(part=part)
    assert before.changes(StateDigest(part=part)) == []
    try:
        CHANGES[name](part)
        changed = before.changes(StateDigest(part=part))
    finally:
        os.environ.pop("LEFT_BY_A_PART", None)
        vars(math).pop("left_by_a_part", None)
    assert any(each.startswith(name) for each in changed), changed


def test_what_a_function_computes_is_no_change():
    part = Part()
    before = StateDigest(part=part)
    _ = part.mean.exp().sum() + torch.distributions.Normal(part.mean, 1.0).log_prob(part.mean).sum()
    assert before.changes(StateDigest(part=part)) == []
