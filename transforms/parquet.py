"""Rows as columns, and files of them with deterministic bytes (the only door to pyarrow)."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from upath import UPath

from transforms.functional.morton import morton_codes
from transforms.georeference import crs_to_projjson, join_bounds
from transforms.storage import find_files, written_whole
from transforms.tables import SCHEMA_VERSION, SIDES, Column, Row, Table

# Arrow's own allocators keep what was given back, a part's size several times over.
pa.set_memory_pool(pa.system_memory_pool())

WKB_TYPES = {b"\x01": "Point", b"\x03": "Polygon", b"\x06": "MultiPolygon"}

ROW_GROUP = 50_000
"""Rows per row group: small enough that a reader of one place skips the rest of a part."""


@dataclass(frozen=True, order=True)
class Part:
    """A written file: `path` relative to the output, with slashes; `size` in bytes."""

    path: str
    rows: int
    sha256: str
    size: int


def encode(rows: Sequence[Row], table: Table) -> pa.RecordBatch:
    """Return rows as a record batch; raises ValueError naming the column that does not fit."""
    for row in rows:
        _check_fields(table.columns, row, f"table {table.name}, row {row.get('key', row)}")
    arrays = [
        _to_array(column, [row[column.name] for row in rows], table) for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in table.columns])


def write_part(
    batches: Iterable[pa.RecordBatch],
    table: Table,
    *,
    output: UPath,
    name: str,
    crs: str | None,
    run_id: str,
) -> Part:
    """Sort the rows of one part and write them; the file appears whole, in place of an earlier one.

    The bytes depend on the set of rows and the keywords but `output`, not on the order of the rows.
    """
    schema = arrow_schema(table)
    gathered = pa.Table.from_batches([batch.cast(schema) for batch in batches], schema)
    order = _order(gathered, table)
    known = schema.with_metadata(_metadata(gathered, table, crs, run_id))
    with written_whole(output / table.name / name, temporary_folder(output, table)) as local:
        with pq.ParquetWriter(local, known, compression="zstd") as writer:
            for start in range(0, gathered.num_rows, ROW_GROUP):
                group = gathered.take(order[start : start + ROW_GROUP])
                writer.write_table(group.combine_chunks().cast(known), row_group_size=ROW_GROUP)
        with local.open("rb") as file:
            digest = _sha256(file)
        size = local.stat().st_size
    return Part(f"{table.name}/{name}", gathered.num_rows, digest, size)


def temporary_folder(output: UPath, table: Table) -> UPath:
    """Return where parts of a table are written in a file system before they get their names."""
    return output / table.name / "_tmp"


def list_parts(output: UPath) -> list[Part]:
    """Return the parts of every table in an output folder, as `publish` left them."""
    return [_to_part(output, path) for path in find_files(output, "*/part-*.parquet")]


def _to_part(output: UPath, path: UPath) -> Part:
    with path.open("rb") as file:
        rows = pq.read_metadata(file).num_rows
        file.seek(0)
        digest, size = _sha256(file), file.tell()
        return Part(f"{path.parent.name}/{path.name}", rows, digest, size)


def read_rows(output: UPath, table: Table, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a table, part by part in the order of their names."""
    for path in find_files(output / table.name, "part-*.parquet"):
        with path.open("rb") as file:
            content = pq.read_table(file, columns=columns and list(columns))
        yield from content.to_pylist()


def arrow_schema(table: Table) -> pa.Schema:
    """Return a table's schema; unit and description of a column are its field's metadata."""
    return pa.schema([_to_field(column, described=True) for column in table.columns])


def _to_field(column: Column, *, described: bool) -> pa.Field:
    meaning = {"description": column.description, "unit": column.unit} if described else None
    kind = _to_type(column, described=described)
    return pa.field(column.name, kind, column.nullable, metadata=meaning)


def _to_type(column: Column, *, described: bool) -> pa.DataType:
    item = column.type.removeprefix("list of ")
    if column.fields:
        kind = pa.struct([_to_field(field, described=described) for field in column.fields])
    else:
        kind = pa.type_for_alias(item)
    return kind if item == column.type else pa.list_(kind)


def _to_array(column: Column, values: list[Any], table: Table) -> pa.Array:
    try:
        return pa.array(values, _to_type(column, described=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"column {column.name} of table {table.name} must hold {column.type}: {error}"
        ) from error


def _check_fields(columns: Sequence[Column], values: Row, where: str) -> None:
    names = [column.name for column in columns]
    if set(values) != set(names):
        raise ValueError(f"{where}: the columns must be {names}, got {list(values)}")
    for column in columns:
        value = values[column.name]
        if value is None and not column.nullable:
            raise ValueError(f"{where}: column {column.name} must not be null")
        if value is not None and column.fields:
            for fields in value if column.type == "list of struct" else [value]:
                _check_fields(column.fields, fields, f"{where}, column {column.name}")


def _order(content: pa.Table, table: Table) -> pa.Array:
    """Return the rows' numbers along the Morton curve if they have places, then as in the table."""
    names, ordered = list(table.order), content
    if table.spatial:
        names.insert(0, "_place")
        ordered = content.append_column("_place", pa.array(morton_codes(_centres(content))))
    return pc.sort_indices(ordered, [(name, "ascending") for name in names])


def _centres(content: pa.Table) -> np.ndarray:
    xmin, ymin, xmax, ymax = (_bbox(content, name) for name in SIDES)
    middle = np.where(xmin > xmax, 180, (xmin + xmax) / 2)  # across the antimeridian
    return np.stack([middle, (ymin + ymax) / 2], axis=1)


def _bbox(content: pa.Table, name: str) -> np.ndarray:
    """Return one side of every bounding box: float64 (k,), nan where there is none."""
    return np.asarray(pc.struct_field(content["bbox"], name), np.float64)


def _metadata(content: pa.Table, table: Table, crs: str | None, run_id: str) -> dict[str, str]:
    known = {
        "schema_version": SCHEMA_VERSION,
        "table": table.name,
        "description": table.description,
        "run_id": run_id,
    }
    return known | {"geo": json.dumps(_geo(content, crs))} if table.spatial else known


def _geo(content: pa.Table, crs: str | None) -> dict[str, Any]:
    """Return the file's GeoParquet 1.1 metadata; a CRS of null says that it is not known."""
    sides = {name: ["bbox", name] for name in SIDES}
    boxes = np.stack([_bbox(content, name) for name in SIDES], axis=1)
    known = boxes[np.isfinite(boxes).all(axis=1)]
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": _geometry_types(content),
        "crs": crs_to_projjson(crs),
        "orientation": "counterclockwise",
        "covering": {"bbox": sides},
    }
    if len(known):
        column["bbox"] = list(join_bounds(known))
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _geometry_types(content: pa.Table) -> list[str]:
    """Return which geometries there are, by the second byte of their (little-endian) WKB."""
    kinds = pc.unique(pc.binary_slice(content["geometry"].drop_null(), 1, 2)).to_pylist()
    return sorted(WKB_TYPES[kind] for kind in kinds)


def _sha256(file: BinaryIO) -> str:
    # Files opened for reading can fill a buffer, which their declared type does not say.
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
