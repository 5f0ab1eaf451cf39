"""Polygons of a map file: as they were written, and as the flat arrays that labels are kept in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

FLAGS = ("ignore", "iscrowd")
"""Properties that say, by true or 1, that an object is not judged, or is a group of objects."""

FARTHEST = 1e12
"""No coordinate of a map is larger, whatever its unit."""

REMEDY = (
    "labels are polygons, and so are areas: write each object as its box, or buffer its point to "
    "its size"
)

_NO_CRS = (
    *(pyproj.exceptions.ProjError, AttributeError, LookupError, RecursionError),
    *(TypeError, ValueError),
)
"""What pyproj raises on what is no CRS."""

Shapes = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class MapShapes:
    """Polygons and multipolygons of a file, none of them empty, with the properties asked for.

    `shapes` (k,) are in `crs`, x y, a name that PROJ knows, or WKT. `values` holds k values for
    each property that the file has; None where a feature has none.
    """

    shapes: Shapes
    values: Mapping[str, Sequence[object]]
    crs: str


@dataclass(frozen=True, eq=False)
class Outlines:
    """Labelled polygons of a map, as flat arrays: a million take 100 MB.

    `vertices` is float64 (n, 2), x y in `crs`, always in that order. Polygon i is
    vertices[starts[i] : starts[i + 1]], its outer ring; `starts` is intp (k + 1,). `classes` are
    the k class names of the file; `crs` is a name that PROJ knows, or WKT. `ignored` and `crowd`
    are bool (k,), `numbers` int64 (k,): the feature's index in the file, from 0; further parts of
    multipolygons are numbered on behind the last feature, so that every number is there once.
    """

    vertices: NDArray[np.float64]
    starts: NDArray[np.intp]
    classes: Sequence[str]
    crs: str
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    numbers: NDArray[np.int64]


def to_outlines(found: MapShapes, field: str, path: Path) -> Outlines:
    """Return the outer rings of all parts; `field` is the property that holds the class.

    Raises ValueError, naming the row, for a class that is missing and a flag that is none.
    """
    values = found.values.get(field, ())
    for row, value in enumerate(values):
        if _missing(value):
            raise ValueError(f"{path}: row {row} has no class ({field!r} is empty)")
    flags = [read_flags(found.values.get(name), len(found.shapes), name, path) for name in FLAGS]
    parts, owners = _split(found.shapes)
    rings = shapely.get_exterior_ring(parts)
    counts = shapely.get_num_coordinates(rings)
    return Outlines(
        vertices=shapely.get_coordinates(rings),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.intp),
        classes=[_class_text(values[owner]) for owner in owners],
        crs=found.crs,
        ignored=flags[0][owners],
        crowd=flags[1][owners],
        numbers=_number_parts(owners, len(found.shapes)),
    )


def _split(shapes: Shapes) -> tuple[Shapes, NDArray[np.intp]]:
    """Return every polygon, and the number of the shape that each is part of."""
    if (shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON).all():
        return shapes, np.arange(len(shapes), dtype=np.intp)  # get_parts would copy a million
    parts, owners = shapely.get_parts(shapes, return_index=True)
    return parts, owners.astype(np.intp)


def _number_parts(owners: NDArray[np.intp], features: int) -> NDArray[np.int64]:
    """Return int64 (k,): the feature of each first part; other parts follow the last feature."""
    further = np.zeros(len(owners), np.bool_)
    further[1:] = owners[1:] == owners[:-1]
    return np.where(further, features - 1 + np.cumsum(further), owners).astype(np.int64)


def read_flags(
    values: Sequence[object] | None, count: int, name: str, path: Path
) -> NDArray[np.bool_]:
    """Return bool (count,): where a property is true or 1; absent, empty, false and 0 are False.

    Raises ValueError for any other value.
    """
    if values is None:
        return np.zeros(count, np.bool_)
    for row, value in enumerate(values):
        if not (_missing(value) or (isinstance(value, bool | int | float) and value in (0, 1))):
            raise ValueError(
                f"{path}: row {row} has {name} = {value!r}, and true or false (1 or 0) is wanted"
            )
    return np.array([not _missing(value) and bool(value) for value in values], np.bool_)


def _missing(value: object) -> bool:
    """Say whether a cell is empty: tables write nan where a number is missing."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _class_text(value: object) -> str:
    """Write a class as text: 2.0 is `2`, as tables turn whole numbers into floats."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole and isinstance(value, float) else str(value)


def check_polygons(shapes: Shapes, path: Path) -> None:
    """Raise ValueError for the first row that is no polygon, is empty or is not finite."""
    polygons = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    odd = ~np.isin(shapely.get_type_id(shapes), polygons) | shapely.is_empty(shapes)
    for row in np.flatnonzero(odd)[:1]:
        raise ValueError(f"{path}: row {row} has the geometry {shapes[row]}: {REMEDY}")
    check_vertices(shapely.get_coordinates(shapes), path)


def check_vertices(vertices: NDArray[np.float64], path: Path) -> None:
    """Raise ValueError if a vertex is not finite, or lies where no unit of a map reaches."""
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path} holds a vertex that is not finite")
    if len(vertices) and np.abs(vertices).max() > FARTHEST:
        raise ValueError(f"{path} holds a vertex at {np.abs(vertices).max():g}, beyond any map")


def check_degrees(shapes: Shapes, crs: str, path: Path) -> None:
    """Raise ValueError if a CRS in degrees is declared, and coordinates are beyond 180 and 90."""
    known = pyproj.CRS.from_user_input(crs)
    if not known.is_geographic or not len(shapes) or known.axis_info[0].unit_name != "degree":
        return
    reach_x, reach_y = np.abs(shapely.get_coordinates(shapes)).max(axis=0)
    if reach_y <= 90 and reach_x <= 360:
        return
    check_swapped(reach_x, reach_y, path)
    raise ValueError(
        f"{path} declares {known.name}, so its coordinates must be longitude and latitude in "
        f"degrees, but they reach {reach_x:g}, {reach_y:g}: declare the CRS that they are in, "
        "such as with ogr2ogr -a_srs EPSG:n"
    )


def check_swapped(reach_x: float, reach_y: float, path: Path) -> None:
    """Raise ValueError if the largest |x| and |y|, in degrees, fit only the other way round."""
    if reach_x <= 90 < reach_y <= 180:
        raise ValueError(
            f"{path}: latitudes up to {reach_y:g} degrees: longitude and latitude seem to be "
            "swapped; wanted is [longitude, latitude], as in GeoJSON"
        )


def known_crs(crs: str | dict[str, Any], path: Path) -> str:
    """Return a CRS that a file declares, by name, as WKT or as PROJJSON, as WKT."""
    try:
        text = str(pyproj.CRS.from_user_input(crs).to_wkt())
        pyproj.CRS.from_wkt(text)  # of some PROJJSON PROJ writes WKT that it does not read
    except _NO_CRS as error:
        raise ValueError(f"{path}: its CRS is not known to PROJ: {error}") from error
    return text
