"""Detections against labels, greedily by score as COCO does it."""

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import Detections, iou_matrix

UNMATCHED = -1


def match_greedily(
    detections: Detections,
    label_boxes: NDArray[np.float32],
    label_classes: NDArray[np.int32],
    *,
    iou: float,
) -> NDArray[np.int64]:
    """Return, for each detection, the index of its label or `UNMATCHED`: int64 (k,).

    In order of falling score every detection takes the free label of its own class that it
    overlaps most, from `iou` up (COCO's rule; horizontal boxes, xyxy pixels). A detection with a
    lower score never changes the match of one with a higher, so the matches at any score threshold
    are those above it. Equal scores are taken in the order given.
    """
    matches = np.full(len(detections), UNMATCHED, np.int64)
    if len(detections) == 0 or len(label_boxes) == 0:
        return matches
    overlap = iou_matrix(detections.xyxy, label_boxes)
    overlap[detections.classes[:, None] != label_classes[None, :]] = 0
    overlap[overlap < iou] = 0
    for index in np.argsort(-detections.scores, kind="stable"):
        best = int(overlap[index].argmax())
        if overlap[index, best] > 0:
            matches[index] = best
            overlap[:, best] = 0
    return matches
