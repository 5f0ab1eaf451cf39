"""Vector files for maps: rows of a spatial table as FlatGeobuf (QGIS) or PMTiles (web maps)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import antimeridian
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyogrio.errors
import pyogrio.raw
import pyproj
import shapely
from numpy.typing import NDArray
from upath import UPath

from transforms.georeference import reproject
from transforms.storage import find_files
from transforms.tables import Table

Format = Literal["flatgeobuf", "pmtiles"]
DRIVERS: dict[Format, str] = {"flatgeobuf": "FlatGeobuf", "pmtiles": "PMTiles"}
SUFFIXES: dict[Format, str] = {"flatgeobuf": ".fgb", "pmtiles": ".pmtiles"}
DEGREES = "EPSG:4326"
BATCH = 20_000
"""Rows in memory at a time."""
ZOOMS = {"MINZOOM": "8", "MAXZOOM": "18"}
"""Of PMTiles: a pixel is 0.6 m at zoom 18, so that a car is seen, and viewers overzoom beyond."""


@dataclass(frozen=True)
class Written:
    """What became a vector file: rows, rows without a place on a map, and the CRS."""

    rows: int
    placeless: int
    crs: str


@dataclass(frozen=True)
class _Source:
    path: UPath
    crs: str | None
    kinds: tuple[str, ...]


def write_vector_file(output: UPath, table: Table, target: Path, format: Format) -> Written:
    """Write the rows of a run's spatial table to a file; columns of lists and structs stay out.

    The CRS is that of the scenes, if all share one and the format can hold it, else EPSG:4326. Rows
    without a geometry, or of scenes without a CRS, have no place on a map and are counted. Raises
    ValueError if nothing is left.
    """
    sources = [_describe(path) for path in find_files(output / table.name, "part-*.parquet")]
    known = [source for source in sources if source.crs is not None]
    systems = sorted({source.crs for source in known if source.crs is not None})
    crs = systems[0] if len(systems) == 1 and format == "flatgeobuf" else DEGREES
    rows = sum(pc.sum(_placed(source)).as_py() or 0 for source in known)
    total = sum(_count(source.path) for source in sources)
    if not rows:
        raise ValueError(f"table {table.name} of {output} has no row with a place on a map")
    kinds = {kind for source in known for kind in source.kinds}
    _write(
        pa.RecordBatchReader.from_batches(_schema(table), _batches(known, table, crs)),
        target,
        format,
        layer=table.name,
        crs=crs,
        kind=kinds.pop() if len(kinds) == 1 else "Unknown",
    )
    return Written(rows, total - rows, crs)


def _write(
    batches: pa.RecordBatchReader,
    target: Path,
    format: Format,
    *,
    layer: str,
    crs: str,
    kind: str,
) -> None:
    options: dict[str, Any] = {"dataset_options": ZOOMS | {"NAME": layer}}
    try:
        pyogrio.raw.write_arrow(
            batches,
            target,
            driver=DRIVERS[format],
            layer=layer,
            geometry_name="geometry",
            geometry_type=kind,
            crs=crs,
            **(options if format == "pmtiles" else {}),
        )
    except pyogrio.errors.DataSourceError as error:
        raise ValueError(f"{target} cannot be written: {error}") from error


def _describe(path: UPath) -> _Source:
    with path.open("rb") as file:
        metadata = pq.read_schema(file).metadata
    column = json.loads(metadata[b"geo"])["columns"]["geometry"]
    crs = column["crs"]
    name = None if crs is None else pyproj.CRS.from_json_dict(crs)
    code = name and name.to_authority()
    known = None if name is None else ":".join(code) if code else name.to_wkt()
    return _Source(path, known, tuple(column["geometry_types"]))


def _count(path: UPath) -> int:
    with path.open("rb") as file:
        return int(pq.read_metadata(file).num_rows)


def _placed(source: _Source) -> pa.ChunkedArray:
    with source.path.open("rb") as file:
        return pc.is_valid(pq.read_table(file, columns=["geometry"])["geometry"])


def _fields(table: Table) -> list[str]:
    return [
        column.name for column in table.columns if not column.fields and "list" not in column.type
    ]


def _schema(table: Table) -> pa.Schema:
    kinds = {column.name: column.type for column in table.columns}
    return pa.schema([pa.field(name, pa.type_for_alias(kinds[name])) for name in _fields(table)])


def _batches(sources: Sequence[_Source], table: Table, crs: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows with a place, in the CRS."""
    schema = _schema(table)
    for source in sources:
        with source.path.open("rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=_fields(table)):
                placed = batch.filter(pc.is_valid(batch["geometry"]))
                if source.crs != crs:
                    placed = _reproject(placed, source, crs)
                yield placed.cast(schema)


def move_shapes(shapes: Sequence[Any], source: str, target: str) -> NDArray[np.object_]:
    """Return shapes in another CRS; in degrees they are cut at the antimeridian."""
    moved = shapely.transform(shapes, lambda points: reproject(points, source, target))
    if target != DEGREES:
        return np.asarray(moved)
    west, _, east, _ = shapely.bounds(moved).T
    for index in np.flatnonzero(east - west > 180):
        moved[index] = shapely.geometry.shape(antimeridian.fix_shape(moved[index]))
    return np.asarray(moved)


def _reproject(batch: pa.RecordBatch, source: _Source, crs: str) -> pa.RecordBatch:
    assert source.crs is not None
    moved = move_shapes(shapely.from_wkb(batch["geometry"].to_pylist()), source.crs, crs)
    index = batch.schema.get_field_index("geometry")
    wkb = pa.array(list(shapely.to_wkb(moved)), pa.binary())
    return batch.set_column(index, batch.schema.field(index), wkb)
