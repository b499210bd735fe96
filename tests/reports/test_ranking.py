"""The best numbers are bold; rows that failed or were measured otherwise or elsewhere are not, and a note says so."""

import math

import pytest
from frames import ELBO, IWLL, MEASURED, REFERENCES, TRAIN, bold, cells, framed, shown

from vaezoo.reports.tables import tables


def test_best_is_bold_and_nothing_else():
    frame = framed(
        cells("low", [-87.0, -87.2], train_images_per_second=3e4, bits_per_dim=2.0),
        cells("high", [-86.0, -86.2], bits_per_dim=3.0),
    )
    (table,) = tables(frame)
    best = {("high", IWLL), ("high", ELBO), ("low", "bits/dim ↓"), ("low", TRAIN)}
    assert bold(table) == best
    assert table.latex().count(r"\textbf{") == 4
    assert table.ranking.ranked == set(table.rows)


def test_nothing_is_bold_alone_and_everything_where_all_are_equal():
    """Speeds that are all alike are not bold."""
    (table,) = tables(framed(cells("vae", [-86.0, -86.1])))
    assert not bold(table)
    assert not table.ranking.ranked
    for values in ([-86.0, -86.1], [-86.0]):
        (table,) = tables(framed(cells("a", values), cells("b", values)))
        assert bold(table) == {(label, heading) for label in "ab" for heading in (IWLL, ELBO)}


def test_infinite_is_never_best():
    (table,) = tables(framed(cells("a", [math.inf] * 2), cells("b", [-86.0] * 2), cells("c", [-87.0] * 2)))
    assert bold(table) == {("b", IWLL), ("b", ELBO)}
    assert shown(table)["a"][IWLL] == "inf"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("checksum", "f" * 64, "checksum is ffffffffffff, the ranked rows have 0123456789ab"),
        ("binarisation", "static", "binarisation is static, the ranked rows have dynamic"),
        ("binarisation", None, "binarisation is not given, the ranked rows have dynamic"),
        ("measure", "discrete", "measure is discrete, the ranked rows have binary"),
        ("split", "valid", "split is valid, the ranked rows have test"),
        ("images", 500, "images is 500, the ranked rows have 10000"),
        ("conditional", True, "conditional is True, the ranked rows have False"),
        ("context_checksum", "a" * 64, "context_checksum is aaaaaaaaaaaa, the ranked rows have not given"),
    ],
)
def test_unlike_measurements_are_not_ranked(name, value, words):
    odd = cells("odd", [-80.0, -80.1], **{name: value})
    (table,) = tables(framed(odd, cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1])))
    assert {pair for pair in bold(table) if pair[1] in (IWLL, ELBO)} == {("a", IWLL), ("a", ELBO)}
    assert shown(table)["odd"]["marks"] == "[a]"
    assert f"- [a] not ranked: {words}\n" in table.markdown()
    assert [row in table.ranking.ranked for row in table.rows] == [False, True, True]


def test_log_p_of_x_given_a_context_is_ranked_with_that_of_the_same_context_only():
    """A conditional row is set apart in one remark, and only its tables have the checksum of the context."""
    given = {"conditional": True, "context_checksum": "a" * 64}
    rows = [cells(name, [at, at + 0.1], **given) for name, at in (("a", -80.0), ("b", -81.0))]
    other = cells("other", [-70.0, -70.1], **given | {"context_checksum": "b" * 64})
    plain = cells("plain", [-60.0, -60.1])
    (table,) = tables(framed(*rows, other, plain))
    assert {pair for pair in bold(table) if pair[1] == IWLL} == {("a", IWLL)}
    assert "not ranked: context_checksum is bbbbbbbbbbbb, the ranked rows have aaaaaaaaaaaa\n" in table.markdown()
    assert "not ranked: conditional is False, the ranked rows have True\n" in table.markdown()
    assert "context_checksum" in table.frame()
    (table,) = tables(framed(plain))
    assert "context_checksum" not in table.frame()


@pytest.mark.parametrize(("name", "value"), [("importance_samples", 50), ("estimator", "ais")])
def test_another_estimate_leaves_the_elbo_ranked(name, value):
    odd = cells("odd", [-80.0, -80.1], **{name: value})
    (table,) = tables(framed(cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1]), odd))
    assert bold(table) == {("a", IWLL), ("odd", ELBO)}
    wanted = f"- [a] iwll not ranked: {name} is {value}, the ranked rows have {MEASURED[name]}\n"
    assert wanted in table.markdown()


def test_first_of_equal_groups_is_named():
    (table,) = tables(framed(cells("a", [-86.0] * 2), cells("b", [-80.0] * 2, importance_samples=50)))
    assert bold(table) == {("b", ELBO)}
    assert "[a] iwll not ranked: importance_samples is 50, a has 1000" in table.notes


def test_seeds_that_disagree_are_not_ranked():
    mixed = cells("mixed", [-80.0, -80.1])
    mixed[1]["importance_samples"] = 50
    (table,) = tables(framed(mixed, cells("a", [-86.0, -86.1]), cells("b", [-87.0, -87.1])))
    assert "[a] iwll not ranked: importance_samples is 1000 and 50 over its seeds" in table.notes
    assert ("a", IWLL) in bold(table)


def test_pseudo_likelihoods_are_not_ranked():
    pseudo = cells("pseudo", [900.0] * 2, pseudo_likelihood=True, train_images_per_second=9e9)
    (table,) = tables(framed(pseudo, cells("a", [-86.0] * 2), cells("b", [-87.0] * 2)))
    assert bold(table) == {("a", IWLL), ("a", ELBO), ("pseudo", TRAIN)}
    assert table.notes == ["[a] pseudo-likelihood (a density of other values than these images): not ranked"]
    assert table.frame().pseudo_likelihood.tolist() == [True, False, False]
    (table,) = tables(framed(pseudo, cells("p", [901.0] * 2, pseudo_likelihood=True)))
    assert not {IWLL, ELBO} & {heading for _, heading in bold(table)}


def test_speeds_are_ranked_on_one_device():
    fast = cells("fast", [-88.0] * 2, device="NVIDIA H200", train_images_per_second=1e6)
    slow = cells("slow", [-87.0] * 2, train_images_per_second=1e4)
    (table,) = tables(framed(fast, cells("a", [-86.0] * 2), slow))
    assert bold(table) == {("a", IWLL), ("a", ELBO), ("a", TRAIN)}
    assert table.notes == ["[a] speeds not ranked: device is NVIDIA H200, the ranked rows have cpu"]


def test_rows_are_compared_on_the_seeds_that_they_share():
    """A row with fewer seeds is compared on those, and the table says so."""
    short = cells("short", [-80.0, -80.1], failed=[("diverged", "loss is NaN at step 812")])
    (table,) = tables(framed(short, cells("a", [-86.0] * 3), cells("b", [-87.0] * 3)))
    row = shown(table)["short"]
    assert row["seeds"] == "2 of 3 (1 diverged)"
    assert row[IWLL] == "**-80.10 .. -80.00**"
    assert bold(table) == {("short", IWLL), ("short", ELBO)}
    assert table.notes == [
        "[a] seed 2 diverged: loss is NaN at step 812",
        "[b] iwll, elbo compared on seeds 0 and 1 alone, which it shares with short",
    ]
    assert table.frame()[["seeds", "seeds_planned", "status"]].iloc[0].tolist() == [2, 3, "2 ok, 1 diverged"]


def test_rows_that_share_one_seed_or_none():
    """Lucky seeds alone make no row the best: `b` is better in the mean, and `a` where both were measured."""
    a = cells("a", [-80.0, -88.0])
    b = [dict(row, seed=seed) for seed, row in zip((1, 2), cells("b", [-89.0, -70.0]), strict=True)]
    (table,) = tables(framed(a, b))
    assert {pair for pair in bold(table) if pair[1] == IWLL} == {("a", IWLL), ("b", IWLL)}
    assert "[a] iwll, elbo compared on seed 1 alone, which it shares with b: too few seeds" in table.notes
    apart = [dict(row, seed=7) for row in cells("b", [-89.0])]
    (table,) = tables(framed(cells("a", [-80.0]), apart))
    assert not bold(table)
    assert table.notes == ["[a] iwll, elbo not ranked: it shares no seed with a"]


def test_a_row_with_fewer_seeds_is_not_the_best_by_its_mean():
    """`short` lacks the two bad seeds of all rows; where it was measured it is worse."""
    (table,) = tables(
        framed(
            cells("a", [-80.0, -80.2, -95.0, -95.1]),
            cells("b", [-80.5, -80.7, -95.5, -95.5]),
            cells("short", [-82.0, -82.3]),
        )
    )
    assert table.ranking.best["iwll"].label == "a"
    assert ("short", IWLL) not in bold(table)


def test_a_number_that_some_seeds_lack_is_compared_on_the_others():
    part = cells("part", [-86.2, math.nan, -86.1])
    (table,) = tables(framed(part, cells("a", [-86.0, -80.0, -86.3]), cells("b", [-87.0, -81.0, -87.3])))
    assert {label for label, heading in bold(table) if heading == IWLL} == {"part", "a"}
    assert "[a] iwll, elbo compared on seeds 0 and 2 alone, which it shares with a" in table.notes


def test_numbers_of_cells_that_are_not_ok_do_not_count():
    rows = cells("vae", [-86.0, -86.2, -10.0])
    rows[2] |= {"status": "interrupted", "reason": "stopped by the user"}
    (table,) = tables(framed(rows))
    assert shown(table)["vae"][IWLL] == "-86.20 .. -86.00"


def test_failed_rows_stand_with_status_and_reason():
    reason = "ValueError: log_prior must be\n [L=1]" + " and so on" * 50
    broken = cells("broken", [], failed=[("failed", reason)] * 2)
    waiting = cells("waiting", [], failed=[("missing", math.nan)] * 2)
    (table,) = tables(framed(cells("a", [-86.0] * 2), broken, waiting, cells("b", [-87.0] * 2)))
    assert list(shown(table)) == ["a", "broken", "waiting", "b"]
    assert shown(table)["broken"]["seeds"] == "0 of 2 (2 failed)"
    assert shown(table)["broken"][IWLL] == ""
    assert shown(table)["waiting"]["seeds"] == "0 of 2 (2 missing)"
    (note,) = table.notes
    assert note.startswith("[a] failed: ValueError: log_prior must be [L=1] and so on")
    assert len(note) < 140
    assert table.frame().reason[1] == " ".join(reason.split())


def test_a_matrix_where_all_failed_has_its_table():
    (table,) = tables(
        framed(cells("a", [], failed=[("oom", "CUDA out of memory")]), cells("b", [], failed=[("oom", "")]))
    )
    assert [column.name for column in table.columns] == []
    assert shown(table)["a"] == {"label": "a", "seeds": "0 of 1 (1 oom)", "marks": "[a]"}
    assert r"\begin{tabular}{lll}" in table.latex()


def test_unequal_settings_are_marked():
    several = {"train.epochs": 200, "model.latent": 10}
    frame = framed(
        cells("a", [-86.0], **several),
        cells("b", [-85.0], **several | {"train.epochs": 400, "model.latent": 40}),
        cells("c", [-87.0], **several),
        settings=["train.epochs", "model.latent"],
    )
    (table,) = tables(frame)
    assert table.notes == ["[a] train.epochs = 400 (others 200)"]
    assert shown(table)["b"]["marks"] == "[a]"
    assert ("b", IWLL) in bold(table)
    assert table.frame()["model.latent"].tolist() == [10, 40, 10]


def test_the_setting_of_most_rows_is_the_common_one():
    frame = framed(
        *(cells(f"v{n}", [-86.0], **{"train.epochs": epochs}) for n, epochs in enumerate([400, 100, 200, 200]))
    )
    (table,) = tables(frame)
    assert table.notes == ["[a] train.epochs = 400 (most rows 200)", "[b] train.epochs = 100 (most rows 200)"]


def test_settings_without_their_attribute_or_value():
    frame = framed(cells("a", [-86.0]), cells("b", [-86.0]), cells("c", [-87.0], **{"train.warm_up": [1, 2]}))
    (table,) = tables(frame)
    assert table.notes == ["[a] train.warm_up = [1, 2] (others not given)"]


def test_a_subset_of_the_images_is_noted():
    subset = {"images": 1000, "evaluate.images": 1000}
    (table,) = tables(framed(cells("a", [-86.0], **subset), cells("b", [-87.0], **subset)))
    assert "on the first 1,000 test images" in table.details
    assert table.notes == []
    (table,) = tables(framed(cells("a", [-86.0]), cells("b", [-87.0]), cells("c", [-80.0], **subset)))
    assert [note[4:] for note in table.notes] == [
        "not ranked: images is 1000, the ranked rows have 10000",
        "on the first 1,000 test images",
    ]
    frame = framed(cells("a", [-86.0], images=1000))
    frame.attrs["evaluate.images"] = 1000
    assert "on the first 1,000 test images" in tables(frame)[0].details


def test_references_are_shown_and_never_ranked():
    (table,) = tables(framed(cells("a", [-86.0] * 2), cells("b", [-87.0] * 2), references=REFERENCES))
    assert list(shown(table)) == ["a", "b", "*from elsewhere:*", "a paper"]
    assert shown(table)["a paper"][IWLL] == "-70.00"
    assert bold(table) == {("a", IWLL), ("a", ELBO)}
    assert table.notes == ["[a] from elsewhere, not ranked: arXiv:1, K = 5,000"]
    assert table.latex().count(r"\midrule") == 2
    last = table.frame().iloc[-1]
    assert (last.label, last.reference, last.ranked, last.iwll_mean) == ("a paper", True, False, -70.0)
