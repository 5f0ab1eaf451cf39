"""The table `runs`: one row per run, and its rows as the bytes of a Parquet file and back."""

import tempfile
from pathlib import Path

from upath import UPath

from transforms.parquet import encode, read_rows, write_part
from transforms.tables import Column, Row, Table

RUNS = Table(
    "runs",
    "one row per run that came to its end, well or not",
    (
        Column("run_id", "string", "settings, inputs, weights and code: equal ids, equal tables"),
        Column(
            "settings_id", "string", "runs that share it can be compared; null if old", "", True
        ),
        Column("started", "string", "as RFC 3339, UTC"),
        Column("finished", "string", "as RFC 3339, UTC"),
        Column("output", "string", "folder or URL that it wrote to"),
        Column("state", "string", "done: with exit code 0; else failed"),
        Column("exit_code", "int32", "what the command returned"),
        Column("error", "string", "of a run that broke down; null else", "", True),
        Column("engine", "string", "local, flink, spark, ..."),
        Column("workers", "int32", "processes, or the parallelism of a cluster", "1"),
        Column("device", "string", "of the deblurrer: cpu, cuda, ..."),
        Column("code_version", "string", "version and commit of aerial-deblur"),
        Column(
            "weights",
            "list of struct",
            "the weight files",
            fields=(
                Column("name", "string", "shipped weights or a path"),
                Column("sha256", "string", "digest of the file"),
            ),
        ),
        Column("scenes", "int64", "that could be opened", "1"),
        Column("input_bytes", "int64", "of all inputs; null where nobody told", "bytes", True),
        Column("planned", "int64", "windows; null if it broke down, as below", "1", True),
        Column("measured", "int64", "windows with a result", "1", True),
        Column("empty", "int64", "windows without a valid pixel", "1", True),
        Column("rejected", "int64", "windows without a result", "1", True),
        Column(
            "resumed", "int64", "windows of an earlier attempt; null if nobody counted", "1", True
        ),
        Column("unmade_mosaics", "int64", "scenes whose mosaic could not be made", "1", True),
        Column("mpix", "float64", "planned pixels, 10^6", "MPix", True),
        Column("wall_seconds", "float64", "from start to end", "s"),
        Column("speed", "float64", "mpix / wall_seconds; null if resumed", "MPix/s", True),
        Column("truth", "string", "labels, reference or none", "", True),
        Column("labels", "int64", "true objects behind the recall; null if none", "1", True),
        Column("recall_before", "float64", "truth reference: agreement, as below", "1", True),
        Column("recall_after", "float64", "found at the operating point", "1", True),
        Column("precision_before", "float64", "at the operating point", "1", True),
        Column("precision_after", "float64", "at the operating point", "1", True),
        Column("recall_gain", "float64", "after - before", "1", True),
        Column("recall_gain_low", "float64", "lower end of the 95 % interval", "1", True),
        Column("recall_gain_high", "float64", "upper end of the 95 % interval", "1", True),
        Column("psnr_gain", "float64", "after - before, to the reference", "dB", True),
        Column("psnr_gain_low", "float64", "lower end of the 95 % interval", "dB", True),
        Column("psnr_gain_high", "float64", "upper end of the 95 % interval", "dB", True),
        Column("seam_excess", "float64", "jumps across cores, after / before", "1", True),
        Column("blur_length", "float64", "median of the estimates of all tiles", "px", True),
    ),
    order=("started", "run_id"),
)
"""`order` is also what tells rows apart: a run that is done again starts at another time."""


def runs_to_bytes(rows: list[Row]) -> bytes:
    """Return a Parquet file; its bytes do not depend on the order of the rows."""
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-") as folder:
        part = write_part(
            [encode(rows, RUNS)],
            RUNS,
            output=UPath(folder),
            name="part-runs.parquet",
            crs=None,
            run_id="",
        )
        return Path(folder, part.path).read_bytes()


def runs_from_bytes(content: bytes) -> list[Row]:
    """Return the rows of a file, also of one that an earlier version wrote with fewer columns.

    Raises ValueError if it is something else.
    """
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-") as folder:
        copy = Path(folder, RUNS.name, "part-runs.parquet")
        copy.parent.mkdir()
        copy.write_bytes(content)
        rows = list(read_rows(UPath(folder), RUNS))
    missing = {name for row in rows for name in RUNS.order if name not in row}
    if missing:
        raise ValueError(f"a table of runs has the columns {sorted(missing)}, which are missing")
    return [{column.name: row.get(column.name) for column in RUNS.columns} for row in rows]
