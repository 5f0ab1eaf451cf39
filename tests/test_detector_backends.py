"""The benchmark of the detector's backends: what it calls lost, gained, far apart, and faster."""

import numpy as np
import pytest

from benchmarks.detector_backends import (
    Distance,
    Start,
    compare_detections,
    distance_sheet,
    make_scenes,
    measure_distance,
    measure_start,
    speed_sheet,
    start_sheet,
    ways_of,
)
from models.cards import shipped_weights
from models.detector import Detector
from models.yolo import Yolo
from pipeline.bench_networks import Field
from transforms.functional.boxes import Detections, xyxy_to_corners

BOXES = np.float32([[10, 10, 30, 30], [40, 40, 60, 60]])


def detections(boxes, scores, classes=None):
    kinds = np.zeros(len(boxes), np.int32) if classes is None else np.int32(classes)
    return Detections(xyxy_to_corners(np.float32(boxes)), np.float32(scores), kinds)


def detector(cells):
    """A detector of one class that finds the same in every picture."""
    return Detector(Yolo(lambda pictures: [np.float32(cells)] * len(pictures), ("car",), False))


def test_equal_detections_are_not_apart():
    found = detections(BOXES, [0.9, 0.8])
    assert compare_detections(found, found) == (0, 0, 0.0, 0.0)
    assert compare_detections(Detections.empty(), Detections.empty()) == (0, 0, 0.0, 0.0)


def test_what_only_one_has_is_lost_or_gained():
    found = detections(BOXES, [0.9, 0.8])
    assert compare_detections(found, Detections.empty())[:2] == (2, 0)
    assert compare_detections(detections(BOXES[:1], [0.9]), found)[:2] == (0, 1)
    assert compare_detections(found, detections(BOXES + 20, [0.9, 0.8]))[:2] == (2, 2)


def test_another_class_is_another_object():
    one, other = detections(BOXES, [0.9, 0.8]), detections(BOXES, [0.9, 0.8], [0, 1])
    assert compare_detections(one, other)[:2] == (1, 1)


def test_the_order_of_equal_objects_does_not_matter():
    one = detections(BOXES, [0.9, 0.8])
    moved = detections(BOXES[::-1] + 0.25, [0.85, 0.75])
    lost, gained, pixels, score = compare_detections(one, moved)
    assert (lost, gained, pixels) == (0, 0, 0.25)
    assert score == pytest.approx(0.15)


def test_only_cells_above_the_floor_are_compared():
    exact = [[20, 50], [20, 50], [8, 8], [8, 8], [0.75, 0.0]]
    other = [[20.125, 90], [20, 50], [8, 8], [8, 8], [0.5, 0.0]]
    distance = measure_distance(
        detector(exact), detector(other), np.zeros((2, 64, 64, 3), np.uint8), "openvino", "float32"
    )
    assert (distance.cells_px, distance.cells_score) == (0.125, 0.25)
    # The other one's score is below the operating point.
    assert (distance.detections, distance.lost, distance.gained) == (2, 2, 0)
    assert distance.side == 64


def test_scenes_are_sharp_and_blurred():
    scenes = make_scenes(96)
    assert scenes.shape == (4, 96, 96, 3)
    steps = np.abs(np.diff(scenes.astype(int), axis=2)).mean(axis=(1, 2, 3))
    assert (steps[2:] < steps[:2]).all()


def test_backends_run_what_they_can():
    field = Field((64,), (1,), ("torch", "onnxruntime"), ("float32", "bfloat16"), (1,), 1, 1, 0.1)
    assert ways_of(field) == [
        ("torch", "float32"),
        ("torch", "bfloat16"),
        ("onnxruntime", "float32"),
    ]


def test_speeds_are_told_by_the_picture():
    row = {"side": 500, "backend": "openvino", "dtype": "float32", "mpix_per_second": 5.0}
    row |= {"cpu_seconds_per_mpix": 0.2, "ratio": {"median": 2.0, "low": 1.5, "high": 2.5}}
    [cells] = speed_sheet([row]).rows
    assert list(cells) == [
        "500",
        "openvino float32",
        "50.0",
        "5.00",
        "0.200",
        "2.00 (1.50 to 2.50)",
    ]


def test_every_distance_and_start_is_a_row():
    distance = Distance("openvino", "float32", 256, 47, 1, 2, 3e-5, 4e-7, 1e-5, 2e-7)
    [cells] = distance_sheet([distance]).rows
    assert list(cells[:5]) == ["256", "openvino float32", "47", "1", "2"]
    assert list(cells[5:]) == ["1.0e-05", "2.0e-07", "3.0e-05", "4.0e-07"]
    [cells] = start_sheet([Start("torch", "float32", 2.5, 2.25)]).rows
    assert list(cells) == ["torch float32", "2.50", "2.25"]


@pytest.mark.slow
def test_a_second_start_uses_what_the_first_has_left(monkeypatch, tmp_path):
    """Neither uses nor fills the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start = measure_start(shipped_weights()["vehicles_yolo"], "openvino", "float32")
    assert min(start.first, start.later) > 0
    assert not list(tmp_path.iterdir())
