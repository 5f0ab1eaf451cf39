"""Counts of detections are sums, and what they say is the definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.gain import (
    SCORE_BINS,
    CountStack,
    DetectionCounts,
    SparseCounts,
    bin_centres,
    bin_scores,
    count_detections,
    score_edges,
)

SEEDS = st.integers(0, 2**32 - 1)
CELLS = st.dictionaries(st.integers(0, 40), st.integers(1, 9))


def sparse(cells: dict[int, int]) -> SparseCounts:
    known = sorted(cells.items())
    index, count = np.array(known, np.int64).reshape(-1, 2).T
    return SparseCounts(index, count)


def random_counts(seed: int, criteria: int = 2) -> DetectionCounts:
    """Return counts with few occupied bins; some seeds give the zero."""
    rng = np.random.default_rng(seed)
    if rng.random() < 0.1:
        return DetectionCounts()
    numbers = rng.integers(0, 9, (3, criteria))
    index = np.unique(rng.integers(0, criteria * 2 * SCORE_BINS, 30))
    return DetectionCounts(*numbers, SparseCounts(index, rng.integers(1, 9, len(index))))


def of_bins(labels: int, found: dict[int, int], false: dict[int, int]) -> DetectionCounts:
    """Return counts under one criterion, everything below the operating point."""
    cells = false | {SCORE_BINS + place: count for place, count in found.items()}
    return DetectionCounts(np.array([labels]), np.array([0]), np.array([0]), sparse(cells))


def fields(counts: DetectionCounts) -> list[list[int]]:
    bins = [counts.bins.index, counts.bins.count]
    return [each.tolist() for each in (counts.labels, counts.found, counts.false, *bins)]


def count(scores, found, false, **changes):
    """Count detections of one cell under one criterion."""
    settings = {
        "cells": np.zeros((1, len(scores)), np.int64),
        "labels": np.array([[10]]),
        "threshold": 0.5,
    }
    masks = {"found": np.array([found], bool), "false": np.array([false], bool)}
    return count_detections(np.float32(scores), **masks, **settings | changes)


@given(CELLS, CELLS)
def test_sparse_counts_add_like_dense_ones(a, b):
    x, y = sparse(a), sparse(b)
    total = x + y
    assert np.array_equal(total.dense(41), x.dense(41) + y.dense(41))
    assert np.array_equal(total.index, sorted(a.keys() | b.keys()))


@given(CELLS, st.integers(0, 40), st.integers(0, 40))
def test_a_range_of_sparse_counts_is_that_of_the_dense_ones(a, start, size):
    part = sparse(a).between(start, start + size)
    assert np.array_equal(part.dense(size), sparse(a).dense(81)[start : start + size])


@given(SEEDS, SEEDS, SEEDS)
def test_counts_add_up_in_any_order_and_have_a_zero(a, b, c):
    x, y, z = (random_counts(seed) for seed in (a, b, c))
    assert fields((x + y) + z) == fields(x + (y + z)) == fields(z + (y + x))
    assert fields(x + DetectionCounts()) == fields(DetectionCounts() + x) == fields(x)


@given(SEEDS)
def test_counts_say_the_same_of_a_sum_as_of_all_detections_at_once(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random(60).astype(np.float32)
    found, false = np.array([[1, 0], [0, 1], [0, 0]], bool)[rng.integers(0, 3, 60)].T
    halves = [count(scores[s], found[s], false[s])[0] for s in (slice(0, 25), slice(25, 60))]
    [whole] = count(scores, found, false, labels=np.array([[20]]))
    assert fields(halves[0] + halves[1]) == fields(whole)


@given(SEEDS)
def test_average_precision_lies_between_0_and_1_and_false_detections_lower_it(seed):
    rng = np.random.default_rng(seed)
    places = rng.integers(0, SCORE_BINS, (2, 12))
    found, false = ({int(place): 1 for place in side} for side in places)
    noisy, silent = of_bins(20, found, false), of_bins(20, found, {})
    assert 0 <= noisy.average_precision <= silent.average_precision <= 1


def test_of_nothing_there_is_no_recall():
    for counts in (DetectionCounts(), of_bins(0, {}, {7: 1})):
        assert math.isnan(counts.recall)
        assert math.isnan(counts.precision)
        assert math.isnan(counts.average_precision)
        assert math.isnan(counts.recall_at_precision(0.8))


def test_recall_at_a_precision_is_read_off_the_curve():
    counts = of_bins(20, {900: 4, 500: 4, 100: 2}, {500: 2, 100: 20})
    assert counts.recall_at_precision(1.0) == 4 / 20
    assert counts.recall_at_precision(0.8) == 8 / 20
    assert counts.recall_at_precision(0.3) == 10 / 20


def test_no_curve_point_reaches_an_impossible_precision():
    assert of_bins(5, {}, {999: 1}).recall_at_precision(0.5) == 0


def test_bins_cover_0_to_1_and_are_at_most_a_thousandth_wide():
    edges = score_edges()
    assert (edges[0], edges[-1], len(edges)) == (0, 1, SCORE_BINS + 1)
    assert np.diff(edges).min() > 0
    assert np.diff(edges).max() < 0.00100001
    assert np.isin(np.arange(11) / 10, edges).all()


@given(st.floats(0, 1, width=32))
def test_a_score_lies_in_its_bin(score):
    [place] = bin_scores(np.array([score], np.float32))
    edges = score_edges()
    assert edges[place] <= score <= edges[place + 1]
    assert edges[place] < bin_centres()[place] < edges[place + 1]


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_the_ends_of_the_score_range_are_counted(score):
    [counts] = count([score], [True], [False], threshold=0.0)
    assert counts.bins.count.sum() == counts.found[0] == 1


def test_the_operating_point_is_exact_though_bins_are_not():
    threshold = 0.5004
    [counts] = count([0.5003, 0.5004, 0.5005], [1, 1, 1], [0, 0, 0], threshold=threshold)
    # All three share a bin; float32 of 0.5004 lies just above the number.
    assert counts.bins.count.tolist() == [3]
    assert counts.found[0] == 2


def test_what_is_neither_found_nor_false_counts_nowhere():
    [counts] = count([0.9, 0.9, 0.9], [1, 0, 0], [0, 1, 0])
    assert (counts.found[0], counts.false[0], counts.bins.count.sum()) == (1, 1, 2)


@given(SEEDS)
def test_cells_partition_the_counts(seed):
    rng = np.random.default_rng(seed)
    scores, kinds = rng.random(50).astype(np.float32), rng.integers(0, 3, (2, 50))
    found, cells = kinds == 0, rng.integers(0, 4, (2, 50))
    labels = rng.integers(0, 9, (4, 2))
    known = {"found": found, "false": kinds == 1, "threshold": 0.5}
    parts = count_detections(scores, cells=cells, labels=labels, **known)
    [whole] = count_detections(scores, cells=0 * cells, labels=labels.sum(axis=0)[None], **known)
    assert fields(sum(parts, start=DetectionCounts())) == fields(whole)
    assert parts[2].found[1] == (found[1] & (cells[1] == 2) & (scores >= 0.5)).sum()


@given(SEEDS)
def test_a_stack_is_the_weighted_sum_of_its_parts(seed):
    rng = np.random.default_rng(seed)
    parts = [random_counts(int(part)) for part in rng.integers(0, 1000, 5)]
    weights = rng.integers(0, 4, (3, 5))
    stack = CountStack.of(parts, weights.astype(float))
    for row in range(3):
        pieces = [part for part, n in zip(parts, weights[row], strict=True) for _ in range(n)]
        total = sum(pieces, start=DetectionCounts())
        if not len(total.labels):
            continue
        assert stack.labels[row].tolist() == total.labels.tolist()
        assert stack.false[row].tolist() == total.false.tolist()
        for criterion in range(2):
            found, false, scores = stack.scores(criterion)
            places = np.searchsorted(bin_centres(), scores)
            for mine, wanted in zip((found, false), total.scores(criterion), strict=True):
                assert np.array_equal(mine[row], wanted[places])
                assert mine[row].sum() == wanted.sum()


def test_a_stack_of_clusters_without_counts_is_empty():
    stack = CountStack.of([DetectionCounts()] * 3, np.ones((2, 3)))
    assert stack.labels.shape == (2, 0)
