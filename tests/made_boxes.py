"""Detections and labels with exactly representable numbers, and many ties."""

import numpy as np

from transforms.functional.boxes import ANY_CLASS, Detections, Labels, xyxy_to_corners


def make_detections(boxes, scores, classes=None) -> Detections:
    """Return detections of horizontal boxes (k, 4), all of class 0 unless said."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(boxes)) if classes is None else classes
    return Detections(
        xyxy_to_corners(boxes), np.asarray(scores, np.float32), np.asarray(kinds, np.int32)
    )


def make_labels(boxes, classes=None, *, ignored=(), crowd=()) -> Labels:
    """Return labels of horizontal boxes (k, 4); `ignored` and `crowd` hold indices."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(boxes)) if classes is None else classes
    numbers = np.arange(len(boxes))
    in_crowd = np.isin(numbers, crowd)
    out = np.isin(numbers, ignored) | in_crowd
    return Labels(xyxy_to_corners(boxes), np.asarray(kinds, np.int32), out, in_crowd, numbers)


def draw_boxes(rng: np.random.Generator, n: int, *, span: float = 24) -> np.ndarray:
    """Return boxes (n, 4) on a grid of 1/4 px, some the same, a few without an area."""
    low = rng.integers(0, int(span * 4), (n, 2))
    boxes = np.hstack([low, low + rng.integers(0, 48, (n, 2))]) / 4
    again = rng.random(n) < 0.15
    boxes[again] = boxes[rng.integers(0, n, n)][again]
    return boxes.astype(np.float32)


def draw_picture(
    rng: np.random.Generator, *, labels: int, detections: int, classes: int
) -> tuple[Detections, Labels]:
    """Return labels, some ignored, crowds or of any class, and detections mostly near them.

    Scores are eighths, so that many are equal.
    """
    truth = draw_boxes(rng, labels)
    boxes = draw_boxes(rng, detections)
    kinds = rng.integers(0, classes, labels)
    found_kinds = rng.integers(0, classes, detections)
    if labels:
        near = rng.random(detections) < 0.75
        source = rng.integers(0, labels, detections)
        reach = rng.choice([0, 1, 2, 6], (detections, 1))
        moved = truth[source] + rng.integers(-reach, reach + 1, (detections, 4)) / 4
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        boxes[near], found_kinds[near] = moved[near], kinds[source][near]
    out = np.flatnonzero(rng.random(labels) < 0.25)
    crowd = out[rng.random(len(out)) < 0.5]
    kinds[out[rng.random(len(out)) < 0.1]] = ANY_CLASS
    scores = rng.integers(0, 9, detections) / 8
    return (
        make_detections(boxes, scores, found_kinds),
        make_labels(truth, kinds, ignored=out, crowd=crowd),
    )
