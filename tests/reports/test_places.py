"""Ranks that rows share which cannot be told apart; the three errors of a row; mean ranks across data sets."""

import math

import numpy
import pytest
from frames import cells, framed
from scipy import stats
from simulated_tables import MIXTURES, Noise, numbers

from vaezoo.reports.across import across, of_numbers
from vaezoo.reports.contest import contest
from vaezoo.reports.errors import errors
from vaezoo.reports.places import places
from vaezoo.reports.rows import TableRow
from vaezoo.reports.tables import tables, write_tables


def ranked(values, better=1, seeds=None):
    """The ranks of rows from numbers [R, S, N]."""
    rows = [
        {seed: number for seed, number in enumerate(row) if seeds is None or seed in seeds[place]}
        for place, row in enumerate(values.mean(2).tolist())
    ]

    def images(row, seed):
        return values[row, seed]

    return places(rows, images, better, contest(rows, images, better))


def test_rows_that_are_told_apart_have_ranks_in_order_and_the_others_share_one():
    means = [-86.0, -80.0, -80.0, -83.0, -86.0]
    values = numbers(numpy.random.default_rng(0), means, 5, Noise(0.1, 0.03, 0.03))
    assert ranked(values) == [4, 1, 1, 3, 4]
    assert ranked(-values, better=-1) == [4, 1, 1, 3, 4]
    assert ranked(values[:, :, :1].repeat(50, 2)) == [4, 1, 1, 3, 4]


def test_the_comparison_of_a_row_with_the_best_is_that_of_the_contest():
    """Two rows, whose one pair is that of the contest: ranks and bold numbers agree in 200 tables."""
    random = numpy.random.default_rng(0)
    for _ in range(200):
        values = numbers(random, [0.0, random.uniform(0, 3)], 3, Noise(0.3, 0.1, 0.1))
        rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
        found = contest(rows, lambda row, seed, values=values: values[row, seed], 1)
        assert [rank == 1 for rank in ranked(values)] == [place in found.bold(1) for place in range(2)]


def share_a_rank(tables, seeds, noise):
    """The share of tables in which all of seven equal rows, far below the best, have rank 2."""
    random = numpy.random.default_rng(0)
    means = [0.0] + [-5000.0] * 7  # so far that two seeds tell it, whose factor is 12.7
    return numpy.mean([ranked(numbers(random, means, seeds, noise))[1:] == [2] * 7 for _ in range(tables)])


def test_equal_rows_below_the_best_share_a_rank():
    assert share_a_rank(60, 3, Noise()) >= 0.9


@pytest.mark.nightly
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_rows_below_the_best_share_a_rank_in_93_of_100_tables(seeds, mixture):
    assert share_a_rank(1000, seeds, Noise(*MIXTURES[mixture])) >= 0.93


def test_rows_with_other_seeds_are_compared_on_those_that_they_share():
    values = numbers(numpy.random.default_rng(0), [-80.0, -83.0, -86.0], 4, Noise(0.05, 0.01, 0.01))
    assert ranked(values, seeds=[(0, 1, 2, 3), (0, 1, 2), (1, 2, 3)]) == [1, 2, 3]
    assert ranked(values, seeds=[(0, 1, 2), (3,), (0, 1, 2)]) == [1, None, 2]


def test_the_three_errors_stand_apart():
    random = numpy.random.default_rng(0)
    values = random.normal(-86, 3, (3, 500))
    given = dict(enumerate(values.mean(1).tolist()))
    sampled = {0: 0.03, 1: 0.04, 2: 0.12}
    row = TableRow("a", {}, numbers={"iwll": given, "iwll_standard_error": sampled})
    found = errors(row, lambda label, seed, column, number: values[seed])
    assert found.monte_carlo == pytest.approx(0.13 / 3)
    assert found.test_set == pytest.approx(stats.sem(values.mean(0)))
    assert found.seeds == pytest.approx(stats.sem(values.mean(1)))
    unknown = errors(TableRow("a", {}, numbers={"iwll": {0: -86.0}}))
    assert all(map(math.isnan, (unknown.monte_carlo, unknown.test_set, unknown.seeds)))


def test_mean_ranks_are_those_of_scipy_and_need_enough_data_sets():
    random = numpy.random.default_rng(0)
    given = random.normal(size=(9, 4)) + numpy.array([0.0, 1.5, 3.0, 1.5])
    found = of_numbers(given, "abcd", [f"d{n}" for n in range(9)])
    ranks = stats.rankdata(-given, axis=1)
    assert found.mean_ranks == pytest.approx(dict(zip("abcd", ranks.mean(0), strict=True)))
    assert next(iter(found.mean_ranks)) == "c"
    assert found.p == pytest.approx(stats.friedmanchisquare(*given.T).pvalue)
    assert found.critical == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 9)), abs=2e-3)  # Demsar 2006, Table 5
    assert "c" in found.not_told
    assert "a" not in found.not_told
    few = of_numbers(given[:2], "abcd", ["one", "other"])
    assert few.p is None
    assert few.verdict.startswith("too few data sets (2) to tell 4 rows apart")


def test_two_rows_have_a_sign_test():
    given = numpy.array([[0.0, 1.0]] * 6)
    found = of_numbers(given, "ab", list("uvwxyz"))
    assert (found.p, found.not_told) == (pytest.approx(2 / 64), {"b"})
    assert of_numbers(given[:5], "ab", list("uvwxy")).p is None
    assert of_numbers(given * 0, "ab", list("uvwxyz")).p == 1.0


def test_equal_rows_are_told_apart_across_data_sets_at_most_as_often_as_stated():
    """Friedman's chi-squared is conservative for few data sets."""
    random = numpy.random.default_rng(0)
    for sets in (3, 6):
        told = [of_numbers(random.normal(size=(sets, 5)), "abcde", "uvwxyz"[:sets]).critical for _ in range(300)]
        assert numpy.mean([critical is not None for critical in told]) <= 0.07


def test_across_holds_the_rows_that_stand_on_all_data_sets(tmp_path):
    on = [
        [*cells("a", [-86.0, -86.1], dataset=name), *cells("b", [-87.0, -87.1], dataset=name)]
        for name in ("one", "other")
    ]
    frame = framed(*on, cells("alone", [-80.0, -80.1], dataset="one"), name="m")
    found = across(tables(frame), "m")
    assert dict(found.ranks) == {"a": (2.0 - 1, 1.0), "b": (2.0, 2.0)}
    assert found.left_out == ("alone",)
    paths = write_tables(frame, tmp_path)
    assert [path.name for path in paths][-3:] == ["across.md", "across.csv", "across.tex"]
    assert "left out, because they are not ranked on all data sets: alone" in (tmp_path / "across.md").read_text()
    assert across(tables(framed(on[0]))) is None
    frame = framed(cells("a", [-1.0], dataset="one"), cells("b", [-1.0], dataset="other"))
    assert across(tables(frame)) is None
