"""Precision and recall from counts by score bin, for many weightings of the same data at once.

`found` and `false` are (r, b): the weight of true and false detections in each of b score bins,
ascending in score, under r weightings (1 for plain counts, more for a bootstrap); `labels` is (r,).
Every function returns (r,) float64, nan where there are no labels. Within a bin true detections are
taken to be spread like false ones: only the ends of bins are points of the curve.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALL_POINTS = np.linspace(0, 1, 101)
RELIABILITY_EDGES = np.linspace(0, 1, 11)

Numbers = NDArray[np.float64]
Weights = NDArray[Any]


def average_precision(found: Weights, false: Weights, labels: Weights) -> Numbers:
    """Return COCO's 101-point average precision.

    The mean over recall 0, .01 ... 1 of the best precision at that recall or beyond (Lin et al.
    2014, as pycocotools accumulates it).
    """
    reached, precision = _curve(found, false)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    rows, bins = reached.shape
    padded = np.concatenate([best, np.zeros((rows, 1))], axis=1)
    place = _first_reaching(reached, _needed(labels))
    points = np.take_along_axis(padded, np.minimum(place, bins), axis=1)
    return np.where(labels > 0, points.mean(axis=1), np.nan)


def recall_at_precision(
    found: Weights, false: Weights, labels: Weights, precision: float
) -> Numbers:
    """Return the highest recall at any score threshold with at least that precision, or 0."""
    reached, reached_precision = _curve(found, false)
    enough = np.where(reached_precision >= precision, reached, 0)
    best = enough.max(axis=1, initial=0)
    return ratio(best, labels)


def reliability(found: Weights, false: Weights, scores: Numbers) -> tuple[Numbers, Numbers]:
    """Return the precision (r, 10) and the number (r, 10) of detections in tenths of the score.

    `scores` (b,) are the middles of the bins. The precision of an empty tenth is nan.
    """
    tenth = np.clip((scores * 10).astype(np.intp), 0, 9)
    pick = np.zeros((len(scores), 10))
    pick[np.arange(len(scores)), tenth] = 1
    true, every = found @ pick, (found + false) @ pick
    return ratio(true, every), every


def calibration_error(found: Weights, false: Weights, scores: Numbers) -> Numbers:
    """Return the expected calibration error over tenths of the score (Guo et al. 2017, eq. 5).

    The mean over detections of |precision - mean score| of their tenth; nan without detections.
    """
    tenth = np.clip((scores * 10).astype(np.intp), 0, 9)
    pick = np.zeros((len(scores), 10))
    pick[np.arange(len(scores)), tenth] = 1
    every = found + false
    gap = np.abs(found @ pick - (every * scores) @ pick).sum(axis=1)
    return ratio(gap, every.sum(axis=1))


def ratio(part: Weights, whole: Weights) -> Numbers:
    """Return part / whole, nan where the whole is 0."""
    size = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(size, np.nan), where=np.asarray(whole) != 0)


def _curve(found: Weights, false: Weights) -> tuple[Numbers, Numbers]:
    """Return found so far and precision when the threshold falls bin by bin, from 1 to 0."""
    reached = np.cumsum(found[:, ::-1], axis=1, dtype=np.float64)
    every = reached + np.cumsum(false[:, ::-1], axis=1, dtype=np.float64)
    return reached, np.divide(reached, every, out=np.zeros_like(every), where=every > 0)


def _needed(labels: Weights) -> NDArray[np.int64]:
    """Return how many must be found for each recall point: int64 (r, 101).

    The least whole number whose quotient by the labels is not below the point in floating point,
    which is what pycocotools compares.
    """
    whole = np.maximum(np.asarray(labels, np.float64), 1)[:, None]
    needed = np.ceil(RECALL_POINTS * whole)
    fewer = np.maximum(needed - 1, 0)
    needed = np.where(fewer / whole >= RECALL_POINTS, fewer, needed)
    return np.where(needed / whole >= RECALL_POINTS, needed, needed + 1).astype(np.int64)


def _first_reaching(reached: Numbers, needed: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return in each row the first place where `reached` (ascending) is at least each need."""
    rows, bins = reached.shape
    if not bins:
        return np.zeros(needed.shape, np.intp)
    # Rows end to end, each lifted above the one before, are ascending as a whole: one search.
    step = int(max(reached.max(initial=0), needed.max(initial=0))) + 1
    lift = step * np.arange(rows, dtype=np.int64)[:, None]
    flat = (reached.astype(np.int64) + lift).ravel()
    place = np.searchsorted(flat, (needed + lift).ravel(), side="left").reshape(needed.shape)
    return np.minimum(place - bins * np.arange(rows)[:, None], bins)
