"""Boxes: conversions and overlaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import box

from transforms.functional.boxes import Detections, iou_matrix, xyxy_to_corners

SIDE = st.integers(0, 40)
BOX = st.tuples(SIDE, SIDE, st.integers(1, 30), st.integers(1, 30)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
BOXES = st.lists(BOX, max_size=6).map(lambda boxes: np.array(boxes, np.float32).reshape(-1, 4))


def detections(boxes: np.ndarray) -> Detections:
    count = len(boxes)
    return Detections(xyxy_to_corners(boxes), np.ones(count, np.float32), np.zeros(count, np.int32))


@given(BOXES)
def test_corners_give_the_box_back(boxes):
    assert (detections(boxes).xyxy == boxes).all()


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_that_of_shapely(a, b):
    overlap = iou_matrix(a, b)
    assert overlap.shape == (len(a), len(b))
    assert (overlap == iou_matrix(b, a).T).all()
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            one, two = box(*map(float, first)), box(*map(float, second))
            witness = one.intersection(two).area / one.union(two).area
            assert overlap[i, j] == pytest.approx(witness, abs=1e-6)


def test_empty_boxes_overlap_nothing():
    point = np.array([[3, 3, 3, 3]], np.float32)
    assert iou_matrix(point, point) == 0


@given(BOXES, st.integers(-50, 50), st.integers(-50, 50))
def test_a_shift_moves_boxes_and_centres(boxes, dx, dy):
    found = detections(boxes)
    moved = found.shift(dx, dy)
    assert (moved.xyxy == boxes + np.float32([dx, dy, dx, dy])).all()
    assert np.allclose(moved.centres - found.centres, [dx, dy])


def test_a_mask_and_an_index_select():
    found = detections(np.float32([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]))
    assert found.select(np.array([True, False, True])).xyxy[1, 0] == 4
    assert found.select(np.array([2, 0])).xyxy[0, 0] == 4


def test_arrays_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="detections need corners"):
        Detections(np.zeros((2, 4, 2), np.float32), np.ones(1, np.float32), np.zeros(2, np.int32))


def test_no_detections_have_no_boxes():
    assert Detections.empty().xyxy.shape == (0, 4)
    assert Detections.empty().centres.shape == (0, 2)
