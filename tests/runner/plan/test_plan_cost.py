"""A plan's cost grows with its rows, and by little; what makes it cheap changes neither keys nor what is found."""

import hashlib
import json
import sys

import pytest
import torch

import vaezoo
from vaezoo import builder
from vaezoo.api import plan_of
from vaezoo.builder import Ingredients, Rehearsals, resolve
from vaezoo.core.data import DataSpec
from vaezoo.core.errors import Skip, VaezooError
from vaezoo.registry import register, registry
from vaezoo.runner.plan.keys import key_of, with_seeds

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


def plain(specification) -> str:
    """What a key has been since the first record."""
    text = json.dumps(specification, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_keys_are_those_of_the_records_there_are():
    """Against text written out here: where this fails, every record is run again."""
    specification = {"slots": {"prior": ["normal", {}]}, "protocol": 2, "variant": "ä", "latent": 8}
    text = '{"latent":8,"protocol":2,"seed":SEED,"slots":{"prior":["normal",{}]},"variant":"\\u00e4"}'
    for seed, key, full in with_seeds(specification, [0, 12, -1, 2**63]):
        assert full == {**specification, "seed": seed}
        assert key == hashlib.sha256(text.replace("SEED", str(seed)).encode()).hexdigest()
    assert key_of({"b": 1.0, "a": None}) == "81ad5ecd9738e91a3fc5d6521b74aaae2ddaa8139f60b5aa4fb20c6d8155f2a8"


def test_every_cell_and_timing_has_the_key_of_its_specification():
    rows = [{"name": "vae"}, {"name": "vae-mixture", "prior": {"components": 3}, "train": {"gradient_clip": 2}}]
    made = planned(rows, datasets=["digits-binary", "digits"], seeds=[0, 3, 11], evaluate={"metrics": ["collapse"]})
    cells = [*made.cells, *made.timings.values()]
    assert len({cell.key for cell in cells}) == 12 + 4
    for cell in cells:
        assert cell.key == plain(cell.specification)
        assert cell.specification.get("seed") == cell.seed


# Cost


def calls_of(work) -> int:
    """How many functions, of Python and of C, are called while some work is done."""
    count = [0]

    def seen(frame, event, argument):
        count[0] += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count[0]


@pytest.mark.parametrize(
    "grown",
    [
        lambda n: ({"objective.beta": [1.0]}, {"seeds": n}),
        lambda n: ({"objective.beta": [1 + k / 1000 for k in range(n)]}, {"seeds": 2}),
        lambda n: ({"train.learning_rate": [(1 + k) / 1e7 for k in range(n)]}, {"seeds": 2}),
    ],
    ids=["seeds", "betas", "learning rates"],
)
def test_the_cost_of_a_plan_grows_with_its_cells_and_not_faster(grown):
    """Twice the cells take at most twice the calls, and few of them a cell."""

    def cost(n: int) -> int:
        sweep, changes = grown(n)
        return calls_of(lambda: planned([{"name": "beta-vae", "sweep": sweep}], **changes))

    cost(2)  # which loads the data
    few, many, more = cost(50), cost(100), cost(200)
    assert more - many <= 2.2 * (many - few)
    assert more - many <= 100 * 4000


def test_a_plan_does_not_import_what_takes_seconds(shell):
    """Of the kernels of torch's meta device, the first imports torch._dynamo. The shell has made a plan."""
    assert shell.python("import sys; print('torch' in sys.modules, 'torch._dynamo' in sys.modules)") == "True False\n"


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
    with pytest.raises(VaezooError, match="beta"):
        rehearse(resolve("vae", BINARY, {"objective": ("beta", {"beta": -1.0})}), ingredients())


def test_what_cannot_be_is_found_each_time():
    rehearse = Rehearsals()
    for _ in range(2):
        with pytest.raises(Skip, match="likelihood 'gaussian' scores"):
            rehearse(resolve("vae", BINARY, {"likelihood": ("gaussian", {})}), ingredients())


def test_a_row_is_not_refused_for_what_broke_another(own_registry, counted):
    """A constructor that breaks is left to its cell; nothing is known of such shapes, so the next row is rehearsed."""

    @register.posterior("t-breaks")
    class Breaks(registry("posterior")["gaussian"].target):
        def __init__(self, features, latent, *, scale: float = 1.0):
            super().__init__(features, latent)
            torch.distributions.Normal(0.0, scale)

    rehearse = Rehearsals()
    for scale in (-1.0, 1.0, 2.0, -2.0):
        rehearse(resolve("vae", BINARY, {"posterior": ("t-breaks", {"scale": scale})}), ingredients())
    assert len(counted) == 2


def test_a_rehearsal_leaves_the_process_as_it_was():
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Rehearsals()(resolve("vae", BINARY), ingredients())
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), state)
        assert vaezoo.noise._open.get() is None
    finally:
        torch.set_num_threads(threads)
