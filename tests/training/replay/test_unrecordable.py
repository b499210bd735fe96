"""A step that a replay would compute wrongly runs eagerly, and a warning says why."""

import warnings

import pytest
import torch
from recorded_steps import STEPS, Layered, assert_identical, dataset, made, state_after
from torch import nn

from vaezoo.core.errors import VaezooWarning, described
from vaezoo.training.replay.recorded_step import WARM_UP, RecordedStep


class Looks(nn.Module):
    def forward(self, value):
        return value if float(value.detach().sum()) < 0 else 2 * value


class Counts(nn.Module):
    """Gives other values from a step on that comes long after the comparisons."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, value):
        self.calls += 1
        return value if self.calls < STEPS else 2 * value


class Lists(Counts):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, value):
        self.seen.append(1)
        return value if len(self.seen) < STEPS else 2 * value


class Replaces(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, value):
        self.mean = 0.9 * self.mean + 0.1 * value.detach().mean()
        return value


class Hidden(nn.Module):
    """Keeps a count in a generator."""

    def __init__(self):
        super().__init__()
        self.kept = (n for n in range(1, 1000))

    def forward(self, value):
        return value * next(self.kept)


class Unseen(nn.Module):
    """Keeps a count where the rule does not look, and every step depends on it."""

    def __init__(self):
        super().__init__()
        self.kept = iter(range(1, 1000))

    def forward(self, value):
        return value * self.kept.__next__()


class Numpy(nn.Module):
    """Leaves torch."""

    def forward(self, value):
        return value * torch.from_numpy(abs(value.detach().numpy()))


class Equal(nn.Module):
    def forward(self, value):
        return value if torch.equal(value, value.abs()) else 2 * value


class Mask(nn.Module):
    """How many it takes depends on the values."""

    def forward(self, value):
        return value + 0 * value[value < value.mean()].sum()


class Table(Counts):
    """Counts in a dictionary in a list."""

    def __init__(self):
        super().__init__()
        self.kept = [{"calls": 0}]

    def forward(self, value):
        self.kept[0]["calls"] += 1
        return value if self.kept[0]["calls"] < STEPS else 2 * value


class Attribute(nn.Module):
    """A running mean that is no buffer."""

    def __init__(self):
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, value):
        self.mean = 0.9 * self.mean + 0.1 * value.detach().mean()
        return value


class Data(nn.Module):
    """Another place for a parameter's numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, value):
        self.weight.data = self.weight.data.clamp(-5, 5)
        return value * self.weight


class Reshapes(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(1))

    def forward(self, value):
        return value * self.scale.detach().unsqueeze_(0)[0]


class Sparse(nn.Module):
    def forward(self, value):
        return value + 0 * torch.eye(len(value)).to_sparse().matmul(value)


class Seeds(nn.Module):
    """Random numbers that begin anew at each call, beside torch's own."""

    def forward(self, value):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return value + torch.rand(())


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Looks, "it reads a value (item(), float(), an if)"),
        (Counts, "stores to self.calls (test_unrecordable.py:"),
        (Lists, "stores to self.seen (test_unrecordable.py:"),
        (Replaces, "stores to self.mean (test_unrecordable.py:"),
        (Hidden, "stores to self.kept (test_unrecordable.py:"),
        (Unseen, "a replay gives other numbers: is something kept from step to step outside tensors?"),
        (Numpy, "it reads a value (item(), float(), an if)"),
        (Equal, "it reads a value (item(), float(), an if)"),
        (Mask, "a shape depends on values (aten::index.Tensor, a mask)"),
        (Table, "stores to self.kept[0]['calls'] (test_unrecordable.py:"),
        (Attribute, "stores to self.mean (test_unrecordable.py:"),
        (Data, "stores to self.weight.data (test_unrecordable.py:"),
        (Reshapes, "it changes a tensor's shape in place (aten::unsqueeze_)"),
        (Sparse, "it uses a sparse tensor"),
        (Seeds, "a replay gives other numbers: is something kept from step to step outside tensors?"),
    ],
)
def test_what_a_replay_would_get_wrong_runs_eagerly_and_is_warned_of_once(layer, why):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = state_after(made(dataset(), objective=lambda: Layered(layer())))
    eager = made(dataset(), objective=lambda: Layered(layer()))
    [(category, text)] = [(w.category, str(w.message)) for w in warned]
    start = "the training step is not replayed but run eagerly:"
    if why.startswith("stores"):
        start = f"runs eagerly: objective {described(Layered)}"
    assert category is VaezooWarning
    assert text.startswith(f"{start} {why}")
    assert_identical(found, state_after(eager, eager=True))


def test_an_operation_that_cannot_be_repeated_is_warned_of():
    calls, table, total, place = iter(range(10)), torch.ones(2), torch.zeros(1), torch.zeros(1, dtype=torch.int64)

    def looks_up():
        total.add_(table.index_select(0, place) if next(calls) <= WARM_UP else 5)

    recorded = RecordedStep(looks_up)
    for _ in range(WARM_UP + 1):
        recorded()
    place.fill_(9)
    with pytest.warns(VaezooWarning, match="run eagerly: an operation cannot be repeated: index out of range"):
        recorded()
    recorded()
    assert total.tolist() == [3 + 5 + 5]
