"""Counts of detections are sums, and what they say is the definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.functional.gain import SCORE_BINS, DetectionCounts, count_detections
from transforms.functional.matching import match_greedily

SEEDS = st.integers(0, 2**32 - 1)


def random_counts(seed: int) -> DetectionCounts:
    rng = np.random.default_rng(seed)
    bins = [rng.integers(0, 4, SCORE_BINS) for _ in range(2)]
    labels = int(bins[0].sum() + rng.integers(0, 100))
    return DetectionCounts(labels, int(bins[0][300:].sum()), int(bins[1][300:].sum()), *bins)


def fields(counts: DetectionCounts) -> list[object]:
    bins = [counts.found_bins.tolist(), counts.false_bins.tolist()]
    return [counts.labels, counts.found, counts.false, *bins]


@given(SEEDS, SEEDS, SEEDS)
def test_counts_add_up_in_any_order_and_have_a_zero(a, b, c):
    x, y, z = (random_counts(seed) for seed in (a, b, c))
    assert fields((x + y) + z) == fields(z + (y + x))
    assert fields(x + DetectionCounts()) == fields(x)


@given(SEEDS)
def test_average_precision_lies_between_0_and_1_and_ranks(seed):
    counts = random_counts(seed)
    silent = DetectionCounts(
        counts.labels, counts.found, 0, counts.found_bins, np.zeros_like(counts.false_bins)
    )
    assert 0 <= counts.average_precision <= silent.average_precision <= 1


def test_without_labels_there_is_no_recall():
    assert math.isnan(DetectionCounts().recall)
    assert math.isnan(DetectionCounts().precision)
    assert math.isnan(DetectionCounts().average_precision)
    assert math.isnan(DetectionCounts().recall_at_precision(0.8))


def test_recall_at_a_precision_is_read_off_the_curve():
    found, false = np.zeros(SCORE_BINS, np.int64), np.zeros(SCORE_BINS, np.int64)
    found[900], found[500], false[500], found[100], false[100] = 4, 4, 2, 2, 20
    counts = DetectionCounts(labels=20, found_bins=found, false_bins=false)
    assert counts.recall_at_precision(1.0) == 4 / 20
    assert counts.recall_at_precision(0.8) == 8 / 20
    assert counts.recall_at_precision(0.3) == 10 / 20


def test_no_curve_point_reaches_an_impossible_precision():
    false = np.zeros(SCORE_BINS, np.int64)
    false[999] = 1
    assert DetectionCounts(labels=5, false_bins=false).recall_at_precision(0.5) == 0


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_ends_of_the_score_range_are_counted(score):
    truth = np.float32([[0, 0, 9, 9]])
    found = Detections(xyxy_to_corners(truth), np.float32([score]), np.int32([0]))
    counts = count_detections(
        found,
        matches=np.array([0]),
        owned_detections=np.array([True]),
        owned_labels=np.array([True]),
        threshold=0.0,
    )
    assert counts.found_bins.sum() == counts.found == 1


@given(st.floats(1, 79), st.floats(-4, 4))
def test_an_object_on_a_border_is_found_once_and_false_nowhere(x, offset):
    """Two cores share the border x = 40; label and detection may lie on two sides of it."""
    label = np.float32([[x - 10, 0, x + 10, 20]])
    box = label + np.float32([offset, 0, offset, 0])
    found = Detections(xyxy_to_corners(box), np.float32([0.9]), np.int32([0]))
    matches = match_greedily(found, label, np.int32([0]), iou=0.5)
    total = DetectionCounts()
    for start, stop in ((-100, 40), (40, 200)):
        centre, label_centre = found.centres[0, 0], label[0, [0, 2]].mean()
        total += count_detections(
            found,
            matches=matches,
            owned_detections=np.array([start <= centre < stop]),
            owned_labels=np.array([start <= label_centre < stop]),
            threshold=0.5,
        )
    assert (total.labels, total.found, total.false) == (1, 1, 0)
