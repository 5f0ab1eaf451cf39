"""Suppression of overlaps: of boxes of one class that cover each other the best one stays.

Boxes come in falling score, and what is returned are the indices of those that stay, ascending.
Nothing here needs torch or torchvision, whose imports take longer than all that a detector needs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""So many boxes are compared with each other at once."""
EPSILON = 1e-7
"""What keeps the probabilistic IoU finite, as in Ultralytics."""

Boxes = NDArray[Any]  # float32
Overlaps = Callable[[Boxes, Boxes], Boxes]


def suppress(
    boxes: Boxes, classes: NDArray[np.integer], limit: float, overlaps: Overlaps
) -> NDArray[np.intp]:
    """Suppress boxes (k, 4 or 5) of one class whose overlap is over `limit`.

    `overlaps` maps boxes (m, ...) and (k, ...) to (m, k): `horizontal_iou` or `probabilistic_iou`.
    With the former the result is that of torchvision's `nms` for each class, to the last bit.
    """

    def covers(better: NDArray[np.intp], worse: NDArray[np.intp]) -> NDArray[np.bool_]:
        # torchvision compares in float64, too.
        over: NDArray[np.bool_] = overlaps(boxes[better], boxes[worse]) > np.float64(limit)
        over &= classes[better][:, None] == classes[worse]
        return over

    rest = np.arange(len(boxes))
    kept = [rest[:0]]
    while len(rest):
        block, rest = rest[:BLOCK], rest[BLOCK:]
        block = block[_greedy(covers(block, block))]
        rest = rest[~covers(block, rest).any(axis=0)]
        kept.append(block)
    return np.concatenate(kept)


def _greedy(covers: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return which of k boxes stay; `covers` (k, k) says which ones are too close to each other."""
    gone = [False] * len(covers)
    for better, worse in np.argwhere(np.triu(covers, 1)).tolist():
        gone[worse] |= not gone[better]
    return np.flatnonzero(~np.array(gone))


def horizontal_iou(boxes: Boxes, others: Boxes) -> Boxes:
    """Intersection over union of x0 y0 x1 y1 (m, 4) and (k, 4): (m, k); NaN where both are empty.

    The operations and their order are those of torchvision.
    """
    one, other = boxes.T[:, :, None], others.T[:, None, :]
    across = np.minimum(one[2], other[2]) - np.maximum(one[0], other[0])
    along = np.minimum(one[3], other[3]) - np.maximum(one[1], other[1])
    shared = np.maximum(across, 0) * np.maximum(along, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    with np.errstate(invalid="ignore"):
        overlaps: Boxes = shared / (areas[0] + areas[1] - shared)
    return overlaps


def probabilistic_iou(boxes: Boxes, others: Boxes) -> Boxes:
    """Overlap of oriented boxes cx cy w h angle (m, 5) and (k, 5): (m, k) in [0, 1].

    Ultralytics' measure: 1 minus the Hellinger distance of Gaussians (Llerena 2021, 2106.06072).
    """
    a, b, c = (
        part[:, None] + other
        for part, other in zip(_covariance(boxes), _covariance(others), strict=True)
    )
    x, y = (boxes[:, None, axis] - others[:, axis] for axis in (0, 1))
    spread = a * b - c**2
    distance = ((a * y**2 + b * x**2) / 4 - c * x * y / 2) / (spread + EPSILON)
    own = np.sqrt(_determinant(boxes)[:, None] * _determinant(others))
    # Rounding can make the spread of slivers negative: like Ultralytics' their overlap is nan then,
    # and they suppress nothing.
    with np.errstate(invalid="ignore"):
        distance += np.log(spread / (4 * own + EPSILON) + EPSILON) / 2
    overlaps: Boxes = 1 - np.sqrt(1 - np.exp(-distance.clip(EPSILON, 100)) + EPSILON)
    return overlaps


def _covariance(boxes: Boxes) -> tuple[Boxes, Boxes, Boxes]:
    """Variances along x and y and their covariance of Gaussians as wide as boxes (k, 5): (k,)."""
    wide, high = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    return wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2, (wide - high) * cos * sin


def _determinant(boxes: Boxes) -> Boxes:
    a, b, c = _covariance(boxes)
    determinant: Boxes = np.maximum(a * b - c**2, 0)
    return determinant
