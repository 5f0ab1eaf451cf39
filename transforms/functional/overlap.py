"""How much boxes overlap: horizontal or oriented, pair by pair, in float64."""

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]
Areas = NDArray[np.float64]

# Far above rounding: no pair is given up that could reach the overlap asked for.
SLACK = 1e-9


def overlapping_pairs(a: Floats, b: Floats) -> NDArray[np.int64]:
    """Return the index in `a` and in `b` of every pair of horizontal boxes that share an area.

    Boxes are xyxy, (n, 4) and (m, 4). Pairs are int64 (p, 2), in order of `a`, then of `b`. Boxes
    that only touch, and boxes without an area, share none.
    """
    share = np.ones((len(a), len(b)), np.bool_)
    for low, high in ((0, 2), (1, 3)):
        share &= (a[:, None, low] < b[None, :, high]) & (b[None, :, low] < a[:, None, high])
    share &= _has_area(a)[:, None] & _has_area(b)[None, :]
    return np.argwhere(share).astype(np.int64)


def box_overlap(a: Floats, b: Floats, *, crowd: NDArray[np.bool_] | None = None) -> Areas:
    """Return the overlap of horizontal box i of `a` with box i of `b`: float64 (n,) in [0, 1].

    It is intersection / union, or intersection / area of a where `crowd` (bool (n,)) says that b
    is a group (COCO's rule). Boxes are xyxy (n, 4). Without any area in the divisor it is 0.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _share(_box_shared(a, b), _box_area(a), _box_area(b), crowd=crowd)


def oriented_overlap(
    a: Floats, b: Floats, *, crowd: NDArray[np.bool_] | None = None, at_least: float = 0.0
) -> Areas:
    """Return `box_overlap` of oriented boxes, given by their corners (n, 4, 2) in pixels.

    Each box is the convex hull of its four corners, so their order is of no matter, and boxes
    that shrank to a line or a point overlap nothing. Pairs that cannot reach `at_least` are 0,
    which saves intersecting them.
    """
    hulls = convex_boxes(a), convex_boxes(b)
    areas = shapely.area(hulls[0]), shapely.area(hulls[1])
    # Never more than the boxes around them share, nor than the smaller of the two.
    shared = np.minimum.reduce([_box_shared(_around(a), _around(b)), *areas])
    possible = _share(shared, *areas, crowd=crowd) >= at_least * (1 - SLACK)
    shared[possible] = shapely.area(shapely.intersection(*(hull[possible] for hull in hulls)))
    shared[~possible] = 0
    return _share(shared, *areas, crowd=crowd)


def convex_boxes(corners: Floats) -> NDArray[np.object_]:
    """Return the convex hull of each box's corners (n, 4, 2) as a shapely geometry (n,)."""
    points = shapely.points(corners.astype(np.float64).reshape(-1, 2))
    owners = np.repeat(np.arange(len(corners)), 4)
    hulls: NDArray[np.object_] = shapely.convex_hull(shapely.multipoints(points, indices=owners))
    return hulls


def _around(corners: Floats) -> Areas:
    """Return the horizontal boxes xyxy (n, 4) around corners (n, 4, 2)."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high], axis=1).astype(np.float64)


def _has_area(boxes: Floats) -> NDArray[np.bool_]:
    has: NDArray[np.bool_] = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return has


def _box_shared(a: Areas, b: Areas) -> Areas:
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1), np.float64)


def _box_area(boxes: Areas) -> Areas:
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), np.float64)


def _share(
    shared: Areas, area_a: Areas, area_b: Areas, *, crowd: NDArray[np.bool_] | None
) -> Areas:
    whole = area_a + area_b - shared
    if crowd is not None:
        whole = np.where(crowd, area_a, whole)
    return np.divide(shared, whole, out=np.zeros_like(whole), where=whole > 0)
