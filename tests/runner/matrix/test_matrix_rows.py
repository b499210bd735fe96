"""A matrix's rows: sweeps and overrides in their order, and labels that tell them apart."""

import json
import random
import re
from itertools import product

import pytest
from matrices import variants

from vaezoo.core.errors import VaezooError
from vaezoo.registry import PARTS
from vaezoo.runner.matrix.file import Matrix, load, rows
from vaezoo.runner.matrix.schema import MetricEntry


def attempt(source) -> tuple[Matrix | None, str]:
    try:
        return load(source), ""
    except VaezooError as error:
        return None, str(error)


def labels(*tables: dict, **top) -> list[str]:
    return [row.label for row in rows(variants(*tables, **top))]


# Rows


def test_a_sweep_is_the_product_in_the_order_written():
    betas, sizes, rates = [4, 1, 2.5], [10, 40], [1e-3, 1e-4]
    sweep = {"train": {"learning_rate": rates}, "objective": {"beta": betas}, "model": {"latent": sizes}}
    found = rows(variants({"name": "vae", "sweep": sweep}))
    got = [(row.train.learning_rate, row.slots["objective"][1]["beta"], row.latent) for row in found]
    assert got == list(product(rates, betas, sizes))
    dotted = {"train.learning_rate": rates, "objective.beta": betas, "model.latent": sizes}
    assert rows(variants({"name": "vae", "sweep": dotted})) == found


def test_a_latent_size_is_a_number_or_a_list_top_first():
    """A list of one number is that number."""
    found = rows(variants({"name": "vae", "sweep": {"model.latent": [[4, 8], 20, [7], [2, 3, 5]]}}))
    assert [row.latent for row in found] == [[4, 8], 20, 7, [2, 3, 5]]
    assert [row.label for row in found] == [
        "vae, latent=[4, 8]",
        "vae, latent=20",
        "vae, latent=7",
        "vae, latent=[2, 3, 5]",
    ]
    (row,) = rows(variants({"name": "vae"}, model={"latent": [4, 8]}))
    assert (row.latent, row.label) == ([4, 8], "vae")


def test_a_sweep_over_a_whole_slot_reads_well():
    """Options follow the name; with two slots each part is told; a name without options is the part's own defaults."""
    priors = ["normal", "vampprior", {"name": "vampprior", "components": 500}, {"name": "mixture", "components": 50}]
    found = rows(variants({"name": "vae-mixture", "sweep": {"prior": priors}}))
    assert [row.label for row in found] == [
        "vae-mixture, prior=normal",
        "vae-mixture, prior=vampprior",
        "vae-mixture, prior=vampprior, components=500",
        "vae-mixture, prior=mixture, components=50",
    ]
    assert [row.slots["prior"][1] for row in found] == [{}, {}, {"components": 500}, {"components": 50}]
    both = {"prior": ["normal", "vampprior"], "objective": ["elbo", {"name": "iwae", "importance_samples": 8}]}
    assert labels({"name": "vae", "sweep": both}) == [
        "vae, prior=normal, objective=elbo",
        "vae, prior=normal, objective=iwae, importance_samples=8",
        "vae, prior=vampprior, objective=elbo",
        "vae, prior=vampprior, objective=iwae, importance_samples=8",
    ]


def test_a_sweep_runs_over_parts_and_their_hyper_parameters():
    priors = ["normal", {"name": "vampprior", "components": 3}, {"name": "vampprior", "components": 5}]
    found = rows(variants({"name": "vae", "sweep": {"prior": priors}}))
    expected = [("normal", {}), ("vampprior", {"components": 3}), ("vampprior", {"components": 5})]
    assert [row.slots["prior"] for row in found] == expected
    assert [row.label for row in found] == [
        "vae, prior=normal",
        "vae, prior=vampprior, components=3",
        "vae, prior=vampprior, components=5",
    ]
    assert rows(variants({"name": "vae", "sweep": {"model": {"prior": priors}}})) == found
    named = rows(variants({"name": "vae", "sweep": {"prior": {"components": [3, 5], "name": ["a", "b"]}}}))
    assert [row.slots["prior"] for row in named] == [(n, {"components": c}) for c in (3, 5) for n in ("a", "b")]


@pytest.mark.parametrize("part", PARTS)
def test_overrides_of_a_slot_are_layered(part):
    base = {part: {"name": "one", "a": 1, "b": 2}}

    def slot(row: dict, model: dict = base):
        return rows(variants({"name": "vae", **row}, model=model))[0].slots.get(part)

    assert slot({}) == ("one", {"a": 1, "b": 2})
    assert slot({part: {"b": 3}}) == ("one", {"a": 1, "b": 3})
    assert slot({part: {"name": "one", "b": 3}}) == ("one", {"a": 1, "b": 3})
    assert slot({part: "two"}) == ("two", {})
    assert slot({part: {"name": "two", "c": 4}}) == ("two", {"c": 4})
    assert slot({"model": {part: "two"}}) == ("two", {})
    assert slot({part: "two", "sweep": {part: {"c": [5]}}}) == ("two", {"c": 5})
    assert slot({part: {"b": 3}, "sweep": {part: ["two"]}}) == ("two", {})
    assert slot({part: {"a": 2}}, {part: {"b": 1}}) == (None, {"a": 2, "b": 1})
    assert slot({part: "two"}, {part: {"b": 1}}) == ("two", {})
    assert slot({}, {}) is None
    assert slot({part: {}}, {}) is None


def test_overrides_of_a_row_leave_the_other_settings():
    row = {"name": "vae", "train": {"epochs": 9}, "model": {"latent": 3}, "evaluate": {"images": 5, "metrics": ["b"]}}
    (found,) = rows(variants(row, train={"batch_size": 7}, model={"hidden": [8]}, evaluate={"metrics": ["a"]}))
    assert (found.train.epochs, found.train.batch_size) == (9, 7)
    assert (found.latent, found.hidden) == (3, [8])
    assert (found.evaluate.images, found.evaluate.metrics) == (5, [MetricEntry(name="b")])


def test_a_default_that_a_row_writes_overrides_the_matrix():
    (found,) = rows(
        variants({"name": "vae", "train": {"epochs": 100, "patience": None}}, train={"epochs": 9, "patience": 4})
    )
    assert (found.train.epochs, found.train.patience) == (100, None)


def test_compile_false_is_the_default():
    with pytest.raises(VaezooError, match="are the same row"):
        variants({"name": "vae"}, {"name": "vae", "label": "b", "train": {"compile": False}})


def test_rows_share_nothing_that_can_be_changed():
    matrix = variants({"name": "vae", "prior": {"widths": [1, 2]}}, {"name": "beta-vae", "prior": {"widths": [1, 2]}})
    before = rows(matrix)
    rows(matrix)[0].slots["prior"][1]["components"] = 3
    rows(matrix)[0].slots["prior"][1]["widths"].append(3)
    assert rows(matrix) == before


# Labels


def test_labels_say_what_differs_and_no_more():
    assert labels({"name": "vae"}, {"name": "vae", "prior": {"name": "vampprior", "components": 500}}) == [
        "vae",
        "vae, prior=vampprior, components=500",
    ]
    assert labels({"name": "vae", "prior": "flow"}, {"name": "beta-vae", "prior": "flow"}) == ["vae", "beta-vae"]
    assert labels({"name": "vae", "sweep": {"train": {"learning_rate": [1e-3, 0.00025]}}}) == [
        "vae, learning_rate=0.001",
        "vae, learning_rate=0.00025",
    ]
    assert labels({"name": "vae", "sweep": {"model": {"hidden": [[], [300, 300]]}}}) == [
        "vae, hidden=[]",
        "vae, hidden=[300, 300]",
    ]
    assert labels({"name": "vae"}, {"name": "vae", "train": {"gradient_clip": 1}}) == ["vae", "vae, gradient_clip=1"]


def test_a_short_key_that_two_settings_share_is_written_out():
    sweep = {"prior": {"components": [1, 2]}, "posterior": {"components": [3, 4]}}
    assert labels({"name": "vae", "sweep": sweep})[0] == "vae, posterior.components=3, prior.components=1"


def test_an_explicit_label_is_kept_and_a_sweep_adds_to_it():
    sweep = {"objective": {"beta": [1, 4]}, "model": {"latent": [10]}}
    assert labels({"name": "vae", "label": "Ours", "sweep": sweep}) == ["Ours, beta=1", "Ours, beta=4"]
    assert labels({"name": "vae", "label": "Ours", "sweep": {"objective.beta": [1]}}) == ["Ours"]


def test_values_that_look_the_same_are_told_apart():
    for values in ([1, 1.0000001], [4, "4"], [True, 1], [True, "true"], [10**6, 10**6 + 1], [None, "null"]):
        found = labels({"name": "vae", "sweep": {"prior": {"a": values}}})
        assert len(set(found)) == 2, found
    assert len(set(labels({"name": "vae"}, {"name": "vae", "prior": {"a": None}}))) == 2


def test_labels_are_unique_over_random_matrices():
    draw = random.Random(0)
    values = [1, 2, 0.5, 1e-7, "a", "b", True, [1, 2], {"k": 1}]

    def part():
        table = {key: draw.choice(values) for key in draw.sample("abc", draw.randint(0, 2))}
        return draw.choice(["normal", "flow", {"name": draw.choice(["normal", "flow"]), **table}, table])

    def sweep():
        table = {"prior.a": values, "posterior.a": values, "model.latent": [1, 2, 3], "train.epochs": [5, 6, 100]}
        return {
            key: draw.sample(table[key], draw.randint(1, 3)) for key in draw.sample(list(table), draw.randint(0, 3))
        }

    def row():
        table = {"name": draw.choice(["vae", "beta-vae"]), "sweep": sweep()}
        table |= {slot: part() for slot in draw.sample(PARTS, draw.randint(0, 2))}
        return table | ({"label": draw.choice(["x", "y", "z"])} if draw.random() < 0.2 else {})

    good = 0
    for _ in range(300):
        tables = [row() for _ in range(draw.randint(1, 4))]
        source = {"datasets": ["d"], "variants": tables, "model": {"prior": part()}}
        matrix, said = attempt(source)
        if matrix is None:
            assert re.search("are the same row|have the same label", said)
            continue
        good += 1
        found = rows(matrix)
        sizes = [len(list(product(*table["sweep"].values()))) for table in tables]
        assert len({row.label for row in found}) == len(found) == sum(sizes)
        assert [row.place for row in found] == [
            f"variants[{i + 1}]" for i, size in enumerate(sizes) for _ in range(size)
        ]
        assert all(row.label.startswith((row.variant, "x", "y", "z")) for row in found)
        assert rows(load(json.loads(json.dumps(matrix.dump())))) == found
    assert good > 150


def test_equal_rows_are_refused_and_both_named():
    sweep = {"model": {"latent": [5, 20]}}
    with pytest.raises(VaezooError, match=r"^variants\[1\] and variants\[3\] are the same row, 'vae' .*; remove one"):
        variants({"name": "vae"}, {"name": "beta-vae"}, {"name": "vae", "sweep": sweep})
    with pytest.raises(VaezooError, match=r"variants\[1\] and variants\[2\] are the same row"):
        variants({"name": "vae", "label": "a"}, {"name": "vae", "label": "b", "train": {"epochs": 100}})
    with pytest.raises(VaezooError, match=r"are the same row.*a value stands twice in its sweep"):
        variants({"name": "vae", "sweep": {"objective": {"beta": [1, 1.0]}}})


def test_equal_labels_are_refused():
    with pytest.raises(
        VaezooError, match=r"^variants\[1\] and variants\[2\] have the same label 'a'; give one of them"
    ):
        variants({"name": "vae", "label": "a"}, {"name": "beta-vae", "label": "a"})
    with pytest.raises(VaezooError, match="have the same label 'vae'"):
        variants({"name": "vae"}, {"name": "beta-vae", "label": "vae"})
