"""Stamps: what identifies a file, an object or a web page without reading it."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from upath import UPath

from transforms.map_tiles import is_map_tiles, map_tile_files
from transforms.storage import forget_listings, reaching

Stamp = tuple[str, int | None, int | str | None]
"""Path, size in bytes, and the time of change in ns or, of a URL, its etag or date.

What nobody tells is None: a change cannot be seen there.
"""

SECONDS = 10
"""After which a web server that does not answer is taken for one that does not tell."""


def stamp(path: str | Path) -> Stamp:
    """Return what identifies a file without reading it; of a folder, by all files below it.

    Of a folder of map tiles those of its zoom level count.

    A file that cannot be reached has a stamp without size and version: whoever opens it will say
    what is wrong.
    """
    name = str(path)
    try:
        if name.startswith(("http://", "https://")):
            return name, *_ask_web(name)
        if "://" in name:
            return name, *_ask_store(UPath(name))
        if is_map_tiles(name):
            return name, *_ask_files(map_tile_files(name))
        return name, *_ask_file(Path(name))
    except (OSError, ValueError, HTTPException):  # a URLError is an OSError, as is a StorageError
        return name, None, None


def stamp_beside(path: str, files: Sequence[str]) -> str | None:
    """Return a digest of the local files that belong to a raster; None if there are no others.

    `files` is what GDAL says it is made of. Of those on servers the names count alone.
    """
    others = sorted(set(files) - {path})
    if not others:
        return None
    known = [(name, *_ask_file(Path(name))) if Path(name).is_file() else name for name in others]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _ask_file(path: Path) -> tuple[int, int | str]:
    if path.is_dir():
        return _ask_files([str(below) for below in path.rglob("*") if below.is_file()])
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _ask_files(paths: Sequence[str]) -> tuple[int, str]:
    """Return the size of all and a digest of names, sizes and times of change."""
    known, size = hashlib.sha256(), 0
    for path in sorted(paths):
        status = os.stat(path)
        known.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        size += status.st_size
    return size, known.hexdigest()


def _ask_store(path: UPath) -> tuple[int | None, str | None]:
    with reaching(path):
        forget_listings(path)
        told = path.fs.info(path.path)
    return told.get("size"), _version(told, ("ETag", "etag", "LastModified", "last_modified"))


def _ask_web(url: str) -> tuple[int | None, str | None]:
    with urlopen(Request(url, method="HEAD"), timeout=SECONDS) as answer:
        told = answer.headers
    length = told.get("Content-Length")
    return int(length) if length else None, _version(told, ("ETag", "Last-Modified"))


def _version(told: Mapping[str, object], names: Sequence[str]) -> str | None:
    found = (told.get(name) for name in names)
    return next((str(version).strip('"') for version in found if version), None)
