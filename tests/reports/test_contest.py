"""The rule of bold numbers: its intervals, and how often it is right about simulated tables."""

import math

import numpy
import pytest
from scipy import stats
from simulated_tables import MIXTURES, Noise, all_bold, bold, numbers, power

from vaezoo.reports import contest as contest_module
from vaezoo.reports.contest import MOST_FILES, contest, factor, mean_difference


def no_images(row, seed):
    return None


def variances(differences):
    """The parts of the seeds and of the images of the variance of a mean difference, from differences [S, N]."""
    seeds, images = differences.shape
    left = differences - differences.mean(0) - differences.mean(1, keepdims=True) + differences.mean()
    interaction = (left**2).sum() / ((seeds - 1) * (images - 1))
    of_images = (differences.mean(0).var(ddof=1) - interaction / seeds) / images
    return differences.mean(1).var(ddof=1) / seeds, of_images


def gap_of_two(seeds):
    random = numpy.random.default_rng(0)
    values = random.normal(-86, 1, (2, seeds, 40)) + random.normal(size=(2, 1, 40))
    values[1] += 1
    rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    found = contest(rows, lambda row, seed: values[row, seed], 1)
    assert found.best == 1
    return found.gaps[0], values[0] - values[1]


def test_the_interval_of_two_rows_has_the_degrees_of_freedom_of_seeds_and_images_by_their_shares():
    """The interaction of seeds and images is taken from the part of the images: it is in that of the seeds."""
    gap, differences = gap_of_two(3)
    of_seeds, of_images = variances(differences)
    share = of_seeds / (of_seeds + of_images)
    assert 0.02 < share < 0.98
    factor = stats.t.ppf(0.975, 1 / (share / 2 + (1 - share) / 39))
    assert gap.mean == pytest.approx(differences.mean())
    assert gap.half_width == pytest.approx(factor * math.sqrt(of_seeds + of_images))
    assert (gap.seeds, gap.images) == ((0, 1, 2), 40)


def test_two_seeds_cannot_tell_the_shares_so_that_the_half_widths_are_added_in_squares():
    gap, differences = gap_of_two(2)
    over_seeds, over_images = map(math.sqrt, variances(differences))
    assert gap.half_width == pytest.approx(
        math.hypot(stats.t.ppf(0.975, 1) * over_seeds, stats.t.ppf(0.975, 39) * over_images)
    )


def test_one_seed_is_judged_over_the_images_with_a_factor_for_all_pairs():
    """With many images that of the range of four normal numbers: Tukey's."""
    values = numpy.random.default_rng(0).normal(-86, 1, (4, 1, 20_000))
    rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    found = contest(rows, lambda row, seed: values[row, seed], 1)
    place = next(place for place, gap in enumerate(found.gaps) if gap)
    error = stats.sem(values[place, 0] - values[found.best, 0])
    tukey = stats.studentized_range.ppf(0.95, 4, math.inf) / math.sqrt(2)
    assert found.gaps[place].half_width == pytest.approx(tukey * error, rel=1e-3)


def test_a_variance_that_is_small_by_chance_counts_as_the_middle_one():
    """Three seeds; the differences of the third row happen to be almost equal."""
    rows = [[-80.0, -80.0, -80.0], [-80.1, -80.4, -80.2], [-80.30, -80.31, -80.32], [-80.2, -80.6, -80.1]]
    found = contest([dict(enumerate(row)) for row in rows], no_images, 1)
    middle = numpy.median([numpy.var(row, ddof=1) for row in rows[1:]])
    assert found.gaps[2].half_width == pytest.approx(factor(4, 1 / 2) * math.sqrt(middle / 3))
    assert found.gaps[3].half_width == pytest.approx(factor(4, 1 / 2) * stats.sem(rows[3]))
    assert found.bold(1) == [0, 1, 2, 3]


def test_a_difference_of_a_rounding_is_none_however_regular_it_is():
    assert contest([{0: -86.0, 1: -87.0}, {0: -86.00001, 1: -87.00001}], no_images, 1).bold(1) == [0, 1]
    assert contest([{0: -86.0, 1: -87.0}, {0: -86.001, 1: -87.001}], no_images, 1).bold(1) == [0]


def test_lower_may_be_better():
    values = numpy.random.default_rng(0).normal(size=(3, 5, 50)) + numpy.array([5.0, 0.0, 5.0])[:, None, None]
    assert bold(values, better=-1) == [1]
    assert bold(values, better=1) == [0, 2]


@pytest.mark.parametrize("values", [[1e300, -1e300, 3.0], [1.7e308, 1.7e308, 1.7e308]])
def test_overflow_tells_nothing(values):
    rows = [dict(enumerate(values)), dict(enumerate([0.0, 1.0, 2.0]))]
    assert contest(rows, no_images, 1).bold(1) == [0, 1]


def test_a_row_that_is_told_above_the_best_takes_its_place():
    """The row of two seeds has the lower mean, because it lacks the good third seed; on its own seeds it is better."""
    full = {0: -90.0, 1: -90.1, 2: -60.0}
    short = {0: -80.0, 1: -80.05}
    found = contest([full, short, {0: -95.0, 1: -95.1, 2: -65.0}], no_images, 1)
    assert (found.best, found.bold(1)) == (1, [1])
    assert found.gaps[0].seeds == (0, 1)


def test_images_that_differ_or_are_not_finite_are_not_compared():
    one, other = numpy.arange(3.0), numpy.ones(3)
    assert mean_difference([(one, other), (other, other)]).tolist() == [-0.5, 0.0, 0.5]
    for pair in ((one, None), (one, other[:2]), (one, other * math.nan), (one[:1], other[:1])):
        assert mean_difference([(one, other), pair]) is None
    assert mean_difference([]) is None


def test_many_rows_read_the_images_of_few_seeds():
    rows, seeds = 20, 3
    values = numpy.random.default_rng(0).normal(size=(rows, seeds, 5))
    read = set()

    def images(row, seed):
        read.add((row, seed))
        return values[row, seed]

    given = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    contest(given, images, 1)
    assert len(read) == rows * seeds <= MOST_FILES
    read.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contest_module, "MOST_FILES", rows + 1)
        contest(given, images, 1)
    assert read == {(row, 0) for row in range(rows)}


def test_the_factor_of_two_rows_is_students_and_grows_with_the_rows_and_with_fewer_degrees():
    assert factor(2, numpy.array([1 / 4, 0.3])) == pytest.approx(stats.t.ppf(0.975, [4, 1 / 0.3]))
    assert factor(8, 1) == pytest.approx(stats.t.ppf(0.975, 1))
    factors = [factor(rows, 1 / 4) for rows in (2, 5, 8, 20)]
    assert factors == sorted(factors)
    assert factors[-1] > 4
    whole = factor(8, numpy.linspace(0, 1, 301))
    assert (numpy.diff(whole) > 0).all()
    assert whole[0] == pytest.approx(stats.studentized_range.ppf(0.95, 8, math.inf) / math.sqrt(2))
    alone = [factor(8, inverse) for inverse in (0, 1 / 300, 1 / 50, 1 / 7.5, 1 / 2)]
    assert factor(8, numpy.array([0, 1 / 300, 1 / 50, 1 / 7.5, 1 / 2])) == pytest.approx(numpy.array(alone))


def test_equal_rows_are_all_bold():
    assert all_bold(200, 5, 3, Noise()) >= 0.93


@pytest.mark.parametrize(("name", "seeds"), [("seeds", 5), ("images", 1)])
def test_a_rule_for_one_pair_would_leave_equal_rows_out(name, seeds, monkeypatch):
    """What the simulation is for: Student's factor for one pair, for eight rows, fails it."""
    monkeypatch.setattr(contest_module, "factor", lambda rows, inverse: factor(2, inverse))
    assert all_bold(100, 8, seeds, Noise(*MIXTURES[name])) < 0.9


def test_a_difference_is_found():
    assert power(40, 5, 5, Noise(0.1, 0.03, 0.03), 1.0) > 0.95


@pytest.mark.nightly
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [2, 3, 5, 8])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_equal_rows_are_all_bold_in_93_to_97_of_100_tables(mixture, rows, seeds):
    """95 are meant; the share of 2,000 tables has a standard error of 0.5 points. With one seed only images vary. Two
    seeds make the rule more careful.
    """
    noise = Noise(*MIXTURES[mixture])
    found = all_bold(2000, rows, seeds, noise if seeds > 1 else Noise(0.0, 1.0, 0.0))
    assert found >= 0.925
    assert found <= 0.975 or seeds == 2


@pytest.mark.nightly
@pytest.mark.parametrize("images", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("rows", [2, 3, 5, 8])
def test_one_row_with_much_more_noise_than_the_others_costs_little(rows, seeds, images):
    """The factor is Student's at least."""
    assert all_bold(2000, rows, seeds, Noise([10.0] + [1.0] * (rows - 1), images, 0.1)) >= 0.92


@pytest.mark.nightly
@pytest.mark.parametrize(("seeds", "difference", "least"), [(2, 2.0, 0.6), (3, 0.5, 0.6), (5, 0.5, 0.95)])
def test_the_power_of_the_paired_test(seeds, difference, least):
    """Five rows whose seeds vary by 0.1 nats and whose images by 0.04."""
    assert power(1000, 5, seeds, Noise(0.1, 0.03, 0.03), difference) >= least


def test_numbers_vary_as_the_noise_says():
    """The mean over images and seeds of a row, beyond what all rows share."""
    random = numpy.random.default_rng(0)
    found = [numpy.diff(numbers(random, [0.0, 0.0], 3, Noise(0.6, 0.3, 0.9)).mean((1, 2)))[0] for _ in range(2000)]
    assert numpy.std(found) == pytest.approx(math.sqrt(2 * (0.6**2 / 3 + 0.3**2 + 0.9**2 / 3)), rel=0.05)
