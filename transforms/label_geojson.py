"""GeoJSON: polygons with their properties, every mistake named by its feature."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from transforms.outlines import (
    FLAGS,
    REMEDY,
    MapShapes,
    Shapes,
    check_degrees,
    check_swapped,
    check_vertices,
    known_crs,
)

Ring = list[Any]
_PARTS = ("properties", "geometry")


def load_json(path: Path) -> Any:  # noqa: ANN401 (JSON holds anything)
    """Return what a JSON file holds; raises ValueError if it is none."""
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply to be labels") from error
    except ValueError as error:
        empty = " (it is empty, 0 bytes)" if not path.stat().st_size else ""
        raise ValueError(f"{path} is no JSON{empty}: {error}") from error


def parse_geojson(content: object, path: Path, field: str | None) -> MapShapes:
    """Return the polygons of GeoJSON; `field` is a property that every feature must have.

    The CRS is that of the old `crs` member (GeoJSON 2008), else longitude and latitude (RFC 7946).
    Raises ValueError, naming the feature, for what is no polygon.
    """
    kind = content.get("type") if isinstance(content, dict) else None
    if kind not in ("Feature", "FeatureCollection") or not isinstance(content, dict):
        raise ValueError(f"{path}: a GeoJSON FeatureCollection is wanted, got type {kind!r}")
    features = [content] if kind == "Feature" else content.get("features") or []
    if not isinstance(features, list):
        raise ValueError(f"{path}: features must be a list, got {type(features).__name__}")
    values: dict[str, list[object]] = {name: [] for name in (*FLAGS, *([field] if field else []))}
    parts: list[list[list[Ring]]] = []
    for number, feature in enumerate(features):
        where = f"{path}: features[{number}]"
        properties, geometry = (_object(feature, part, where) for part in _PARTS)
        if field and properties.get(field) is None:
            raise ValueError(
                f"{where} has no property {field!r} (it has {sorted(properties)}): set "
                "input.label_field to the one that holds the class"
            )
        for name, column in values.items():
            column.append(properties.get(name))
        parts.append(_parts(geometry, where))
    shapes = _polygons(parts, path)
    crs = _crs(content, path)
    if "crs" not in content:
        _check_places(shapes, path)
    check_degrees(shapes, crs, path)
    return MapShapes(shapes, values, crs)


def _object(feature: object, part: str, where: str) -> dict[str, Any]:
    """Return a part of a feature, empty where it has none."""
    found = feature.get(part) or {} if isinstance(feature, dict) else None
    if not isinstance(found, dict):
        raise ValueError(
            f"{where} is no feature: its {part} must be an object, got {feature!r:.80}"
        )
    return found


def _parts(geometry: dict[str, Any], where: str) -> list[list[Ring]]:
    """Return the rings of each part of a polygon or multipolygon."""
    kind = geometry.get("type")
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{where} has the geometry {kind or 'null'}: {REMEDY}")
    coordinates = geometry.get("coordinates") or []
    parts: list[list[Ring]] = [coordinates] if kind == "Polygon" else coordinates
    lists = isinstance(parts, list) and all(isinstance(part, list) for part in parts)
    if not lists or not all(isinstance(ring, list) for part in parts for ring in part):
        raise ValueError(f"{where}: coordinates of a {kind} are lists of rings: {REMEDY}")
    if not parts or not all(parts) or not all(ring for part in parts for ring in part):
        raise ValueError(f"{where} is an empty {kind}: {REMEDY}")
    return parts


def _polygons(features: list[list[list[Ring]]], path: Path) -> Shapes:
    parts = [part for feature in features for part in feature]
    rings = [ring for part in parts for ring in part]
    points = (number for ring in rings for x, y, *_ in ring for number in (x, y))
    try:
        vertices = np.fromiter(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} holds a vertex that is not two numbers: {error}") from error
    check_vertices(vertices, path)
    try:
        polygons = shapely.polygons(
            shapely.linearrings(vertices, indices=_owners(rings)), indices=_owners(parts)
        )
    except (ValueError, shapely.errors.GEOSException) as error:
        raise ValueError(f"{path} holds a ring that is none: {error}: {REMEDY}") from error
    if len(parts) == len(features):
        return polygons
    shapes: Shapes = shapely.multipolygons(polygons, indices=_owners(features))
    return shapes


def _owners(groups: list[Any]) -> np.ndarray:
    """Return for every member of every group the number of its group: intp (n,)."""
    sizes = np.array([len(group) for group in groups], np.intp)
    return np.repeat(np.arange(len(groups), dtype=np.intp), sizes)


def _crs(content: dict[str, Any], path: Path) -> str:
    if "crs" not in content:
        return "OGC:CRS84"
    member = content["crs"]
    said = member.get("properties") if isinstance(member, dict) else None
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{path}: the crs member must name a CRS, got {member!r}")
    return known_crs(name, path)


def _check_places(shapes: Shapes, path: Path) -> None:
    if not len(shapes):
        return
    reach_x, reach_y = np.abs(shapely.get_coordinates(shapes)).max(axis=0)
    if reach_x <= 180 and reach_y <= 90:
        return
    check_swapped(reach_x, reach_y, path)
    raise ValueError(
        f"{path} has no crs member, so its coordinates must be longitude and latitude, but they "
        f"reach {reach_x:g}, {reach_y:g}: declare their CRS in the file, such as "
        '"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}'
    )
