"""Detections against labels, greedily by score as COCO does it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.functional.boxes import ANY_CLASS, Detections, Labels
from transforms.functional.overlap import (
    box_overlap,
    convex_boxes,
    oriented_overlap,
    overlapping_pairs,
)

UNMATCHED = -1
# COCO's: an IoU of 1 that rounding left below 1 still reaches the threshold 1.
HIGHEST_THRESHOLD = 1 - 1e-10

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Matches:
    """What k detections took at each of t thresholds.

    `labels` is int64 (t, k): the index of the label that a detection took, or `UNMATCHED`.
    `ignored` is bool (t, k): that label is an ignored one, so the detection counts as nothing.
    """

    labels: Ints
    ignored: Bools

    @property
    def found(self) -> Bools:
        """Which detections found a label that counts: bool (t, k)."""
        found: Bools = (self.labels != UNMATCHED) & ~self.ignored
        return found

    @property
    def false(self) -> Bools:
        """Which detections took no label at all: bool (t, k)."""
        false: Bools = self.labels == UNMATCHED
        return false


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Detections and labels that may match: indices, and how close they are; arrays (p,)."""

    detections: Ints
    labels: Ints
    closeness: Floats


def match_boxes(
    detections: Detections, labels: Labels, *, ious: Sequence[float], oriented: bool = False
) -> Matches:
    """Match by COCO's greedy rule, at each threshold in `ious`, all in (0, 1].

    In order of falling score (equal scores as given), every detection takes the free label of its
    own class with the highest overlap, from the threshold up; of equal overlaps the last label.
    Only if no label that counts is left to it does it take an ignored one. Overlap is intersection
    over union, in float64; with a crowd, which any number of detections may take, it is
    intersection over the detection's area. A label of `ANY_CLASS` stands in every class, and each
    class can take it once. Boxes are the horizontal ones around the corners, or with `oriented`
    the corners themselves. Any number of detections is matched.

    After pycocotools, `COCOeval.evaluateImg` (Lin et al. 2014).
    """
    if not ious or not all(0 < iou <= 1 for iou in ious):
        raise ValueError(f"ious must be one or more numbers in (0, 1], got {list(ious)}")
    a, b = detections.xyxy, labels.xyxy
    rows, columns = _of_one_class(detections, labels, pairs=overlapping_pairs(a, b))
    crowd = labels.crowd[columns]
    if oriented:
        corners = detections.corners[rows], labels.corners[columns]
        overlap = oriented_overlap(*corners, crowd=crowd, at_least=min(ious))
    else:
        overlap = box_overlap(a[rows], b[columns], crowd=crowd)
    limits = np.minimum(np.asarray(ious, np.float64), HIGHEST_THRESHOLD)
    return _match(detections, labels, pairs=_Pairs(rows, columns, overlap), limits=limits)


def match_centres(
    detections: Detections,
    labels: Labels,
    *,
    distances: Sequence[float],
    metres_per_pixel: tuple[float, float],
) -> Matches:
    """Match by the rule of `match_boxes`, with the distance of centres in place of the overlap.

    Every detection takes the nearest free label within each of `distances` (metres, from 0). The
    centre is the mean of the four corners; `metres_per_pixel` is the length of a pixel along x and
    along y. A crowd takes, at any distance, the detections whose centre lies in its box (border
    included), and no others.
    """
    if not distances or not all(0 <= distance < np.inf for distance in distances):
        raise ValueError(f"distances must be one or more finite numbers >= 0, got {distances}")
    if not all(0 < scale < np.inf for scale in metres_per_pixel):
        raise ValueError(f"metres_per_pixel must be two numbers > 0, got {metres_per_pixel}")
    a, b = _centres(detections.corners), _centres(labels.corners)
    across = (a[:, None, 0] - b[None, :, 0]) * metres_per_pixel[0]
    down = (a[:, None, 1] - b[None, :, 1]) * metres_per_pixel[1]
    reach = max(distances)
    near: Bools = (np.abs(across) <= reach) & (np.abs(down) <= reach)
    near[:, labels.crowd] = _lies_in(a, labels.corners[labels.crowd])
    rows, columns = _of_one_class(detections, labels, pairs=np.argwhere(near))
    distance = np.hypot(across[rows, columns], down[rows, columns])
    distance[labels.crowd[columns]] = 0
    pairs = _Pairs(rows, columns, -distance)
    return _match(detections, labels, pairs=pairs, limits=-np.asarray(distances, np.float64))


def _centres(corners: NDArray[np.float32]) -> Floats:
    return corners.mean(axis=1, dtype=np.float64)


def _lies_in(points: Floats, corners: NDArray[np.float32]) -> Bools:
    """Return which points (n, 2) lie in which boxes (m, 4, 2), border included: bool (n, m)."""
    x, y = points[:, :1], points[:, 1:]
    lies_in: Bools = shapely.intersects_xy(convex_boxes(corners)[None, :], x, y)
    return lies_in


def _of_one_class(detections: Detections, labels: Labels, *, pairs: Ints) -> tuple[Ints, Ints]:
    """Return the pairs of indices (p, 2) whose classes may match, as two arrays."""
    rows, columns = pairs.T
    kinds = labels.classes[columns]
    same = (kinds == detections.classes[rows]) | (kinds == ANY_CLASS)
    return rows[same], columns[same]


def _match(detections: Detections, labels: Labels, *, pairs: _Pairs, limits: Floats) -> Matches:
    """Return the greedy matches of the pairs that are at least as close as each limit (t,)."""
    if (labels.classes[~labels.ignored] == ANY_CLASS).any():
        raise ValueError("only an ignored label may be of any class, got one that counts")
    pairs = _by_preference(detections, labels, pairs=pairs)
    places = _places(detections, labels, pairs=pairs)
    shared = labels.crowd[pairs.labels]
    taken = np.full((len(limits), len(detections)), UNMATCHED, np.int64)
    for row, limit in zip(taken, limits.tolist(), strict=True):
        close = np.flatnonzero(pairs.closeness >= limit)
        chosen = close[_take(pairs.detections[close], places[close], shared[close])]
        row[pairs.detections[chosen]] = pairs.labels[chosen]
    none_is_not = np.append(labels.ignored, False)
    return Matches(taken, none_is_not[taken])


def _by_preference(detections: Detections, labels: Labels, *, pairs: _Pairs) -> _Pairs:
    """Return the pairs in the order in which they are tried.

    The best detection comes first; of one detection's labels, those that count before ignored
    ones, then the closest, then the last.
    """
    turn = np.empty(len(detections), np.int64)
    turn[np.argsort(-detections.scores, kind="stable")] = np.arange(len(detections))
    ignored = labels.ignored[pairs.labels]
    order = np.lexsort((-pairs.labels, -pairs.closeness, ignored, turn[pairs.detections]))
    return _Pairs(pairs.detections[order], pairs.labels[order], pairs.closeness[order])


def _places(detections: Detections, labels: Labels, *, pairs: _Pairs) -> Ints:
    """Return a number for what each pair takes up: its label, once in every class."""
    _, kinds = np.unique(detections.classes, return_inverse=True)
    places: Ints = kinds[pairs.detections] * len(labels) + pairs.labels
    return places


def _take(detections: Ints, places: Ints, shared: Bools) -> list[int]:
    """Return which pairs match: each detection and each place that is not shared only once."""
    chosen: list[int] = []
    full: set[int] = set()
    served = UNMATCHED
    candidates = zip(detections.tolist(), places.tolist(), shared.tolist(), strict=True)
    for pair, (detection, place, is_shared) in enumerate(candidates):
        if detection == served or place in full:
            continue
        served = detection
        chosen.append(pair)
        if not is_shared:
            full.add(place)
    return chosen
