"""Write: records of a run as Parquet tables, with deterministic part names and bytes.

    record -> rows -> batches of many -> grouped by part -> sorted -> file that appears whole

A part's name depends on the CRS and on a checksum of the row's key, and its rows are sorted: a
retried bundle replaces its file by an equal one, and two runs give equal files.
"""

import shutil
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from upath import UPath

from transforms.counters import WRITTEN
from transforms.georeference import crs_name
from transforms.group_packed import GroupPacked
from transforms.parquet import Part, encode, temporary_folder, write_part
from transforms.stopwatch import Stopwatch
from transforms.storage import find_files, is_local, size_of
from transforms.tables import Row, Rows, Table

PartKey = tuple[str, str | None]
"""Which part a row goes to: the file's name, and the CRS of its geometries, if any."""

Batch = tuple[PartKey, pa.RecordBatch]

ROWS_AT_HAND = 2_048
"""So many rows wait to become batches: with one for each record they take ten times the memory."""

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
            | "ToBatches" >> beam.ParDo(_ToBatches(self.table, self.to_rows, self.destination))
            | "Gather" >> GroupPacked(PartKey)
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


class _ToBatches(beam.DoFn):
    """Holds what waits of a bundle; the work is in `Batches`."""

    def __init__(self, table: Table, to_rows: ToRows, destination: Destination) -> None:
        self._batches = partial(Batches, table, to_rows, destination.shards)

    def start_bundle(self) -> None:
        self._waiting = self._batches()

    def process(self, record: object) -> Iterator[Batch]:
        return self._waiting.add(record)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for batch in self._waiting.take():
            yield WindowedValue(batch, window.max_timestamp(), (window,))


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
    waiting = Batches(table, to_rows, destination.shards)
    for key, batch in chain(chain.from_iterable(map(waiting.add, records)), waiting.take()):
        gathered[key].append(batch)
    parts = [write_batches(key, batches, table, destination) for key, batches in gathered.items()]
    return publish(table, parts, destination)


class Batches:
    """Rows that wait to become batches, each of one part; they are checked when they do."""

    def __init__(self, table: Table, to_rows: ToRows, shards: int) -> None:
        self._table, self._to_rows, self._shards = table, to_rows, shards
        self._waiting: dict[PartKey, list[Row]] = {}
        self._count = 0

    def add(self, record: object) -> Iterator[Batch]:
        """Take a record's rows; yield batches where many rows wait.

        A record without rows makes its part all the same.
        """
        rows = self._to_rows(record)
        key = part_key(rows, self._table, self._shards)
        self._waiting.setdefault(key, []).extend(rows.rows)
        self._count += len(rows.rows)
        if self._count >= ROWS_AT_HAND:
            yield from self.take()

    def take(self) -> Iterator[Batch]:
        """Yield all that waits."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for key, rows in waiting.items():
            yield key, encode(rows, self._table)


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
