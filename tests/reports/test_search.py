"""A sweep with select: one row is chosen on validation and ranked on test, the others are shown as its search."""

import re

import pytest
from frames import IWLL, bold, cells, framed, shown

from vaezoo.core.errors import VaezooError
from vaezoo.reports.tables import tables
from vaezoo.runner.matrix.file import load, rows
from vaezoo.runner.plan.planner import make_plan
from vaezoo.runner.plan.stored import StoredPlan

SEARCH = {"search": "variants[1]"}


def swept(label, iwll, validation, **others):
    found = cells(label, iwll, **SEARCH, **others)
    return [row | {"validation_iwll": value} for row, value in zip(found, validation, strict=True)]


def test_the_row_that_is_best_on_validation_is_ranked_and_the_others_are_not():
    """The one that is best on test alone would win the table."""
    lucky = swept("lucky", [-80.0, -80.1], [-90.0, -90.1])
    chosen = swept("chosen", [-85.0, -85.1], [-84.0, -84.1])
    (table,) = tables(framed(lucky, chosen, cells("a", [-86.0, -86.1])))
    assert {label for label, heading in bold(table) if heading == IWLL} == {"chosen"}
    assert [row.label for row in table.rows if row in table.ranking.ranked] == ["chosen", "a"]
    assert [line.texts[1] for line in table.sheets[0].lines] == ["", "1", "2"]
    assert table.notes == [
        "[a] searched, not ranked: chosen has the best validation iwll (-84.05) of 2 rows",
        "[b] chosen of 2 rows searched, by its validation iwll (-84.05)",
    ]


def test_each_dataset_chooses_for_itself():
    on = [
        swept("x", [-80.0], [value], dataset=dataset) + swept("y", [-81.0], [-85.0], dataset=dataset)
        for dataset, value in (("one", -84.0), ("other", -86.0))
    ]
    first, second = tables(framed(*on))
    assert "[b] searched, not ranked: x has" in first.markdown()
    assert "[a] searched, not ranked: y has" in second.markdown()


def test_fewer_seeds_pseudo_likelihoods_and_failures_are_not_chosen():
    short = swept("short", [-80.0], [-70.0])
    pseudo = swept("pseudo", [-80.0, -80.1], [-60.0, -60.0], pseudo_likelihood=True)
    failed = [row | SEARCH for row in cells("failed", [], failed=[("failed", "why")] * 2)]
    (table,) = tables(framed(short, pseudo, failed, swept("x", [-81.0, -82.0], [-85.0, -85.0])))
    assert "chosen of 4 rows searched, by its validation iwll (-85.00)" in table.markdown()
    assert shown(table)["x"]["marks"]
    (table,) = tables(framed(failed))
    assert "[b] searched, not ranked: none of 1 row has a validation iwll" in table.markdown()


def matrix(**sweep):
    return {
        "datasets": ["digits-binary"],
        "model": {"hidden": [4]},
        "variants": [{"name": "vae", "sweep": {"model.latent": [2, 3], **sweep}}, {"name": "beta-vae"}],
    }


def test_a_search_changes_no_key_and_is_stored():
    plain, searched = (make_plan(load(matrix(**sweep))) for sweep in ({}, {"select": "validation"}))
    assert [cell.key for cell in plain.cells] == [cell.key for cell in searched.cells]
    kept = StoredPlan.from_json(searched.stored().file_content())
    assert [cell.search for cell in kept.cells] == ["variants[1]", "variants[1]", None]
    assert "search" not in str(plain.stored().file_content())
    assert [row.label for row in rows(load(matrix(select="validation")))] == [row.label for row in rows(load(matrix()))]
    assert load(load(matrix(select="validation")).dump()) == load(matrix(select="validation"))


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"select": "validaton"}, "sweep.select: expected 'validation', got 'validaton'; did you mean 'validation'?"),
        ({"select": ["validation"]}, "sweep.select: expected 'validation', got a list; did you mean 'validation'?"),
        ({"select": 3}, "sweep.select: expected 'validation', got 3; there are: validation"),
        ({"selct": "validation"}, "sweep.selct is not a key; did you mean 'select'?"),
    ],
)
def test_another_choice_is_refused_with_the_nearest_right_one(sweep, said):
    with pytest.raises(VaezooError, match=re.escape(said)):
        load(matrix(**sweep))
