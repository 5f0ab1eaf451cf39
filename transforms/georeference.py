"""From the pixels of a scene to places on the map: coordinates, metres, and names of CRSs.

Coordinates are always (x, y), that is (longitude, latitude) in a geographic CRS, whatever order its
authority prefers: so rasterio gives them, and so GeoParquet wants them.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle
from transforms.records import Affine6, Camera, Scene

Points = NDArray[np.float64]
Bounds = tuple[float, float, float, float]

CAMERA_CRS = "EPSG:4326"
"""The CRS of a camera's position."""


@dataclass(frozen=True)
class Place:
    """A geometry as little-endian WKB, and its bounds: xmin, ymin, xmax, ymax.

    In degrees no coordinate is beyond 180. What crosses the antimeridian is cut there, into a
    multipolygon whose xmin > xmax, as GeoJSON (RFC 7946) and GeoParquet want it.
    """

    wkb: bytes
    bounds: Bounds


def pixels_to_map(points: NDArray[np.floating], transform: Affine6) -> Points:
    """Return points (..., 2) in scene pixels as float64 (..., 2) in units of the scene's CRS.

    Pixel (0, 0) is the outer corner of the first pixel.

    >>> pixels_to_map(np.array([[10, 20]]), (0.5, 0, 500_000, 0, -0.5, 5_300_000))
    array([[ 500005., 5299990.]])
    """
    a, b, c, d, e, f = transform
    col, row = np.moveaxis(np.asarray(points, np.float64), -1, 0)
    return np.stack([a * col + b * row + c, d * col + e * row + f], axis=-1)


def rectangle_to_corners(rectangle: Rectangle) -> Points:
    """Return the outer corners of a pixel rectangle: float64 (4, 2), clockwise from top left."""
    left, top = rectangle.col_off, rectangle.row_off
    right, bottom = left + rectangle.width, top + rectangle.height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def reproject(points: Points, source: str, target: str) -> Points:
    """Return points (..., 2) in another CRS; inf where the projection is not defined."""
    if source == target:
        return points
    x, y = _transformer(source, target).transform(points[..., 0], points[..., 1])
    return np.stack([x, y], axis=-1)


def distances(start: Points, end: Points, crs: str | None) -> Points:
    """Return the distance in metres on the ground between points (k, 2) of a CRS: float64 (k,).

    Along the ellipsoid, so that it holds in degrees, in feet and in Web Mercator; in a plane where
    the CRS is local and knows no earth; nan without a CRS or where it is not defined.
    """
    if crs is None:
        return np.full(len(start), np.nan)
    known = _crs(crs)
    if known.geodetic_crs is None:
        metres_per_unit = float(known.axis_info[0].unit_conversion_factor)
        return np.asarray(np.linalg.norm(end - start, axis=1) * metres_per_unit)
    to_earth, geod = _earth_of(crs)
    start_x, start_y = to_earth.transform(*start.T)
    end_x, end_y = to_earth.transform(*end.T)
    metres = np.asarray(geod.inv(start_x, start_y, end_x, end_y)[2], np.float64)
    return np.where(np.isfinite(metres), metres, np.nan)


def metres_per_pixel(
    scene: Scene, core: Rectangle, *, gsd: float | None = None
) -> tuple[float, float] | None:
    """Return the width and height of a pixel on the ground in the middle of a core.

    Without a CRS it is that of the file's pixels, `gsd` (metres) both ways, and None where that is
    not given either.
    """
    if scene.crs is None:
        across, along = scene.file_pixels
        return None if gsd is None else (gsd * across, gsd * along)
    span = (
        64.0  # pixels: long enough that coordinates of a million metres lose no digit that counts
    )
    middle = np.array([core.col_off + core.width / 2, core.row_off + core.height / 2])
    steps = span / 2 * np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
    left, right, top, bottom = pixels_to_map(middle + steps, scene.transform)
    across, along = distances(np.stack([left, top]), np.stack([right, bottom]), scene.crs) / span
    return (float(across), float(along)) if np.isfinite([across, along]).all() else None


def corners_to_wkb(corners: Points) -> list[bytes]:
    """Return each quadrilateral (k, 4, 2) as a little-endian WKB polygon, counter-clockwise."""
    x, y = corners[..., 0], corners[..., 1]
    doubled_area = (x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y).sum(axis=1)
    rings = np.where((doubled_area < 0)[:, None, None], corners[:, ::-1], corners)
    return list(shapely.to_wkb(shapely.polygons(rings), byte_order=1))


def place_corners(corners: Points, source: str | None, target: str | None) -> list[Place | None]:
    """Return quadrilaterals (k, 4, 2) of the source's CRS as polygons in the target's.

    None where the projection is not defined, and in degrees for what holds or touches a pole: there
    every longitude is one place, and an outline would span the world. Without a CRS nothing moves.
    """
    moved = reproject(corners, source, target) if source and target else corners
    defined = np.flatnonzero(np.isfinite(moved).all(axis=(1, 2)))
    low, high = moved[defined].min(axis=1), moved[defined].max(axis=1)
    bounds = np.concatenate([low, high], axis=1).tolist()
    places: list[Place | None] = [None] * len(corners)
    for index, wkb, box in zip(defined, corners_to_wkb(moved[defined]), bounds, strict=True):
        places[index] = Place(wkb, tuple(box))
    if source and target and _in_degrees(target):
        # Nothing else can cross the antimeridian or hold a pole.
        wide = (high - low)[:, 0] > 90
        beyond = (np.maximum(-low, high) > [180, 89.99]).any(axis=1)
        for index in defined[wide | beyond]:
            places[index] = _place_on_globe(corners[index], source, target)
    return places


def place_camera(camera: Camera, target: str) -> Place | None:
    """Return the point of a camera; None where the projection is not defined."""
    point = reproject(np.array([camera.longitude, camera.latitude]), CAMERA_CRS, target)
    if not np.isfinite(point).all():
        return None
    x, y = point.tolist()
    return Place(bytes(shapely.to_wkb(shapely.Point(x, y), byte_order=1)), (x, y, x, y))


def join_bounds(bounds: Points) -> Bounds:
    """Return the bounds of all (k, 4), k > 0; where xmin > xmax they cross the antimeridian.

    >>> join_bounds(np.array([[179.0, 0, 179.5, 1], [179.75, 0, -179.75, 1]]))
    (179.0, 0.0, -179.75, 1.0)
    """
    xmin, ymin, xmax, ymax = bounds.T
    west, east = float(xmin.min()), float(xmax.max())
    if (xmin > xmax).any():
        starts = xmin % 360
        west, east = _wrap(float(starts.min()), float((starts + (xmax - xmin) % 360).max()))
    return west, float(ymin.min()), east, float(ymax.max())


def check_crs(crs: str) -> None:
    """Raise ValueError unless PROJ knows the CRS."""
    try:
        _crs(crs)
    except pyproj.exceptions.CRSError as error:
        raise ValueError(
            f"a CRS must be an authority code such as EPSG:4326, or WKT, got {crs!r}: {error}"
        ) from error


def crs_name(crs: str | None) -> str:
    """Return a short name of a CRS that is safe in file names.

    >>> crs_name("EPSG:32632"), crs_name(None)
    ('epsg32632', 'pixels')
    """
    if crs is None:
        return "pixels"
    if re.fullmatch(r"\w+:[\w+]+", crs):
        return re.sub(r"\W", "", crs).lower()
    return f"wkt{hashlib.sha1(crs.encode(), usedforsecurity=False).hexdigest()[:8]}"


def crs_to_projjson(crs: str | None) -> dict[str, object] | None:
    """Return a CRS as PROJJSON; None stays None, which GeoParquet reads as unknown."""
    return None if crs is None else _crs(crs).to_json_dict()


def _place_on_globe(corners: Points, source: str, target: str) -> Place | None:
    """Return one quadrilateral (4, 2) in degrees, or None: see `place_corners`.

    Its sides are divided, so that from point to point it is known which way round the earth.
    """
    ring = reproject(_divide_sides(corners), source, target)
    if not np.isfinite(ring).all():
        return None
    longitudes, latitudes = np.unwrap(ring[:, 0], period=360), ring[:, 1]
    if not _crs(source).is_geographic and _meets_pole(longitudes, latitudes):
        return None
    # Without the last point, which may differ from the first in its last bits.
    longitudes, latitudes = longitudes[:-1] - _turns(float(longitudes.min())), latitudes[:-1]
    polygon = shapely.Polygon(np.stack([longitudes, latitudes], axis=-1))
    if not polygon.is_valid:
        return None
    west, east = _wrap(float(longitudes.min()), float(longitudes.max()))
    return Place(_cut(polygon), (west, float(latitudes.min()), east, float(latitudes.max())))


def _divide_sides(corners: Points) -> Points:
    """Return the outline of a quadrilateral with three points on each side: (17, 2), closed."""
    share = np.arange(4)[:, None] / 4
    following = np.roll(corners, -1, axis=0)
    points = corners[:, None] + share * (following - corners)[:, None]
    return np.concatenate([points.reshape(-1, 2), corners[:1]])


def _meets_pole(longitudes: Points, latitudes: Points) -> bool:
    """Say whether an outline goes round a pole, or through it (then a step is half a turn)."""
    round_it = abs(longitudes[-1] - longitudes[0]) > 180
    through = np.abs(np.diff(longitudes)).max() > 179.9 or np.abs(latitudes).max() > 90 - 1e-9
    return bool(round_it or through)


def _cut(polygon: shapely.Polygon) -> bytes:
    """Cut a polygon that begins in [-180, 180) at 180, as WKB, counter-clockwise."""
    home = shapely.intersection(polygon, shapely.box(-180, -90, 180, 90))
    rest = shapely.intersection(polygon, shapely.box(180, -90, 540, 90))
    rest = shapely.transform(rest, lambda points: points - [360, 0])
    parts = [
        shapely.geometry.polygon.orient(part)
        for part in shapely.get_parts([home, rest])
        if part.area > 0
    ]
    whole = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    return bytes(shapely.to_wkb(whole, byte_order=1))


def _turns(west: float) -> float:
    """Return the whole turns, in degrees, by which a longitude is beyond [-180, 180)."""
    return 360 * ((west + 180) // 360)


def _wrap(west: float, east: float) -> tuple[float, float]:
    """Return the ends of an interval of longitudes west < east within [-180, 180]."""
    if east - west >= 360:
        return -180.0, 180.0
    west, east = west - _turns(west), east - _turns(west)
    return west, east - 360 if east > 180 else east


def _in_degrees(crs: str) -> bool:
    known = _crs(crs)
    return bool(known.is_geographic) and known.axis_info[0].unit_name == "degree"


@lru_cache(64)
def _earth_of(crs: str) -> tuple[pyproj.Transformer, pyproj.Geod]:
    """Return what turns places of a CRS into degrees on its ellipsoid, and that ellipsoid."""
    known = _crs(crs)
    return _transformer(crs, known.geodetic_crs.to_wkt()), known.get_geod()


@lru_cache(maxsize=64)
def _crs(crs: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)
