"""Tables as Parquet parts with deterministic names and bytes (the only door to pyarrow).

    record -> rows -> one small batch -> grouped by part -> sorted -> temporary file -> rename

A part's name depends on the CRS and on a checksum of the row's key, and its rows are sorted: a
retried bundle replaces its file by an equal one, and two runs give equal files.
"""

import hashlib
import json
import os
import shutil
import uuid
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.functional.morton import morton_codes
from transforms.georeference import crs_name, crs_to_projjson
from transforms.tables import SCHEMA_VERSION, Column, Row, Rows, Table

ROW_GROUP = 50_000
"""Rows per row group: small enough that a reader of one place skips the rest of a part."""

ToRows = Callable[[Any], Rows]


@dataclass(frozen=True)
class Destination:
    """Where a run writes its tables, and into how many parts the spatial ones are split."""

    output: Path
    run_id: str
    shards: int = 1


@dataclass(frozen=True, order=True)
class PartKey:
    """Which part a row goes to: the file's name, and the CRS of its geometries."""

    name: str
    crs: str | None


@dataclass(frozen=True, order=True)
class Part:
    """A written file: `path` relative to the output, with slashes."""

    path: str
    rows: int
    sha256: str


@dataclass
class WriteTable(beam.PTransform):
    """Write a table: records in, its `Part`s out, once all are written and stale ones are gone.

    `to_rows` turns one record into its `Rows`. All rows of a part are held in memory at once.
    """

    table: Table
    to_rows: ToRows
    destination: Destination

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Return the parts of the table, as elements of one collection."""
        parts = (
            records
            | "ToBatch" >> beam.Map(to_batch, self.table, self.to_rows, self.destination.shards)
            | "Gather" >> beam.GroupByKey()
            | "WritePart" >> beam.MapTuple(write_part, self.table, self.destination)
        )
        return (
            records.pipeline
            | "Table" >> beam.Create([self.table])
            | "Publish" >> beam.FlatMap(publish, beam.pvalue.AsList(parts), self.destination)
        )


def write_table(
    records: Iterable[object], table: Table, to_rows: ToRows, destination: Destination
) -> list[Part]:
    """Do what `WriteTable` does, in one process: the same parts, the same bytes."""
    gathered = defaultdict(list)
    for record in records:
        key, batch = to_batch(record, table, to_rows, destination.shards)
        gathered[key].append(batch)
    parts = [write_part(key, batches, table, destination) for key, batches in gathered.items()]
    return publish(table, parts, destination)


def to_batch(
    record: object, table: Table, to_rows: ToRows, shards: int
) -> tuple[PartKey, pa.RecordBatch]:
    """Return the part to which a record's rows belong, and the rows, checked and as columns."""
    rows = to_rows(record)
    return part_key(rows, table, shards), encode(rows.rows, table)


def part_key(rows: Rows, table: Table, shards: int) -> PartKey:
    """Return the part for some rows: by CRS and key if the table is spatial, else the only one."""
    if not table.spatial:
        return PartKey("part-00000.parquet", None)
    shard = zlib.crc32(rows.key.encode()) % shards
    return PartKey(f"part-{crs_name(rows.crs)}-{shard:05d}.parquet", rows.crs)


def encode(rows: Sequence[Row], table: Table) -> pa.RecordBatch:
    """Return rows as a record batch; raises ValueError naming the column that does not fit."""
    for row in rows:
        _check_fields(table.columns, row, f"table {table.name}, row {row.get('key', row)}")
    arrays = [
        _to_array(column, [row[column.name] for row in rows], table) for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in table.columns])


def write_part(
    key: PartKey, batches: Iterable[pa.RecordBatch], table: Table, destination: Destination
) -> Part:
    """Sort the batches of one part and write them, under a temporary name and then renamed."""
    schema = arrow_schema(table)
    gathered = pa.Table.from_batches([batch.cast(schema) for batch in batches], schema)
    content = _sort(gathered.combine_chunks(), table)
    folder = destination.output / table.name
    temporary = folder / "_tmp" / f"{uuid.uuid4().hex}.parquet"
    temporary.parent.mkdir(parents=True, exist_ok=True)
    labelled = content.replace_schema_metadata(_metadata(content, key.crs, table, destination))
    pq.write_table(labelled, temporary, row_group_size=ROW_GROUP, compression="zstd")
    digest = _sha256(temporary)
    os.replace(temporary, folder / key.name)
    return Part(f"{table.name}/{key.name}", content.num_rows, digest)


def publish(table: Table, parts: Sequence[Part], destination: Destination) -> list[Part]:
    """Make the folder hold exactly these parts: drop stale ones and what killed writers left.

    A table without any part gets an empty one, so that readers find its columns.
    """
    if not parts:
        parts = [write_part(part_key(Rows(""), table, 1), [], table, destination)]
    folder = destination.output / table.name
    written = {destination.output / part.path for part in parts}
    for stale in set(folder.glob("part-*.parquet")) - written:
        stale.unlink()
    shutil.rmtree(folder / "_tmp", ignore_errors=True)
    return sorted(parts)


def list_parts(output: Path) -> list[Part]:
    """Return the parts of every table in an output folder, as `publish` left them."""
    return [
        Part(path.relative_to(output).as_posix(), pq.read_metadata(path).num_rows, _sha256(path))
        for path in sorted(output.glob("*/part-*.parquet"))
    ]


def read_rows(output: Path, table: Table, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a table, part by part in the order of their names."""
    for path in sorted((output / table.name).glob("part-*.parquet")):
        yield from pq.read_table(path, columns=columns and list(columns)).to_pylist()


def arrow_schema(table: Table) -> pa.Schema:
    """Return a table's schema; unit and description of a column are its field's metadata."""
    return pa.schema([_to_field(column, described=True) for column in table.columns])


def _to_field(column: Column, *, described: bool) -> pa.Field:
    meaning = {"description": column.description, "unit": column.unit} if described else None
    kind = _to_type(column, described=described)
    return pa.field(column.name, kind, column.nullable, metadata=meaning)


def _to_type(column: Column, *, described: bool) -> pa.DataType:
    if not column.fields:
        return pa.type_for_alias(column.type)
    struct = pa.struct([_to_field(field, described=described) for field in column.fields])
    return pa.list_(struct) if column.type == "list of struct" else struct


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


def _sort(content: pa.Table, table: Table) -> pa.Table:
    """Return the rows along the Morton curve if they have places, then in the table's order."""
    names, ordered = list(table.order), content
    if table.spatial:
        names.insert(0, "_place")
        ordered = content.append_column("_place", pa.array(morton_codes(_centres(content))))
    return content.take(pc.sort_indices(ordered, [(name, "ascending") for name in names]))


def _centres(content: pa.Table) -> np.ndarray:
    xmin, ymin, xmax, ymax = (_bbox(content, name) for name in ("xmin", "ymin", "xmax", "ymax"))
    return np.stack([(xmin + xmax) / 2, (ymin + ymax) / 2], axis=1)


def _bbox(content: pa.Table, name: str) -> np.ndarray:
    """Return one side of every bounding box: float64 (k,), nan where there is none."""
    return np.asarray(pc.struct_field(content["bbox"], name), np.float64)


def _metadata(
    content: pa.Table, crs: str | None, table: Table, destination: Destination
) -> dict[str, str]:
    known = {
        "schema_version": SCHEMA_VERSION,
        "table": table.name,
        "description": table.description,
        "run_id": destination.run_id,
    }
    return known | {"geo": json.dumps(_geo(content, crs))} if table.spatial else known


def _geo(content: pa.Table, crs: str | None) -> dict[str, Any]:
    """Return the file's GeoParquet 1.1 metadata; a CRS of null says that it is not known."""
    sides = {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": crs_to_projjson(crs),
        "orientation": "counterclockwise",
        "covering": {"bbox": sides},
    }
    if content["geometry"].null_count < content.num_rows:
        column["bbox"] = [
            *(float(np.nanmin(_bbox(content, name))) for name in ("xmin", "ymin")),
            *(float(np.nanmax(_bbox(content, name))) for name in ("xmax", "ymax")),
        ]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
