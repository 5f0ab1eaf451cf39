"""Detections of one image as arrays, and the few operations on boxes that every stage needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Int = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Quadrilaterals:
    """Boxes by their corners, float32 (k, 4, 2): (x, y) of the four, in order around the box."""

    corners: Float

    @property
    def xyxy(self) -> Float:
        """Horizontal boxes around the corners: float32 (k, 4), x0 y0 x1 y1."""
        return np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)

    @property
    def centres(self) -> Float:
        """Centre of each box: float32 (k, 2), x y."""
        centres: Float = self.corners.mean(axis=1, dtype=np.float32)
        return centres


@dataclass(frozen=True, eq=False)
class Detections(Quadrilaterals):
    """Objects found in one image, in its pixels; all three arrays have the same length k.

    `corners` is float32 (k, 4, 2), (x, y) of the four corners in order around the box: of the
    oriented box where the detector gives one, else of the horizontal box. `scores` is float32 (k,)
    in [0, 1]; `classes` is int32 (k,), an index into the detector's names.
    """

    scores: Float
    classes: Int

    def __post_init__(self) -> None:
        k = len(self.scores)
        if self.corners.shape != (k, 4, 2) or self.classes.shape != (k,):
            raise ValueError(
                "detections need corners (k, 4, 2), scores (k,), classes (k,), got "
                f"{self.corners.shape}, {self.scores.shape}, {self.classes.shape}"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> "Detections":
        """Return the detections at a boolean mask or an index array."""
        return Detections(self.corners[index], self.scores[index], self.classes[index])

    def shift(self, dx: float, dy: float) -> "Detections":
        """Return the detections moved by (dx, dy) pixels."""
        moved = self.corners + np.array([dx, dy], np.float32)
        return Detections(moved, self.scores, self.classes)

    @staticmethod
    def empty() -> "Detections":
        """Return no detections."""
        return Detections(
            np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )


ANY_CLASS = -1


@dataclass(frozen=True, eq=False)
class Labels(Quadrilaterals):
    """True objects in pixels of some rectangle; all arrays have the same length k.

    `corners` is float32 (k, 4, 2) as in `Detections`. `classes` is int32 (k,), indices into the
    detector's names, or `ANY_CLASS`. `ignored` is bool (k,): neither finding nor missing it counts.
    `crowd` is bool (k,): a group in which any number of detections may lie; crowds are ignored.
    `numbers` is int64 (k,): which label of its file it is, the same in every window that sees it.
    """

    classes: Int
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    numbers: NDArray[np.int64]

    def __post_init__(self) -> None:
        k = len(self.classes)
        shapes = [self.corners.shape, self.ignored.shape, self.crowd.shape, self.numbers.shape]
        if shapes != [(k, 4, 2), (k,), (k,), (k,)]:
            raise ValueError(
                f"labels need corners (k, 4, 2) and four arrays (k,) with k={k}, got {shapes}"
            )
        if (self.crowd & ~self.ignored).any():
            raise ValueError("every crowd must be ignored")

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp]) -> "Labels":
        """Return the labels at a boolean mask or an index array."""
        return Labels(
            self.corners[index],
            self.classes[index],
            self.ignored[index],
            self.crowd[index],
            self.numbers[index],
        )

    @staticmethod
    def plain(corners: Float, classes: Int) -> "Labels":
        """Return labels that all count, numbered in the order given."""
        k = len(classes)
        none = np.zeros(k, np.bool_)
        return Labels(corners, classes, none, none, np.arange(k, dtype=np.int64))


def xyxy_to_corners(boxes: Float) -> Float:
    """Turn horizontal boxes (k, 4) x0 y0 x1 y1 into corners (k, 4, 2), clockwise from top left."""
    x0, y0, x1, y1 = np.asarray(boxes, np.float32).reshape(-1, 4).T
    return np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)


def iou_matrix(a: Float, b: Float) -> Float:
    """Return the intersection over union of every pair of horizontal boxes: float32 (n, m).

    Boxes are xyxy; a pair whose union is empty has IoU 0.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    overlap: Float = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlap
