"""The rule of bold numbers: its intervals, and how often it is right about simulated tables."""

import math

import numpy
import pytest
from scipy import stats
from simulated_tables import MIXTURES, Noise, all_bold, bold, numbers, power

from vaezoo.reports import contest as contest_module
from vaezoo.reports.contest import MOST_FILES, contest, mean_difference, seed_factor


def no_images(row, seed):
    return None


def test_two_rows_have_students_intervals_over_seeds_and_over_images_added_in_squares():
    """The interaction of seeds and images is taken from the part of the images: it is in that of the seeds."""
    random = numpy.random.default_rng(0)
    values = random.normal(-86, 1, (2, 3, 40)) + random.normal(size=(2, 1, 40))
    values[1] += 1
    rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    found = contest(rows, lambda row, seed: values[row, seed], 1)
    assert found.best == 1
    gap = found.gaps[0]
    differences = values[0] - values[1]
    over_seeds = stats.t.ppf(0.975, 2) * stats.sem(differences.mean(1))
    left = differences - differences.mean(0) - differences.mean(1, keepdims=True) + differences.mean()
    interaction = (left**2).sum() / (2 * 39)
    over_images = stats.t.ppf(0.975, 39) * math.sqrt((differences.mean(0).var(ddof=1) - interaction / 3) / 40)
    assert gap.mean == pytest.approx(differences.mean())
    assert gap.half_width == pytest.approx(math.hypot(over_seeds, over_images))
    assert (gap.seeds, gap.images) == ((0, 1, 2), 40)


def test_one_seed_is_judged_over_the_images_with_a_factor_for_all_pairs():
    values = numpy.random.default_rng(0).normal(-86, 1, (4, 1, 40))
    rows = [dict(enumerate(row)) for row in values.mean(2).tolist()]
    found = contest(rows, lambda row, seed: values[row, seed], 1)
    place = next(place for place, gap in enumerate(found.gaps) if gap)
    error = stats.sem(values[place, 0] - values[found.best, 0])
    assert found.gaps[place].half_width == pytest.approx(stats.t.ppf(1 - 0.025 / 6, 39) * error)


def test_a_variance_that_is_small_by_chance_counts_as_the_middle_one():
    """Three seeds; the differences of the third row happen to be almost equal."""
    rows = [[-80.0, -80.0, -80.0], [-80.1, -80.4, -80.2], [-80.30, -80.31, -80.32], [-80.2, -80.6, -80.1]]
    found = contest([dict(enumerate(row)) for row in rows], no_images, 1)
    middle = numpy.median([numpy.var(row, ddof=1) for row in rows[1:]])
    assert found.gaps[2].half_width == pytest.approx(seed_factor(4, 3) * math.sqrt(middle / 3))
    assert found.gaps[3].half_width == pytest.approx(seed_factor(4, 3) * stats.sem(rows[3]))
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


def test_the_factor_of_two_rows_is_students_and_grows_with_the_rows():
    assert seed_factor(2, 5) == pytest.approx(stats.t.ppf(0.975, 4))
    assert seed_factor(8, 2) == pytest.approx(stats.t.ppf(0.975, 1))
    factors = [seed_factor(rows, 5) for rows in (2, 5, 8, 20)]
    assert factors == sorted(factors)
    assert factors[-1] > 4


def test_equal_rows_are_all_bold():
    assert all_bold(200, 5, 3, Noise()) >= 0.93


@pytest.mark.parametrize("name", ["seed_factor", "image_factor"])
def test_a_rule_for_one_pair_would_leave_equal_rows_out(name, monkeypatch):
    """What the simulation is for: Student's factor for one pair, for eight rows, fails it."""
    monkeypatch.setattr(contest_module, name, lambda rows, count: stats.t.ppf(0.975, count - 1))
    noise = Noise(*MIXTURES["seeds" if name == "seed_factor" else "images"])
    assert all_bold(100, 8, 5 if name == "seed_factor" else 1, noise) < 0.9


def test_a_difference_is_found():
    assert power(40, 5, 5, Noise(0.1, 0.03, 0.03), 1.0) > 0.95


@pytest.mark.nightly
@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [3, 5, 8])
@pytest.mark.parametrize("mixture", MIXTURES)
def test_equal_rows_are_all_bold_in_93_of_100_tables(mixture, rows, seeds):
    """95 are meant; the share of 1,500 tables has a standard error of 0.6 points. With one seed only images vary. Two
    seeds, and seeds and images that are equally noisy, make the rule more careful than 95.
    """
    noise = Noise(*MIXTURES[mixture])
    found = all_bold(1500, rows, seeds, noise if seeds > 1 else Noise(0.0, 1.0, 0.0))
    assert found >= 0.93
    if seeds > 2 and mixture != "both":
        assert found <= 0.98


@pytest.mark.nightly
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("rows", [3, 5, 8])
def test_one_row_with_much_more_noise_than_the_others_costs_little(rows, seeds):
    """The factor is Student's at least: nine of ten tables stay right."""
    assert all_bold(1500, rows, seeds, Noise([10.0] + [1.0] * (rows - 1), 0.1, 0.1)) >= 0.9


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
