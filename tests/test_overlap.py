"""Overlap of boxes agrees with OpenCV, with clipping by hand, and with its own laws."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made_boxes import draw_boxes
from transforms.functional.boxes import iou_matrix, xyxy_to_corners
from transforms.functional.overlap import box_overlap, oriented_overlap, overlapping_pairs

SEEDS = st.integers(0, 2**32 - 1)


def turned_boxes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, list]:
    """Return corners float32 (n, 4, 2) of turned boxes near one another, and OpenCV's form."""
    centre, size = rng.uniform(0, 30, (n, 2)), rng.uniform(2, 25, (n, 2))
    degrees = rng.uniform(-90, 90, n)
    forms = list(zip(centre.tolist(), size.tolist(), degrees.tolist(), strict=True))
    return np.stack([cv2.boxPoints(form) for form in forms]), forms


def clipped_area(subject: np.ndarray, clip: np.ndarray) -> float:
    """Return the area two convex polygons share, by Sutherland & Hodgman 1974."""
    polygon = list(subject.astype(float))
    for start, end in zip(clip, np.roll(clip, -1, axis=0), strict=True):
        edge = end.astype(float) - start
        normal = np.array([-edge[1], edge[0]])
        sides = [float(normal @ (point - start)) for point in polygon]
        kept = []
        for i, (point, side) in enumerate(zip(polygon, sides, strict=True)):
            before, other = polygon[i - 1], sides[i - 1]
            if (side >= 0) != (other >= 0):
                kept.append(before + (point - before) * other / (other - side))
            if side >= 0:
                kept.append(point)
        polygon = kept
        if not polygon:
            return 0.0
    return area(np.array(polygon))


def area(polygon: np.ndarray) -> float:
    """Return the area inside a polygon (n, 2) by Gauss's shoelace formula."""
    x, y = (polygon - polygon[0]).astype(float).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


@pytest.mark.parametrize("seed", range(5))
def test_oriented_overlap_is_that_of_clipping(seed):
    rng = np.random.default_rng(seed)
    (a, _), (b, _) = turned_boxes(rng, 100), turned_boxes(rng, 100)
    shared = np.array([clipped_area(*pair) for pair in zip(a, b, strict=True)])
    union = np.array([area(p) + area(q) for p, q in zip(a, b, strict=True)]) - shared
    assert (shared > 0).sum() > 30
    np.testing.assert_allclose(oriented_overlap(a, b), shared / union, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_oriented_overlap_is_that_of_opencv(seed):
    rng = np.random.default_rng(seed)
    (a, of_a), (b, of_b) = turned_boxes(rng, 100), turned_boxes(rng, 100)
    shared = np.array([opencv_shared(*pair) for pair in zip(of_a, of_b, strict=True)])
    sizes = [np.array([form[1][0] * form[1][1] for form in forms]) for forms in (of_a, of_b)]
    overlap = shared / (sizes[0] + sizes[1] - shared)
    # OpenCV computes in float32.
    np.testing.assert_allclose(oriented_overlap(a, b), overlap, rtol=0, atol=1e-4)


def opencv_shared(a: tuple, b: tuple) -> float:
    kind, points = cv2.rotatedRectangleIntersection(a, b)
    if kind == cv2.INTERSECT_NONE:
        return 0.0
    return cv2.contourArea(cv2.convexHull(points))


@given(SEEDS)
def test_horizontal_overlap_is_that_of_the_matrix(seed):
    rng = np.random.default_rng(seed)
    a, b = draw_boxes(rng, 12), draw_boxes(rng, 9)
    rows, columns = overlapping_pairs(a, b).T
    pairs = np.zeros((12, 9))
    pairs[rows, columns] = box_overlap(a[rows], b[columns])
    np.testing.assert_allclose(pairs, iou_matrix(a, b), rtol=0, atol=1e-6)
    assert (pairs[rows, columns] > 0).all()


@given(SEEDS)
def test_oriented_overlap_of_horizontal_boxes_is_the_horizontal_one(seed):
    rng = np.random.default_rng(seed)
    a, b = draw_boxes(rng, 30), draw_boxes(rng, 30)
    crowd = rng.random(30) < 0.5
    oriented = oriented_overlap(xyxy_to_corners(a), xyxy_to_corners(b), crowd=crowd)
    np.testing.assert_allclose(oriented, box_overlap(a, b, crowd=crowd), rtol=0, atol=1e-12)


@given(SEEDS)
def test_overlap_is_symmetric_and_at_most_one(seed):
    rng = np.random.default_rng(seed)
    a, b = draw_boxes(rng, 30), draw_boxes(rng, 30)
    overlap = box_overlap(a, b)
    assert (overlap == box_overlap(b, a)).all()
    assert ((overlap >= 0) & (overlap <= 1)).all()


@given(SEEDS, st.integers(0, 3), st.booleans())
def test_oriented_overlap_ignores_where_corners_begin_and_which_way_they_run(seed, first, back):
    rng = np.random.default_rng(seed)
    (a, _), (b, _) = turned_boxes(rng, 10), turned_boxes(rng, 10)
    other = np.roll(a, first, axis=1)[:, :: -1 if back else 1]
    np.testing.assert_allclose(
        oriented_overlap(a, b), oriented_overlap(other, b), rtol=0, atol=1e-12
    )


@given(SEEDS, st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans())
def test_asking_for_an_overlap_changes_only_those_below_it(seed, at_least, in_crowd):
    rng = np.random.default_rng(seed)
    (a, _), (b, _) = turned_boxes(rng, 30), turned_boxes(rng, 30)
    b[:10] = a[:10] + np.float32(rng.uniform(0, 3))
    crowd = np.full(30, in_crowd)
    every = oriented_overlap(a, b, crowd=crowd)
    asked = oriented_overlap(a, b, crowd=crowd, at_least=at_least)
    high = every >= at_least
    assert (asked[high] == every[high]).all()
    assert ((asked[~high] == every[~high]) | (asked[~high] == 0)).all()


def test_a_box_has_an_overlap_of_one_with_itself():
    boxes = np.float32([[0, 0, 10, 4], [1.5, 2.25, 3, 9]])
    assert box_overlap(boxes, boxes).tolist() == [1, 1]


def test_overlap_with_a_crowd_is_the_share_of_the_first_box():
    a, b = np.float32([[0, 0, 10, 10]] * 2), np.float32([[0, 5, 100, 100]] * 2)
    crowd = np.array([True, False])
    expected = [0.5, 50 / (100 + 9500 - 50)]
    assert box_overlap(a, b, crowd=crowd).tolist() == pytest.approx(expected, abs=1e-12)
    corners = xyxy_to_corners(a), xyxy_to_corners(b)
    assert oriented_overlap(*corners, crowd=crowd).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("flat", [[5, 5, 5, 5], [5, 0, 5, 10], [0, 5, 10, 5]])
def test_boxes_without_an_area_overlap_nothing(flat):
    box, whole = np.float32([flat]), np.float32([[0, 0, 10, 10]])
    for a, b in ((box, whole), (whole, box), (box, box)):
        crowd = np.array([True])
        assert overlapping_pairs(a, b).shape == (0, 2)
        assert box_overlap(a, b) == box_overlap(a, b, crowd=crowd) == 0
        corners = xyxy_to_corners(a), xyxy_to_corners(b)
        assert oriented_overlap(*corners) == oriented_overlap(*corners, crowd=crowd) == 0


def test_a_turned_line_overlaps_nothing():
    line = np.float32([[[0, 0], [10, 10], [10, 10], [0, 0]]])
    whole = xyxy_to_corners(np.float32([[0, 0, 10, 10]]))
    assert oriented_overlap(line, whole) == oriented_overlap(line, line) == 0


def test_boxes_that_only_touch_are_no_pair():
    a = np.float32([[0, 0, 10, 10]])
    b = np.float32([[10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [9, 9, 20, 20]])
    assert overlapping_pairs(a, b).tolist() == [[0, 3]]
