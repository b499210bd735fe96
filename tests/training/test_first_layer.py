"""The encoder's first layer is laid out where the images are mostly 0, trains as any other, and is laid back after."""

import copy
from functools import partial

import pytest
import torch
from interrupted import MemoryFile, StopsAfter, checkpoint
from torch import nn

import vaezoo
from vaezoo import Objective
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.core import products, sparse_product
from vaezoo.nets.linear import Linear
from vaezoo.training import first_layer, loop
from vaezoo.training.checkpoint import Interrupted
from vaezoo.training.first_layer import lay_out_first_layer
from vaezoo.training.loop import make_packed_step, make_step, train, train_pack
from vaezoo.training.module import TrainingModule
from vaezoo.training.options import TrainingOptions
from vaezoo.training.replay.recorded_step import RecordedStep

pytest.importorskip("numba")
SIDE, HIDDEN = 16, 260
OPTIONS = TrainingOptions(epochs=2, batch_size=10, validation_images=None)


@pytest.fixture(autouse=True)
def faster(monkeypatch):
    """The loop is the faster one."""
    monkeypatch.setattr(products, "loop_is_faster", lambda: True)


def dataset(share=0.15, dynamic=False, count=60, measure="binary"):
    """Images of which so large a share of the pixels is not 0."""
    x = torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    levels = (255 * share * x.round() * 2).round().to(torch.uint8)
    images = levels if dynamic else (x < share).to(torch.uint8)
    fixed = (x < share).to(torch.uint8)[:20]
    if measure != "binary":
        images, fixed = images.float(), fixed.float()
    how = {"binarisation": "dynamic" if dynamic else "none"} if measure == "binary" else {}
    return vaezoo.Dataset(images, fixed, fixed, measure=measure, **how)


def pair(data, variant="vae", seed=0, hidden=(HIDDEN,), objective=None):
    model, own = construct(resolve(variant, data.spec), Ingredients.of(data, 3, hidden), seed=seed)
    return model, objective or own


def laid_out(model):
    """The names of the layers that multiply by the loop."""
    found = [name for name, each in model.named_modules() if type(each) is Linear and each.sparse]
    modules = dict(model.named_modules())
    assert all(modules[name].weight.t().is_contiguous() for name in found)
    return found


class Outside(Objective):
    """From outside of vaezoo: its code may count on the weights' layout."""

    replayable = True

    def forward(self, draws):
        sizes = sum(p.view(-1).square().sum() for p in draws.model.parameters())
        return draws.log_likelihood.mean(0) - draws.kl_weight * draws.kl_estimate - 1e-9 * sizes


@pytest.mark.parametrize(
    ("variant", "given", "layers"),
    [
        ("vae", {}, ["encoder.net.0"]),
        ("vae", {"dynamic": True}, ["encoder.net.0"]),
        ("vae", {"share": 0.3}, []),
        ("vae", {"dynamic": True, "share": 0.45}, []),
        ("vae", {"measure": "continuous"}, ["encoder.net.0"]),
        ("hvae-2", {}, ["encoder.net.0"]),
        ("iwae", {}, ["encoder.net.0"]),
    ],
)
def test_it_is_the_first_dense_layer_of_images_that_are_mostly_0(variant, given, layers):
    data = dataset(**given)
    model, objective = pair(data, variant)
    make_step(model, objective, data, OPTIONS, 0)
    assert laid_out(model) == layers


def test_a_small_layer_and_code_from_outside_are_left_alone(monkeypatch):
    data = dataset()
    for hidden, objective in (((HIDDEN - 10,), None), ((HIDDEN,), Outside())):
        model, own = pair(data, hidden=hidden, objective=objective)
        make_step(model, own, data, OPTIONS, 0)
        assert laid_out(model) == []
    model, own = pair(data)
    model.encoder.register_forward_hook(lambda *_: None)
    make_step(model, own, data, OPTIONS, 0)
    assert laid_out(model) == []
    monkeypatch.setattr(products, "loop_is_faster", lambda: False)
    model, own = pair(data)
    make_step(model, own, data, OPTIONS, 0)
    assert laid_out(model) == []


@pytest.mark.parametrize("how", ["compiled", "without oneDNN", "bfloat16"])
def test_where_other_operators_multiply_nothing_is_laid_out(monkeypatch, how):
    data = dataset()
    model, objective = pair(data)
    if how == "without oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    elif how == "bfloat16":
        model.precision = "bfloat16"
    lay_out_first_layer(TrainingModule(model, objective), data.train, compiled=how == "compiled")
    assert laid_out(model) == []


def test_what_is_laid_out_is_laid_back_for_other_images():
    model, objective = pair(dataset())
    make_step(model, objective, dataset(), OPTIONS, 0)
    assert laid_out(model)
    make_step(model, objective, dataset(0.6), OPTIONS, 0)
    assert laid_out(model) == []
    assert all(p.is_contiguous() for p in model.parameters())


def test_whoever_looks_from_outside_as_the_model_trains_sees_its_layout_as_ever():
    data, seen = dataset(), []

    def report(*_):
        seen.append(nn.utils.parameters_to_vector(model.parameters()).numel())

    model, objective = pair(data)
    train(model, objective, data, OPTIONS, report=report)
    train_pack([model], [objective], data, OPTIONS, seeds=[0], report=report)
    assert len(seen) == 4


class Stop(Exception):
    """Ends a training."""


@pytest.mark.parametrize("packed", [True, False])
def test_a_training_that_fails_lays_the_weight_back(monkeypatch, packed):
    data = dataset()
    model, objective = pair(data)

    def fail(*_):
        assert laid_out(model) == ["encoder.net.0"]
        raise Stop

    monkeypatch.setattr(loop, "_train_epochs", fail)
    work = partial(train_pack, [model], [objective], seeds=[0]) if packed else partial(train, model, objective)
    with pytest.raises(Stop):
        work(dataset=data, options=OPTIONS)
    assert laid_out(model) == []
    assert all(p.is_contiguous() for p in model.parameters())


@pytest.mark.parametrize("packed", [True, False])
def test_learned_pseudo_inputs_are_multiplied_by_the_libraries(monkeypatch, packed):
    """They go through the same layer as the images, and few of their numbers are 0."""
    seen = []
    original = sparse_product.forward
    monkeypatch.setattr(sparse_product, "forward", lambda x, *own: (seen.append(x.shape), original(x, *own))[1])
    data = dataset(count=600)
    pairs = [pair(data, "vae-vampprior", seed=seed) for seed in range(2 if packed else 1)]
    if packed:
        make_packed_step(*zip(*pairs, strict=True), data, OPTIONS, [0, 1])
        assert set(seen) == {
            (2, 10, SIDE * SIDE),
            (10, SIDE * SIDE),
        }  # the pack, and each seed that is compared with it
    else:
        train(*pairs[0], data, OPTIONS)
        assert set(seen) == {(10, SIDE * SIDE)}


def test_the_share_is_that_of_the_images_as_the_encoder_gets_them():
    """Dynamic ones are drawn: 255 * share is the mean level where half of the levels are 0."""
    for share in (0.05, 0.15, 0.4):
        for dynamic in (False, True):
            found = first_layer._share_of_pixels(dataset(share, dynamic, count=1500).train)
            assert found == pytest.approx(share, abs=0.01)


def results(data, **how):
    """(history, best weights) of a training of the variant `vae`, by the loop or not."""
    model, objective = pair(data)
    found = train(model, objective, data, OPTIONS, **how)
    assert laid_out(model) == []
    assert all(p.is_contiguous() for p in model.parameters())
    return [each.objective for each in found.history], model.state_dict()


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_trains_as_by_the_libraries(monkeypatch, dynamic):
    """Up to rounding; and from run to run the same, bit for bit."""
    data = dataset(dynamic=dynamic)
    found, again = results(data), results(data)
    assert found[0] == again[0]
    assert all(torch.equal(value, again[1][name]) for name, value in found[1].items())
    monkeypatch.setattr(products, "loop_is_faster", lambda: False)
    expected = results(data)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    for name, value in found[1].items():
        assert (value - expected[1][name]).norm() <= 1e-4 * value.norm()  # one number may turn around at a ReLU's 0


def test_its_replays_are_the_eager_steps():
    data = dataset()
    found = {}
    for eager in (False, True):
        model, objective = pair(data)
        step = make_step(model, objective, data, OPTIONS, 0, eager=eager)
        order = torch.arange(60).view(6, 10)
        for _ in range(3):
            step.start_epoch(order)
            for _ in order:
                step()
        assert laid_out(model) == ["encoder.net.0"]
        if not eager:
            assert isinstance(step._run, RecordedStep)
            assert step._run.recording is not None
        found[eager] = [p.detach().clone() for p in model.parameters()]
    assert all(map(torch.equal, found[True], found[False]))


def test_an_interrupted_training_goes_on_to_the_same_numbers():
    data, files = dataset(), [MemoryFile()]
    expected = results(data)
    with pytest.raises(Interrupted):
        results(data, checkpoint=checkpoint(files, StopsAfter(8), seeds=[0]))
    own = checkpoint(files, StopsAfter(1000), seeds=[0])
    found = results(data, checkpoint=own)
    assert own.resumed == 1
    assert found[0] == expected[0]
    assert all(torch.equal(value, expected[1][name]) for name, value in found[1].items())


def test_a_pack_is_laid_out_and_trains_as_each_seed_alone():
    data, seeds = dataset(), [3, 1]
    models, objectives = zip(*(pair(data, seed=seed) for seed in seeds), strict=True)
    alone = copy.deepcopy(models)
    outcomes = train_pack(models, objectives, data, OPTIONS, seeds=seeds)
    for model, one, outcome, seed in zip(models, alone, outcomes, seeds, strict=True):
        assert laid_out(model) == []
        assert all(p.is_contiguous() for p in model.parameters())
        expected = train(one, pair(data)[1], data, OPTIONS, seed=seed)
        assert outcome.history[-1].objective == pytest.approx(expected.history[-1].objective, rel=1e-5)
        for p, q in zip(model.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


def test_a_pack_s_parameters_keep_the_layout():
    from vaezoo.training.pack import Pack

    data = dataset()
    modules = []
    for seed in range(2):
        module = TrainingModule(*pair(data, seed=seed))
        lay_out_first_layer(module, data.train)
        modules.append(module)
    weights = [module.model.encoder.net[0].weight.detach().clone() for module in modules]
    stacked = dict(Pack(modules).named_parameters())["model.encoder.net.0.weight"]
    assert stacked.mT.is_contiguous()
    assert all(map(torch.equal, stacked, weights))
    for module, own in zip(modules, stacked, strict=True):
        layer = module.model.encoder.net[0]
        assert layer.weight.data_ptr() == own.data_ptr()
        assert layer.weight.stride() == own.stride()
    assert isinstance(stacked, nn.Parameter)
