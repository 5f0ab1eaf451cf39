"""Write: records of a run as Parquet tables, with deterministic part names and bytes.

    record -> rows -> one small batch -> grouped by part -> sorted -> temporary file -> rename

A part's name depends on the CRS and on a checksum of the row's key, and its rows are sorted: a
retried bundle replaces its file by an equal one, and two runs give equal files.
"""

import shutil
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa

from configs.schema import RunConfig
from transforms.georeference import crs_name
from transforms.parquet import Part, encode, temporary_folder, write_part
from transforms.rows import detection_rows, rejected_rows, summary_rows, tile_rows
from transforms.tables import TABLES, Rows, Table, TableName

PartKey = tuple[str, str | None]
"""Which part a row goes to: the file's name, and the CRS of its geometries, if any."""


@dataclass(frozen=True)
class Writer:
    """Everything that the tables of a run depend on, but the records.

    `names` are the detector's classes; `threshold` is the operating point; detections are written
    from `min_score` up; `crs` is that of the geometries, or `scene`; spatial tables have up to
    `shards` parts per CRS, and one part must fit into the memory of a worker.
    """

    output: Path
    run_id: str
    names: tuple[str, ...]
    threshold: float
    min_score: float
    crs: str = "scene"
    shards: int = 1

    @staticmethod
    def of(config: RunConfig, *, names: tuple[str, ...], run_id: str) -> "Writer":
        """Collect the settings of a run."""
        report, threshold = config.report, config.detect.score_threshold
        min_score = threshold if report.min_score is None else report.min_score
        return Writer(config.output, run_id, names, threshold, min_score, report.crs, report.shards)

    def rows(self, table: TableName, record: Any) -> Rows:  # noqa: ANN401
        """Return what one record of the right kind adds to a table."""
        if table == "tiles":
            return tile_rows(record, threshold=self.threshold, crs=self.crs)
        if table == "detections":
            return detection_rows(record, names=self.names, min_score=self.min_score, crs=self.crs)
        if table == "summary":
            return summary_rows(record)
        return rejected_rows(record, output=self.output)


@dataclass
class WriteTable(beam.PTransform):
    """Write a table: records in, its `Part`s out, once all are written and stale ones are gone.

    `tiles` and `detections` take `TileRow`, `summary` takes `SummaryRow`, `rejected` `Rejected`.
    """

    table: TableName
    writer: Writer

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        """Return the parts of the table, as elements of one collection."""
        write = partial(write_batches, table=self.table, writer=self.writer)
        parts = (
            records
            | "ToBatch" >> beam.Map(to_batch, self.table, self.writer)
            | "Gather" >> beam.GroupByKey()
            | "WritePart" >> beam.MapTuple(write)
        )
        return (
            records.pipeline
            | "Table" >> beam.Create([self.table], reshuffle=False)
            | "Publish" >> beam.FlatMap(publish, beam.pvalue.AsList(parts), self.writer)
        )


def write_table(records: Iterable[object], table: TableName, writer: Writer) -> list[Part]:
    """Do what `WriteTable` does, in one process: the same parts, the same bytes."""
    gathered = defaultdict(list)
    for record in records:
        key, batch = to_batch(record, table, writer)
        gathered[key].append(batch)
    parts = [write_batches(key, batches, table, writer) for key, batches in gathered.items()]
    return publish(table, parts, writer)


def to_batch(record: object, table: TableName, writer: Writer) -> tuple[PartKey, pa.RecordBatch]:
    """Return the part to which a record's rows belong, and the rows, checked and as columns."""
    rows = writer.rows(table, record)
    return part_key(rows, TABLES[table], writer.shards), encode(rows.rows, TABLES[table])


def part_key(rows: Rows, table: Table, shards: int) -> PartKey:
    """Return the part for some rows: by CRS and key if the table is spatial, else the only one."""
    if not table.spatial:
        return "part-00000.parquet", None
    # Never hash(): it differs from process to process, and a retry would choose another part.
    shard = zlib.crc32(rows.key.encode()) % shards
    return f"part-{crs_name(rows.crs)}-{shard:05d}.parquet", rows.crs


def write_batches(
    key: PartKey, batches: Iterable[pa.RecordBatch], table: TableName, writer: Writer
) -> Part:
    """Write one part."""
    name, crs = key
    return write_part(
        batches, TABLES[table], output=writer.output, name=name, crs=crs, run_id=writer.run_id
    )


def publish(table: TableName, parts: Sequence[Part], writer: Writer) -> list[Part]:
    """Make the folder hold exactly these parts: drop stale ones and what killed writers left.

    A table without any part gets an empty one, so that readers find its columns.
    """
    if not parts:
        empty = part_key(Rows(""), TABLES[table], 1)
        parts = [write_batches(empty, [], table, writer)]
    written = {writer.output / part.path for part in parts}
    for stale in set((writer.output / table).glob("part-*.parquet")) - written:
        stale.unlink()
    shutil.rmtree(temporary_folder(writer.output, TABLES[table]), ignore_errors=True)
    return sorted(parts)
