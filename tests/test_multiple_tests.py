"""Holm's rule: adjusted p-values reject exactly what the textbook's steps reject."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.multiple_tests import holm

P_VALUES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def steps_reject(p, alpha):
    """Holm's procedure as printed: compare the smallest with alpha / m, the next with less."""
    rejected = set()
    ordered = sorted((value, place) for place, value in enumerate(p) if value is not None)
    for rank, (value, place) in enumerate(ordered):
        if value * (len(ordered) - rank) > alpha:
            break
        rejected.add(place)
    return rejected


def test_a_case_computed_by_hand():
    # 4 x .01; 3 x .02; 2 x .03, not below the one before; 1 x .005 is the smallest and gets 4.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_what_was_not_tested_does_not_count():
    assert holm([None, 0.02, None]) == [None, 0.02, None]
    assert holm([]) == []


@given(P_VALUES, st.floats(0, 0.999))
def test_adjusted_values_reject_what_the_textbook_steps_reject(p, alpha):
    adjusted = holm(p)
    assert {
        place for place, value in enumerate(adjusted) if value is not None and value <= alpha
    } == steps_reject(p, alpha)


@given(P_VALUES)
def test_adjusting_keeps_the_order_and_lowers_nothing(p):
    pairs = [(old, new) for old, new in zip(p, holm(p), strict=True) if old is not None]
    assert all(old <= new <= 1 for old, new in pairs)
    assert [new for _, new in sorted(pairs)] == sorted(new for _, new in pairs)
