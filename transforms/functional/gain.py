"""Recall, precision and average precision as sums of counts.

Scores are counted in `SCORE_BINS` equal bins of [0, 1], so that the counts of any number of
detections need constant memory and add up in any order; the counts at the operating point are
exact, not binned.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import Detections

SCORE_BINS = 1000
RECALL_POINTS = np.linspace(0, 1, 101)

Bins = NDArray[np.int64]


def _no_counts() -> Bins:
    return np.zeros(SCORE_BINS, np.int64)


@dataclass(frozen=True, eq=False)
class DetectionCounts:
    """Counts of one arm and class against the truth.

    `labels` true objects, of which `found` at the operating point; `false` detections there that
    match no label. `found_bins` and `false_bins` hold the same counts by score.
    """

    labels: int = 0
    found: int = 0
    false: int = 0
    found_bins: Bins = field(default_factory=_no_counts)
    false_bins: Bins = field(default_factory=_no_counts)

    def __add__(self, other: "DetectionCounts") -> "DetectionCounts":
        return DetectionCounts(
            self.labels + other.labels,
            self.found + other.found,
            self.false + other.false,
            self.found_bins + other.found_bins,
            self.false_bins + other.false_bins,
        )

    @property
    def detections(self) -> int:
        """Return the number of detections at the operating point."""
        return self.found + self.false

    @property
    def recall(self) -> float:
        """Return the share of the labels that were found; nan without labels."""
        return self.found / self.labels if self.labels else math.nan

    @property
    def precision(self) -> float:
        """Return the share of the detections that are true; nan without detections."""
        return self.found / self.detections if self.detections else math.nan

    @property
    def average_precision(self) -> float:
        """Return the average precision by COCO's 101-point rule; nan without labels."""
        if not self.labels:
            return math.nan
        recall, precision = self._curve()
        reached = np.searchsorted(recall, RECALL_POINTS, side="left")
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        return float(best[reached].mean())

    def recall_at_precision(self, precision: float) -> float:
        """Return the highest recall at any score threshold with at least that precision, or 0."""
        if not self.labels:
            return math.nan
        recall, reached = self._curve()
        enough = recall[reached >= precision]
        return float(enough.max()) if enough.size else 0.0

    def _curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return recall and precision when the threshold falls bin by bin, from 1 to 0."""
        found = np.cumsum(self.found_bins[::-1])
        every = found + np.cumsum(self.false_bins[::-1])
        precision = np.divide(found, every, out=np.zeros(SCORE_BINS), where=every > 0)
        return found / self.labels, precision


def count_detections(
    detections: Detections,
    *,
    matches: NDArray[np.int64],
    owned_detections: NDArray[np.bool_],
    owned_labels: NDArray[np.bool_],
    threshold: float,
) -> DetectionCounts:
    """Count what a core owns, after matching in the whole window around it.

    A label counts where its own centre lies, found or not; a detection that matched no label
    counts as false where its centre lies. So an object whose label and detection fall on two sides
    of a border is found once and false nowhere. `matches` is that of `match_greedily`; the masks
    are bool over detections and over labels.
    """
    true = matches >= 0
    found_scores = detections.scores[true][owned_labels[matches[true]]]
    false_scores = detections.scores[~true & owned_detections]
    return DetectionCounts(
        labels=int(owned_labels.sum()),
        found=int((found_scores >= threshold).sum()),
        false=int((false_scores >= threshold).sum()),
        found_bins=_count_scores(found_scores),
        false_bins=_count_scores(false_scores),
    )


def _count_scores(scores: NDArray[np.float32]) -> Bins:
    index = np.clip((scores.astype(np.float64) * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
    return np.bincount(index, minlength=SCORE_BINS).astype(np.int64)
