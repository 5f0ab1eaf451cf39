"""Labels in pixels of their whole scene, and how a window cuts its own out of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import ANY_CLASS, Labels
from transforms.functional.polygons import Floats, Mask, snap
from transforms.functional.windows import Rectangle


@dataclass(frozen=True, eq=False)
class SceneLabels:
    """Labels of one scene: arrays as in `Labels`, but corners are float64 and in scene pixels."""

    corners: Floats
    classes: NDArray[np.int32]
    ignored: Mask
    crowd: Mask
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)

    def cut(self, read: Rectangle) -> Labels:
        """Return the labels whose box touches a rectangle, in its pixels."""
        bounds = np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)
        left, top = read.col_off, read.row_off
        touch = overlap(bounds, (left, top, left + read.width, top + read.height))
        return Labels(
            (self.corners[touch] - (left, top)).astype(np.float32),
            self.classes[touch],
            self.ignored[touch],
            self.crowd[touch],
            self.numbers[touch],
        )

    def outside(self, *, height: int, width: int) -> int:
        """Return how many boxes have their centre outside a scene of that size."""
        centres = self.corners.mean(axis=1)
        inside = (centres >= 0) & (centres < (width, height))
        return int((~inside.all(axis=1)).sum())


def place_labels(
    corners: Floats,
    classes: NDArray[np.int32],
    *,
    ignored: Mask,
    crowd: Mask,
    numbers: NDArray[np.int64],
) -> SceneLabels:
    """Return labels on the pixel grid; crowds and labels of `ANY_CLASS` are ignored too."""
    return SceneLabels(
        snap(corners), classes, ignored | crowd | (classes == ANY_CLASS), crowd, numbers
    )


def overlap(bounds: Floats, box: tuple[float, ...]) -> Mask:
    """Say which bounds (k, 4) x0 y0 x1 y1 touch a box (4,), its outline included."""
    x0, y0, x1, y1 = bounds.T
    touch: Mask = (x1 >= box[0]) & (x0 <= box[2]) & (y1 >= box[1]) & (y0 <= box[3])
    return touch
