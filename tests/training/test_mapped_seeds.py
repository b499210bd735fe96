"""A step mapped over seeds with torch.func equals the single steps in loss and gradients, for every variant."""

import copy

import pytest
import torch
from torch.func import functional_call, grad_and_value, stack_module_state, vmap

import vaezoo
from vaezoo import Skip, noise
from vaezoo.builder import Ingredients, construct, resolve
from vaezoo.registry import PARTS, registry
from vaezoo.training.module import TrainingModule

NETS = {
    "declared": {},
    "conv": {"encoder": ("conv", {"channels": (4, 6), "width": 8}), "decoder": ("conv", {"channels": (6, 4)})},
}


def modules(variant, nets, dynamic, seeds=2):
    """The same variant with each seed's weights, and stored images of a measure that it scores."""
    gray = (255 * torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))).round().to(torch.uint8)
    binary = (gray > 127).to(torch.uint8)
    reason = ""
    for measure, x in (("binary", gray if dynamic else binary), ("continuous", gray / 255.0)):
        how = "dynamic" if dynamic and measure == "binary" else "none"
        data = vaezoo.Dataset(
            x, binary if measure == "binary" else x, binary if measure == "binary" else x, measure, binarisation=how
        )
        made = []
        try:
            for seed in range(seeds):
                slots = resolve(variant, data.spec, NETS[nets])
                for slot in PARTS:
                    if "components" in registry(slot)[slots[slot][0]].hyperparameters:
                        slots[slot][1]["components"] = 5
                made.append(
                    TrainingModule(*construct(slots, Ingredients.of(data, 3, (9, 7)), seed=seed), data.train.dynamic)
                )
        except Skip as skip:
            reason = str(skip)
            continue
        return made, data.train.x
    pytest.skip(reason)


def total(values):
    return torch.stack(list(values.values())).sum()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("nets", NETS)
@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_a_mapped_step_is_each_seeds_own(variant, nets, dynamic):
    each, x = modules(variant, nets, dynamic)
    keys = torch.tensor([noise.derive(seed, "noise") for seed in range(2)])
    weight, index = torch.tensor(0.7), torch.arange(len(x))

    parameters, buffers = stack_module_state(each)
    bare = copy.deepcopy(each[0]).to("meta")

    def loss(own, rest, key):
        return -total(functional_call(bare, (own, rest), (x, index, key, weight))[0])

    # the meta device of the bare module must not reach the numbers: functional_call puts the real ones in
    gradients, losses = vmap(grad_and_value(loss))(parameters, buffers, keys)
    for seed, module in enumerate(each):
        value = -total(module(x, index, keys[seed], weight)[0])
        value.backward()
        torch.testing.assert_close(losses[seed], value.detach(), rtol=1e-5, atol=1e-5)
        for name, parameter in module.named_parameters():
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(
                gradients[name][seed], parameter.grad, rtol=1e-4, atol=1e-5 * max(scale, 1e-2), msg=name
            )
    assert not torch.allclose(losses[0], losses[1])


@pytest.mark.parametrize("variant", vaezoo.names("variant"))
def test_each_seed_has_its_own_noise_under_the_same_weights(variant):
    """Mapped over keys alone, with one set of weights: the losses differ, and each is that of its key."""
    (module,), x = modules(variant, "declared", True, seeds=1)
    keys = torch.tensor([noise.derive(seed, "noise") for seed in range(3)])
    index = torch.arange(len(x))
    with torch.no_grad():
        mapped = vmap(lambda key: total(module(x, index, key, torch.ones(()))[0]))(keys)
        single = torch.stack([total(module(x, index, key, torch.ones(()))[0]) for key in keys])
    torch.testing.assert_close(mapped, single, rtol=1e-5, atol=1e-5)
    assert len(mapped.unique()) == 3
