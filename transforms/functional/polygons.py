"""Polygons in pixels of a scene: their smallest rotated boxes, and the pixels that they cover."""

import numpy as np
import shapely
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

GRID = 256
"""Corners lie on 1/256 px of the scene. On that grid float32 sums are exact, so every window that
sees a label computes the same centre for it, and exactly one core owns it."""

BLOCK = 64
"""Side in px of the squares that are first tried as a whole when pixels are asked one by one."""


def snap(points: Floats) -> Floats:
    """Return points on the grid of 1/256 px."""
    snapped: Floats = np.rint(points * GRID) / GRID
    return snapped


def smallest_boxes(points: Floats, owners: NDArray[np.intp]) -> Floats:
    """Return the smallest rotated box of each cloud of points: float64 (k, 4, 2), on the grid.

    points (n, 2) are those of all clouds, owners (n,) their cloud's number, ascending from 0.
    A cloud without an area gets the horizontal box around it.
    """
    if not len(owners):
        return np.zeros((0, 4, 2))
    clouds = shapely.multipoints(points, indices=owners)
    boxes = shapely.oriented_envelope(clouds)
    flat = shapely.get_type_id(boxes) != shapely.GeometryType.POLYGON
    corners = np.empty((len(clouds), 4, 2))
    x0, y0, x1, y1 = shapely.bounds(clouds[flat]).T
    corners[flat] = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
    corners[~flat] = shapely.get_coordinates(boxes[~flat]).reshape(-1, 5, 2)[:, :4]
    return snap(corners)


def covered_pixels(shape: shapely.Geometry, rectangle: Rectangle) -> Mask:
    """Return bool (h, w): whose centres a shape, in pixels of the scene, covers.

    A centre on the outline is covered. The answer for a pixel of the scene is exact, so it is the
    same in every rectangle that holds the pixel.
    """
    height, width = rectangle.height, rectangle.width
    top, left = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)
    tops, lefts = (side.ravel() for side in np.meshgrid(top, left, indexing="ij"))
    x0, y0 = lefts + rectangle.col_off, tops + rectangle.row_off
    blocks = shapely.box(x0, y0, x0 + BLOCK, y0 + BLOCK)
    shapely.prepare(shape)
    whole, touched = shapely.contains(shape, blocks), shapely.intersects(shape, blocks)
    covered = np.zeros((height, width), np.bool_)
    for number in np.flatnonzero(touched):
        row, col = tops[number], lefts[number]
        part = covered[row : row + BLOCK, col : col + BLOCK]
        rows, cols = np.indices(part.shape)
        part[...] = whole[number] or covered_points(shape, cols + x0[number], rows + y0[number])
    return covered


def covered_points(
    shape: shapely.Geometry, cols: NDArray[np.integer], rows: NDArray[np.integer]
) -> Mask:
    """Say of each pixel (any shape of arrays) of the scene whether a shape covers its centre."""
    covered: Mask = shapely.intersects_xy(shape, cols + 0.5, rows + 0.5)
    return covered
