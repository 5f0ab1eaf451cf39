"""Intervals: the weights are Poisson, arms are paired, and few clusters are not called enough."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transforms.functional.bootstrap import (
    LEAST_CLUSTERS,
    expanded_tail,
    interval,
    poisson_weights,
)

SEEDS = st.integers(0, 2**31)
VALUES = st.floats(-1, 1, allow_subnormal=False)


def weights_of(clusters, replicates=1000, seed=0):
    """Weights of clusters named by their number: (clusters, replicates)."""
    names = map(str, range(clusters))
    return np.stack([poisson_weights(name, replicates=replicates, seed=seed) for name in names])


def test_weights_are_poisson_with_mean_one():
    counts = np.bincount(weights_of(200).ravel(), minlength=13)
    expected = stats.poisson.pmf(np.arange(6), 1) * counts.sum()
    pooled = np.append(counts[:5], counts[5:].sum())
    expected[5] = counts.sum() - expected[:5].sum()
    assert stats.chisquare(pooled, expected).pvalue > 0.01
    assert weights_of(200).mean() == pytest.approx(1, abs=0.01)
    assert weights_of(200).var() == pytest.approx(1, abs=0.02)


def test_weights_never_change():
    # Recorded: a run that is repeated on another machine or numpy must give the same intervals.
    assert poisson_weights("munich/3", replicates=12, seed=7).tolist() == RECORDED


RECORDED = [1, 0, 1, 0, 1, 0, 3, 1, 1, 0, 2, 2]


@given(st.text(), SEEDS, st.integers(0, 50), st.integers(0, 50))
def test_fewer_replicates_are_the_first_of_more(cluster, seed, few, more):
    short = poisson_weights(cluster, replicates=few, seed=seed)
    long = poisson_weights(cluster, replicates=few + more, seed=seed)
    assert short.dtype == np.uint8
    assert np.array_equal(short, long[:few])


def test_clusters_and_seeds_are_independent():
    drawn = np.concatenate([weights_of(40), weights_of(40, seed=1)]).astype(float)
    correlation = np.corrcoef(drawn)[np.triu_indices(80, 1)]
    # Of independent rows, correlations have mean 0 and standard deviation 1 / sqrt(1000).
    assert abs(correlation.mean()) < 0.003
    assert correlation.std() == pytest.approx(1000**-0.5, rel=0.1)
    assert abs(correlation).max() < 0.17


def test_equal_arms_have_a_gain_of_zero_without_width():
    labels, found = np.random.default_rng(1).integers(1, 9, (2, 30))
    weights = weights_of(30)
    before, after = (found @ weights / (labels @ weights) for _ in range(2))
    got = interval(0.0, after - before, clusters=30, difference=True)
    assert (got.low, got.high, got.standard_error, got.p) == (0, 0, 0, 1)


def test_the_standard_error_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(2).normal(3, 2, 400)
    weights = weights_of(400, replicates=4000)
    got = interval(
        values.mean(), values @ weights / weights.sum(axis=0), clusters=400, difference=False
    )
    textbook = stats.sem(values)
    assert got.standard_error == pytest.approx(textbook, rel=0.05)
    low, high = stats.t.interval(0.95, 399, values.mean(), textbook)
    assert (got.low, got.high) == pytest.approx((low, high), abs=0.2 * textbook)


def test_p_is_that_of_the_t_test_on_the_bootstrap_error():
    values = np.random.default_rng(3).normal(0.4, 1, 25)
    # Replicates vary like the population standard deviation, a little less than the sample's.
    replicates = values.mean() + spread(values.std() / 5)
    got = interval(values.mean(), replicates, clusters=25, difference=True)
    assert got.standard_error == pytest.approx(stats.sem(values))
    assert got.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def spread(error, replicates=1001):
    """Symmetric replicates around 0 with exactly that standard deviation."""
    grid = np.linspace(-1, 1, replicates)
    return error * grid / grid.std(ddof=1)


def test_the_detectable_difference_is_found_with_the_stated_power():
    got = interval(0.0, spread(1.0), clusters=41, difference=True)
    # Two-sided t test, 40 degrees of freedom: power from the noncentral t distribution.
    critical = stats.t.ppf(0.975, 40)
    assert stats.nct.sf(critical, 40, got.minimum_detectable) == pytest.approx(0.8, abs=0.01)


def test_a_level_is_not_tested_for_zero():
    got = interval(0.5, 0.5 + spread(0.1), clusters=20, difference=False)
    assert got.p is None
    assert got.minimum_detectable is None


def test_few_clusters_are_insufficient():
    for clusters in range(LEAST_CLUSTERS):
        assert interval(0.1, spread(1.0), clusters=clusters, difference=True) is None
    assert interval(0.1, spread(1.0), clusters=LEAST_CLUSTERS, difference=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_value_has_no_interval(value):
    assert interval(value, spread(1.0), clusters=60, difference=True) is None
    assert interval(0.0, np.full(1000, value), clusters=60, difference=True) is None
    assert interval(0.0, np.zeros(0), clusters=60, difference=True) is None


def test_replicates_without_a_value_are_left_out_while_they_are_rare():
    rare, often = spread(1.0, 1000), spread(1.0, 1000)
    rare[:10], often[:11] = math.nan, math.nan
    got = interval(0.0, rare, clusters=60, difference=False)
    assert got == interval(0.0, rare[10:], clusters=60, difference=False)
    assert interval(0.0, often, clusters=60, difference=False) is None


def test_the_expanded_tail_approaches_that_of_many_clusters():
    tails = [expanded_tail(clusters) for clusters in range(2, 300)]
    assert tails == sorted(tails)
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-5)
    # Hesterberg 2015, section 4.1: for 10 observations 95 % intervals use the tail 0.0086.
    assert expanded_tail(10) == pytest.approx(0.0086, abs=1e-4)


@given(st.lists(VALUES, min_size=2, max_size=30), SEEDS, st.integers(LEAST_CLUSTERS, 200))
def test_order_of_replicates_does_not_matter_and_ends_stay_in_their_range(drawn, seed, clusters):
    replicates = np.float64(drawn)
    shuffled = np.random.default_rng(seed).permutation(replicates)
    got = interval(0.0, replicates, clusters=clusters, difference=True)
    again = interval(0.0, shuffled, clusters=clusters, difference=True)
    assert (got.low, got.high) == (again.low, again.high)
    assert replicates.min() <= got.low <= got.high <= replicates.max()
    assert 0 <= got.p <= 1


@given(st.lists(VALUES, min_size=2, max_size=30), VALUES)
def test_the_opposite_gain_has_the_mirrored_interval(drawn, value):
    replicates = np.float64(drawn)
    got = interval(value, replicates, clusters=20, difference=True)
    other = interval(-value, -replicates, clusters=20, difference=True)
    assert (other.low, other.high) == pytest.approx((-got.high, -got.low), abs=1e-12)
    assert other.p == pytest.approx(got.p)
