"""Export: a spatial table of a finished run as a file for maps."""

import tempfile
from pathlib import Path

from rich.console import Console
from upath import UPath

from pipeline import manifest
from transforms.storage import put_file
from transforms.tables import DETECTIONS, LEDGER, TILES, Table
from transforms.vector_files import SUFFIXES, Format, write_vector_file

TABLES: dict[str, Table] = {table.name: table for table in (DETECTIONS, LEDGER, TILES)}


def export(output: UPath, table: str, format: Format, target: UPath | None = None) -> int:
    """Write a table of the run in `output` to `target`, by default beside its parts; return 0.

    Raises ValueError for a run that is not done, and for a table without a place on a map. The file
    appears whole or not at all.
    """
    state = manifest.read(output)["state"]
    if state != "done":
        raise ValueError(
            f"the run in {output} is {state}: only the tables of a run that is done are results"
        )
    target = target or output / f"{table}{SUFFIXES[format]}"
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / f"{table}{SUFFIXES[format]}"
        written = write_vector_file(output, TABLES[table], local, format)
        put_file(local, target)
    console = Console(stderr=True)
    console.print(f"{written.rows} rows written to {target} ({written.crs})", markup=False)
    if written.placeless:
        console.print(f"{written.placeless} rows have no place on a map and are left out")
    return 0
