"""Files of labels: GeoJSON, GeoParquet and YOLO text, each read as it was written."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pyproj
import shapely
from numpy.typing import NDArray

_POLYGONS = {3, 6}  # shapely's type numbers of Polygon and MultiPolygon
_REMEDY = "labels are polygons: write each object as its box, or buffer its point to its size"


@dataclass(frozen=True, eq=False)
class Outlines:
    """Labelled polygons of a map, as flat arrays: a million take 80 MB.

    `vertices` is float64 (n, 2), x y in `crs`, always in that order. Polygon i is
    vertices[starts[i] : starts[i + 1]], its outer ring; `starts` is intp (k + 1,). `classes` are
    the k class names of the file; `crs` is a name that PROJ knows, or WKT.
    """

    vertices: NDArray[np.float64]
    starts: NDArray[np.intp]
    classes: Sequence[str]
    crs: str


@dataclass(frozen=True, eq=False)
class Boxes:
    """Labelled boxes of one picture in fractions of its width and height.

    corners float64 (k, 4, 2), x y; numbers int32 (k,), the class numbers of the file.
    """

    corners: NDArray[np.float64]
    numbers: NDArray[np.int32]


def read_geojson(path: Path, field: str) -> Outlines:
    """Read the polygons of a GeoJSON file; `field` is the property that holds the class.

    The CRS is that of the old `crs` member (GeoJSON 2008), else longitude and latitude (RFC 7946).
    Raises ValueError, naming the feature, for what cannot be a label.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in ("Feature", "FeatureCollection"):
        raise ValueError(f"{path}: a GeoJSON FeatureCollection is wanted, got type {kind!r}")
    rings: list[Any] = []
    classes: list[str] = []
    for number, feature in enumerate([content] if kind == "Feature" else content["features"]):
        where = f"{path}: features[{number}]"
        name = _class_of(feature.get("properties") or {}, field, where)
        outer = _outer_rings(feature.get("geometry") or {}, where)
        rings += outer
        classes += [name] * len(outer)
    outlines = _outlines(rings, classes, _geojson_crs(content, path), path)
    if "crs" not in content:
        _check_degrees(outlines.vertices, path)
    return outlines


def _class_of(properties: dict[str, Any], field: str, where: str) -> str:
    if properties.get(field) is None:
        raise ValueError(
            f"{where} has no property {field!r} (it has {sorted(properties)}): set "
            "input.label_field to the one that holds the class"
        )
    return _class_text(properties[field])


def _class_text(value: object) -> str:
    """Write a class as text: 2.0 is `2`, as tables turn whole numbers into floats."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole and isinstance(value, float) else str(value)


def _outer_rings(geometry: dict[str, Any], where: str) -> list[Any]:
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{where} has the geometry {kind or 'null'}: {_REMEDY}")
    coordinates = geometry.get("coordinates") or []
    parts = [coordinates] if kind == "Polygon" else coordinates
    if not parts or not all(parts) or not all(part[0] for part in parts):
        raise ValueError(f"{where} is an empty {kind}: {_REMEDY}")
    return [part[0] for part in parts]


def _outlines(rings: list[Any], classes: list[str], crs: str, path: Path) -> Outlines:
    points = (number for ring in rings for x, y, *_ in ring for number in (x, y))
    try:
        vertices = np.fromiter(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds a vertex that is not two numbers: {error}") from error
    return _checked(vertices, np.array([len(ring) for ring in rings], np.intp), classes, crs, path)


def _checked(
    vertices: NDArray[np.float64],
    counts: NDArray[np.intp],
    classes: list[str],
    crs: str,
    path: Path,
) -> Outlines:
    if not np.isfinite(vertices).all():
        raise ValueError(f"{path} holds a vertex that is not finite")
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
    return Outlines(vertices, starts, classes, crs)


def _geojson_crs(content: dict[str, Any], path: Path) -> str:
    if "crs" not in content:
        return "OGC:CRS84"
    member = content["crs"]
    name = member.get("properties", {}).get("name") if isinstance(member, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{path}: the crs member must name a CRS, got {member!r}")
    return _known(name, path)


def _check_degrees(vertices: NDArray[np.float64], path: Path) -> None:
    if not len(vertices):
        return
    reach_x, reach_y = np.abs(vertices).max(axis=0)
    if reach_x <= 180 and reach_y <= 90:
        return
    if reach_x <= 90 and reach_y <= 180:
        raise ValueError(
            f"{path}: latitudes up to {reach_y:g} degrees: longitude and latitude seem to be "
            "swapped; GeoJSON wants [longitude, latitude]"
        )
    raise ValueError(
        f"{path} has no crs member, so its coordinates must be longitude and latitude, but they "
        f"reach {reach_x:g}, {reach_y:g}: declare their CRS in the file, such as "
        '"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}'
    )


def read_geoparquet(path: Path, field: str) -> Outlines:
    """Read the polygons of a GeoParquet file (WKB); `field` is the column that holds the class.

    The CRS is that of the file's metadata; a file that names none is in longitude and latitude
    (GeoParquet 1.1). Raises ValueError for what cannot be a label.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no Parquet file: {error}") from error
    with file:
        described = (file.schema_arrow.metadata or {}).get(b"geo")
        if described is None:
            raise ValueError(f"{path} has no `geo` metadata: it is Parquet, but not GeoParquet")
        geo = json.loads(described)
        column = geo["primary_column"]
        if field not in file.schema_arrow.names:
            raise ValueError(
                f"{path} has no column {field!r} (it has {file.schema_arrow.names}): set "
                "input.label_field to the one that holds the class"
            )
        table = file.read(columns=[column, field])
    meaning = geo["columns"][column]
    if meaning.get("encoding") != "WKB":
        raise ValueError(f"{path}: geometries must be WKB, got {meaning.get('encoding')!r}")
    shapes = shapely.from_wkb(table[column].to_numpy(zero_copy_only=False))
    return _explode(shapes, table[field].to_pylist(), _geoparquet_crs(meaning, path), path)


def _geoparquet_crs(meaning: dict[str, Any], path: Path) -> str:
    described = meaning.get("crs", "OGC:CRS84")
    if described is None:
        raise ValueError(f"{path}: the CRS is declared as unknown (null): declare it in the file")
    return _known(described, path)


def _known(crs: str | dict[str, Any], path: Path) -> str:
    """Return a CRS that a file declares, by name or as PROJJSON, as text."""
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise ValueError(f"{path}: its CRS is not known to PROJ: {error}") from error
    return str(known.to_wkt())


def _explode(shapes: NDArray[np.object_], values: list[object], crs: str, path: Path) -> Outlines:
    kinds = shapely.get_type_id(shapes)
    for row in np.flatnonzero(~np.isin(kinds, list(_POLYGONS)) | shapely.is_empty(shapes))[:1]:
        raise ValueError(f"{path}: row {row} has the geometry {shapes[row]}: {_REMEDY}")
    for row, value in enumerate(values):
        if value is None:
            raise ValueError(f"{path}: row {row} has no class")
    parts, owners = shapely.get_parts(shapes, return_index=True)
    rings = shapely.get_exterior_ring(parts)
    classes = [_class_text(values[owner]) for owner in owners]
    counts = shapely.get_num_coordinates(rings).astype(np.intp)
    return _checked(shapely.get_coordinates(rings), counts, classes, crs, path)


def read_yolo(path: Path) -> Boxes:
    """Read a YOLO text file: `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 x4 y4` on each line.

    Raises ValueError, naming the line, for anything else. An empty file holds no objects.
    """
    corners, numbers = [], []
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                kind, box = _parse_yolo(line.split())
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}, got {line!r}") from error
            numbers.append(kind)
            corners.append(box)
    return Boxes(
        np.array(corners, np.float64).reshape(-1, 4, 2), np.array(numbers, np.int32).reshape(-1)
    )


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error


def _parse_yolo(words: Sequence[str]) -> tuple[int, list[float]]:
    if len(words) not in (5, 9):
        raise ValueError(f"5 or 9 numbers are wanted, not {len(words)}")
    kind, *place = map(float, words)
    if not kind.is_integer() or kind < 0:
        raise ValueError("the class must be a whole number from 0")
    if len(place) == 8:
        _check_range(place, -0.5, 1.5)
        return int(kind), place
    _check_range(place, 0, 1)
    x, y, width, height = place
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    return int(kind), [left, top, right, top, right, bottom, left, bottom]


def _check_range(values: Iterable[float], low: float, high: float) -> None:
    slack = 1e-3  # writers round
    if not all(math.isfinite(v) and low - slack <= v <= high + slack for v in values):
        raise ValueError("places must be fractions of the picture's width and height")
