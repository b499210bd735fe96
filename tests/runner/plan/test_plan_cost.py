"""A plan's cost grows with its rows, and by little; what makes it cheap changes neither keys nor what is found."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import vaezoo
from vaezoo import builder
from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, Rehearsals, resolve
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import register, registry
from vaezoo.runner.plan.specification import DatasetChoice, EvaluationOptions, Specification
from vaezoo.training.options import TrainingOptions

BINARY = DataSpec((1, 4, 4), "binary")
TOP = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}}


def planned(variants, **changes):
    return plan_of({**TOP, **changes, "variants": variants}, device="cpu")[0]


@pytest.fixture
def counted(monkeypatch):
    """The slots of each rehearsal that was not saved."""
    done, original = [], builder.rehearse
    monkeypatch.setattr(builder, "rehearse", lambda *a, **k: (done.append(a[0]), original(*a, **k))[1])
    return done


def ingredients(spec=BINARY, latent=3, hidden=(5,)):
    return Ingredients.blank(spec, latent, hidden, 30)


# Keys


def test_a_key_is_that_of_the_text_written_out_here():
    """Where this fails, every record is run again."""
    specification = Specification(
        protocol=2,
        variant="ä",
        slots={"prior": ("mixture", {"components": 3, "spread": 1.0})},
        latent=8,
        hidden=(4, 5),
        allow_pseudo_likelihood=False,
        dataset=DatasetChoice("digits", {"labels": True}, "abc"),
        code={"prior/mixture": "def"},
        train=TrainingOptions(epochs=7),
        metrics=(("likelihood", {}),),
        evaluate=EvaluationOptions(10, None),
    )
    text = (
        '{"allow_pseudo_likelihood":false,"code":{"prior/mixture":"def"},'
        '"dataset":{"checksum":"abc","name":"digits","options":{"labels":true}},'
        '"evaluate":{"images":null,"importance_samples":10},"hidden":[4,5],"latent":8,"metrics":[["likelihood",{}]],'
        '"protocol":2,"seed":SEED,"slots":{"prior":["mixture",{"components":3,"spread":1.0}]},'
        '"train":{"batch_size":128,"compile":false,"epochs":7,"gradient_clip":null,"kl_warmup":0.0,'
        '"learning_rate":0.001,"patience":null,"precision":"float32","schedule":"constant","validation_images":"auto"},'
        '"variant":"\\u00e4"}'
    )
    seeds = [0, 12, -1, 2**63]
    for seed, (key, full) in zip(seeds, specification.with_seeds(seeds), strict=True):
        assert full == replace(specification, seed=seed)
        assert key == full.key == hashlib.sha256(text.replace("SEED", str(seed)).encode()).hexdigest()


def test_every_cell_and_timing_has_the_key_of_its_specification():
    rows = [{"name": "vae"}, {"name": "vae-mixture", "prior": {"components": 3}, "train": {"gradient_clip": 2}}]
    made = planned(rows, datasets=["digits-binary", "digits"], seeds=[0, 3, 11], evaluate={"metrics": ["collapse"]})
    cells = [*made.cells, *made.timings.values()]
    assert len({cell.key for cell in cells}) == 12 + 4
    for cell in cells:
        text = json.dumps(cell.specification.to_json(), sort_keys=True, separators=(",", ":"))
        assert cell.key == hashlib.sha256(text.encode()).hexdigest()
        assert cell.specification.seed == cell.seed


# Cost


@pytest.mark.parametrize(
    ("changes", "rehearsals", "rows"),
    [
        (
            {"datasets": ["digits-binary", "digits"], "seeds": 500, "sweep": {"model.latent": list(range(1, 11))}},
            20,
            20,
        ),
        ({"seeds": 10, "sweep": {"objective.beta": [1 + n / 1000 for n in range(1000)]}}, 1, 1000),
        ({"seeds": 2, "sweep": {"train.learning_rate": [(1 + n) / 1e7 for n in range(5000)]}}, 1, 5000),
    ],
    ids=["seeds", "betas", "learning rates"],
)
def test_ten_thousand_cells_cost_no_more_than_their_rows(changes, rehearsals, rows, counted, monkeypatch):
    """What costs is done once for what differs: a rehearsal for each shape, a JSON text for each row and data set."""
    row = {"name": "beta-vae", "sweep": changes.pop("sweep")}
    written, original = [], Specification.to_json
    monkeypatch.setattr(Specification, "to_json", lambda self: (written.append(self.seed), original(self))[1])
    made = planned([row], **changes, evaluate={"throughput": False})
    assert len({cell.stem for cell in made.cells}) == 10_000
    assert (len(counted), len(written)) == (rehearsals, rows)


def test_a_plan_does_not_import_what_takes_seconds():
    """Of the kernels of torch's meta device, the first imports torch._dynamo."""
    matrix = {"datasets": ["digits-binary"], "model": {"hidden": [4]}, "variants": [{"name": "vae"}]}
    code = f"import sys, vaezoo.api; vaezoo.api.plan_of({matrix}); print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


# Rehearsals


def test_rows_that_differ_in_fractions_or_training_are_rehearsed_once(counted):
    sweep = {"objective.beta": [1, 2.5, 4], "train.epochs": [1, 2]}
    made = planned([{"name": "beta-vae", "sweep": sweep}], seeds=2)
    assert (len(made.cells), len(counted)) == (12, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"spec": DataSpec((1, 4, 4), "binary", binarisation="dynamic")},
        {"spec": DataSpec((1, 5, 4), "binary")},
        {"latent": 4},
        {"hidden": (5, 5)},
    ],
)
def test_other_data_and_sizes_are_rehearsed_too(counted, other):
    rehearse, slots = Rehearsals(), resolve("vae", BINARY)
    for given in ({}, other, {}, other):
        rehearse(slots, ingredients(**given))
    assert len(counted) == 2


def test_a_plan_rehearses_equal_slots_on_each_dataset(counted):
    """The same names and hyper-parameters, which cannot be on the first dataset and can on the second."""
    made = planned([{"name": "vae", "likelihood": "gaussian"}], datasets=["digits-binary", "linear-gaussian"])
    assert len(counted) == 2
    assert counted[0] == counted[1]
    assert [cell.skip is None for cell in made.cells] == [False, True]


def test_whole_numbers_are_rehearsed_each(counted):
    planned([{"name": "vae-mixture", "sweep": {"prior.components": [2, 3, 4]}}])
    assert len(counted) == 3


def test_a_fraction_that_a_constructor_refuses_is_found_though_its_shapes_are_known():
    rehearse = Rehearsals()
    rehearse(resolve("vae", BINARY, {"objective": ("beta", {"beta": 2.0})}), ingredients())
    error = rehearse(resolve("vae", BINARY, {"objective": ("beta", {"beta": -1.0})}), ingredients()).error
    assert isinstance(error, VaezooError)
    assert "beta must be 0 or more, got -1" in str(error)


def test_what_cannot_be_is_found_each_time():
    rehearse = Rehearsals()
    for _ in range(2):
        error = rehearse(resolve("vae", BINARY, {"likelihood": ("gaussian", {})}), ingredients()).error
        assert isinstance(error, Skip)
        assert str(error).startswith("likelihood 'gaussian' scores")


def test_what_broke_one_row_is_not_held_against_another(own_registry, counted):
    """Nothing is known of the shapes of a row that broke, so the next row is rehearsed."""

    @register.posterior("t-breaks")
    class Breaks(registry("posterior")["gaussian"].target):
        def __init__(self, features, latent, *, scale: float = 1.0):
            super().__init__(features, latent)
            if scale < 0:
                raise ValueError(f"scale must be positive, got {scale}")

    rehearse = Rehearsals()
    broke = []
    for scale in (-1.0, 1.0, 2.0, -2.0):
        outcome = rehearse(resolve("vae", BINARY, {"posterior": ("t-breaks", {"scale": scale})}), ingredients())
        broke.append(type(outcome.error).__name__)
    assert broke == ["ValueError", "NoneType", "NoneType", "ValueError"]
    assert len(counted) == 2


def test_a_rehearsal_leaves_the_process_as_it_was():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Rehearsals()(resolve("vae", BINARY), ingredients())
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), state)
        assert vaezoo.noise.source().stream is None
    finally:
        torch.set_num_threads(threads)
