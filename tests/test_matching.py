"""Matching and counting agree with pycocotools, and with a reading of the rule by hand."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.functional.gain import DetectionCounts, count_detections
from transforms.functional.matching import UNMATCHED, match_greedily


def detections(boxes, scores, classes=None) -> Detections:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    kinds = np.zeros(len(boxes), np.int32) if classes is None else np.asarray(classes, np.int32)
    return Detections(xyxy_to_corners(boxes), np.asarray(scores, np.float32), kinds)


def crowd(rng: np.random.Generator, labels: int) -> tuple[np.ndarray, Detections]:
    """Return label boxes, and detections that find some of them badly and invent others."""
    corner = rng.uniform(0, 300, (labels, 2))
    truth = np.hstack([corner, corner + rng.uniform(10, 40, (labels, 2))]).astype(np.float32)
    found = truth[rng.random(labels) < 0.8] + rng.normal(0, 3, 4).astype(np.float32)
    found = np.concatenate([found, found + np.float32([4, 3, 4, 3])])
    invented = rng.uniform(0, 300, (labels // 2, 2))
    boxes = np.concatenate([found, np.hstack([invented, invented + 20]).astype(np.float32)])
    # Scores in the middle of the thousand bins, all different: binning then changes nothing.
    scores = (rng.permutation(1000)[: len(boxes)] + 0.5) / 1000
    return truth, detections(boxes, scores)


def count(truth: np.ndarray, found: Detections, threshold: float = 0.3) -> DetectionCounts:
    classes = np.zeros(len(truth), np.int32)
    return count_detections(
        found,
        matches=match_greedily(found, truth, classes, iou=0.5),
        owned_detections=np.ones(len(found), bool),
        owned_labels=np.ones(len(truth), bool),
        threshold=threshold,
    )


def coco(pictures: list[tuple[np.ndarray, Detections]]) -> COCOeval:
    """Return pycocotools' evaluation at IoU .5, without its limit of 100 detections."""
    images, annotations, results = [], [], []
    for image, (truth, found) in enumerate(pictures):
        images.append({"id": image, "width": 400, "height": 400})
        for x0, y0, x1, y1 in truth.tolist():
            size = [x1 - x0, y1 - y0]
            facts = {"bbox": [x0, y0, *size], "area": size[0] * size[1], "iscrowd": 0}
            identity = {"id": len(annotations) + 1, "image_id": image, "category_id": 1}
            annotations.append(identity | facts)
        for (x0, y0, x1, y1), score in zip(found.xyxy.tolist(), found.scores, strict=True):
            place = {"image_id": image, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            results.append(place | {"score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "vehicle"}],
        }
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.maxDets = [10_000]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_that_of_pycocotools(seed):
    rng = np.random.default_rng(seed)
    # All scores differ over all pictures, so that the order is one and the same.
    truth, found = crowd(rng, 40)
    half = len(found) // 2
    pictures = [
        (truth, found.select(np.arange(half))),
        (truth, found.select(np.arange(half, len(found)))),
    ]
    total = sum((count(*picture) for picture in pictures), DetectionCounts())
    precision = coco(pictures).eval["precision"][0, :, 0, 0, 0]
    assert total.average_precision == pytest.approx(precision.mean(), abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_recall_is_that_of_pycocotools(seed):
    truth, found = crowd(np.random.default_rng(seed), 40)
    witness = coco([(truth, found)]).eval["recall"][0, 0, 0, 0]
    assert count(truth, found, threshold=0.0).recall == pytest.approx(witness, abs=1e-12)


def test_a_better_detection_takes_the_label():
    truth = np.float32([[0, 0, 10, 10]])
    found = detections([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.5])
    assert match_greedily(found, truth, np.int32([0]), iou=0.5).tolist() == [0, UNMATCHED]


def test_each_label_is_taken_once_and_the_next_best_is_tried():
    truth = np.float32([[0, 0, 10, 10], [2, 0, 12, 10]])
    found = detections([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8])
    assert match_greedily(found, truth, np.int32([0, 0]), iou=0.5).tolist() == [0, 1]


def test_classes_do_not_mix():
    truth = np.float32([[0, 0, 10, 10]])
    found = detections([[0, 0, 10, 10]], [0.9], classes=[1])
    assert match_greedily(found, truth, np.int32([0]), iou=0.5).tolist() == [UNMATCHED]


def test_an_overlap_of_exactly_the_threshold_matches():
    truth, found = np.float32([[0, 0, 10, 10]]), detections([[0, 0, 10, 5]], [0.9])
    assert match_greedily(found, truth, np.int32([0]), iou=0.5).tolist() == [0]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_weak_detections_never_change_strong_matches(seed, threshold):
    truth, found = crowd(np.random.default_rng(seed), 12)
    classes = np.zeros(len(truth), np.int32)
    strong = found.scores >= threshold
    matches = match_greedily(found, truth, classes, iou=0.5)
    assert (matches[strong] == match_greedily(found.select(strong), truth, classes, iou=0.5)).all()
