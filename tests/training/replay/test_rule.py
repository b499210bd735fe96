"""The replay rule: whose code may be replayed, what its source may do, and what a wrong declaration costs."""

import functools
import itertools
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from recorded_steps import assert_identical, dataset
from torch import nn

import vaezoo
from vaezoo import Objective
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core.errors import described
from vaezoo.training import loop as training
from vaezoo.training.loop import make_step, train, train_pack
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.comparison import ReplayDiffers
from vaezoo.training.replay.recorded_step import RecordedStep
from vaezoo.training.replay.rule import ReplayRule, first_store, replay_rule

OPTIONS = TrainingOptions(epochs=3, batch_size=60, learning_rate=1e-2)


def built(objective=None, seed=0, data=None):
    data = data or dataset()
    model, own = construct(resolve("vae", data.spec), Ingredients.of(data, 3, (8,)), seed=seed)
    return model, objective or own


@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_vaezoos_own_variants_are_replayed_and_not_watched(variant):
    for data in map(dataset, ("binary", "continuous", "counts")):
        try:
            pair = construct(resolve(variant, data.spec), Ingredients.of(data, 3, (8,)), seed=0)
        except vaezoo.Skip:
            continue
        assert replay_rule(*pair) == ReplayRule(None, False)


class Plain(Objective):
    def forward(self, draws):
        return draws.log_weight.mean(0)


class Declared(Plain):
    replayable = True


class Layer(nn.Module):
    def forward(self, x):
        return x


def test_a_part_from_outside_is_replayed_and_watched_where_it_declares_it():
    model, objective = built()
    assert replay_rule(model, Declared()) == ReplayRule(None, True)
    eager = f"objective {described(Plain)} does not declare replayable = True"
    assert replay_rule(model, Plain()) == ReplayRule(eager, False)
    model.decoder.net.append(Layer())
    eager = f"decoder {described(Layer)} does not declare replayable = True"
    assert replay_rule(model, objective) == ReplayRule(eager, False)


def test_functions_from_outside_on_vaezoos_own_modules_run_eagerly():
    for change in (
        lambda model: setattr(model.prior, "log_density", lambda z: -z.square().sum(-1)),
        lambda model: model.decoder.register_forward_hook(lambda module, inputs, result: result * 1.0),
        lambda model: setattr(model, "draw", lambda batch, samples: None),
        lambda model: model.decoder.register_forward_hook(partial(partial(scaled), by=1.0)),
        lambda model: setattr(model.decoder, "parameters_of", partial(scaled, by=1.0)),
        lambda model: model.decoder.register_forward_pre_hook(Hook()),
    ):
        model, objective = built()
        change(model)
        assert "does not declare replayable" in replay_rule(model, objective).reason


def scaled(module, inputs, result, by):
    return result * by


class Hook:
    """A hook that is no function."""

    def __call__(self, module, inputs):
        pass


def test_torchs_functions_on_vaezoos_modules_are_replayed():
    model, objective = built()
    model.decoder.register_forward_pre_hook(partial(torch.is_tensor))
    assert replay_rule(model, objective) == ReplayRule(None, False)


calls = 0
TABLE = [0]


def counted():
    global calls
    calls += 1
    return 1.0


def quiet(x):
    total = 0
    total += x
    parts = [total]
    parts.append(x)
    return sum(parts)


@dataclass
class Ramp:
    """Counts in a plain object."""

    made: int = 0

    def beta(self):
        self.made += 1
        return 1.0


def closure():
    made = 0

    def count():
        nonlocal made
        made += 1
        return made

    return count


def decorated(function):
    @functools.wraps(function)
    def run(*given):
        return function(*given)

    return run


class Stores:
    def attribute(self, draws):
        self.calls = 1

    def augmented(self, draws):
        self.calls += 1

    def subscript(self, draws):
        TABLE[0] = 1

    def deletes(self, draws):
        del self.calls

    def annotated(self, draws):
        self.calls: int = 1

    def loops(self, draws):
        for self.place in (1, 2):
            pass

    def unpacks(self, draws):
        _, self.calls = 1, 2

    def calls_setattr(self, draws):
        setattr(self, "calls", 1)  # noqa: B010

    def appends(self, draws):
        self.kept.append(1)

    def through_a_global(self, draws):
        return counted()

    def through_an_object(self, draws):
        return Ramp().beta()

    def through_a_closure(self, draws):
        return closure()()

    def in_a_lambda(self, draws):
        return (lambda: self.kept.pop())()

    @property
    def of_a_property(self):
        self.calls = 1
        return 1

    @staticmethod
    def static(draws):
        draws.calls = 1

    @decorated
    def behind_a_decorator(self, draws):
        self.calls = 1


@pytest.mark.parametrize("name", [name for name in vars(Stores) if not name.startswith("__")])
def test_each_kind_of_store_is_found(name):
    kind = type("One", (), {name: vars(Stores)[name], "__module__": __name__})
    assert first_store([kind]).startswith("stores to ")
    assert "(test_rule.py:" in first_store([kind])


class Allowed:
    """All that may be done, and what runs outside the pass."""

    def __init__(self, draws):
        self.calls, TABLE[0] = 1, 2

    def update(self, draws):
        self.mean = 1.0

    def refit(self, images):
        self.mean[0] = 1.0

    def forward(self, draws):
        total = quiet(1) + next(iter([1])) + math_of(draws)
        values = {name: 2 * value for name, value in (("a", total),)}
        return values["a"] if (kept := total) else -kept


def math_of(value):
    return torch.exp(torch.as_tensor(1.0)) + itertools.count(3).__sizeof__()


def test_local_names_may_be_stored_to():
    assert first_store([Allowed]) is None


def test_code_without_source_is_not_replayed():
    scope = {"__name__": "mine"}
    exec(compile("class Made:\n    def forward(self):\n        return 1", "<nowhere>", "exec"), scope)
    assert first_store([scope["Made"]]) == "cannot be read: there is no source of forward (<nowhere>)"


def test_the_templates_are_replayed(own_registry, tmp_path):
    from vaezoo.cli.scaffold import new_plugin

    for slot in ("encoder", "posterior", "prior", "decoder", "likelihood", "objective"):
        path = new_plugin(slot, f"template-{slot}", tmp_path / f"{slot}.py")
        own_registry.load_file(path)
        target = vaezoo.registry.registry(slot)[f"template-{slot}"].target
        assert target.replayable
        assert first_store([target]) is None


class Sly(Objective):
    """A wrong declaration that reading the source does not find: from the call `late` on it gives other values."""

    replayable = True

    def __init__(self, late=10):
        super().__init__()
        self.kept, self.late = itertools.count(), late

    def forward(self, draws):
        return draws.log_weight.mean(0) * (1.0 if self.kept.__next__() < self.late else 0.5)


def weights(*modules):
    return [value.clone() for module in modules for value in module.state_dict().values()]


def eagerly(monkeypatch):
    for name in ("make_step", "make_packed_step"):
        monkeypatch.setattr(training, name, partial(forced, getattr(training, name)))


def forced(make, *given, **more):
    return make(*given, **{**more, "eager": True})


def test_a_wrong_declaration_is_found_and_the_cell_is_trained_again_eagerly(monkeypatch):
    """From the same initial weights and the same Python state: as if no step had been replayed."""
    data = dataset()
    model, objective = built(Sly(6), data=data)
    with pytest.warns(vaezoo.VaezooWarning, match="^trained again, eagerly: a replay gives other numbers"):
        outcome = train(model, objective, data, OPTIONS)
    twin, other = built(Sly(6), data=data)
    eagerly(monkeypatch)
    expected = train(twin, other, data, OPTIONS)
    assert [p.objective for p in outcome.history] == [p.objective for p in expected.history]
    assert_identical(weights(model), weights(twin))


def test_a_pack_whose_replays_differ_is_trained_again_eagerly(monkeypatch):
    data, check, made = dataset(), RecordedStep.checked, []

    def differs(step):
        check(step)
        made.append(step)
        if len(made) == 2:
            raise ReplayDiffers("told so")

    def trained():
        pairs = [built(Sly(10**6), seed, data) for seed in (0, 1)]
        train_pack(*zip(*pairs, strict=True), data, OPTIONS, seeds=(0, 1))
        return weights(*(module for pair in pairs for module in pair))

    with monkeypatch.context() as patch:
        patch.setattr(RecordedStep, "checked", differs)
        with pytest.warns(vaezoo.VaezooWarning, match="^trained again, eagerly: told so$"):
            found = trained()
    eagerly(monkeypatch)
    assert_identical(found, trained())


@pytest.mark.parametrize("declared", [True, False])
def test_one_random_step_of_every_epoch_is_compared(monkeypatch, declared):
    data, checked = dataset(), []
    step = make_step(*built(Declared() if declared else None, data=data), data, OPTIONS, 0)
    original = RecordedStep.checked
    monkeypatch.setattr(RecordedStep, "checked", lambda own: (checked.append((epoch, step._next)), original(own))[1])
    for epoch in range(1, 9):
        step.start_epoch(training.epoch_order(600, 60, 0, epoch))
        for _ in range(10):
            step()
    assert [number for number, _ in checked] == list(range(1, 9)) * declared
    assert not declared or len({place for _, place in checked}) > 3


def test_a_model_that_cannot_be_copied_runs_eagerly():
    class Holds(Declared):
        def __init__(self):
            super().__init__()
            self.kept = (n for n in (1, 2))

    data = dataset()
    with pytest.warns(vaezoo.VaezooWarning, match="^runs eagerly: the model cannot be copied .*generator"):
        train(*built(Holds(), data=data), data, OPTIONS)


CASE = '''
import vaezoo


class Ramp:
    def __init__(self):
        self.calls = 0

    def beta(self):
        self.calls += 1
        return 0.0 if self.calls <= 20 else 1.0


@vaezoo.register.objective("anneal-in-python")
class Annealed(vaezoo.Objective):
    """E[log p(x|z)] - beta KL."""
{declares}
    def __init__(self):
        super().__init__()
        self.ramp = Ramp()

    def forward(self, draws):
        return draws.log_likelihood.mean(0) - self.ramp.beta() * draws.kl_estimate
'''


@pytest.mark.parametrize(
    ("declares", "why"),
    [("", "does not declare replayable = True"), ("    replayable = True\n", r"stores to self.calls \(anneal.py:10\)")],
)
def test_an_objective_that_anneals_in_python_trains_as_the_eager_run_does(
    own_registry, tmp_path, monkeypatch, declares, why
):
    path = tmp_path / "anneal.py"
    path.write_text(CASE.replace("{declares}", declares))
    own_registry.load_file(path)
    kind, data = vaezoo.registry.registry("objective")["anneal-in-python"].target, dataset()
    model, objective = built(kind(), data=data)
    with pytest.warns(vaezoo.VaezooWarning, match=rf"^runs eagerly: objective Annealed \(anneal.py:\d+\) {why}$"):
        train(model, objective, data, OPTIONS)
    twin, other = built(kind(), data=data)
    eagerly(monkeypatch)
    train(twin, other, data, OPTIONS)
    assert objective.ramp.calls == other.ramp.calls == 30
    assert_identical(weights(model), weights(twin))
