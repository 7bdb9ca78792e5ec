"""Crossed intervals: slow references, the classical special cases, coverage on known truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from attar import AttarError
from attar.evaluation import binomial_interval, bootstrap_ratio, crossed_interval
from attar.evaluation.intervals import mean_squares


@pytest.fixture
def table():
    random = np.random.default_rng(1)
    rows, seeds = random.normal(size=(30, 1)), random.normal(size=(1, 4))
    return 0.3 + rows + 0.5 * seeds + random.normal(size=(30, 4))


def slow_mean_squares(table):
    rows, seeds = len(table), len(table[0])
    mean = sum(map(sum, table)) / (rows * seeds)
    of_row = [sum(row) / seeds for row in table]
    of_seed = [sum(row[s] for row in table) / rows for s in range(seeds)]
    rest = sum(
        (table[r][s] - of_row[r] - of_seed[s] + mean) ** 2
        for r, s in itertools.product(range(rows), range(seeds))
    )
    return (
        seeds * sum((m - mean) ** 2 for m in of_row) / (rows - 1),
        rows * sum((m - mean) ** 2 for m in of_seed) / (seeds - 1),
        rest / ((rows - 1) * (seeds - 1)),
    )


def test_the_mean_squares_are_those_of_a_slow_reference(table):
    assert mean_squares(table) == pytest.approx(slow_mean_squares(table.tolist()))


def test_variance_and_degrees_by_hand():
    # Row means 2, 2, 5, 7; seed means 3, 5. MS_row = 2 * 18 / 3, MS_seed = 4 * 2 / 1,
    # residuals +-1 in rows 1 and 2 and 0 in the others: MS_residual = 4 / 3.
    table = np.array([[0.0, 4.0], [2.0, 2.0], [4.0, 6.0], [6.0, 8.0]])
    assert mean_squares(table) == pytest.approx((12.0, 8.0, 4 / 3))
    interval = crossed_interval(table)
    variance = 12 + 8 - 4 / 3
    assert interval.mean == 4.0
    assert interval.standard_error == pytest.approx(math.sqrt(variance / 8))
    scatter = 12**2 / 3 + 8**2 / 1 + (4 / 3) ** 2 / 3
    assert interval.degrees == pytest.approx(variance**2 / scatter)
    # Seeds weigh much and are few: here the half-width is Howe's.
    t3, t1 = stats.t.ppf(0.975, 3), stats.t.ppf(0.975, 1)
    howe = math.sqrt((t3**2 * 12 + t1**2 * (8 - 4 / 3)) / 8)
    assert howe > stats.t.ppf(0.975, interval.degrees) * interval.standard_error
    assert interval.high - 4.0 == pytest.approx(howe)


def test_without_any_luck_of_seeds_it_is_students_interval_over_the_rows(table):
    means = table.mean(axis=1)
    interval = crossed_interval(np.repeat(means[:, None], 4, axis=1))
    low, high = stats.t.interval(0.95, 29, means.mean(), stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.degrees == pytest.approx(29)


def test_without_any_luck_of_rows_it_is_students_interval_over_the_seeds(table):
    means = table.mean(axis=0)
    interval = crossed_interval(np.repeat(means[None], 30, axis=0))
    low, high = stats.t.interval(0.95, 3, means.mean(), stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.degrees == pytest.approx(3)


def test_rows_and_seeds_are_treated_alike_and_units_do_not_matter(table):
    one, other = crossed_interval(table), crossed_interval(table.T)
    assert one.degrees == pytest.approx(other.degrees)
    assert one.standard_error == pytest.approx(other.standard_error)
    scaled = crossed_interval(100 * table)
    assert (scaled.low, scaled.high) == pytest.approx((100 * one.low, 100 * one.high))
    moved = crossed_interval(table - 2)
    assert (moved.low, moved.high) == pytest.approx((one.low - 2, one.high - 2))
    negated = crossed_interval(-table)
    assert (negated.low, negated.high) == pytest.approx((-one.high, -one.low))
    shuffled = np.random.default_rng(0).permutation(table, axis=0)[:, [2, 0, 3, 1]]
    assert crossed_interval(shuffled).low == pytest.approx(one.low)


def test_the_level_is_that_of_both_sides(table):
    narrow, wide = crossed_interval(table, level=0.5), crossed_interval(table, level=0.99)
    assert wide.low < crossed_interval(table).low < narrow.low < narrow.mean
    with pytest.raises(AttarError, match="'level' parameter of crossed_interval"):
        crossed_interval(table, level=1.0)


def test_a_negative_component_is_taken_as_zero():
    # Every row and every seed has mean 0, as a Latin square has: MS_row = MS_seed = 0, and the
    # plain formula would give a variance of minus MS_residual.
    table = np.array([[1.0, -1.0], [-1.0, 1.0]] * 20)
    row, seed, residual = mean_squares(table)
    assert (row, seed) == (0.0, 0.0)
    interval = crossed_interval(table)
    assert interval.standard_error == pytest.approx(math.sqrt(residual / table.size))
    assert interval.low < 0.0 < interval.high


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_variance_is_never_below_what_one_effect_gives_alone(seeds):
    random = np.random.default_rng(seeds)
    for _ in range(100):
        table = random.integers(-1, 2, size=(12, seeds)).astype(float)
        interval = crossed_interval(table)
        least = max(mean_squares(table)) / table.size
        assert interval.standard_error**2 >= least * (1 - 1e-12)
        assert interval.degrees >= min(11, seeds - 1)
        assert interval.high - interval.mean == pytest.approx(interval.mean - interval.low)
        assert interval.high - interval.mean > stats.norm.ppf(0.975) * math.sqrt(least)


def test_one_seed_or_one_row_gives_no_end():
    for table in (np.ones((50, 1)), np.ones((1, 5))):
        interval = crossed_interval(table)
        assert (interval.low, interval.high) == (-math.inf, math.inf)
        assert not interval.above
        assert not interval.below
        assert not interval.inside(1.0)
        assert interval.to_dict()["low"] is None


def test_equal_values_give_a_width_of_zero():
    interval = crossed_interval(np.zeros((50, 3)))
    assert (interval.mean, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert interval.inside(0.0)
    assert not interval.above
    assert not interval.below


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (np.zeros(5), r"shape \[R, S\].*Got shape \(5,\)"),
        (np.zeros((0, 3)), r"shape \[R, S\]"),
        (np.array([[0.0, np.nan], [1.0, np.inf]]), "2 of 4 values are NaN or infinite"),
    ],
)
def test_broken_tables_are_refused(broken, message):
    with pytest.raises(AttarError, match=message):
        crossed_interval(broken)


@pytest.mark.parametrize(
    ("seeds", "seed_share"), [(3, 0.0), (3, 0.5), (5, 0.0), (5, 0.9), (10, 0.5)]
)
def test_it_covers_where_pooling_does_not(seeds, seed_share):
    """400 tables of known mean: 95 % within three standard errors of the count, or more."""
    random = np.random.default_rng(seeds)
    rows, trials, held, pooled = 100, 400, 0, 0
    for _ in range(trials):
        by_row = random.normal(size=(rows, 1)) * math.sqrt(1 - seed_share)
        by_seed = random.normal(size=(1, seeds)) * math.sqrt(seed_share * seeds / rows)
        table = 0.7 + by_row + by_seed + 0.5 * random.normal(size=(rows, seeds))
        interval = crossed_interval(table)
        held += interval.low <= 0.7 <= interval.high
        pooled += abs(table.mean() - 0.7) <= 1.96 * table.std(ddof=1) / math.sqrt(table.size)
    assert held / trials >= 0.917
    assert pooled / trials <= 0.87


def test_a_constant_ratio_has_no_width(table):
    interval = bootstrap_ratio(0.4 * (table + 9), table + 9, draws=200, seed=0)
    assert (interval.low, interval.mean, interval.high) == pytest.approx((0.4, 0.4, 0.4))


def test_the_bootstrap_is_that_of_a_slow_reference(table):
    numerator, denominator = table, table**2 + 1
    random = np.random.default_rng(5)
    ratios = []
    for _ in range(4000):
        rows = random.integers(0, 30, 30)
        seeds = random.integers(0, 4, 3)
        cells = np.ix_(rows, seeds)
        ratios.append(numerator[cells].mean() / denominator[cells].mean())
    interval = bootstrap_ratio(numerator, denominator, draws=4000, seed=0)
    low, high = np.quantile(ratios, [0.025, 0.975])
    assert interval.mean == pytest.approx(numerator.mean() / denominator.mean())
    assert interval.low == pytest.approx(low, abs=0.03)
    assert interval.high == pytest.approx(high, abs=0.03)
    assert interval.standard_error == pytest.approx(np.std(ratios), rel=0.06)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_bootstrap_gives_the_seeds_their_full_spread(seeds):
    means = np.random.default_rng(0).normal(size=seeds)
    table = np.repeat(means[None], 40, axis=0)
    interval = bootstrap_ratio(table, np.ones_like(table), draws=8000, seed=0)
    assert interval.standard_error == pytest.approx(stats.sem(means), rel=0.05)


def test_the_bootstrap_repeats_itself_and_depends_on_its_seed(table):
    def once(seed):
        return bootstrap_ratio(table, table + 9, draws=300, seed=seed)

    assert once(0) == once(0)
    assert once(0) != once(1)


def test_a_gap_that_may_be_zero_has_no_ratio():
    gap = np.array([[1.0, 1.0, 1.0]] * 11 + [[-1.0, -1.0, -1.0]] * 10)
    assert bootstrap_ratio(np.ones_like(gap), gap, draws=500, seed=0) is None


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (3, 7), (695, 719), (719, 719)])
def test_a_share_has_the_interval_of_wilson(hits, rows):
    expected = stats.binomtest(hits, rows).proportion_ci(0.9, method="wilson")
    interval = binomial_interval(hits, rows, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert interval.mean == hits / rows


def test_a_share_of_more_than_all_is_refused():
    with pytest.raises(AttarError, match="'hits' parameter of binomial_interval"):
        binomial_interval(8, 7)
