"""Numbers of two histograms agree with scipy and numpy, and catch what they are made to catch."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from transforms.functional.histogram_changes import (
    comb_index,
    count_levels,
    level_deviation,
    mean_level,
    share_at,
    wasserstein,
)

COUNTS = st.lists(st.integers(0, 10**9), min_size=2, max_size=40).map(
    lambda values: np.array(values, np.int64)
)


def levels_of(image: np.ndarray) -> np.ndarray:
    return np.bincount(image.ravel(), minlength=256)


@given(COUNTS, st.data())
def test_wasserstein_is_that_of_scipy(a, data):
    size = st.integers(0, 10**9)
    b = np.array(data.draw(st.lists(size, min_size=len(a), max_size=len(a))), np.int64)
    steps = data.draw(st.lists(st.integers(1, 20), min_size=len(a), max_size=len(a)))
    assume(a.any() and b.any())
    values = np.cumsum(steps).astype(float)
    expected = wasserstein_distance(values, values, a, b)
    assert wasserstein(a, b, values) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    numbered = wasserstein_distance(np.arange(len(a)), np.arange(len(a)), a, b)
    assert wasserstein(a, b) == pytest.approx(numbered, rel=1e-9, abs=1e-9)


@given(COUNTS)
def test_a_histogram_is_at_distance_0_from_itself(counts):
    assume(counts.any())
    assert wasserstein(counts, counts) == 0


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_shift_of_all_pixels_is_the_distance_and_changes_the_mean_alone(low, shift):
    image = np.random.default_rng(low).integers(low, low + 50, 500)
    before, after = levels_of(image), levels_of(image + shift)
    assert wasserstein(before, after) == pytest.approx(shift, abs=1e-9)
    assert mean_level(after) - mean_level(before) == pytest.approx(shift, abs=1e-9)
    assert level_deviation(after) == level_deviation(before)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=300))
def test_mean_and_deviation_are_those_of_the_pixels(values):
    counts = levels_of(np.array(values))
    assert mean_level(counts) == pytest.approx(np.mean(values))
    assert level_deviation(counts) == pytest.approx(np.std(values), abs=1e-9)
    assert count_levels(counts) == len(set(values))


def test_the_deviation_of_a_large_scene_does_not_overflow():
    counts = np.zeros(256, np.int64)
    counts[[0, 255]] = 10**15
    assert (mean_level(counts), level_deviation(counts)) == (127.5, 127.5)


def test_shares_are_of_what_was_counted():
    counts = np.array([1, 0, 2, 5], np.int64)
    assert (share_at(counts, 0), share_at(counts, -1)) == (1 / 8, 5 / 8)
    assert share_at(counts, slice(2, None)) == 7 / 8


def test_a_lowest_bit_that_was_cut_off_makes_a_comb():
    image = np.random.default_rng(0).integers(20, 230, (200, 200, 3))
    cut = image & 0xFE
    assert comb_index(levels_of(image)) == 0
    assert comb_index(levels_of(cut)) == pytest.approx(0.5, abs=0.01)
    assert count_levels(levels_of(cut)) < 0.6 * count_levels(levels_of(image))


def test_levels_that_are_cut_and_not_rounded_lose_half_a_level():
    """No comb tells of it: the mean does."""
    light = np.random.default_rng(0).uniform(0, 255, 200_000)
    rounded, cut = (levels_of(make(light).astype(np.uint8)) for make in (np.rint, np.floor))
    assert comb_index(cut) == 0
    assert mean_level(cut) - mean_level(rounded) == pytest.approx(-0.5, abs=0.01)


@pytest.mark.parametrize("counts", [[0, 0, 0], [0, 7, 0], [3, 4, 0]])
def test_levels_with_nothing_in_between_have_no_comb_index(counts):
    assert math.isnan(comb_index(np.array(counts, np.int64)))


def test_nothing_has_no_numbers():
    nothing, one = np.zeros(4, np.int64), np.array([1, 0, 0, 0], np.int64)
    assert math.isnan(wasserstein(nothing, one))
    assert math.isnan(wasserstein(one, nothing))
    assert all(math.isnan(of(nothing)) for of in (mean_level, level_deviation))
    assert math.isnan(share_at(nothing, 0))
    assert count_levels(nothing) == 0
