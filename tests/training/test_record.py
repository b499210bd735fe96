"""A replayed step leaves what the eager one leaves, to the last bit; where it would not, it runs eagerly, and why."""

import copy
import warnings

import pytest
import torch
from torch import nn

import vaezoo
from vaezoo import Objective
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import Skip, VaezooWarning
from vaezoo.training.record import CHECKS, WARM_UP, Recorded
from vaezoo.training.train import Settings, make_packed_step, make_step
from vaezoo.training.trainee import Trainee

SETTINGS = Settings(epochs=2, batch_size=10, kl_warmup=0.5, schedule="cosine", gradient_clip=1.0)
STEPS = WARM_UP + 1 + CHECKS + 4
CONV = {"encoder": ("conv", {"channels": (4, 6), "width": 8}), "decoder": ("conv", {"channels": (6, 4)})}


def dataset(measure="binary", n=600):
    x = torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    if measure != "binary":
        return vaezoo.Dataset(x, x[:20], x[:20], measure)
    gray = (255 * x).round().to(torch.uint8)
    binary = (gray[:20] > 127).to(torch.uint8)
    return vaezoo.Dataset(gray, binary, binary, "binary", binarisation="dynamic")


def made(data, seeds=1, variant="vae", nets=None, objective=None):
    pairs = [
        construct(resolve(variant, data.spec, nets or {}), Ingredients.of(data, 3, (8,)), seed=s) for s in range(seeds)
    ]
    pairs = [(model, objective() if objective else own) for model, own in pairs]
    if seeds == 1:
        return make_step(*pairs[0], data, SETTINGS, 0)
    return make_packed_step(*zip(*pairs, strict=True), data, SETTINGS, range(seeds))


def state_after(step, eager=False, steps=STEPS):
    """Everything that steps leave: parameters, buffers, what the optimiser keeps, the objective of each step."""
    if eager:
        step._run = step._step
    order = torch.stack([torch.randperm(100, generator=torch.Generator().manual_seed(n)) for n in range(steps)])
    torch.manual_seed(0)
    for index in order[:, : 10 * step.key.numel()].view(steps, *step.key.shape, 10):
        step(index)
    trainees = [step.trainee] if isinstance(step.trainee, Trainee) else step.trainee.trainees
    kept = [tensor for one in trainees for tensor in (*one.parameters(), *one.buffers())]
    kept += [tensor for own in step.optimizer.state.values() for tensor in own.values()]
    return [tensor.detach().clone() for tensor in (*kept, step.values)]


def assert_identical(one, other):
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("nets", ["declared", "conv"])
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_replays_are_the_eager_steps(variant, seeds, nets, monkeypatch):
    try:
        recorded, eager = (made(dataset(), seeds, variant, CONV if nets == "conv" else None) for _ in range(2))
    except Skip:
        recorded, eager = (made(dataset("continuous"), seeds, variant) for _ in range(2))
    calls, run = [], recorded._step
    recorded._run.function = lambda index: (calls.append(1), run(index))
    assert_identical(state_after(recorded), state_after(eager, eager=True))
    assert len(calls) == WARM_UP + 1 + CHECKS


class Layered(Objective):
    """Has a layer of its own between the likelihood and its value."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, draws):
        return self.layer(draws.log_weight.mean(0)[:, None])[:, 0] / 100


class Generator(nn.Module):
    """Random numbers of its own."""

    def __init__(self):
        super().__init__()
        self.own = torch.Generator().manual_seed(5)

    def forward(self, value):
        return value * torch.rand((), generator=self.own)


class Begins(nn.Module):
    """A number in the code that is added to in place: it begins anew at each call."""

    def forward(self, value):
        total = torch.tensor(0.0)
        total += value.detach().sum()
        return value * total.cos()


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm1d(1), lambda: nn.Dropout(0.5), Begins, Generator])
def test_buffers_random_numbers_and_constants_of_the_code_are_replayed(layer):
    recorded, eager = (made(dataset(), objective=lambda: Layered(layer())) for _ in range(2))
    assert_identical(state_after(recorded), state_after(eager, eager=True))
    assert recorded._run.replay is not None


class Looks(nn.Module):
    def forward(self, value):
        return value if float(value.detach().sum()) < 0 else 2 * value


class Counts(nn.Module):
    """Changes its mind late, long after any comparison."""

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
    """Keeps a count where nobody looks, and every step depends on it."""

    def __init__(self):
        super().__init__()
        self.kept = (n for n in range(1, 1000))

    def forward(self, value):
        return value * next(self.kept)


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
        (Looks, "it looks at a value (item(), float(), an if)"),
        (Counts, "it changes Counts.calls in Python: keep it in a buffer, changed in place"),
        (Lists, "it changes Lists.seen in Python: keep it in a buffer, changed in place"),
        (Replaces, "it changes objective.layer.mean in Python: keep it in a buffer, changed in place"),
        (Hidden, "a replay gives other numbers: is something kept from step to step outside tensors?"),
        (Numpy, "it looks at a value (item(), float(), an if)"),
        (Equal, "it looks at a value (item(), float(), an if)"),
        (Mask, "a shape depends on values (aten::index.Tensor, a mask)"),
        (Table, "it changes Table.kept in Python: keep it in a buffer, changed in place"),
        (Attribute, "it changes Attribute.mean in Python: keep it in a buffer, changed in place"),
        (Data, "it changes objective.layer.weight in Python: keep it in a buffer, changed in place"),
        (Reshapes, "it changes a tensor's shape in place (aten::unsqueeze_)"),
        (Sparse, "it uses a sparse tensor"),
        (Seeds, "a replay gives other numbers: is something kept from step to step outside tensors?"),
    ],
)
def test_what_a_replay_would_get_wrong_runs_eagerly_and_is_said_once(layer, why):
    recorded, eager = (made(dataset(), objective=lambda: Layered(layer())) for _ in range(2))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = state_after(recorded)
    assert [(w.category, str(w.message)) for w in said] == [
        (VaezooWarning, f"the training step is not replayed but run eagerly: {why}")
    ]
    assert_identical(found, state_after(eager, eager=True))


def test_an_operation_that_cannot_be_repeated_is_said():
    calls, table, total = iter(range(10)), torch.ones(2), torch.zeros(1)

    def looks_up(value):
        total.add_(table.index_select(0, value) if next(calls) <= WARM_UP else 5)

    recorded = Recorded(looks_up)
    for _ in range(WARM_UP + 1):
        recorded(torch.zeros(1, dtype=torch.int64))
    with pytest.warns(VaezooWarning, match="run eagerly: an operation cannot be repeated: index out of range"):
        recorded(torch.full((1,), 9))
    recorded(torch.full((1,), 9))
    assert total.tolist() == [3 + 5 + 5]


def test_an_operation_that_only_raises_is_replayed():
    total = torch.zeros(2, 2)

    def factorises(value):
        total.add_(torch.linalg.cholesky(value))

    recorded = Recorded(factorises)
    for _ in range(WARM_UP + 1 + CHECKS + 1):
        recorded(torch.eye(2))
    with pytest.raises(RuntimeError, match="not positive-definite"):
        recorded(-torch.eye(2))


def test_a_result_of_what_was_there_and_what_is_new():
    kept, total = torch.zeros(()), torch.zeros((), dtype=torch.int64)

    def finds(value):
        _, place = torch.max(value, 0, out=(kept, torch.zeros((), dtype=torch.int64)))
        total.add_(place)

    recorded = Recorded(finds)
    for n in range(WARM_UP + 1 + CHECKS + 2):
        recorded(torch.tensor([0.0, 0.0, 1.0 + n]))
    assert recorded.replay is not None
    assert float(kept) == 1.0 + n
    assert int(total) == 2 * (n + 1)


def test_what_nobody_reads_is_left_out():
    total, unread = torch.zeros(()), []

    def adds(value):
        unread.append(value.exp().log().sum())
        total.add_((2 * value).detach().sum())

    recorded = Recorded(adds)
    for _ in range(WARM_UP + 1 + CHECKS + 3):
        recorded(torch.ones(3))
    assert recorded.replay.operations == 3  # a product, a sum, an addition
    assert float(total) == 6 * (WARM_UP + 1 + CHECKS + 3)
    assert len(unread) == WARM_UP + 1 + CHECKS


class Transposed(Objective):
    """Its gradient comes with the strides of another layout, as it does in a pack."""

    def __init__(self, groups):
        super().__init__()
        self.weight, self.groups = nn.Parameter(torch.arange(6.0).view(2, 3) / 10), groups

    def forward(self, draws):
        value = draws.log_weight.mean(0)
        own = value + nn.functional.linear(torch.arange(20.0).view(10, 2).sin(), self.weight.T).square().sum(-1).neg()
        return {"inference": value, "generative": value, "own": own} if self.groups else own


@pytest.mark.parametrize("groups", [False, True])
def test_the_optimiser_reads_each_gradient_in_its_parameters_layout(groups):
    """The fused Adam goes through memory as it lies."""
    step = made(dataset(), objective=lambda: Transposed(groups))
    weight = step.trainee.objective.weight
    expected = copy.deepcopy(weight)
    plain = torch.optim.Adam([expected], lr=1e-3)
    step.varying, step.gradient_clip = False, None
    for _ in range(STEPS):
        plain.zero_grad()
        nn.functional.linear(torch.arange(20.0).view(10, 2).sin(), expected.T).square().sum(-1).mean().backward()
        plain.step()
        step(torch.arange(10))
    torch.testing.assert_close(weight, expected, rtol=1e-6, atol=1e-6)
