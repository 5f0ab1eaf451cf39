"""Labels of a map, placed in the CRS of each scene."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from transforms.functional.boxes import Labels
from transforms.functional.polygons import Floats, smallest_boxes
from transforms.functional.scene_labels import overlap, place_labels
from transforms.functional.windows import Rectangle
from transforms.georeference import pixels_to_map, rectangle_to_corners, reproject
from transforms.label_classes import Classes
from transforms.outlines import Outlines
from transforms.records import Affine6, Scene, Window


class MapLabels:
    """Labels of a map, placed in the CRS of each scene when it is first asked for."""

    def __init__(self, outlines: Outlines, classes: Classes) -> None:
        """Take outlines, and the detector's class of each."""
        self._outlines = outlines
        self._classes = classes
        self._placed: dict[str, tuple[Floats, Floats]] = {}

    def around(self, window: Window) -> Labels:
        """Return the labels whose box touches the read rectangle, in its pixels."""
        scene, read = window.scene, window.read
        vertices, bounds = self._place(scene)
        near = np.flatnonzero(overlap(bounds, _bounds_on_map(read, scene.transform)))
        starts = self._outlines.starts
        owners = np.repeat(np.arange(len(near)), starts[near + 1] - starts[near])
        rings = [np.arange(starts[label], starts[label + 1]) for label in near]
        chosen = vertices[np.concatenate(rings)] if rings else vertices[:0]
        return place_labels(
            smallest_boxes(to_pixels(chosen, scene.transform), owners),
            self._classes[near],
            ignored=self._outlines.ignored[near],
            crowd=self._outlines.crowd[near],
            numbers=self._outlines.numbers[near],
        ).cut(read)

    def total(self, scenes: Sequence[Scene]) -> int:
        """Return how many labels there are; which scenes are read does not matter."""
        return len(self._classes)

    def outside(self, scenes: Sequence[Scene]) -> int:
        """Return how many labels have their centre in no scene.

        Raises ValueError if a scene has no CRS, or if all labels miss but would hit with x and y
        swapped.
        """
        missed = self._missed(scenes)
        if missed and missed == len(self._classes):
            turned = replace(self._outlines, vertices=self._outlines.vertices[:, ::-1])
            if MapLabels(turned, self._classes)._missed(scenes) < missed:
                raise ValueError(
                    "no label lies in a scene, but with x and y swapped some do: labels want "
                    "[longitude, latitude] or [easting, northing]"
                )
        return missed

    def _missed(self, scenes: Sequence[Scene]) -> int:
        hit = np.zeros(len(self._classes), np.bool_)
        for crs in dict.fromkeys(scene.crs for scene in scenes):
            group = [scene for scene in scenes if scene.crs == crs]
            _, bounds = self._place(group[0])
            centres = (bounds[:, :2] + bounds[:, 2:]) / 2
            usable = np.flatnonzero(np.isfinite(centres).all(axis=1))
            tree = shapely.STRtree([_footprint(scene) for scene in group])
            found = tree.query(shapely.points(centres[usable]), predicate="intersects")
            hit[usable[found[0]]] = True
        return int((~hit).sum())

    def _place(self, scene: Scene) -> tuple[Floats, Floats]:
        """Return vertices (n, 2) in the scene's CRS, and wide bounds (k, 4) of each label there.

        The bounds are wide enough for the smallest rotated box, which may stick out of its polygon.
        """
        crs = crs_of(scene, "the labels of a map", "give labels as YOLO or DOTA .txt or as COCO")
        if crs not in self._placed:
            vertices = self._reproject(scene)
            self._placed[crs] = vertices, _wide_bounds(vertices, self._outlines.starts)
        return self._placed[crs]

    def _reproject(self, scene: Scene) -> Floats:
        try:
            return reproject(self._outlines.vertices, self._outlines.crs, str(scene.crs))
        except pyproj.exceptions.ProjError as error:
            raise ValueError(
                f"the labels cannot be placed in the CRS of scene {scene.name}: {error}"
            ) from error


def crs_of(scene: Scene, things: str, instead: str) -> str:
    """Return a scene's CRS; raises ValueError, with both remedies, if it has none."""
    if scene.crs is None:
        raise ValueError(
            f"scene {scene.name} has no CRS, so {things} cannot be placed in it: "
            f"give it one (gdal_edit.py -a_srs EPSG:n), or {instead}"
        )
    return scene.crs


def _wide_bounds(vertices: Floats, starts: NDArray[np.intp]) -> Floats:
    """Return bounds (k, 4) of each polygon, wider on every side by twice their diagonal."""
    if len(starts) == 1:
        return np.zeros((0, 4))
    low = np.minimum.reduceat(vertices, starts[:-1], axis=0)
    high = np.maximum.reduceat(vertices, starts[:-1], axis=0)
    with np.errstate(invalid="ignore"):  # what the projection cannot place is infinite
        margin = 2 * np.hypot(*(high - low).T)[:, None]
        return np.concatenate([low - margin, high + margin], axis=1)


def to_pixels(points: Floats, transform: Affine6) -> Floats:
    """Turn (n, 2) x y on the map into col row of the scene."""
    a, b, c, d, e, f = transform
    scale = a * e - b * d
    x, y = points[:, 0] - c, points[:, 1] - f
    return np.stack([(e * x - b * y) / scale, (a * y - d * x) / scale], axis=1)


def _bounds_on_map(rectangle: Rectangle, transform: Affine6) -> tuple[float, ...]:
    ring = pixels_to_map(rectangle_to_corners(rectangle), transform)
    return (*ring.min(axis=0), *ring.max(axis=0))


def _footprint(scene: Scene) -> shapely.Polygon:
    corners = rectangle_to_corners(Rectangle(0, 0, scene.width, scene.height))
    return shapely.Polygon(pixels_to_map(corners, scene.transform))
