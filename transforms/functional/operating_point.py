"""The operating point: the lowest score threshold that attains a target, from every score.

Nothing is binned. Detections are drawn again by whole clusters, as all intervals are, to say how
far the threshold could be off by chance.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transforms.functional.average_precision import Curve, average_precision

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Target:
    """What a threshold must attain: at least this precision, or at most so many false per km2."""

    metric: Literal["precision", "false_per_km2"]
    value: float

    def __post_init__(self) -> None:
        highest = 1.0 if self.metric == "precision" else math.inf
        lowest_is_fine = self.value > 0 or (self.value == 0 and self.metric == "false_per_km2")
        if not (lowest_is_fine and self.value <= highest and math.isfinite(self.value)):
            wanted = "in (0, 1]" if self.metric == "precision" else "a finite number >= 0"
            raise ValueError(f"{self.metric} must be {wanted}, got {self.value:g}")


@dataclass(frozen=True, eq=False)
class Outcomes:
    """How k detections of n classes in C clusters met the labels, from the score floor up.

    `scores` float32 (k,); `found` and `false` bool (k,), never both, and neither for what counts as
    nothing; `classes` int32 (k,); `clusters` int64 (k,) in [0, C). `labels` int64 (C, n) are the
    labels that count. `km2` float64 (C,) is the ground that was judged, None where nobody knows.
    Average precision takes equal scores in the order given; all else ignores the order.
    """

    scores: NDArray[np.float32]
    found: Bools
    false: Bools
    classes: NDArray[np.int32]
    clusters: Ints
    labels: Ints
    km2: Floats | None


@dataclass(frozen=True, eq=False)
class Ranking:
    """The k detections that count, by falling score, so that they can be counted many times over.

    `thresholds` float64 (n,) are the distinct scores, falling, and `last` int64 (n,) the place of
    the last detection of each. `found` bool (k,), `clusters` int64 (k,). `labels` int64 (C,).
    """

    thresholds: Floats
    last: Ints
    found: Bools
    clusters: Ints
    labels: Ints

    @staticmethod
    def of(outcomes: Outcomes) -> "Ranking":
        """Sort the detections."""
        counts = np.flatnonzero(outcomes.found | outcomes.false)
        order = counts[np.argsort(-outcomes.scores[counts], kind="stable")]
        scores = outcomes.scores[order].astype(np.float64)
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)[: len(scores)])
        return Ranking(
            scores[last],
            last,
            outcomes.found[order],
            outcomes.clusters[order],
            outcomes.labels.sum(axis=1),
        )

    def curve(self, weights: Ints) -> Curve:
        """Return what stands above each threshold if cluster c is there `weights[c]` times.

        Thresholds are the scores that are there at all.
        """
        each = weights[self.clusters]
        every = each.cumsum()[self.last]
        found = (each * self.found).cumsum()[self.last]
        there = np.diff(every, prepend=0) > 0
        labels = int(weights @ self.labels)
        return Curve(self.thresholds[there], found[there], (every - found)[there], labels)


def attains(points: Curve, target: Target, km2: float) -> Bools:
    """Say which thresholds attain the target: bool (n,). `km2` is the ground that was judged."""
    if target.metric == "precision":
        return np.asarray(points.precision >= target.value)
    if not km2 > 0:
        return np.zeros(len(points.thresholds), np.bool_)
    return np.asarray(points.false / km2 <= target.value)


def lowest_threshold(points: Curve, target: Target, km2: float = math.nan) -> float:
    """Return the lowest threshold that attains the target; nan where there is none."""
    enough = points.thresholds[attains(points, target, km2)]
    return float(enough[-1]) if enough.size else math.nan


def best_of(points: Curve, target: Target, km2: float = math.nan) -> tuple[float, float]:
    """Return the best value of the target's metric, and the lowest threshold with it.

    Both are nan where nothing was detected.
    """
    if not len(points.thresholds):
        return math.nan, math.nan
    values = points.precision if target.metric == "precision" else points.false / km2
    best = float(values.max() if target.metric == "precision" else values.min())
    return best, float(points.thresholds[values == best][-1])


def resample_thresholds(outcomes: Outcomes, target: Target, weights: NDArray[np.uint8]) -> Floats:
    """Return the lowest threshold of every replicate: float64 (r,), nan where there is none.

    `weights` uint8 (r, C) says how often each replicate counts each cluster.
    """
    ranking, ground = Ranking.of(outcomes), judged_ground(outcomes, weights)
    return np.array(
        [
            lowest_threshold(ranking.curve(each), target, km2)
            for each, km2 in zip(weights.astype(np.int64), ground, strict=True)
        ],
        np.float64,
    )


def judged_ground(outcomes: Outcomes, weights: NDArray[np.uint8]) -> Floats:
    """Return the square kilometres that were judged in each replicate: float64 (r,), or nan.

    The sum is exact before it is rounded, so the order of the clusters is of no matter.
    """
    if outcomes.km2 is None:
        return np.full(len(weights), math.nan)
    return np.array([math.fsum(each * outcomes.km2) for each in weights], np.float64)


def rates_at(outcomes: Outcomes, threshold: float, weights: NDArray[np.uint8]) -> dict[str, Floats]:
    """Return recall, precision and false_per_km2 from a threshold up: each float64 (r,).

    What has nothing to be divided by is nan.
    """
    found, false = count_at(outcomes, threshold)
    each = weights.astype(np.int64)
    labels = each @ outcomes.labels.sum(axis=1)
    parts = {
        # A label and the detection that found it may lie in two clusters, drawn unequally often.
        "recall": (np.minimum(each @ found, labels), labels),
        "precision": (each @ found, each @ (found + false)),
        "false_per_km2": (each @ false, judged_ground(outcomes, weights)),
    }
    return {
        name: np.divide(part, whole, out=np.full(len(weights), math.nan), where=whole > 0)
        for name, (part, whole) in parts.items()
    }


def count_at(outcomes: Outcomes, threshold: float) -> tuple[Ints, Ints]:
    """Return how many detections from a threshold up are found and false: int64 (C,) each.

    Scores are compared in float32, as the main job does.
    """
    strong, size = outcomes.scores >= np.float32(threshold), len(outcomes.labels)
    found, false = (
        np.bincount(outcomes.clusters[strong & flags], minlength=size).astype(np.int64)
        for flags in (outcomes.found, outcomes.false)
    )
    return found, false


def mean_average_precision(outcomes: Outcomes) -> float:
    """Return the mean, over the classes that have labels, of the average precision; else nan."""
    averages = [
        _average_precision(outcomes, kind, int(labels))
        for kind, labels in enumerate(outcomes.labels.sum(axis=0))
        if labels
    ]
    return sum(averages) / len(averages) if averages else math.nan


def _average_precision(outcomes: Outcomes, kind: int, labels: int) -> float:
    mine = outcomes.classes == kind
    met = outcomes.found[mine], outcomes.false[mine]
    return average_precision(outcomes.scores[mine], *met, labels=labels)


def shorten_threshold(threshold: float, *, above: float, least: float) -> float:
    """Return a number of few decimals, at least three, that keeps the same detections.

    It lies above the next lower score (`above`, -inf where there is none), in float32 too, in which
    scores are compared; at or below `threshold`; and not below `least`, where detections begin.
    """
    for places in range(3, 10):
        short = math.floor(threshold * 10**places) / 10**places
        same = above < short <= threshold and np.float32(above) < np.float32(short)
        if same and short >= least and np.float32(short) <= np.float32(threshold):
            return short
    return max(threshold, least)
