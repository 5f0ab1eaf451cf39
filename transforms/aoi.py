"""The area of interest: which scenes and windows are read at all."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyproj
import shapely
import shapely.affinity

from transforms.functional.polygons import snap
from transforms.functional.windows import Rectangle
from transforms.georeference import CAMERA_CRS, pixels_to_map, reproject
from transforms.label_files import read_map
from transforms.map_labels import crs_of, to_pixels
from transforms.outlines import MapShapes, Shapes
from transforms.records import Camera, Scene, Window

MARGIN = 0.05
"""Share of a scene's sides by which more than it is looked at: its sides may bend on the way."""
SAMPLES = 64
"""Points along a side of a scene that say where it lies in the CRS of the area."""
PIECES = 256
"""A side of an area is straight in its own CRS, and drawn in that of the scene in pieces of this
share of the scene. In a scene of 100 km the line is then right to a centimetre."""

PLACED_SCENES = 64


class AreaOfInterest:
    """Polygons; a window is read if its core overlaps one of them, by more than an edge."""

    def __init__(self, found: MapShapes, path: Path) -> None:
        """Take the polygons of a file; they are placed in a scene when it is first asked for."""
        self._path = path
        self._crs = found.crs
        self._shapes = _solid(found.shapes)
        self._tree = shapely.STRtree(self._shapes)
        self._placed: OrderedDict[Scene, shapely.Geometry] = OrderedDict()

    def overlaps(self, scene: Scene) -> bool:
        """Say whether any of a scene, or the point of its camera, lies in the area.

        Raises ValueError, with the remedy, for a scene without CRS and camera, and where the area
        cannot be drawn in the CRS of the scene.
        """
        return self._meets(scene, Rectangle(0, 0, scene.width, scene.height))

    def touches(self, window: Window) -> bool:
        """Say whether any of a window's core lies in the area; for a camera's picture its point.

        Raises what `overlaps` raises.
        """
        return self._meets(window.scene, window.core)

    def _meets(self, scene: Scene, rectangle: Rectangle) -> bool:
        if scene.camera is not None:
            return self._holds(scene.camera)
        area = self._place(scene)
        left, top = rectangle.col_off, rectangle.row_off
        box = shapely.box(left, top, left + rectangle.width, top + rectangle.height)
        return bool(shapely.intersects(area, box)) and not bool(shapely.touches(area, box))

    def _holds(self, camera: Camera) -> bool:
        point = reproject(np.array([camera.longitude, camera.latitude]), CAMERA_CRS, self._crs)
        if not np.isfinite(point).all():
            return False
        points = shapely.points([point + np.array([turn, 0]) for turn in _turns(self._crs)])
        return len(self._tree.query(points, predicate="intersects")[1]) > 0

    def _place(self, scene: Scene) -> shapely.Geometry:
        """Return the area in pixels of the scene, cut off outside of it, prepared."""
        if scene not in self._placed:
            while len(self._placed) >= PLACED_SCENES:
                self._placed.popitem(last=False)
            self._placed[scene] = self._draw(scene)
            shapely.prepare(self._placed[scene])
        return self._placed[scene]

    def _draw(self, scene: Scene) -> shapely.Geometry:
        crs = crs_of(scene, "input.aoi", "leave input.aoi out")
        try:
            drawn = _reproject(self._near(scene, crs), self._crs, crs)
        except (ValueError, pyproj.exceptions.ProjError) as error:
            raise ValueError(
                f"input.aoi: {self._path} cannot be drawn in the CRS of scene {scene.name}: {error}"
            ) from error
        exact = shapely.transform(drawn, lambda points: to_pixels(points, scene.transform))
        # So an edge along a core's is exactly that; what is smaller than a pixel must not vanish.
        snapped = shapely.transform(exact, snap)
        shapes = _solid(np.where(shapely.area(snapped) > 0, snapped, exact))
        inside = shapely.box(0, 0, scene.width, scene.height)
        return shapely.union_all(shapely.intersection(shapes, inside))

    def _near(self, scene: Scene, crs: str) -> Shapes:
        """Return the polygons, in their CRS, cut off a little outside of the scene, in pieces.

        Only what is near is projected, so the area may reach beyond what the scene's CRS can show.
        What lies a turn round the earth away is brought here.
        """
        frame = _frame(scene, crs, self._crs)
        if frame is None:
            return _divide(self._shapes, shapely.total_bounds(self._shapes))
        found = []
        for turn in _turns(self._crs):
            there = shapely.affinity.translate(frame, turn)
            parts = _solid(shapely.intersection(self._shapes[self._tree.query(there)], there))
            found.append(_shift(parts, -turn))
        return _divide(np.concatenate(found), frame.bounds)


def open_aoi(path: Path | None) -> AreaOfInterest | None:
    """Return the area of interest of a file of polygons (see `read_map`); None without a path.

    Raises ValueError for a file that is missing, cannot be read, or holds no polygon.
    """
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"input.aoi: {path} does not exist, or is no file")
    try:
        found = read_map(path, None)
    except ValueError as error:
        raise ValueError(f"input.aoi: {error}") from error
    if not len(found.shapes):
        raise ValueError(f"input.aoi: {path} holds no polygon: draw one, or leave input.aoi out")
    return AreaOfInterest(found, path)


def _frame(scene: Scene, crs: str, target: str) -> shapely.Polygon | None:
    """Return a box around a scene in another CRS; None where that does not reach all of it.

    Where the other CRS goes round the earth the box may begin or end beyond its edge, and around a
    pole it holds all longitudes.
    """
    unit = shapely.box(-MARGIN, -MARGIN, 1 + MARGIN, 1 + MARGIN)
    ring = shapely.get_coordinates(shapely.segmentize(unit, 1 / SAMPLES))
    outline = pixels_to_map(ring * (scene.width, scene.height), scene.transform)
    points = reproject(outline, crs, target)
    if not np.isfinite(points).all():
        return None
    period = _period(target)
    if period is None:
        return shapely.box(*points.min(axis=0), *points.max(axis=0))
    x, y = np.unwrap(points[:, 0], period=period), points[:, 1]
    # Round a pole, x ends a turn from where it began; near to one it leaps.
    if abs(x[-1] - x[0]) < period / 2 and np.abs(np.diff(x)).max() < period / 8:
        return shapely.box(x.min(), y.min(), x.max(), y.max())
    south, north = (y.min(), period) if y.sum() > 0 else (-period, y.max())
    return shapely.box(-period / 2, south, period / 2, north)


def _reproject(shapes: Shapes, source: str, target: str) -> Shapes:
    """Return polygons in another CRS; where it goes round the earth, a turn away on each side too.

    What the projection cannot show at all is left out; raises ValueError for what it shows in part.
    """
    known, period = pyproj.CRS(target).name, _period(target)
    drawn = []
    for shape in shapes:
        points = reproject(shapely.get_coordinates(shape), source, target)
        finite = np.isfinite(points).all(axis=1)
        if period is not None and finite.all():
            # Whole turns alone, so that the last point stays the first.
            apart = np.unwrap(points[:, 0], period=period) - points[:, 0]
            points[:, 0] += np.rint(apart / period) * period
        closing = shapely.get_num_coordinates(shapely.get_exterior_ring(shape)) - 1
        if not finite.any():
            continue
        if not finite.all() or abs(points[closing, 0] - points[0, 0]) > (period or np.inf) / 2:
            raise ValueError(
                f"{known} does not show all of a polygon, or it holds a pole: draw it smaller"
            )
        drawn.append(shapely.set_coordinates(shape, points))
    found = np.array(drawn, object)
    return np.concatenate([_shift(found, turn) for turn in _turns(target)])


def _divide(shapes: Shapes, bounds: Sequence[float]) -> Shapes:
    left, bottom, right, top = bounds
    divided: Shapes = shapely.segmentize(shapes, max(right - left, top - bottom) / PIECES)
    return divided


def _shift(shapes: Shapes, by: float) -> Shapes:
    shifted: Shapes = shapely.transform(shapes, lambda points: points + np.array([by, 0]))
    return shifted


def _turns(crs: str) -> tuple[float, ...]:
    """Return by how much x differs between names of the same place."""
    period = _period(crs)
    return (0.0,) if period is None else (-period, 0.0, period)


@lru_cache(maxsize=64)
def _period(crs: str) -> float | None:
    """Return by how much x grows once round the earth, None where it is not the longitude."""
    known = pyproj.CRS(crs)
    if known.is_geographic:
        return 2 * np.pi / float(known.axis_info[0].unit_conversion_factor)
    operation = known.coordinate_operation
    name = "" if operation is None else operation.method_name
    if not re.fullmatch(r"(Popular Visualisation Pseudo )?Mercator.*|.*Cylindrical.*", name):
        return None
    degrees = np.arange(-120.0, 121.0)
    x = reproject(np.stack([degrees, 0 * degrees], axis=-1), CAMERA_CRS, crs)[:, 0]
    return 360 * float(np.median(np.diff(x)))


def _solid(shapes: Shapes) -> Shapes:
    """Return valid polygons; lines and points that repairing and cutting leave are dropped."""
    parts: Shapes = shapely.get_parts(shapely.make_valid(shapes))
    return parts[shapely.get_dimensions(parts) == 2]
