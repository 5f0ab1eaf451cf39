"""Precision, recall and average precision, exact: from every score, none of them binned.

A detection is found (it took a label that counts), false (it took none), or neither (it took an
ignored label) and then counts as nothing. Scores and both masks are arrays (k,) over the
detections of one class in all tiles; `labels` is the number of labels that count.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RECALL_POINTS = 101

Scores = NDArray[np.float32] | NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Curve:
    """Recall and precision at every threshold that makes a difference, falling; arrays (n,).

    `thresholds` are the distinct scores of the detections that count: those with at least that
    score are kept. `found` and `false` are how many of them are (int64); `recall` and `precision`
    follow from these (float64); recall is nan without labels.
    """

    thresholds: NDArray[np.float64]
    found: NDArray[np.int64]
    false: NDArray[np.int64]
    labels: int

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the labels that were found at each threshold."""
        return self.found / self.labels if self.labels else np.full(len(self.found), math.nan)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the detections that are true at each threshold."""
        return self.found / (self.found + self.false)


def average_precision(scores: Scores, found: Mask, false: Mask, *, labels: int) -> float:
    """Return COCO's average precision in [0, 1]; nan without labels.

    The mean, over recall 0, .01 ... 1, of the best precision at that recall or beyond; 0 where
    that recall is not reached. Every detection is a step, equal scores in the order given: to
    agree with pycocotools (`COCOeval.accumulate`) give the images in its order, and the detections
    of an image in theirs.
    """
    _check(scores, found, false, labels=labels)
    if labels == 0:
        return math.nan
    counts = found | false
    order = np.argsort(-scores[counts], kind="stable")
    true = np.cumsum(found[counts][order])
    precision = true / np.arange(1, len(true) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    reached = np.searchsorted(true / labels, np.linspace(0, 1, RECALL_POINTS), side="left")
    return float(best[reached].mean())


def curve(scores: Scores, found: Mask, false: Mask, *, labels: int) -> Curve:
    """Return what is found and what is false at every threshold; the order is of no matter."""
    _check(scores, found, false, labels=labels)
    counts = found | false
    thresholds, group = np.unique(scores[counts], return_inverse=True)
    n = len(thresholds)
    falling = thresholds[::-1].astype(np.float64)
    true = np.bincount(group[found[counts]], minlength=n)[::-1].cumsum()
    wrong = np.bincount(group[false[counts]], minlength=n)[::-1].cumsum()
    return Curve(falling, true.astype(np.int64), wrong.astype(np.int64), labels)


def recall_at_precision(points: Curve, precision: float) -> float:
    """Return the highest recall at any threshold with at least that precision.

    0 where no threshold reaches it; nan without labels.
    """
    if points.labels == 0:
        return math.nan
    return float(points.recall[points.precision >= precision].max(initial=0.0))


def threshold_at_precision(points: Curve, precision: float) -> float:
    """Return the lowest threshold with at least that precision; nan where there is none."""
    enough = points.thresholds[points.precision >= precision]
    return float(enough[-1]) if enough.size else math.nan


def _check(scores: Scores, found: Mask, false: Mask, *, labels: int) -> None:
    if scores.ndim != 1 or found.shape != scores.shape or false.shape != scores.shape:
        raise ValueError(
            "scores, found and false must be arrays (k,), got "
            f"{scores.shape}, {found.shape}, {false.shape}"
        )
    if (found & false).any():
        raise ValueError("a detection cannot be both found and false")
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, got nan")
    if found.sum() > labels:
        raise ValueError(f"at most {labels} labels can be found, got {int(found.sum())} found")
