"""Curves are what counting above each threshold says; average precision is COCO's by hand.

That it is pycocotools' number is shown by tests/test_coco_conformance.py.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.average_precision import (
    average_precision,
    curve,
    recall_at_precision,
    threshold_at_precision,
)

OUTCOMES = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["found", "false", "neither"])))


def arrays(outcomes: list[tuple[int, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores in eighths, and the masks found and false."""
    scores = np.array([eighths / 8 for eighths, _ in outcomes], np.float32)
    kinds = np.array([kind for _, kind in outcomes], "U7")
    return scores, kinds == "found", kinds == "false"


def number_found(outcomes: list[tuple[int, str]]) -> int:
    return sum(kind == "found" for _, kind in outcomes)


def by_definition(outcomes: list[tuple[int, str]], *, labels: int) -> float:
    """Return the mean over 101 recalls of the best precision there or beyond.

    Precision is exact; recalls are compared as COCO compares them, in float64.
    """
    steps, found, kept = [], 0, 0
    for _, kind in sorted(outcomes, key=lambda outcome: -outcome[0]):
        if kind != "neither":
            found, kept = found + (kind == "found"), kept + 1
            steps.append((found / labels, Fraction(found, kept)))
    best = [
        max((precision for recall, precision in steps if recall >= point), default=0)
        for point in np.linspace(0, 1, 101)
    ]
    return float(sum(best) / Fraction(101))


@given(OUTCOMES, st.integers(0, 5))
def test_average_precision_is_its_definition(outcomes, missed):
    labels = number_found(outcomes) + missed
    result = average_precision(*arrays(outcomes), labels=labels)
    if labels == 0:
        assert math.isnan(result)
    else:
        assert result == pytest.approx(by_definition(outcomes, labels=labels), abs=1e-12)


@given(OUTCOMES, st.integers(0, 5))
def test_detections_that_count_as_nothing_change_nothing(outcomes, missed):
    labels = number_found(outcomes) + missed
    counting = [outcome for outcome in outcomes if outcome[1] != "neither"]
    with_them, without = (
        average_precision(*arrays(each), labels=labels) for each in (outcomes, counting)
    )
    assert with_them == without or (math.isnan(with_them) and math.isnan(without))


@given(OUTCOMES, st.integers(0, 5))
def test_a_curve_counts_what_reaches_each_threshold(outcomes, missed):
    labels = number_found(outcomes) + missed
    scores, found, false = arrays(outcomes)
    points = curve(scores, found, false, labels=labels)
    assert set(points.thresholds) == set(scores[found | false])
    assert (np.diff(points.thresholds) < 0).all()
    for threshold, true, wrong in zip(points.thresholds, points.found, points.false, strict=True):
        assert true == (found & (scores >= threshold)).sum()
        assert wrong == (false & (scores >= threshold)).sum()


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_a_curve_ignores_the_order_of_detections(outcomes, random):
    shuffled = random.sample(outcomes, len(outcomes))
    labels = number_found(outcomes) + 1
    a, b = (curve(*arrays(each), labels=labels) for each in (outcomes, shuffled))
    assert (a.thresholds == b.thresholds).all()
    assert (a.recall == b.recall).all()
    assert (a.precision == b.precision).all()


@given(OUTCOMES, st.integers(1, 5), st.sampled_from([0.25, 0.5, 0.8, 1.0]))
def test_recall_and_threshold_at_precision_are_the_best_of_all_thresholds(
    outcomes, missed, precision
):
    labels = number_found(outcomes) + missed
    scores, found, false = arrays(outcomes)
    reached = {}
    for threshold in np.unique(scores):
        kept = scores >= threshold
        true, wrong = int((found & kept).sum()), int((false & kept).sum())
        if true + wrong and Fraction(true, true + wrong) >= Fraction(str(precision)):
            reached[float(threshold)] = true / labels
    points = curve(scores, found, false, labels=labels)
    assert recall_at_precision(points, precision) == max(reached.values(), default=0)
    threshold = threshold_at_precision(points, precision)
    if not reached:
        assert math.isnan(threshold)
    else:
        assert recall_at_precision(points, precision) == reached[threshold]
        counting = {float(score) for score in scores[found | false]}
        assert threshold == min(counting & set(reached))


def test_average_precision_of_a_case_by_hand():
    # Steps (recall, precision): (1/4, 1), (1/4, 1/2), (1/2, 2/3), (1/2, 1/2), (3/4, 3/5).
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    found = np.array([True, False, True, False, True])
    expected = (26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101
    assert average_precision(scores, found, ~found, labels=4) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("found", "expected"), [([True, True], 1.0), ([False, False], 0.0)])
def test_all_true_is_one_and_all_false_is_zero(found, expected):
    found = np.array(found)
    assert average_precision(np.array([0.5, 0.5]), found, ~found, labels=2) == expected


def test_nothing_detected_is_zero_and_nothing_labelled_is_nan():
    none = np.zeros(0), np.zeros(0, bool), np.zeros(0, bool)
    assert average_precision(*none, labels=3) == 0
    assert recall_at_precision(curve(*none, labels=3), 0.8) == 0
    assert math.isnan(threshold_at_precision(curve(*none, labels=3), 0.8))
    assert math.isnan(average_precision(*none, labels=0))
    assert math.isnan(recall_at_precision(curve(*none, labels=0), 0.8))


def test_a_threshold_keeps_every_detection_with_its_score():
    # Taken one by one, the first of the equal scores would reach a precision of 1.
    scores, found = np.array([0.5, 0.5]), np.array([True, False])
    points = curve(scores, found, ~found, labels=1)
    assert recall_at_precision(points, 0.8) == 0
    assert recall_at_precision(points, 0.5) == 1


def test_four_of_five_reach_a_precision_of_eight_tenths():
    found = np.array([True, True, False, True, True])
    points = curve(np.array([0.9, 0.8, 0.7, 0.6, 0.5]), found, ~found, labels=4)
    assert threshold_at_precision(points, 0.8) == 0.5
    assert recall_at_precision(points, 0.8) == 1


@pytest.mark.parametrize(
    ("found", "false", "labels", "message"),
    [
        ([True], [True], 1, "both found and false"),
        ([True], [False], 0, "at most 0 labels"),
        ([True, False], [False, False], 1, "arrays"),
    ],
)
def test_contradicting_outcomes_are_refused(found, false, labels, message):
    masks = np.array(found), np.array(false)
    with pytest.raises(ValueError, match=message):
        average_precision(np.array([0.5]), *masks, labels=labels)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="nan"):
        curve(np.array([np.nan]), np.array([True]), np.array([False]), labels=1)
