"""Conditional rows, rows of several latent groups, and float64 data: their plan, their records, their reloading."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import vaezoo
from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, Rehearsals, build, construct, rehearse, resolve
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import registry
from vaezoo.runner.plan.specification import DatasetChoice, Specification
from vaezoo.runner.results import read_results
from vaezoo.runner.store import Store
from vaezoo.runner.work.cell import prepare, run_cell
from vaezoo.runner.work.checkpoint import load_model

TOP = {
    "model": {"latent": 2, "hidden": [4]},
    "train": {"epochs": 1},
    "evaluate": {"importance_samples": 5, "throughput": False, "metrics": ["generalisation-gap", "kl-per-dimension"]},
}


class GivenContext(vaezoo.Decoder):
    """A linear decoder of the latents and the context."""

    def __init__(self, spec, latent, parameter_shape):
        super().__init__()
        self.shape = parameter_shape
        self.net = nn.Linear(latent + (spec.context or 0), int(torch.Size(parameter_shape).numel()))

    def forward(self, z, context):
        """[N, Z], [N, C] -> [N, *parameter_shape]"""
        return self.net(torch.cat([z, context], -1)).unflatten(-1, self.shape)


@pytest.fixture
def parts(own_registry):
    """A conditional decoder, and a data set of which a test sets dtype, labels and contexts."""
    own_registry.decoder("t-given-context")(GivenContext)
    state = {"seed": 0, "dtype": torch.float32, "labels": 0}

    @own_registry.dataset("t-coins")
    def coins(root, seed):
        """Coins with a context."""
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(60, 4, generator=generator, dtype=torch.float64).to(state["dtype"])
        context = torch.rand(60, 3, generator=torch.Generator().manual_seed(state["seed"]))
        labels = torch.full((60,), state["labels"])
        split = [(x[rows], labels[rows], context[rows]) for rows in torch.arange(60).split([40, 10, 10])]
        return vaezoo.Dataset(*split, measure="continuous")

    def planned(*rows, **changes):
        vaezoo.datasets._kept.clear()
        given = {**TOP, "datasets": ["t-coins"], **changes}
        rows = rows or ({}, {"label": "conditional", "decoder": "t-given-context"})
        return plan_of({**given, "variants": [{"name": "vae", **row} for row in rows]}, device="cpu")[0]

    yield state, planned
    vaezoo.datasets._kept.clear()


# Conditional rows


def test_a_row_is_conditional_where_a_part_asks_for_context(parts):
    _, planned = parts
    plain, conditional = planned().cells
    facts = plain.comparability, conditional.comparability
    assert [each.conditional for each in facts] == [False, True]
    assert facts[0].checksum == facts[1].checksum
    assert facts[0].context_checksum is None
    assert len(facts[1].context_checksum) == 64
    assert "context_checksum" not in json.dumps(plain.to_json())
    assert conditional.specification.dataset.context_checksum == facts[1].context_checksum
    assert type(plain).from_json(json.loads(json.dumps(conditional.to_json()))) == conditional


def test_another_context_reruns_the_conditional_rows_alone_and_other_labels_none(parts):
    state, planned = parts
    before = [cell.key for cell in planned().cells]
    state["labels"] = 7
    assert [cell.key for cell in planned().cells] == before
    state["seed"] = 1
    assert [cell.key == key for cell, key in zip(planned().cells, before, strict=True)] == [True, False]


def test_a_conditional_row_is_skipped_on_data_without_context(parts):
    _, planned = parts
    _, conditional = planned(datasets=["digits-binary"]).cells
    assert "context" in conditional.skip
    _, conditional = planned(datasets=[{"name": "digits-binary", "context": "labels"}]).cells
    assert conditional.skip is conditional.expected_failure is None


def test_a_context_that_changed_since_the_plan_is_refused(parts, tmp_path):
    state, planned = parts
    plan = planned()
    state["seed"] = 1
    vaezoo.datasets._kept.clear()
    prepare(plan.task(plan.cells[0], tmp_path), "cpu")
    with pytest.raises(VaezooError, match=r"dataset 't-coins' has changed since the plan was made"):
        prepare(plan.task(plan.cells[1], tmp_path), "cpu")


def test_a_conditional_cell_is_evaluated_with_the_contexts_of_its_images(parts, tmp_path):
    """The stored iwll of each image is that of the reloaded model given the same contexts, and of no others."""
    _, planned = parts
    plan, store = planned(), Store(tmp_path)
    store.prepare()
    store.write_plan(plan.stored())
    assert [run_cell(plan.task(cell, tmp_path), "cpu") for cell in plan.cells] == ["ok", "ok"]
    cell, data = plan.cells[1], vaezoo.load_dataset("t-coins")
    model = load_model(store.path("cells", cell.stem))
    stored = np.load(tmp_path / "cells" / f"{cell.stem}.npz")["iwll"]
    test = data.test
    again = vaezoo.log_likelihood(model, test.x, 5, seed=0, context=test.context).estimate
    assert torch.allclose(torch.from_numpy(stored).double(), again, atol=1e-4)
    other = vaezoo.log_likelihood(model, test.x, 5, seed=0, context=test.context.flip(0)).estimate
    assert not torch.allclose(other, again, atol=1e-3)
    frame = read_results(tmp_path)
    assert frame["conditional"].tolist() == [False, True]
    assert frame["context_checksum"].fillna("").tolist() == ["", data.context_checksum]
    assert store.record("cells", cell.stem).data.context == 3


# Several latent groups


class TwoGroups(vaezoo.Prior):
    """A standard normal prior of any number of groups."""

    def __init__(self, latents):
        super().__init__()
        self.latents = latents

    def log_prob(self, z):
        return torch.stack([-0.5 * group.square().sum(-1) for group in z])

    def sample(self, n):
        return tuple(torch.zeros(n, size) for size in self.latents)


class GroupsFromFeatures(vaezoo.Posterior):
    """Deterministic groups, enough for a rehearsal."""

    def __init__(self, features, latents):
        super().__init__()
        self.latents, self.net = latents, nn.Linear(features[0], sum(latents))

    def forward(self, features):
        means = self.net(features).split(self.latents, -1)

        class Q:
            gaussian = None

            def rsample_and_log_prob(self, samples):
                z = tuple(mean.expand(samples, *mean.shape) for mean in means)
                return z, torch.stack([group.sum(-1) for group in z])

            def log_prob(self, z):
                return None

        return Q()


@pytest.fixture
def groups(own_registry):
    own_registry.prior("t-groups")(TwoGroups)
    own_registry.posterior("t-groups")(GroupsFromFeatures)


@pytest.mark.parametrize("latent", [[4, 8], [2, 3, 5]])
def test_a_builder_serves_the_groups_and_the_lowest(groups, latent):
    model = build(
        "vae", "digits-binary", latent=latent, hidden=(6,), overrides={"prior": "t-groups", "posterior": "t-groups"}
    )
    assert model.prior.latents == model.posterior_net.latents == tuple(latent)
    assert next(model.decoder.parameters()).shape[1] == latent[-1]
    one = build("vae", "digits-binary", latent=[4], overrides={"prior": "t-groups"})
    assert one.prior.latents == (4,)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"prior": "t-groups"}, r"posterior 'gaussian' has one latent group, and 2 are asked for"),
        ({"posterior": "t-groups"}, r"prior 'normal' has one latent group, and 2 are asked for"),
    ],
)
def test_a_flat_part_with_several_groups_is_a_skipped_row(groups, parts, said):
    with pytest.raises(Skip, match=said):
        build("vae", "digits-binary", latent=(4, 8), overrides=parts)
    rows = [{"name": "vae", **parts}, {"name": "vae", "prior": "t-groups", "posterior": "t-groups"}]
    plan, _ = plan_of(
        {**TOP, "datasets": ["digits-binary"], "model": {"latent": [4, 8]}, "variants": rows}, device="cpu"
    )
    assert [cell.skip is None for cell in plan.cells] == [False, True]
    assert said in plan.cells[0].skip
    specification = plan.cells[1].specification
    assert specification.latent == (4, 8)
    assert specification.to_json()["latent"] == [4, 8]
    assert Specification.from_json(json.loads(json.dumps(specification.to_json()))) == specification
    assert plan.cells[1].settings["model.latent"] == "[4, 8]"


def test_one_group_is_written_as_a_number():
    """Its form, and so its key, is that of a row that says the number."""
    rows = [{"name": "vae", "model": {"latent": latent}, "label": str(latent)} for latent in (8, [8])]
    with pytest.raises(VaezooError, match=r"are the same row"):
        plan_of({**TOP, "datasets": ["digits-binary"], "variants": rows}, device="cpu")
    plan, _ = plan_of({**TOP, "datasets": ["digits-binary"], "variants": rows[1:]}, device="cpu")
    assert plan.cells[0].specification.to_json()["latent"] == 8


@pytest.mark.parametrize("latent", [0, [], [4, 0], (-1,)])
def test_sizes_are_one_or_more(latent):
    with pytest.raises(VaezooError, match=r"^latent must be a whole number >= 1 or a list of them, top first, got "):
        build("vae", "digits-binary", latent=latent)


def test_a_dataset_choice_without_context_keeps_its_form():
    choice = DatasetChoice("digits", {}, "c" * 64)
    assert choice.to_json() == {"name": "digits", "options": {}, "checksum": "c" * 64}
    assert replace(choice, context_checksum="d").to_json()["context_checksum"] == "d"


# The data's dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_images_are_served_in_the_default_dtype_with_their_index(parts, dtype):
    state, _ = parts
    state["dtype"] = dtype
    vaezoo.datasets._kept.clear()
    data = vaezoo.load_dataset("t-coins")
    assert data.train.x.dtype == dtype
    served = Ingredients.of(data, 3, (4,)).served()
    torch.manual_seed(3)
    x, index = served["train_sample"](7)
    torch.manual_seed(3)
    assert torch.equal(served["train_images"](7), x)
    assert (x.dtype, index.dtype, len(set(index.tolist()))) == (torch.float32, torch.int64, 7)
    assert torch.equal(data.train.x[index].float(), x)


def test_double_data_train_with_a_prior_of_training_images(parts, tmp_path):
    state, planned = parts
    state["dtype"] = torch.float64
    plan = planned({"name": "vae-vampprior", "prior": {"components": 3}})
    assert plan.cells[0].expected_failure is None
    Store(tmp_path).prepare()
    assert run_cell(plan.task(plan.cells[0], tmp_path), "cpu") == "ok"


def test_a_rehearsal_sees_the_dtype_of_the_data_and_their_context(parts, own_registry):
    seen = []
    own_registry.likelihood("t-looks")(
        type(
            "Looks",
            (registry("likelihood")["gaussian"].target,),
            {
                "log_prob": lambda self, x, parameters, context=None: (
                    seen.append(context) or parameters.flatten(2).sum(-1)
                )
            },
        )
    )
    data = vaezoo.load_dataset("t-coins")
    slots = resolve("vae", data.spec, {"likelihood": ("t-looks", {}), "decoder": ("t-given-context", {})})
    ingredients, example = Ingredients.of(data, 2, (4,)), data.train.rows(slice(2))
    outcome = Rehearsals(example)(slots, ingredients)
    assert (outcome.error, outcome.conditional) == (None, True)
    assert torch.equal(seen[0], data.train.context[:2])
    assert rehearse(slots, ingredients).error is None  # blank images have a blank context
    assert not construct(resolve("vae", data.spec), ingredients)[0].conditional
