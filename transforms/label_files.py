"""Files of a map: GeoJSON, GeoParquet, shapefile, GeoPackage and FlatGeobuf, as polygons."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pyogrio.raw
import shapely

from transforms.label_geojson import load_json, parse_geojson
from transforms.outlines import FLAGS, MapShapes, check_degrees, check_polygons, known_crs

JSON_SUFFIXES = (".geojson", ".json")
PARQUET_SUFFIXES = (".parquet", ".geoparquet")
OGR_SUFFIXES = (".shp", ".gpkg", ".fgb")
_HEADS = {".shp": b"\0\0\x27\x0a", ".gpkg": b"SQLite format 3\0", ".fgb": b"fgb"}
_UNREADABLE = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    UnicodeDecodeError,
    UnboundLocalError,  # pyogrio's own fault, where the text of a CRS cannot be decoded
    shapely.errors.ShapelyError,
)
MAP_SUFFIXES = (*JSON_SUFFIXES, *PARQUET_SUFFIXES, *OGR_SUFFIXES)


def read_map(path: Path, field: str | None) -> MapShapes:
    """Read the polygons of a map file; `field` is the property that holds the class, if any.

    The kind of file is told by its suffix. Raises ValueError, with the remedy, for a suffix that is
    none of ours, a file that cannot be read, and for what is no polygon in a known CRS.
    """
    suffix = path.suffix.lower()
    if suffix in JSON_SUFFIXES:
        return parse_geojson(load_json(path), path, field)
    if suffix in PARQUET_SUFFIXES:
        found = read_geoparquet(path, field)
    elif suffix in OGR_SUFFIXES:
        found = read_ogr(path, field)
    else:
        raise ValueError(f"{path} must be one of {', '.join(MAP_SUFFIXES)}")
    check_polygons(found.shapes, path)
    check_degrees(found.shapes, found.crs, path)
    return found


def read_geoparquet(path: Path, field: str | None) -> MapShapes:
    """Read a GeoParquet file (WKB); `field` is a column that must be there.

    The CRS is that of the file's metadata; a file that names none is in longitude and latitude
    (GeoParquet 1.1). Raises ValueError for what cannot be read.
    """
    try:
        with pq.ParquetFile(path) as file:
            column, meaning = _describe_geometry(file.schema_arrow, path)
            wanted = _choose_fields(file.schema_arrow.names, field, path)
            table = file.read(columns=[column, *wanted])
        shapes = shapely.from_wkb(table[column].to_numpy(zero_copy_only=False))
        values = {name: table[name].to_pylist() for name in wanted}
    except (OSError, pa.ArrowException, UnicodeDecodeError, shapely.errors.ShapelyError) as error:
        raise ValueError(f"{path} is no Parquet file that can be read: {error}") from error
    return MapShapes(shapes, values, _geoparquet_crs(meaning, path))


def _describe_geometry(schema: pa.Schema, path: Path) -> tuple[str, dict[str, Any]]:
    """Return the column of the geometries, which are WKB, and what the file says of it."""
    described = (schema.metadata or {}).get(b"geo")
    if described is None:
        raise ValueError(f"{path} has no `geo` metadata: it is Parquet, but not GeoParquet")
    try:
        geo = json.loads(described)
        column = geo["primary_column"]
        meaning = geo["columns"][column]
        encoding, known = meaning.get("encoding"), column in schema.names
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its `geo` metadata cannot be read: {error!r}") from error
    if encoding != "WKB" or not known or not _is_binary(schema.field(column).type):
        raise ValueError(f"{path}: geometries must be WKB, got {encoding!r} in column {column!r}")
    return column, meaning


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _choose_fields(there: list[str], field: str | None, path: Path) -> list[str]:
    """Return the properties to read: `field`, which must be there, and the flags that are."""
    if field is not None and field not in there:
        raise ValueError(
            f"{path} has no column {field!r} (it has {there}): set "
            "input.label_field to the one that holds the class"
        )
    return [name for name in there if name in (field, *FLAGS)]


def _geoparquet_crs(meaning: dict[str, Any], path: Path) -> str:
    described = meaning.get("crs", "OGC:CRS84")
    if described is None:
        raise ValueError(f"{path}: the CRS is declared as unknown (null): declare it in the file")
    return known_crs(described, path)


def read_ogr(path: Path, field: str | None) -> MapShapes:
    """Read a shapefile, GeoPackage or FlatGeobuf of one layer; `field` must be one of its fields.

    Raises ValueError for a file that cannot be read, lacks a part or does not say its CRS.
    """
    if path.suffix.lower() == ".shp":
        _check_parts(path)
    _check_head(path)
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) != 1:
            raise ValueError(
                f"{path} holds the layers {layers}, and one is wanted: write the one with the "
                "polygons into a file of its own, such as with ogr2ogr"
            )
        wanted = _choose_fields(list(pyogrio.read_info(path)["fields"]), field, path)
        meta, _, wkb, columns = pyogrio.raw.read(path, columns=wanted, force_2d=True)
        shapes = shapely.from_wkb(wkb)
    except _UNREADABLE as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if meta["crs"] is None:
        raise ValueError(
            f"{path} does not say its CRS: declare it, such as with ogr2ogr -a_srs EPSG:n (the "
            "CRS of a shapefile lies in its .prj)"
        )
    values = {name: column.tolist() for name, column in zip(meta["fields"], columns, strict=True)}
    return MapShapes(shapes, values, known_crs(meta["crs"], path))


def _check_head(path: Path) -> None:
    """Raise ValueError unless a file begins as its suffix says.

    GDAL opens a file with whichever of its drivers takes it, and some lead to other files.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if not head.startswith(_HEADS[path.suffix.lower()]):
        raise ValueError(f"{path} cannot be read: it is no {path.suffix}, but begins with {head!r}")


def _check_parts(path: Path) -> None:
    """Raise ValueError unless the files that make a shapefile lie side by side."""
    there = {file.suffix.lower() for file in path.parent.glob(f"{path.stem}.*")}
    lost = [suffix for suffix in (".shx", ".dbf", ".prj") if suffix not in there]
    if lost:
        raise ValueError(
            f"{path} comes without its {', '.join(lost)}: a shapefile is .shp, .shx, .dbf and, "
            "for its CRS, .prj side by side; copy all of them"
        )
