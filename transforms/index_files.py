"""Lists (a path a line) and indexes (a row a scene) of scenes, and items kept as GeoParquet."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.entries import Entry, Refused, Row, parse_time, to_rfc3339
from transforms.hrefs import SourceError
from transforms.listing import read_bytes
from transforms.stac_item import parse_item

LISTS = (".txt", ".lst")
TABLES = (".parquet", ".geoparquet")
INDEXES = (*LISTS, ".csv", *TABLES)
"""Suffixes of files that name scenes."""

LOCATIONS = ("location", "path", "href", "url")
"""Columns that hold the scene, the first one that is there."""

_ITEM = ("id", "assets", "datetime", "start_datetime", "end_datetime", "proj:code", "proj:epsg")


def is_index(path: str) -> bool:
    """Say whether a path or URL is that of a list or index, by its suffix."""
    return suffix_of(path) in INDEXES


def suffix_of(path: str) -> str:
    """Return the suffix of a path or URL, in lower case.

    >>> suffix_of("https://host/scenes.CSV?version=2")
    '.csv'
    """
    remote = path.startswith(("http://", "https://"))
    return PurePath(path.split("?")[0] if remote else path).suffix.lower()


def read_index(
    path: str, *, asset: str | None = None, roots: Sequence[str] = ()
) -> list[Row | Entry | Refused]:
    """Return what a list or index names, in its order; a row that names nothing is Refused.

    Rows hold a location as it stands, an item of a GeoParquet file of STAC items is an Entry:
    `asset` chooses among its assets, else `visual` is taken, else the only one (see `resolve_href`
    for `roots`). Raises SourceError for a file that cannot be read, and for one that names nothing.
    """
    suffix, content = suffix_of(path), read_bytes(path)
    if suffix in TABLES:
        found = list(_read_table(path, content, asset=asset, roots=roots))
    else:
        text = _decode(path, content)
        found = list(_read_csv(path, text) if suffix == ".csv" else _read_list(path, text))
    if not found:
        raise SourceError(f"{path} names no scene: it is empty")
    return found


def _decode(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} must be UTF-8: {error}") from error


def _read_list(path: str, text: str) -> Iterator[Row]:
    """Yield the lines but for empty ones and those that begin with `#`."""
    for number, line in enumerate(text.split("\n"), start=1):
        location = line.strip()
        if location and not location.startswith("#"):
            yield Row(path, location, number)


def _read_csv(path: str, text: str) -> Iterator[Row | Refused]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        column = _location_column(path, reader.fieldnames or ())
        for row in reader:
            yield _to_row(path, column, reader.line_num, row)
    except csv.Error as error:
        raise SourceError(f"{path} is no CSV file: {error}") from error


def _location_column(path: str, there: Sequence[str]) -> str:
    found = next((name for name in LOCATIONS if name in there), None)
    if found is None:
        wanted = f"{', '.join(LOCATIONS[:-1])} or {LOCATIONS[-1]}"
        raise SourceError(f"{path} needs a column {wanted}, it has {', '.join(there) or 'none'}")
    return found


def _to_row(path: str, column: str, number: int, row: Mapping[str, Any]) -> Row | Refused:
    """Return a row of an index; `name` may also be called `id`."""
    location = _text(row.get(column))
    name = _text(row.get("name")) or _text(row.get("id"))
    if not location:
        return Refused(name or row_name(path, number), f"{path}, row {number}: no {column}")
    try:
        time = _time(row.get("time"))
    except SourceError as error:
        return Refused(name or row_name(path, number), f"{path}, row {number}: {error}")
    return Row(path, location, number, name, _crs(row.get("crs")), time)


def row_name(path: str, number: int) -> str:
    """Return how a row without a name is called.

    >>> row_name("night/scenes.csv", 3)
    'scenes.csv row 3'
    """
    return f"{PurePath(path.split('?')[0]).name} row {number}"


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _crs(value: object) -> str:
    """Return a CRS; a number is a code of EPSG's."""
    text = _text(value)
    return f"EPSG:{text}" if text.isdigit() else text


def _time(value: object) -> str:
    if isinstance(value, datetime):
        return to_rfc3339(value)
    return parse_time(_text(value)) if _text(value) else ""


def _read_table(
    path: str, content: bytes, *, asset: str | None, roots: Sequence[str]
) -> Iterator[Row | Entry | Refused]:
    try:
        with pq.ParquetFile(pa.BufferReader(content)) as file:
            there = file.schema_arrow.names
            items = "assets" in there and not set(LOCATIONS) & set(there)
            column = "" if items else _location_column(path, there)
            wanted = _ITEM if items else (column, "name", "id", "crs", "time")
            rows = file.read(columns=[name for name in wanted if name in there]).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path} is no Parquet file that can be read: {error}") from error
    for number, row in enumerate(rows, start=1):
        if items:
            yield _to_entry(path, number, row, asset=asset, roots=roots)
        else:
            yield _to_row(path, column, number, row)


def _to_entry(
    path: str, number: int, row: Mapping[str, Any], *, asset: str | None, roots: Sequence[str]
) -> Entry | Refused:
    """Return the scene of an item; assets that it does not have are null in its row."""
    try:
        if not isinstance(row["assets"], dict):
            raise SourceError(f"assets must be a struct of structs, got {row['assets']!r}")
        assets = {name: about for name, about in row["assets"].items() if about}
        item = parse_item({"id": row.get("id"), "properties": row, "assets": assets})
        chosen = asset or ("visual" if len(assets) != 1 else next(iter(assets)))
        return item.to_entry(chosen, base=path, roots=roots)
    except SourceError as error:
        return Refused(_text(row.get("id")) or row_name(path, number), f"{path}: {error}")
