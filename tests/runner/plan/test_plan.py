"""From a matrix to its cells: what a key depends on, what is refused, what is skipped."""

import re

import pytest

from vaezoo.api import plan_of
from vaezoo.core.errors import VaezooError
from vaezoo.registry import SLOTS, registry
from vaezoo.runner.plan import planner as planning
from vaezoo.runner.plan.fingerprint import fingerprint, of_files
from vaezoo.runner.run import workers

TOP = {"datasets": ["digits-binary"], "model": {"latent": 2, "hidden": [4]}}


def planned(*rows, **changes):
    made, _ = plan_of({**TOP, **changes, "variants": [{"name": "vae", **row} for row in rows or [{}]]}, device="cpu")
    return made


def keys(*rows, **changes) -> list[str]:
    return [cell.key for cell in planned(*rows, **changes).cells]


def refused(*rows, **changes) -> str:
    with pytest.raises(VaezooError) as caught:
        planned(*rows, **changes)
    return str(caught.value)


# Keys


def test_a_key_is_the_same_each_time_and_of_its_seed():
    first, second = keys(seeds=2), keys(seeds=2)
    assert first == second
    assert len(set(first)) == 2
    assert keys(seeds=[1]) == first[1:]


@pytest.mark.parametrize(
    "row",
    [
        {"prior": "mixture"},
        {"objective": {"importance_samples": 2}},
        {"model": {"latent": 3}},
        {"model": {"hidden": [4, 4]}},
        {"train": {"epochs": 7}},
        {"train": {"learning_rate": 2e-3}},
        {"evaluate": {"importance_samples": 7}},
        {"evaluate": {"images": 10}},
    ],
)
def test_a_setting_changes_the_key(row):
    assert keys(row) != keys()


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ({"label": "another"}, {}),
        ({}, {"name": "another"}),
        ({}, {"timeout": 5}),
        ({}, {"references": [{"label": "a paper", "dataset": "digits-binary", "iwll": -1.0}]}),
        ({"evaluate": {"throughput": False}}, {}),
        ({"prior": "normal"}, {}),
        ({"train": {"epochs": 100}}, {}),
        ({"train": {"epochs": 100, "learning_rate": 1e-3}, "objective": {"importance_samples": 1}}, {}),
    ],
)
def test_what_a_result_does_not_depend_on_does_not_change_the_key(row, changes):
    """Also a default that is written out."""
    assert keys(row, **changes) == keys()


def test_a_cell_has_a_readable_stem():
    (cell,) = planned({"label": "ä / ö"}).cells
    assert cell.stem == f"vae--digits-binary--s0--{cell.key[:12]}"


# Code


def test_comments_and_docstrings_are_no_code(tmp_path):
    path = tmp_path / "a.py"

    def digest(source: str) -> str:
        path.write_text(source)
        return of_files([path])

    plain = digest("def f(x):\n    return x + 1\n")
    assert digest("# why\ndef f(x):  # what\n\n    return (x + 1)\n") == plain
    with_text = digest('"""A module."""\ndef f(x):\n    """A function."""\n    return x + 1\n')
    assert with_text == plain
    assert digest("def f(x):\n    return x + 2\n") != plain
    assert digest("def f(x):\n    'text'\n    return x + 1\n") == plain
    assert digest("def f(x):\n    y = 'text'\n    return x + 1\n") != plain


def test_the_code_of_a_part_is_in_the_keys_of_the_cells_that_use_it(own_registry, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch, vaezoo\n@vaezoo.register.prior('mine')\nclass Mine(vaezoo.Prior):\n"
        "    def __init__(self, latent):\n        super().__init__()\n        self.latent = latent\n"
        "    def log_density(self, z):\n        return -z.abs().sum(-1)\n"
        "    def sample(self, n):\n        return torch.zeros(n, self.latent)\n"
    )
    rows = ({"prior": "mine"}, {})
    before = keys(*rows, plugins=[str(path)])
    path.write_text(path.read_text() + "# a comment\n")
    planning._fingerprint.cache_clear()
    assert keys(*rows, plugins=[str(path)]) == before
    path.write_text(path.read_text().replace("z.abs()", "2 * z.abs()"))
    planning._fingerprint.cache_clear()
    after = keys(*rows, plugins=[str(path)])
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)


def test_every_built_in_has_a_fingerprint():
    found = {(slot, name): fingerprint(registry(slot)[name]) for slot in SLOTS for name in registry(slot)}
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in found.values())


# What is refused


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"name": "va"}, r"variant 'va' is unknown; did you mean 'vae'"),
        ({"prior": "vampprio"}, r"row 'vae': prior 'vampprio' is unknown; did you mean 'vampprior' "),
        (
            {"prior": {"name": "vampprior", "component": 3}},
            r"hyper-parameter 'component' is unknown; did you mean 'comp",
        ),
        (
            {"prior": {"name": "vampprior", "components": 2.5}},
            r"'vampprior': .*'components' must be a whole number, got 2\.5",
        ),
        ({"prior": {"name": "vampprior", "components": True}}, r"'components' must be a whole number, got true"),
        (
            {"prior": {"name": "vampprior", "latent": 3}},
            r"row 'vae': prior 'vampprior': .*'latent' is",
        ),
        (
            {"objective": {"importance_samples": 0}},
            r"'elbo': importance_samples must be a whole number >= 1, got 0",
        ),
        ({"evaluate": {"metrics": ["active-unit"]}}, r"metric 'active-unit' is unknown; did you mean 'active-units'"),
    ],
)
def test_a_wrong_row_is_refused_before_anything_is_run(row, said):
    assert re.search(said, refused(row))


def test_a_wrong_option_of_a_dataset_is_refused():
    assert "option 'labls' is unknown" in refused(datasets=[{"name": "digits", "labls": True}])


def test_two_rows_that_are_the_same_cell_are_refused():
    """Though they are written in different ways: a default spelt out is no difference."""
    said = refused({"label": "a"}, {"label": "b", "prior": "normal"})
    assert said == "rows 'a' and 'b' are the same cell on digits-binary; remove one of them"


# What is skipped


def test_a_likelihood_that_does_not_score_these_images_is_skipped():
    (cell,) = planned({"likelihood": "gaussian"}).cells
    assert re.match(r"likelihood 'gaussian' scores .*continuous.* images, these are binary; allow_pseudo_l", cell.skip)


def test_a_pseudo_likelihood_runs_where_it_is_allowed_and_is_marked():
    (cell,) = planned({"likelihood": "gaussian", "model": {"allow_pseudo_likelihood": True}}).cells
    assert (cell.skip, cell.comparability.pseudo_likelihood) == (None, True)
    assert planned().cells[0].comparability.pseudo_likelihood is False


def test_a_sweep_over_two_slots_skips_what_makes_no_sense_and_refuses_a_wrong_name_in_one_line():
    sweep = {"posterior": ["gaussian", "realnvp"], "prior": ["normal", {"name": "vampprior", "components": 4}]}
    found = {cell.label: cell.skip for cell in planned({"sweep": sweep}).cells}
    wrong = found.pop("vae, posterior=realnvp, prior=vampprior, components=4")
    assert wrong == "prior 'vampprior' needs a Gaussian posterior, for the densities of its components"
    assert len(found) == 3
    assert not any(found.values())
    error = refused({"sweep": {"prior": ["normal", "vamprior"]}})
    assert re.search(r"prior 'vamprior' is unknown; did you mean 'vampprior' or 'top-down-vampprior'\?$", error)
    assert "\n" not in error


def test_only_what_cannot_be_is_skipped():
    made = planned({"likelihood": "gaussian"}, datasets=["digits-binary", "linear-gaussian"])
    assert [(cell.dataset, cell.skip is None) for cell in made.cells] == [
        ("digits-binary", False),
        ("linear-gaussian", True),
    ]


# Timings and workers


def test_seeds_share_a_timing_and_devices_do_not():
    made = planned(seeds=3)
    assert len(made.timings) == 3
    (stem,) = {cell.stem for cell in made.timings.values()}
    matrix = made.matrix
    elsewhere = planning.make_plan(matrix, device="another")
    assert stem not in {cell.stem for cell in elsewhere.timings.values()}
    assert [cell.key for cell in elsewhere.cells] == [cell.key for cell in made.cells]
    assert planned({"evaluate": {"throughput": False}}).timings == {}


def test_cores_are_shared_among_the_workers(monkeypatch):
    monkeypatch.setattr("vaezoo.runner.run.cores", lambda: 16)
    assert workers("cpu", 4, 100) == (["cpu"] * 4, 4)
    assert workers("cpu", None, 100) == (["cpu"] * 8, 2)
    assert workers("cpu", None, 3) == (["cpu"] * 3, 5)
    assert workers("cpu", None, 0) == (["cpu"], 16)
    with pytest.raises(VaezooError, match="--jobs must be 1 or more, got -1"):
        workers("cpu", -1, 3)


def test_settings_that_differ_are_told_and_no_others():
    made = planned({}, {"label": "b", "prior": "mixture", "train": {"epochs": 7}})
    assert {"prior", "prior.components", "train.epochs"} <= set(made.settings)
    assert "model.latent" not in made.settings


def test_a_subset_of_the_test_images_is_told_also_where_all_rows_share_it():
    made = planned({}, {"name": "iwae"}, evaluate={"images": 20})
    assert "evaluate.images" in made.settings
    assert {cell.settings["evaluate.images"] for cell in made.stored().cells} == {20}
    assert "evaluate.images" not in planned({}, {"name": "iwae"}).settings


def test_a_plugin_that_forks_where_it_is_rehearsed_plans_its_row_once(tmp_path):
    """Both processes go on from there, and the copy speaks for nobody."""
    path = tmp_path / "forking.py"
    path.write_text(
        "import os, torch, vaezoo\n@vaezoo.register.prior('forking')\nclass Forking(vaezoo.Prior):\n"
        "    def __init__(self, latent: int):\n        super().__init__()\n        self.latent = latent\n"
        "        os.fork()\n"
        "    def log_density(self, z):\n        return -z.square().sum(-1)\n"
        "    def sample(self, n):\n        return vaezoo.noise.normal(n, self.latent)\n"
    )
    made = planned(
        {"label": "a", "prior": "forking"},
        {"label": "b", "prior": "forking", "model": {"latent": 3}},
        {"label": "c"},
        plugins=[str(path)],
    )
    assert [cell.label for cell in made.cells] == ["a", "b", "c"]
