"""Precision and recall from counts by score bin, for many weightings of the same data at once.

`found` and `false` are (r, b): the weight of true and false detections in each of b score bins,
ascending in score, under r weightings (1 for plain counts, more for a bootstrap); `labels` is (r,).
Every function returns (r,) float64, nan where there are no labels.

Where a score threshold would fall inside a bin, the true detections of the bin are taken to be
spread in it like the false ones. A bin with detections of one kind needs no such guess, so numbers
are exact where true and false detections share no bin.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALL_POINTS = np.linspace(0, 1, 101)
_ROWS = 64

Numbers = NDArray[np.float64]
Places = NDArray[np.intp]
Weights = NDArray[Any]


def average_precision(found: Weights, false: Weights, labels: Weights) -> Numbers:
    """Return COCO's 101-point average precision.

    The mean over recall 0, .01 ... 1 of the best precision at that recall or beyond (Lin et al.
    2014, as pycocotools accumulates it).
    """
    # Few rows at a time: what is computed on stays in the cache, almost twice as fast.
    starts = range(0, len(labels), _ROWS)
    chunks = [slice(start, start + _ROWS) for start in starts]
    parts = [_average_precision(found[rows], false[rows], labels[rows]) for rows in chunks]
    return np.concatenate([np.zeros(0), *parts])


def recall_at_precision(
    found: Weights, false: Weights, labels: Weights, precision: float
) -> Numbers:
    """Return the highest recall at any score threshold with at least that precision, or 0."""
    true, wrong = _from_the_top(found), _from_the_top(false)
    enough = _precision(true, wrong) >= precision
    enough[:, 0] = True  # nothing is found there, so it promises nothing
    final = enough.shape[1] - 1
    last = final - np.argmax(enough[:, ::-1], axis=1)[:, None]
    following = np.minimum(last + 1, final)
    start, stop = (np.take_along_axis(true, at, axis=1)[:, 0] for at in (last, following))
    missed, more = (np.take_along_axis(wrong, at, axis=1)[:, 0] for at in (last, following))
    spare = np.maximum(start - precision * (start + missed), 0)
    lacking = np.maximum(precision * (stop + more) - stop, 0)
    share = np.divide(spare, spare + lacking, out=np.zeros_like(spare), where=spare > 0)
    return ratio(start + share * (stop - start), labels)


def reliability(found: Weights, false: Weights, scores: Numbers) -> tuple[Numbers, Numbers]:
    """Return the precision (r, 10) and the number (r, 10) of detections in tenths of the score.

    `scores` (b,) are the middles of the bins, ascending. The precision of an empty tenth is nan.
    """
    true, every = _by_tenth(found, scores), _by_tenth(found + false, scores)
    return ratio(true, every), every


def calibration_error(found: Weights, false: Weights, scores: Numbers) -> Numbers:
    """Return the expected calibration error over tenths of the score (Guo et al. 2017, eq. 5).

    The mean over detections of |precision - mean score| of their tenth; nan without detections.
    """
    every = found + false
    gap = np.abs(_by_tenth(found, scores) - _by_tenth(every * scores, scores))
    return ratio(gap.sum(axis=1), every.sum(axis=1))


def ratio(part: Weights, whole: Weights) -> Numbers:
    """Return part / whole, nan where the whole is 0."""
    size = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.divide(part, whole, out=np.full(size, np.nan), where=np.asarray(whole) != 0)


def _average_precision(found: Weights, false: Weights, labels: Weights) -> Numbers:
    true, wrong = _from_the_top(found), _from_the_top(false)
    best = np.maximum.accumulate(_precision(true, wrong)[:, ::-1], axis=1)[:, ::-1]
    beyond = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    needed = _needed(labels)
    place = _first_reaching(true, needed)
    points = np.take_along_axis(beyond, place, axis=1)
    # Within a bin precision rises or falls throughout: it is best where the recall is just reached,
    # or at the end of the bin, or later.
    points = np.maximum(points, _precision_within(true, wrong, needed, place))
    return np.where(labels > 0, points.mean(axis=1), np.nan)


def _by_tenth(weights: Weights, scores: Numbers) -> Numbers:
    """Return the sums over the bins of each tenth of the score: float64 (r, 10)."""
    edges = np.searchsorted(scores, np.arange(11) / 10)
    edges[-1] = len(scores)
    # Row by row, not as a product of matrices: that would round as the threads happen to add.
    sums = [weights[:, low:high].sum(axis=1) for low, high in pairwise(edges)]
    return np.stack(sums, axis=1).astype(np.float64)


def _from_the_top(weights: Weights) -> Numbers:
    """Return the sums over the highest 0, 1 ... b bins: float64 (r, b + 1), ascending."""
    rows, bins = weights.shape
    sums = np.zeros((rows, bins + 1))
    np.cumsum(weights[:, ::-1], axis=1, out=sums[:, 1:])
    return sums


def _precision(true: Numbers, wrong: Numbers) -> Numbers:
    """Return the share that is true; 0 of nothing."""
    every = true + wrong
    return np.divide(true, every, out=np.zeros_like(every), where=every > 0)


def _precision_within(
    true: Numbers, wrong: Numbers, needed: NDArray[np.int64], place: Places
) -> Numbers:
    """Return the precision where just as many are found as are needed: float64 (r, 101).

    `place` is the first in `true` that reaches them; 0 where that is the first or none.
    """
    last = true.shape[1] - 1
    before, after = np.maximum(place - 1, 0), np.minimum(place, last)
    start, stop = (np.take_along_axis(true, at, axis=1) for at in (before, after))
    missed, more = (np.take_along_axis(wrong, at, axis=1) for at in (before, after))
    inside = (start < needed) & (needed <= stop)
    share = np.divide(needed - start, stop - start, out=np.zeros_like(start), where=inside)
    wrong_there = missed + share * (more - missed)
    return np.where(inside, _precision(needed.astype(np.float64), wrong_there), 0)


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


def _first_reaching(reached: Numbers, needed: NDArray[np.int64]) -> Places:
    """Return in each row (n,) the first place where `reached` (ascending) is a need, or n."""
    rows, places = reached.shape
    # Rows end to end, each lifted above the one before, are ascending as a whole: one search.
    step = int(max(reached.max(initial=0), needed.max(initial=0))) + 1
    lift = step * np.arange(rows, dtype=np.int64)[:, None]
    flat = (reached.astype(np.int64) + lift).ravel()
    place = np.searchsorted(flat, (needed + lift).ravel(), side="left").reshape(needed.shape)
    return np.minimum(place - places * np.arange(rows)[:, None], places)
