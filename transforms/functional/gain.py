"""Counts of detections against the truth: sums that add up in any order, and ratios at the end.

A detection is judged under several criteria at once: the intersection over union from which it
counts as found, or the greatest distance of its centre. Scores are counted in `SCORE_BINS` bins of
[0, 1], so that any number of detections needs constant memory; the counts at the operating point
are exact, not binned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transforms.functional.binned_curves import average_precision, recall_at_precision

_FINE = 10
_PER_DECADE = 60


def score_edges() -> NDArray[np.float64]:
    """Return the edges of the score bins, from 0 to 1: float64 (SCORE_BINS + 1,).

    Thousandths from 0.01 to 0.99. Beyond, where the scores of a detector that is too sure of itself
    crowd, 60 steps a decade of the distance to 0 and to 1, down to the resolution of float32, 1e-7.
    """
    middle = np.arange(_FINE, 1000 - _FINE + 1) / 1000
    ends = middle[0] * 10.0 ** (-np.arange(1, 5 * _PER_DECADE + 1) / _PER_DECADE)
    return np.concatenate([[0], ends[::-1], middle, 1 - ends, [1]])


SCORE_BINS = len(score_edges()) - 1

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


def _none() -> Counts:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class SparseCounts:
    """Counts of few occupied cells among many: `index` int64 (n,) ascending, `count` int64 (n,)."""

    index: Counts = field(default_factory=_none)
    count: Counts = field(default_factory=_none)

    def __add__(self, other: "SparseCounts") -> "SparseCounts":
        if not len(other.index) or not len(self.index):
            return self if len(self.index) else other
        both = np.concatenate([self.index, other.index])
        # Stable: linear in time, since both are ascending.
        order = np.argsort(both, kind="stable")
        index = both[order]
        first = np.flatnonzero(np.append(True, index[1:] > index[:-1]))
        count = np.concatenate([self.count, other.count])[order]
        return SparseCounts(index[first], np.add.reduceat(count, first))

    def between(self, start: int, stop: int) -> "SparseCounts":
        """Return the cells from `start` to before `stop`, numbered from 0."""
        low, high = np.searchsorted(self.index, (start, stop))
        return SparseCounts(self.index[low:high] - start, self.count[low:high])

    def dense(self, size: int) -> Counts:
        """Return the counts of cells 0 to `size`: int64 (size,)."""
        counts = np.zeros(size, np.int64)
        counts[self.index] = self.count
        return counts


@dataclass(frozen=True, eq=False)
class DetectionCounts:
    """Counts of one arm and class against the truth, under c criteria.

    `labels`, `found` and `false` are int64 (c,): true objects that count, and at the operating
    point those found and the detections that match no label; what is ignored is in none of them.
    `bins` holds found and false at every score: cell (criterion * 2 + found) * SCORE_BINS + bin.
    Without criteria (c = 0) it is the zero of the addition.
    """

    labels: Counts = field(default_factory=_none)
    found: Counts = field(default_factory=_none)
    false: Counts = field(default_factory=_none)
    bins: SparseCounts = field(default_factory=SparseCounts)

    def __add__(self, other: "DetectionCounts") -> "DetectionCounts":
        if not len(self.labels) or not len(other.labels):
            return self if len(self.labels) else other
        return DetectionCounts(
            self.labels + other.labels,
            self.found + other.found,
            self.false + other.false,
            self.bins + other.bins,
        )

    def equals(self, other: "DetectionCounts") -> bool:
        """Say whether both hold the same counts."""
        ours, theirs = (
            (each.labels, each.found, each.false, each.bins.index, each.bins.count)
            for each in (self, other)
        )
        return all(map(np.array_equal, ours, theirs))

    def scores(self, criterion: int = 0) -> tuple[Counts, Counts]:
        """Return found and false by score bin, from 0 to 1: two int64 (SCORE_BINS,)."""
        first = 2 * criterion * SCORE_BINS
        both = self.bins.between(first, first + 2 * SCORE_BINS).dense(2 * SCORE_BINS)
        return both[SCORE_BINS:], both[:SCORE_BINS]

    @property
    def recall(self) -> float:
        """Return the share of the labels found at the operating point; nan without labels."""
        return _ratio(self.found, self.labels)

    @property
    def precision(self) -> float:
        """Return the share of the detections there that are true; nan without detections."""
        return _ratio(self.found, self.found + self.false)

    @property
    def average_precision(self) -> float:
        """Return the average precision by COCO's 101-point rule; nan without labels."""
        found, false = self.scores()
        return float(average_precision(found[None], false[None], self._judged)[0])

    def recall_at_precision(self, precision: float) -> float:
        """Return the highest recall at any threshold with at least that precision, or 0."""
        found, false = self.scores()
        return float(recall_at_precision(found[None], false[None], self._judged, precision)[0])

    @property
    def _judged(self) -> Counts:
        return self.labels[:1] if len(self.labels) else np.zeros(1, np.int64)


def bin_scores(scores: NDArray[np.float32]) -> Counts:
    """Return the bin of each score in [0, 1]: int64 of the same shape."""
    place = np.searchsorted(score_edges(), scores.astype(np.float64), side="right") - 1
    return np.clip(place, 0, SCORE_BINS - 1)


def bin_centres() -> NDArray[np.float64]:
    """Return the score in the middle of each bin: float64 (SCORE_BINS,)."""
    edges = score_edges()
    return (edges[:-1] + edges[1:]) / 2


def count_detections(
    scores: NDArray[np.float32],
    *,
    found: Flags,
    false: Flags,
    cells: Counts,
    labels: Counts,
    threshold: float,
) -> list[DetectionCounts]:
    """Count the detections of a tile in each of n cells, such as its classes.

    `scores` (k,); `found` and `false` bool (c, k), never both; `cells` int64 (c, k) in [0, n), the
    cell that each detection counts in; `labels` int64 (n, c), the true objects of every cell.
    """
    size, criteria = labels.shape
    strong = np.broadcast_to(scores >= threshold, found.shape)
    # One number per (cell, criterion, found or false, bin), so that one sort counts them all.
    rows = (cells * criteria + np.arange(criteria)[:, None]) * 2 + found
    flat = (rows * SCORE_BINS + bin_scores(scores))[found | false]
    every = SparseCounts(*np.unique(flat, return_counts=True))
    at_point = np.bincount(rows[(found | false) & strong], minlength=size * criteria * 2)
    false_there, found_there = at_point.reshape(size, criteria, 2).transpose(2, 0, 1)
    width = criteria * 2 * SCORE_BINS
    return [
        DetectionCounts(
            labels[cell],
            found_there[cell].astype(np.int64),
            false_there[cell].astype(np.int64),
            every.between(cell * width, (cell + 1) * width),
        )
        for cell in range(size)
    ]


@dataclass(frozen=True, eq=False)
class CountStack:
    """The counts of many clusters under r weightings: `labels`, `found`, `false` float64 (r, c).

    Every number is a sum of whole numbers, so it is exact and does not depend on their order.
    """

    labels: NDArray[np.float64]
    found: NDArray[np.float64]
    false: NDArray[np.float64]
    weights: NDArray[np.float64]
    parts: Sequence[DetectionCounts]

    @staticmethod
    def of(parts: Sequence[DetectionCounts], weights: NDArray[np.float64]) -> "CountStack":
        """Weight the counts of C clusters by `weights` float64 (r, C)."""
        criteria = max((len(part.labels) for part in parts), default=0)
        zero = np.zeros(criteria, np.int64)
        known = [part if len(part.labels) else DetectionCounts(zero, zero, zero) for part in parts]
        labels, found, false = (
            weights @ np.array([getattr(part, name) for part in known], np.float64)
            for name in ("labels", "found", "false")
        )
        return CountStack(labels, found, false, weights, known)

    def scores(
        self, criterion: int = 0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return found and false (r, b) by score, of the b bins that any cluster occupies.

        The third are the middles of these bins, ascending: float64 (b,).
        """
        first = 2 * criterion * SCORE_BINS
        cells = [part.bins.between(first, first + 2 * SCORE_BINS) for part in self.parts]
        cluster = np.repeat(np.arange(len(cells)), [len(each.index) for each in cells])
        index = np.concatenate([_none(), *(each.index for each in cells)])
        is_found, score = np.divmod(index, SCORE_BINS)
        occupied = np.unique(score)
        counts = np.zeros((2, len(cells), len(occupied)))
        counts[is_found, cluster, np.searchsorted(occupied, score)] = np.concatenate(
            [_none(), *(each.count for each in cells)]
        )
        return self.weights @ counts[1], self.weights @ counts[0], bin_centres()[occupied]


def _ratio(part: Counts, whole: Counts) -> float:
    return float(part[0] / whole[0]) if len(whole) and whole[0] else float("nan")
