"""Write: records of a run as Parquet tables, with deterministic part names and bytes.

    record -> rows -> one small batch -> grouped by part -> sorted -> file that appears whole

A part's name depends on the CRS and on a checksum of the row's key, and its rows are sorted: a
retried bundle replaces its file by an equal one, and two runs give equal files.
"""

import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from upath import UPath

from transforms.counters import WRITTEN
from transforms.georeference import crs_name
from transforms.parquet import Part, encode, temporary_folder, write_part
from transforms.stopwatch import Stopwatch
from transforms.storage import find_files, is_local, size_of
from transforms.tables import Rows, Table

PartKey = tuple[str, str | None]
"""Which part a row goes to: the file's name, and the CRS of its geometries, if any."""


ToRows = Callable[[Any], Rows]
"""What a record adds to a table: one of the functions of `transforms.rows`, its settings bound."""


@dataclass(frozen=True)
class Destination:
    """Where a run writes its tables; spatial ones have up to `shards` parts per CRS.

    All rows of a part are held in the memory of one worker, so that many detections need shards.
    """

    output: UPath
    run_id: str
    shards: int = 1


@dataclass
class WriteTable(beam.PTransform):
    """Write a table: records in, its `Part`s out, once all are written and stale ones are gone."""

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
            | "WritePart" >> beam.ParDo(_WritePart(self.table, self.destination))
        )
        return (
            records.pipeline
            | "Once" >> beam.Impulse()
            | "Publish"
            >> beam.FlatMap(_publish, beam.pvalue.AsList(parts), self.table, self.destination)
        )


def _publish(_: bytes, parts: Sequence[Part], table: Table, destination: Destination) -> list[Part]:
    return publish(table, parts, destination)


class _WritePart(beam.DoFn):
    """Counts time and bytes; the work is in `write_batches`."""

    def __init__(self, table: Table, destination: Destination) -> None:
        self._table = table
        self._destination = destination
        self._stopwatch = Stopwatch("write")
        self._written = Metrics.counter(WRITTEN, "tables")

    def process(self, gathered: tuple[PartKey, Iterable[pa.RecordBatch]]) -> list[Part]:
        with self._stopwatch.running(tiles=0):
            part = write_batches(*gathered, self._table, self._destination)
        self._written.inc(size_of(self._destination.output / part.path) or 0)
        return [part]


def write_table(
    records: Iterable[object], table: Table, to_rows: ToRows, destination: Destination
) -> list[Part]:
    """Do what `WriteTable` does, in one process: the same parts, the same bytes."""
    gathered = defaultdict(list)
    for record in records:
        key, batch = to_batch(record, table, to_rows, destination.shards)
        gathered[key].append(batch)
    parts = [write_batches(key, batches, table, destination) for key, batches in gathered.items()]
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
        return "part-00000.parquet", None
    # Never hash(): it differs from process to process, and a retry would choose another part.
    shard = zlib.crc32(rows.key.encode()) % shards
    return f"part-{crs_name(rows.crs)}-{shard:05d}.parquet", rows.crs


def write_batches(
    key: PartKey, batches: Iterable[pa.RecordBatch], table: Table, destination: Destination
) -> Part:
    """Write one part."""
    name, crs = key
    output, run_id = destination.output, destination.run_id
    return write_part(batches, table, output=output, name=name, crs=crs, run_id=run_id)


def publish(table: Table, parts: Sequence[Part], destination: Destination) -> list[Part]:
    """Make the folder hold exactly these parts: drop stale ones and what killed writers left.

    A table without any part gets an empty one, so that readers find its columns.
    """
    if not parts:
        empty = part_key(Rows(""), table, 1)
        parts = [write_batches(empty, [], table, destination)]
    output = destination.output
    written = {part.path for part in parts}
    for path in find_files(output / table.name, "part-*.parquet"):
        if f"{table.name}/{path.name}" not in written:
            path.unlink()
    if is_local(output):
        shutil.rmtree(str(temporary_folder(output, table)), ignore_errors=True)
    return sorted(parts)
