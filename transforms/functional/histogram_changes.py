"""What two histograms say of each other, and one of itself: pure numbers from whole counts.

A histogram is int64 (n,) of counts, over values 0 ... n - 1 where nothing else is said. What is not
defined, because nothing was counted, is nan.
"""

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


def wasserstein(a: Counts, b: Counts, values: Numbers | None = None) -> float:
    """Return the Wasserstein-1 distance of two histograms, in the unit of the values.

    It is the integral of |F_a - F_b|, F being the shares up to a value (Vallender 1974): how far
    the average pixel has to be moved. `values` are those of the bins, rising, float64 (n,).
    """
    if not (a.sum() and b.sum()):
        return math.nan
    steps = np.ones(len(a) - 1) if values is None else np.diff(values)
    between = np.cumsum(a) / a.sum() - np.cumsum(b) / b.sum()
    return float((np.abs(between[:-1]) * steps).sum())


def mean_level(counts: Counts) -> float:
    """Return the mean value."""
    total, first, _ = _moments(counts)
    return first / total if total else math.nan


def level_deviation(counts: Counts) -> float:
    """Return the standard deviation of the values around their own mean (population)."""
    total, first, second = _moments(counts)
    return math.sqrt(total * second - first * first) / total if total else math.nan


def share_at(counts: Counts, where: int | slice) -> float:
    """Return the share of what was counted that lies in a bin, or in a slice of bins."""
    total = int(counts.sum())
    return int(counts[where].sum()) / total if total else math.nan


def count_levels(counts: Counts) -> int:
    """Return how many values occur."""
    return int(np.count_nonzero(counts))


def comb_index(counts: Counts) -> float:
    """Return the share of values that do not occur among those between the lowest and the highest.

    0 for a picture that uses every level; near 1 / 2 where every second one is missing, as after
    the lowest bit was cut off; nan where there is nothing in between.
    """
    occupied = np.flatnonzero(counts)
    if len(occupied) == 0 or occupied[-1] - occupied[0] < 2:
        return math.nan
    interior = counts[occupied[0] + 1 : occupied[-1]]
    return int((interior == 0).sum()) / len(interior)


def _moments(counts: Counts) -> tuple[int, int, int]:
    """Return the sums of 1, value and value^2: Python's integers, for int64 would overflow."""
    pairs = list(enumerate(counts.tolist()))
    total = sum(count for _, count in pairs)
    first = sum(value * count for value, count in pairs)
    second = sum(value * value * count for value, count in pairs)
    return total, first, second
