"""From the pixels of a scene to places on the map: coordinates, metres, and names of CRSs.

Coordinates are always (x, y), that is (longitude, latitude) in a geographic CRS, whatever order its
authority prefers: so rasterio gives them, and so GeoParquet wants them.
"""

import hashlib
import re
from functools import lru_cache

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle
from transforms.records import Affine6, Scene

Points = NDArray[np.float64]


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
    to_earth = _transformer(crs, known.geodetic_crs.to_wkt())
    start_x, start_y = to_earth.transform(*start.T)
    end_x, end_y = to_earth.transform(*end.T)
    metres = np.asarray(known.get_geod().inv(start_x, start_y, end_x, end_y)[2], np.float64)
    return np.where(np.isfinite(metres), metres, np.nan)


def metres_per_pixel(
    scene: Scene, core: Rectangle, *, gsd: float | None = None
) -> tuple[float, float] | None:
    """Return the width and height of a pixel on the ground in the middle of a core.

    Without a CRS it is `gsd` (metres) both ways, and None where that is not given either.
    """
    if scene.crs is None:
        return None if gsd is None else (gsd, gsd)
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


@lru_cache(maxsize=64)
def _crs(crs: str) -> pyproj.CRS:
    return pyproj.CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)
