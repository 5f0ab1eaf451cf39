"""Outcomes: every detection of one arm, unbinned, and the score threshold that they allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from configs.schema import IntervalConfig
from transforms.clusters import Clusters
from transforms.functional.average_precision import Curve
from transforms.functional.bootstrap import Interval, cluster_weights, interval
from transforms.functional.operating_point import (
    Outcomes,
    Ranking,
    Target,
    best_of,
    count_at,
    judged_ground,
    lowest_threshold,
    mean_average_precision,
    rates_at,
    resample_thresholds,
    shorten_threshold,
)
from transforms.records import Arm, TileRow


@dataclass(frozen=True)
class Estimate:
    """A number on a set, its 95 % interval, and the `n` in so many `clusters` that stand behind it.

    `interval` is None where there are too few clusters for one.
    """

    value: float
    interval: Interval | None
    n: int
    clusters: int


class UnattainedError(ValueError):
    """No threshold attains the target; the message tells the best there is."""


def collect_outcomes(
    rows: Sequence[TileRow], clusters: Clusters, *, arm: Arm, classes: int
) -> tuple[Outcomes, tuple[str, ...]]:
    """Return the claimed detections of an arm under the first criterion, and the clusters' names.

    The rows must be those of a run with labels, in a fixed order. Clusters stand in alphabetic
    order; `classes` is how many the detector has.
    """
    measured = [row for row in rows if row.status == "measured"]
    names = tuple(sorted({clusters.name(row.window) for row in measured}))
    index = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(names), classes), np.int64)
    area = [Fraction(0)] * len(names)
    parts = []
    for row in measured:
        cluster = index[clusters.name(row.window)]
        area[cluster] += row.judged_km2
        assert row.labels is not None
        mine = row.labels.classes[row.counted]
        labels[cluster] += np.bincount(mine, minlength=classes)
        parts.append(_claimed(row, arm, cluster))
    scores, found, false, kinds, places = (
        np.concatenate(part) for part in zip(_nothing(), *parts, strict=True)
    )
    known = all(row.metres is not None for row in measured)
    km2 = np.array([float(each) for each in area]) if known else None
    return Outcomes(scores, found, false, kinds, places, labels, km2), names


def choose_threshold(outcomes: Outcomes, target: Target, *, floor: float) -> float:
    """Return the lowest threshold that attains the target, as a short decimal from `floor` up.

    Raises UnattainedError if none does, ValueError if no label counts.
    """
    if not outcomes.labels.any():
        raise ValueError("no label that counts lies on the judged ground of these scenes")
    once = np.ones((1, len(outcomes.labels)), np.uint8)
    [km2] = judged_ground(outcomes, once)
    points = Ranking.of(outcomes).curve(once[0].astype(np.int64))
    lowest = lowest_threshold(points, target, km2)
    if math.isnan(lowest):
        raise UnattainedError(_unattained(points, target, km2))
    lower = points.thresholds[points.thresholds < lowest]
    return shorten_threshold(lowest, above=max(lower, default=-math.inf), least=floor)


def estimate(
    outcomes: Outcomes,
    names: Sequence[str],
    *,
    threshold: float,
    target: Target,
    config: IntervalConfig,
) -> dict[str, Estimate]:
    """Return the threshold and what it gives on the set, by name; `names` (C,) are the clusters'.

    `false_per_km2` is absent where nobody knows the ground. The average precision has no interval.
    """
    weights = cluster_weights(names, replicates=config.replicates, seed=config.seed)
    labels = outcomes.labels.sum(axis=1)
    strong = np.add(*count_at(outcomes, threshold))
    every = np.add(*count_at(outcomes, 0.0))
    behind = {"recall": labels, "precision": strong, "false_per_km2": strong}
    again = resample_thresholds(outcomes, target, weights[1:])
    numbers = {"score_threshold": _estimate(np.append(threshold, again), every)}
    numbers |= {
        name: _estimate(values, behind[name])
        for name, values in rates_at(outcomes, threshold, weights).items()
        if name != "false_per_km2" or outcomes.km2 is not None
    }
    average = np.array([mean_average_precision(outcomes)])
    return numbers | {"average_precision": _estimate(average, labels)}


def _estimate(values: np.ndarray, behind: np.ndarray) -> Estimate:
    """Return a number, the first of the values, with its replicates, the others."""
    clusters = int((behind > 0).sum())
    ends = interval(float(values[0]), values[1:], clusters=clusters, difference=False)
    return Estimate(float(values[0]), ends, int(behind.sum()), clusters)


def _unattained(points: Curve, target: Target, km2: float) -> str:
    best, threshold = best_of(points, target, km2)
    limit = "at least" if target.metric == "precision" else "at most"
    wanted = f"{target.metric} of {limit} {target.value:g}"
    if math.isnan(threshold):
        return f"no threshold gives a {wanted}: nothing was detected"
    return f"no threshold gives a {wanted}: the best is {best:.4g}, at {threshold:.4g}"


def _claimed(row: TileRow, arm: Arm, cluster: int) -> tuple[np.ndarray, ...]:
    seen = row.arm(arm).sightings
    mine = seen.claimed
    claimed = seen.detections.select(mine)
    places = np.full(len(claimed), cluster, np.int64)
    return claimed.scores, seen.found[0, mine], seen.false[0, mine], claimed.classes, places


def _nothing() -> tuple[np.ndarray, ...]:
    """Return no detections, so that there is always something of the right types to join."""
    return tuple(np.zeros(0, kind) for kind in (np.float32, np.bool_, np.bool_, np.int32, np.int64))
