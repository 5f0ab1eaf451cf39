"""Robust limits: how often another number of the same kind is out of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.robust import Usual, spread, standard_error

NUMBERS = st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=3, max_size=40)


@given(NUMBERS, st.floats(-1e3, 1e3).map(round), st.sampled_from([0.5, 2.0, 8.0]))
def test_median_and_spread_move_and_scale_with_the_numbers(values, shift, scale):
    usual, moved = Usual.of(values), Usual.of([scale * value + shift for value in values])
    assert moved.median == pytest.approx(scale * usual.median + shift, abs=1e-6)
    assert moved.spread == pytest.approx(scale * usual.spread, abs=1e-6)


@given(NUMBERS, st.randoms())
def test_the_order_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert Usual.of(values) == Usual.of(shuffled)


def test_six_wild_numbers_of_fourteen_do_not_decide():
    calm = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99]
    usual = Usual.of([*calm, *[1e9] * 6])
    assert usual.median == pytest.approx(1.0, abs=0.03)
    assert usual.spread < 0.2


def test_the_spread_of_normal_numbers_is_their_standard_deviation():
    draws = np.random.default_rng(0).normal(5, 3, (4000, 14))
    assert np.mean([spread(row) for row in draws]) == pytest.approx(3, rel=0.02)


def test_the_spread_agrees_with_a_sort_of_all_pairs_by_hand():
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    # Distances 1 2 3 4 6 7 8 12 14 15; the third, for half of five and one is three: C(3, 2) = 3.
    assert spread(values) == pytest.approx(2.2219 * 0.844 * 3)


@pytest.mark.parametrize("runs", [5, 7, 14, 30])
def test_chance_is_beyond_reach_as_seldom_as_a_normal_number_beyond_three_deviations(runs):
    draws = np.random.default_rng(runs).standard_normal((20_000, runs + 1))
    usual = [Usual.of(row[:-1]) for row in draws]
    beyond = [
        row[-1] < known.median - known.reach(3) for row, known in zip(draws, usual, strict=True)
    ]
    # 0.00135 with a known spread; from five numbers even less is known than Student's t allows for.
    assert 0.0005 < np.mean(beyond) < 0.0045


def test_equal_numbers_have_no_spread_and_no_reach():
    usual = Usual.of([20.0] * 14)
    assert (usual.median, usual.spread, usual.reach(3)) == (20.0, 0.0, 0.0)


def test_an_interval_tells_its_standard_error_and_none_tells_nothing():
    assert standard_error(-1.959964, 1.959964) == pytest.approx(1)
    assert standard_error(None, 1.0) == standard_error(0.0, float("inf")) == 0
