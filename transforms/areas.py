"""Judged areas: where labels are complete, and so where finding and missing count."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyproj
import shapely

from configs.schema import InputConfig
from transforms.functional.boxes import Labels
from transforms.functional.polygons import Mask, covered_pixels, covered_points, snap
from transforms.functional.windows import Rectangle
from transforms.georeference import pixels_to_map, reproject
from transforms.label_files import read_map
from transforms.map_labels import crs_of, to_pixels
from transforms.outlines import MapShapes, Shapes
from transforms.records import Scene, Window

PIECE, PIECE_IN_DEGREES = 500.0, 0.005
"""Longest side, in units of its CRS, that is drawn as one straight line in another CRS. Half a
kilometre of a line that is straight on one map bends by millimetres on another."""

PLACED_SCENES = 64


@dataclass(frozen=True, eq=False)
class PlacedAreas:
    """What `JudgedAreas` says of one scene, in its pixels: None for an area that is not given."""

    area: shapely.Geometry | None
    ignore: shapely.Geometry | None

    def judged(self, read: Rectangle) -> Mask:
        """Return bool (h, w): whose centres lie in the area and in no ignored polygon."""
        judged = np.ones((read.height, read.width), np.bool_)
        if self.area is not None:
            judged &= covered_pixels(self.area, read)
        if self.ignore is not None:
            judged &= ~covered_pixels(self.ignore, read)
        return judged

    def judges(self, labels: Labels, read: Rectangle) -> Mask:
        """Return bool (k,): whose centre, in pixels of `read`, lies in a judged pixel.

        A centre outside of `read` is judged like any other pixel of the scene.
        """
        place = np.array([read.col_off, read.row_off])
        cols, rows = (np.floor(labels.centres) + place).T
        judged = np.ones(len(labels), np.bool_)
        if self.area is not None:
            judged &= covered_points(self.area, cols, rows)
        if self.ignore is not None:
            judged &= ~covered_points(self.ignore, cols, rows)
        return judged


class JudgedAreas:
    """Polygons inside which labels are complete, and polygons inside which they are not."""

    def __init__(self, area: MapShapes | None, ignore: MapShapes | None) -> None:
        """Take the polygons; they are placed in a scene when it is first asked for."""
        self._area = None if area is None else _Polygons(area, "input.area")
        self._ignore = None if ignore is None else _Polygons(ignore, "input.ignore")
        self._placed: OrderedDict[Scene, PlacedAreas] = OrderedDict()

    def judged(self, window: Window) -> Mask:
        """Return bool (h, w) over the read rectangle, False where nothing is judged.

        A pixel counts by its centre, and is the same in every window that reads it.
        """
        return self._place(window.scene).judged(window.read)

    def ignore_unjudged(self, labels: Labels, window: Window) -> Labels:
        """Return a window's labels; those whose centre lies in no judged pixel become ignored."""
        judges = self._place(window.scene).judges(labels, window.read)
        return replace(labels, ignored=labels.ignored | ~judges)

    def check(self, scenes: Sequence[Scene]) -> None:
        """Raise ValueError if a scene has no CRS, or if the area touches none of them."""
        touched = [not shapely.is_empty(self._place(scene).area) for scene in scenes]
        if self._area is not None and scenes and not any(touched):
            raise ValueError(
                f"input.area touches no scene: it is {self._area.describe()}, and the first scene "
                f"is {_describe(scenes[0])}: give the area around the scenes, in its true CRS"
            )

    def _place(self, scene: Scene) -> PlacedAreas:
        if scene not in self._placed:
            while len(self._placed) >= PLACED_SCENES:
                self._placed.popitem(last=False)
            area = None if self._area is None else self._area.place(scene)
            ignore = None if self._ignore is None else self._ignore.place(scene)
            self._placed[scene] = PlacedAreas(area, ignore)
        return self._placed[scene]


class _Polygons:
    """The polygons of one file, by place."""

    def __init__(self, found: MapShapes, name: str) -> None:
        self._shapes = _solid(found.shapes)
        self._tree = shapely.STRtree(self._shapes)
        self._crs = found.crs
        self._name = name

    def describe(self) -> str:
        """Return the bounds and the CRS, for people."""
        bounds = ", ".join(f"{side:g}" for side in shapely.total_bounds(self._shapes))
        return f"{bounds} (left, bottom, right, top) in {pyproj.CRS(self._crs).name}"

    def place(self, scene: Scene) -> shapely.Geometry:
        """Return one shape in pixels of the scene, cut off a little outside of it.

        Only what is near the scene is projected, so a polygon may reach beyond the projection.
        """
        crs = crs_of(scene, self._name, "leave input.area and input.ignore out")
        try:
            frame = self._frame(scene, crs)
            near = np.sort(self._tree.query(frame))
            parts = _solid(shapely.intersection(self._shapes[near], frame))
            if self._crs != crs:
                parts = shapely.segmentize(parts, _piece(self._crs))
            pixels = to_pixels(
                reproject(shapely.get_coordinates(parts), self._crs, crs), scene.transform
            )
        except pyproj.exceptions.ProjError as error:
            raise ValueError(
                f"{self._name} cannot be placed in the CRS of scene {scene.name}: {error}"
            ) from error
        if not np.isfinite(pixels).all():
            raise ValueError(f"{self._name} is beyond the projection of scene {scene.name}")
        shapes = _solid(shapely.set_coordinates(parts, snap(pixels)))
        inside = shapely.box(0, 0, scene.width, scene.height)
        return shapely.union_all(shapes[shapely.intersects(shapes, inside)])

    def _frame(self, scene: Scene, crs: str) -> shapely.Polygon:
        """Return a box around the scene, wider by a quarter on every side, in the polygons' CRS."""
        size = (scene.width, scene.height)
        ring = shapely.segmentize(shapely.box(-0.25, -0.25, 1.25, 1.25), 0.05)
        outline = pixels_to_map(shapely.get_coordinates(ring) * size, scene.transform)
        points = reproject(outline, crs, self._crs)
        if not np.isfinite(points).all():
            raise ValueError(
                f"scene {scene.name} cannot be placed in the CRS of {self._name}: "
                f"{pyproj.CRS(self._crs).name} does not reach that far"
            )
        return shapely.box(*points.min(axis=0), *points.max(axis=0))


def _piece(crs: str) -> float:
    return PIECE_IN_DEGREES if pyproj.CRS(crs).is_geographic else PIECE


def _solid(shapes: Shapes) -> Shapes:
    """Return valid shapes with an area; lines and points that repairing leaves are dropped."""
    parts: Shapes = shapely.get_parts(shapely.make_valid(shapes))
    return parts[shapely.get_dimensions(parts) == 2]


def _describe(scene: Scene) -> str:
    corners = np.array([[0, 0], [scene.width, scene.height]])
    (left, top), (right, bottom) = pixels_to_map(corners, scene.transform)
    crs = pyproj.CRS(str(scene.crs)).name
    return f"{scene.name}: {left:g}, {bottom:g}, {right:g}, {top:g} in {crs}"


def open_areas(config: InputConfig) -> JudgedAreas | None:
    """Return the areas that a config declares, or None if it declares none.

    Raises ValueError for a file that is missing, cannot be read, or holds no polygon.
    """
    if config.area is None and config.ignore is None:
        return None
    return JudgedAreas(_read(config.area, "input.area"), _read(config.ignore, "input.ignore"))


def _read(path: Path | None, name: str) -> MapShapes | None:
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"{name}: {path} does not exist, or is no file")
    try:
        found = read_map(path, None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if not len(found.shapes):
        raise ValueError(f"{name}: {path} holds no polygon: draw one, or leave {name} out")
    return found
