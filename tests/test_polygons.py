"""Polygons in pixels: smallest boxes and covered pixels, against independent witnesses."""

import cv2
import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine

from transforms.functional.polygons import (
    BLOCK,
    GRID,
    covered_pixels,
    covered_points,
    smallest_boxes,
    snap,
)
from transforms.functional.windows import Rectangle

clouds = st.lists(
    st.tuples(st.floats(-500, 500), st.floats(-500, 500)), min_size=3, max_size=12, unique=True
)


@settings(deadline=None)
@given(clouds)
def test_a_smallest_box_is_no_larger_than_opencv_s_and_holds_all_points(
    points: list[tuple[float, float]],
) -> None:
    cloud = np.array(points)
    assume(shapely.MultiPoint(cloud).convex_hull.area > 1)  # a line gets its horizontal box
    box = smallest_boxes(cloud, np.zeros(len(cloud), np.intp))[0]
    (_, size, _) = cv2.minAreaRect(cloud.astype(np.float32))
    polygon = shapely.Polygon(box)
    slack = 2 * np.ptp(cloud, axis=0).sum() / GRID + 0.01
    assert polygon.area <= size[0] * size[1] + slack
    assert polygon.buffer(3 / GRID).covers(shapely.MultiPoint(cloud))


def test_boxes_keep_the_order_of_their_clouds() -> None:
    squares = np.array([[0, 0], [4, 0], [4, 4], [0, 4]]) + np.array([[[9, 9]], [[0, 0]], [[5, 1]]])
    boxes = smallest_boxes(squares.reshape(-1, 2).astype(float), np.repeat(np.arange(3), 4))
    assert boxes.min(axis=1).tolist() == [[9, 9], [0, 0], [5, 1]]


def test_snapping_twice_is_snapping_once() -> None:
    points = np.random.default_rng(0).uniform(-1e5, 1e5, (100, 2))
    once = snap(points)
    assert np.array_equal(snap(once), once)
    assert np.abs(once - points).max() <= 0.5 / GRID


@settings(deadline=None, max_examples=40)
@given(clouds, st.integers(-300, 300), st.integers(-300, 300))
def test_covered_pixels_are_those_that_gdal_rasterises(
    points: list[tuple[float, float]], col: int, row: int
) -> None:
    shape = shapely.MultiPoint(points).convex_hull.buffer(2.3, quad_segs=3)
    place = Rectangle(col, row, 150, 90)
    wanted = rasterio.features.rasterize(
        [(shape, 1)], (90, 150), transform=Affine.translation(col, row)
    )
    rows, cols = np.nonzero(wanted != covered_pixels(shape, place))
    # GDAL computes in floating point: only a centre on the outline may differ.
    centres = shapely.points(cols + col + 0.5, rows + row + 0.5)
    assert (shapely.distance(shape.exterior, centres) < 1e-6).all()


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_pixels_and_points_have_the_same_answer(size: int) -> None:
    shape = shapely.Point(100.2, 90.7).buffer(77.3)
    place = Rectangle(20, 30, size, size)
    rows, cols = np.indices((size, size))
    assert np.array_equal(covered_pixels(shape, place), covered_points(shape, cols + 20, rows + 30))


def test_a_centre_on_the_outline_is_covered() -> None:
    covered = covered_pixels(shapely.box(0.5, 0.5, 2.5, 2.5), Rectangle(0, 0, 4, 4))
    assert np.argwhere(covered).tolist() == [[r, c] for r in range(3) for c in range(3)]


def test_nothing_covers_nothing() -> None:
    assert not covered_pixels(shapely.Polygon(), Rectangle(0, 0, 70, 70)).any()
    assert not covered_pixels(shapely.union_all([]), Rectangle(0, 0, 70, 70)).any()
