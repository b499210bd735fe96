import math

import numpy
import pytest
from scipy import stats

from vaezoo.reports.statistics import Summary, over_images, over_seeds, summarise


@pytest.mark.parametrize("count", [3, 4, 5, 10, 30])
def test_interval_is_the_closed_form(count):
    values = numpy.random.default_rng(count).normal(-86.3, 0.2, count)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    summary = summarise(values)
    assert (summary.kind, summary.count) == ("interval", count)
    assert summary.mean == pytest.approx(values.mean(), rel=1e-12)
    assert (summary.low, summary.high) == pytest.approx((low, high), rel=1e-12)
    assert summary.half_width == pytest.approx((high - low) / 2)


def test_three_seeds_by_hand():
    """With two degrees of freedom the quantile is (2 p - 1) / sqrt(2 p (1 - p))."""
    quantile = 0.95 / math.sqrt(2 * 0.975 * 0.025)
    assert summarise([1.0, 2.0, 3.0]).half_width == pytest.approx(quantile / math.sqrt(3), rel=1e-12)


def test_two_values_give_their_range():
    assert summarise([-86.1, -86.4]) == Summary(pytest.approx(-86.25), -86.4, -86.1, 2, "range")


def test_one_value_stands_alone():
    assert summarise([4]) == Summary(4.0, 4.0, 4.0, 1, "single")


@pytest.mark.parametrize("values", [[], [math.nan], [math.nan, math.nan]])
def test_no_value_gives_nans(values):
    summary = summarise(values)
    assert (summary.count, summary.kind) == (0, "none")
    assert all(math.isnan(number) for number in (summary.mean, summary.low, summary.high))


def test_nans_are_dropped_and_counted():
    assert summarise([1.0, math.nan, 2.0, 4.0]) == summarise([1.0, 2.0, 4.0])
    assert summarise([1.0, math.nan, 2.0]).kind == "range"


def test_equal_values_have_no_width():
    assert summarise([0.1] * 3) == Summary(0.1, 0.1, 0.1, 3, "interval")


def test_infinite_values_are_not_hidden():
    assert summarise([-math.inf, 1.0, 2.0]) == Summary(-math.inf, -math.inf, math.inf, 3, "interval")
    assert math.isnan(summarise([-math.inf, math.inf, 2.0]).mean)


@pytest.mark.parametrize("count", [3, 5, 10])
def test_interval_covers_as_it_says(count):
    """95 % +- 1.5 points over 4000 draws: the binomial's standard error is 0.34 points."""
    draws = numpy.random.default_rng(20 + count).normal(-86.0, 0.3, (4000, count))
    summaries = [summarise(row) for row in draws.tolist()]
    covered = numpy.mean([summary.low <= -86.0 <= summary.high for summary in summaries])
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_intervals_of_paired_differences_over_seeds_cover_as_they_say(count):
    draws = numpy.random.default_rng(count).normal(0.4, 0.3, (2000, count))
    found = [over_seeds(row) for row in draws.tolist()]
    assert numpy.mean([each.low <= 0.4 <= each.high for each in found]) == pytest.approx(0.95, abs=0.02)


@pytest.mark.nightly
@pytest.mark.parametrize("skewed", [False, True])
def test_bca_intervals_over_images_cover_as_they_say(skewed):
    """1,000 test sets of 300 images, whose differences are normal or exponential."""
    random = numpy.random.default_rng(0)
    draws = random.exponential(size=(1000, 300)) if skewed else random.normal(1.0, 1.0, (1000, 300))
    found = [over_images(row) for row in draws]
    assert numpy.mean([each.low <= 1.0 <= each.high for each in found]) == pytest.approx(0.95, abs=0.02)
