"""Labels: the true objects around a window, in its pixels and in the detector's classes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from configs.schema import InputConfig
from transforms.functional.boxes import Labels
from transforms.functional.windows import Rectangle
from transforms.georeference import pixels_to_map, rectangle_to_corners, reproject
from transforms.label_files import Outlines, read_geojson, read_geoparquet, read_yolo
from transforms.records import Affine6, Scene, Window

Floats = NDArray[np.float64]
Classes = NDArray[np.int32]

GRID = 256
"""Corners lie on 1/256 px of the scene. On that grid float32 sums are exact, so every window that
sees a label computes the same centre for it, and exactly one core owns it."""


class LabelSource(Protocol):
    """Where the labels of a run come from."""

    def around(self, window: Window) -> Labels:
        """Return the labels whose box touches the read rectangle, in its pixels."""

    def outside(self, scenes: Sequence[Scene]) -> int:
        """Check the labels against all scenes of a run; return how many lie in none of them.

        Raises ValueError if the labels cannot belong to the scenes.
        """


def open_labels(config: InputConfig, names: tuple[str, ...]) -> LabelSource | None:
    """Return the labels that a config declares, in the detector's classes `names`, or None.

    Raises ValueError, with the remedy, for a missing or unreadable file and for unknown classes.
    """
    if config.labels is None:
        return None
    path, suffix = config.labels, config.labels.suffix.lower()
    if not path.exists():
        raise ValueError(f"input.labels: {path} does not exist")
    if path.is_dir():
        return PictureLabels(path, _yolo_classes(config, names))
    if suffix in (".geojson", ".json"):
        outlines = read_geojson(path, config.label_field)
    elif suffix in (".parquet", ".geoparquet"):
        outlines = read_geoparquet(path, config.label_field)
    else:
        raise ValueError(
            f"input.labels: {path} must be .geojson, .json, .parquet, .geoparquet or a folder of "
            "YOLO .txt files"
        )
    return MapLabels(outlines, index_classes(outlines.classes, config.label_classes, names))


def index_classes(
    found: Sequence[str], mapping: Mapping[str, str], names: Sequence[str]
) -> Classes:
    """Return the index in `names` of each class, renamed by `mapping` first: int32 (k,).

    Raises ValueError listing the classes that the detector does not have.
    """
    index = {name: number for number, name in enumerate(names)}
    unknown = Counter(name for name in found if mapping.get(name, name) not in index)
    if unknown:
        raise ValueError(
            f"the labels hold {_count(unknown)}, and the detector knows {list(names)}: map them in "
            "input.label_classes, such as {" + next(iter(unknown)) + ": " + f"{names[0]}}}"
        )
    return np.array([index[mapping.get(name, name)] for name in found], np.int32)


def _count(unknown: Counter[str]) -> str:
    return ", ".join(f"{name!r} ({number} times)" for name, number in unknown.most_common())


def _yolo_classes(config: InputConfig, names: tuple[str, ...]) -> Classes:
    if not config.label_names:
        raise ValueError(
            "input.label_names is empty: name the class numbers of the YOLO files, from 0 on, "
            "such as [car, truck, bus]"
        )
    return index_classes(config.label_names, config.label_classes, names)


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
        near = np.flatnonzero(_overlap(bounds, _bounds_on_map(read, scene.transform)))
        starts = self._outlines.starts
        owners = np.repeat(np.arange(len(near)), starts[near + 1] - starts[near])
        rings = [np.arange(starts[label], starts[label + 1]) for label in near]
        chosen = vertices[np.concatenate(rings)] if rings else vertices[:0]
        corners = _corners(_to_pixels(chosen, scene.transform), owners)
        return _cut(corners, self._classes[near], read)

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
        if scene.crs is None:
            raise ValueError(
                f"scene {scene.name} has no CRS, so the labels of a map cannot be placed in it: "
                "give it one (gdal_edit.py -a_srs EPSG:n), or give labels as YOLO .txt"
            )
        if scene.crs not in self._placed:
            vertices = self._reproject(scene)
            self._placed[scene.crs] = vertices, _wide_bounds(vertices, self._outlines.starts)
        return self._placed[scene.crs]

    def _reproject(self, scene: Scene) -> Floats:
        try:
            return reproject(self._outlines.vertices, self._outlines.crs, str(scene.crs))
        except pyproj.exceptions.ProjError as error:
            raise ValueError(
                f"the labels cannot be placed in the CRS of scene {scene.name}: {error}"
            ) from error


class PictureLabels:
    """Labels in a folder with one YOLO text file per picture, named after it."""

    def __init__(self, folder: Path, classes: Classes) -> None:
        """Take a folder, and the detector's class of each class number: int32 (n,)."""
        self._folder = folder
        self._classes = classes
        self._recent: tuple[Path, Floats, Classes] | None = None

    def around(self, window: Window) -> Labels:
        """Return the labels whose box touches the read rectangle, in its pixels."""
        corners, classes = self._read(window.scene)
        return _cut(corners, classes, window.read)

    def outside(self, scenes: Sequence[Scene]) -> int:
        """Read the file of every scene; return how many boxes have their centre outside.

        Raises ValueError for a missing file (an empty one says that there are no objects), for one
        that two scenes would share, and for a line that cannot be understood.
        """
        files = [self._file(scene) for scene in scenes]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(files)} pictures have no labels: {_first(missing)}; an "
                "empty file says that a picture holds no objects"
            )
        shared = [str(file) for file, times in Counter(files).items() if times > 1]
        if shared:
            raise ValueError(f"several scenes would share the labels {_first(shared)}")
        return sum(self._missed(scene) for scene in scenes)

    def _missed(self, scene: Scene) -> int:
        centres = self._read(scene)[0].mean(axis=1)
        inside = (centres >= 0) & (centres < (scene.width, scene.height))
        return int((~inside.all(axis=1)).sum())

    def _file(self, scene: Scene) -> Path:
        return self._folder / f"{Path(scene.path).stem}.txt"

    def _read(self, scene: Scene) -> tuple[Floats, Classes]:
        """Return corners (k, 4, 2) in scene pixels and the detector's classes."""
        file = self._file(scene)
        if self._recent is None or self._recent[0] != file:
            if not file.is_file():
                raise ValueError(f"scene {scene.name} has no labels: {file} does not exist")
            boxes = read_yolo(file)
            if len(boxes.numbers) and boxes.numbers.max() >= len(self._classes):
                raise ValueError(
                    f"{file} holds class {boxes.numbers.max()}, and input.label_names has "
                    f"{len(self._classes)} names, from 0"
                )
            corners = _snap(boxes.corners * (scene.width, scene.height))
            self._recent = file, corners, self._classes[boxes.numbers]
        return self._recent[1:]


def _first(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _snap(corners: Floats) -> Floats:
    return np.rint(corners * GRID) / GRID


def _cut(corners: Floats, classes: Classes, read: Rectangle) -> Labels:
    """Keep the boxes that touch a rectangle, in its pixels; corners (k, 4, 2) in scene pixels."""
    bounds = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    left, top = read.col_off, read.row_off
    touch = _overlap(bounds, (left, top, left + read.width, top + read.height))
    return Labels.plain((corners[touch] - (left, top)).astype(np.float32), classes[touch])


def _overlap(bounds: Floats, box: Sequence[float]) -> NDArray[np.bool_]:
    """Say which bounds (k, 4) x0 y0 x1 y1 touch a box."""
    x0, y0, x1, y1 = bounds.T
    touch: NDArray[np.bool_] = (x1 >= box[0]) & (x0 <= box[2]) & (y1 >= box[1]) & (y0 <= box[3])
    return touch


def _corners(pixels: Floats, owners: NDArray[np.intp]) -> Floats:
    """Return the smallest rotated box (k, 4, 2) of each polygon, on the grid.

    pixels (n, 2) are the vertices of all polygons, owners (n,) their polygon's number, ascending.
    A polygon without an area gets the horizontal box around it.
    """
    if not len(owners):
        return np.zeros((0, 4, 2))
    clouds = shapely.multipoints(pixels, indices=owners)
    boxes = shapely.oriented_envelope(clouds)
    flat = shapely.get_type_id(boxes) != shapely.GeometryType.POLYGON
    corners = np.empty((len(clouds), 4, 2))
    x0, y0, x1, y1 = shapely.bounds(clouds[flat]).T
    corners[flat] = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
    corners[~flat] = shapely.get_coordinates(boxes[~flat]).reshape(-1, 5, 2)[:, :4]
    return _snap(corners)


def _wide_bounds(vertices: Floats, starts: NDArray[np.intp]) -> Floats:
    """Return bounds (k, 4) of each polygon, wider on every side by twice their diagonal."""
    if len(starts) == 1:
        return np.zeros((0, 4))
    low = np.minimum.reduceat(vertices, starts[:-1], axis=0)
    high = np.maximum.reduceat(vertices, starts[:-1], axis=0)
    with np.errstate(invalid="ignore"):  # what the projection cannot place is infinite
        margin = 2 * np.hypot(*(high - low).T)[:, None]
        return np.concatenate([low - margin, high + margin], axis=1)


def _to_pixels(points: Floats, transform: Affine6) -> Floats:
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
