"""Groups of parameters: each value of an objective moves its own group, by its own gradient, and no other."""

from dataclasses import replace

import pytest
import torch
from small_models import dataset, pair
from torch import nn

from vaezoo import Objective, VaezooError, noise
from vaezoo.training.loop import epoch_order, make_packed_step, make_step, packed_order, train
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.schedules import learning_rates
from vaezoo.training.seed_run import Diverged
from vaezoo.training.step import GROUPS, TrainingStep, parameter_groups


class Grouped(Objective):
    """Values for the groups named, with parameters of its own."""

    def __init__(self, *groups):
        super().__init__()
        self.groups, self.own = groups, nn.Linear(2, 1)

    def forward(self, draws):
        value = draws.log_weight.mean(0)
        every = {
            "inference": value,
            "generative": 2 * value,
            "own": -self.own(draws.z[0].detach()).square().mean((0, 2)),
        }
        return {group: every[group] for group in self.groups}


@pytest.mark.parametrize(
    "groups",
    [("inference",), ("generative",), ("own",), ("inference", "generative"), ("inference", "generative", "own")],
)
def test_a_value_moves_only_its_own_group(groups):
    data = dataset()
    model, _ = pair(data, prior="mixture")
    objective = Grouped(*groups)
    step = make_step(model, objective, data, TrainingOptions(batch_size=20), 0)
    before = {name: p.detach().clone() for name, p in step.module.named_parameters()}
    step.start_epoch(torch.arange(20)[None])
    step()
    for name, parameter in step.module.named_parameters():
        moves = any(name.startswith(GROUPS[group]) for group in groups)
        assert torch.equal(parameter, before[name]) != moves, name


def test_each_group_has_the_gradient_of_its_own_value():
    data = dataset()
    model, _ = pair(data)
    module = TrainingModule(model, Grouped("inference", "generative"))
    step = TrainingStep(module, data.train, TrainingOptions(batch_size=20))
    step.start_epoch(torch.arange(20)[None])
    step()
    twin, own = pair(data, objective=Grouped("inference"))
    with noise.stream(noise.mix(step.key), index=torch.arange(20)):
        draws = twin.draw(twin.batch(data.train.x[:20]), own.importance_samples)
    (-draws.log_weight.mean()).backward()
    for (name, found), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        factor = 1 if name.startswith(("encoder", "posterior_net")) else 2
        torch.testing.assert_close(found.grad, factor * expected.grad, msg=name)


@pytest.mark.parametrize(("group", "hint"), [("inferrence", "; did you mean 'inference'"), ("all", "")])
def test_a_group_that_is_not_there_is_named(group, hint):
    """`all` is what a single value moves: beside others it would move them twice."""

    class Wrong(Objective):
        def forward(self, draws):
            return {group: draws.log_weight.mean(0), "own": draws.log_weight.mean(0)}

    data = dataset()
    model, _ = pair(data)
    step = make_step(model, Wrong(), data, TrainingOptions(batch_size=20), 0)
    step.start_epoch(torch.arange(20)[None])
    with pytest.raises(VaezooError, match=f"group of parameters '{group}' is unknown{hint}"):
        step()


def test_groups_are_all_the_parameters_once():
    model, _ = pair(dataset(), prior="mixture")
    module = TrainingModule(model, Grouped("own"))
    groups = parameter_groups(module)
    assert [id(p) for p in groups["all"]] == [id(p) for p in module.parameters()]
    parts = [id(p) for group in GROUPS for p in groups[group]]
    assert all(groups.values())
    assert sorted(parts) == sorted({id(p) for p in groups["all"]})


def test_an_objectives_own_parameters_are_trained_with_one_value():
    class Weighted(Objective):
        def __init__(self):
            super().__init__()
            self.log_scale = nn.Parameter(torch.zeros(()))

        def forward(self, draws):
            return draws.log_weight.mean(0) - self.log_scale.exp()

    data = dataset()
    model, _ = pair(data)
    objective = Weighted()
    train(model, objective, data, TrainingOptions(epochs=1, batch_size=20))
    assert float(objective.log_scale.detach()) < 0


@pytest.mark.parametrize(("groups", "shown"), [(("inference", "generative", "own"), 2.0), (("own", "inference"), None)])
def test_the_history_shows_one_value_and_not_the_sum(groups, shown):
    """That of `generative` where it is there, else the first."""
    data = dataset()
    model, _ = pair(data)
    step = make_step(model, Grouped(*groups), data, TrainingOptions(batch_size=20), 0)
    step.start_epoch(torch.arange(20)[None])
    values = step.module(*step.inputs())[0]
    expected = values["generative"] if shown else values["own"]
    if shown:
        torch.testing.assert_close(expected, shown * values["inference"])
    step()
    torch.testing.assert_close(step.values[0], expected.detach())


def test_a_value_that_is_not_shown_must_be_finite_too():
    class Breaks(Objective):
        def forward(self, draws):
            value = draws.log_weight.mean(0)
            return {"generative": value, "inference": value * torch.inf}

    data = dataset()
    with pytest.raises(Diverged, match=r"the objective is -inf at step 1 \(epoch 1\)"):
        train(pair(data)[0], Breaks(), data, TrainingOptions(epochs=1, batch_size=20))


class Rated(Grouped):
    """Groups with learning rates of their own."""

    replayable = True
    learning_rates = {"own": 1e-4, "inference": 3e-2}  # noqa: RUF012


OWN_RATES = TrainingOptions(epochs=2, batch_size=10, learning_rate=1e-3, schedule="cosine")


def rates_seen(objective, steps):
    """How far each group's first parameter moves at each step. Under a gradient that stays 1 that is its rate."""
    data = dataset()
    model, _ = pair(data)
    step = make_step(model, objective, data, OWN_RATES, 0)
    step._differentiate = lambda values: [setattr(p, "grad", torch.ones_like(p)) for p in step.groups["all"]]
    moved = {group: [] for group in GROUPS}
    for _ in range(steps):
        before = {group: step.groups[group][0].detach().clone() for group in GROUPS}
        step.start_epoch(torch.arange(10)[None])
        step()
        for group, old in before.items():
            moved[group].append(float((old - step.groups[group][0].detach()).mean()))
    return {group: torch.tensor(found) for group, found in moved.items()}


def test_a_group_has_its_own_learning_rate_and_the_schedule_scales_all_alike():
    found = rates_seen(Rated("inference", "generative", "own"), 12)
    expected = learning_rates(OWN_RATES, 6)
    for group, rate in {"inference": 3e-2, "generative": 1e-3, "own": 1e-4}.items():
        torch.testing.assert_close(found[group], expected * rate / 1e-3, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("eager", [False, True])
def test_learning_rates_of_groups_in_packs_are_those_of_each_seed(eager):
    data, weights = dataset(), []
    for packed in (True, False):
        pairs = [(pair(data, seed=seed)[0], own(seed)) for seed in (0, 1)]
        if packed:
            steps = [make_packed_step(*zip(*pairs, strict=True), data, OWN_RATES, (0, 1), eager=eager)]
            orders = [packed_order(60, 10, (0, 1), 1)]
        else:
            steps = [make_step(*made, data, OWN_RATES, seed, eager=eager) for seed, made in enumerate(pairs)]
            orders = [epoch_order(60, 10, seed, 1) for seed in (0, 1)]
        for step, order in zip(steps, orders, strict=True):
            step.start_epoch(order)
            for _ in range(6):
                step()
        weights.append(
            [p.detach().clone() for model, objective in pairs for p in (*model.parameters(), *objective.parameters())]
        )
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def own(seed):
    torch.manual_seed(seed)
    return Rated("inference", "generative", "own")


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ({"onw": 1e-4}, "group of parameters 'onw' is unknown; did you mean 'own'"),
        ({"own": -1.0}, r"learning_rates\['own'\] of the objective must be a number > 0, got -1.0"),
        ({"own": "fast"}, "must be a number > 0, got 'fast'"),
    ],
)
def test_wrong_learning_rates_are_refused(rates, message):
    data = dataset()
    objective = Grouped("own")
    objective.learning_rates = rates
    with pytest.raises(VaezooError, match=message):
        make_step(pair(data)[0], objective, data, OWN_RATES, 0)


def test_a_learning_rate_of_all_groups_is_the_same_as_the_option():
    """Only the grouping of Adam differs."""
    data, found = dataset(), []
    for rates in ({}, dict.fromkeys(GROUPS, 1e-3)):
        torch.manual_seed(0)
        objective = Grouped("inference", "generative", "own")
        objective.learning_rates = rates
        model, _ = pair(data)
        train(model, objective, data, replace(OWN_RATES, epochs=1))
        found.append([p.detach() for p in (*model.parameters(), *objective.parameters())])
    assert all(torch.equal(*both) for both in zip(*found, strict=True))
