"""Groups of parameters: each value of an objective moves its own group, by its own gradient, and no other."""

import pytest
import torch
from small_models import dataset, pair
from torch import nn

from vaezoo import Objective, VaezooError, noise
from vaezoo.training.loop import make_step, train
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
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
