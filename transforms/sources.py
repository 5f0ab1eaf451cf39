"""Sources: which scenes a run has, and what they are called in it."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from itertools import takewhile
from unicodedata import category

from configs.schema import InputConfig
from transforms.entries import Entry, Found, Refused, Row
from transforms.hrefs import SourceError, resolve_href, scheme_of
from transforms.index_files import is_index, read_index, row_name
from transforms.listing import list_paths
from transforms.map_tiles import find_map_tiles
from transforms.records import Rejected, Source

_LONGEST = 230
"""Bytes of a part of a name: file systems take 255, and outputs have suffixes."""
_UNSEEN = ("Cc", "Cs")
"""Categories of characters that command a terminal, or that no file can hold."""


def list_sources(config: InputConfig) -> tuple[list[Source], list[Rejected]]:
    """Return every scene that a config names, sorted by path, each once, under unique names.

    Names come from the catalogue or index that names the scene, else from its path (`name_scenes`).
    Where several name one scene, the one that says most of it counts. A row, item or link that
    cannot give a scene is Rejected.

    Raises ValueError, with the remedy, for what concerns the whole run: nothing is named, a pattern
    matches nothing, a list, index, catalogue or store cannot be read.
    """
    if not config.scenes and config.stac is None:
        raise ValueError("input.scenes is empty: name at least one picture or pattern")
    found: list[Found] = []
    try:
        for pattern in config.scenes:
            found += _expand(pattern, config)
    except SourceError as error:
        raise ValueError(f"input.scenes: {error}") from error
    if config.stac is not None:
        # Only catalogues need their client, which takes long to import.
        from transforms.stac_items import list_items

        found += list_items(config.stac, roots=config.roots)
    return _name_all(_writable(one) for one in found)


def _writable(found: Found) -> Found:
    """Refuse what no table could hold, for it is no Unicode; others are returned as they are."""
    plain = [text.encode("utf-8", "backslashreplace").decode() for text in astuple(found)]
    if plain == list(astuple(found)):
        return found
    if isinstance(found, Refused):
        return Refused(*plain)
    if plain[0] == found.path:
        return Refused(plain[2], f"{plain[0]}: what its index or catalogue says is not UTF-8")
    return Refused(plain[0].split("/")[-1], f"{plain[0]}: the name is not UTF-8: rename the file")


def _name_all(all_found: Iterable[Found]) -> tuple[list[Source], list[Rejected]]:
    """Return both kinds in their order; no two of them have the same name."""
    found = list(all_found)
    refused = sorted({one for one in found if isinstance(one, Refused)})
    entries = _each_once(one for one in found if isinstance(one, Entry))
    unnamed = iter(name_scenes([entry.place for entry in entries if not entry.name]))
    wanted = [entry.name or next(unnamed) for entry in entries]
    names = make_unique([*wanted, *(one.name for one in refused)])
    sources = [
        Source(name, entry.path, entry.crs or None, entry.time or None, entry.item or None)
        for name, entry in zip(names, entries, strict=False)
    ]
    rejected = [
        Rejected(name, name, "open", SourceError.__name__, one.reason)
        for name, one in zip(names[len(entries) :], refused, strict=True)
    ]
    return sources, rejected


def _each_once(entries: Iterable[Entry]) -> list[Entry]:
    """Return one entry for each scene, sorted: whatever the order, it is the same one."""
    best: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (-sum(map(bool, astuple(entry))), entry)):
        best.setdefault(_identity(entry), entry)
    return sorted(best.values())


def _identity(entry: Entry) -> str:
    return entry.path if scheme_of(entry.place) else os.path.abspath(entry.place)


def _expand(pattern: str, config: InputConfig) -> list[Found]:
    """Return what a pattern of the config stands for; raises SourceError if it is nothing."""
    paths = list_paths(pattern)
    if not is_index(pattern):
        return [_to_entry(path, config) for path in paths]
    asset = config.stac.asset if config.stac is not None else None
    rows = (row for path in paths for row in read_index(path, asset=asset, roots=config.roots))
    return [one for row in rows for one in _open_row(row, config)]


def _to_entry(path: str, config: InputConfig) -> Entry:
    """Return a scene, which may be a folder of map tiles; any other folder fails to open."""
    if scheme_of(path) or not os.path.isdir(path):
        return Entry(path, path)
    try:
        tiles = find_map_tiles(path, zoom=config.zoom, scheme=config.tile_scheme)
    except ValueError as error:
        raise SourceError(str(error)) from error
    return Entry(tiles or path, path)


def _open_row(row: Row | Found, config: InputConfig) -> list[Found]:
    """Return the scenes of a row, whose location may be a pattern, or why it has none."""
    if not isinstance(row, Row):
        return [row]
    try:
        paths = _locate(row, config.roots)
        entries = [_to_entry(path, config) for path in paths]
    except SourceError as error:
        name = row.name or row_name(row.index, row.number)
        return [Refused(name, f"{row.index}, row {row.number}: {error}")]
    return [replace(entry, name=row.name, crs=row.crs, time=row.time) for entry in entries]


def _locate(row: Row, roots: Sequence[str]) -> list[str]:
    """List what a row names: a file of the user's may name anything, a remote one what it may."""
    if is_index(row.location):
        raise SourceError(f"{row.location}: a list cannot name another one; name it in the config")
    if not scheme_of(row.index):
        return list_paths(row.location, folder=os.path.dirname(row.index))
    return list_paths(resolve_href(row.location, base=row.index, roots=roots))


def name_scenes(paths: Sequence[str]) -> list[str]:
    """Return a unique, readable name for each path.

    The file name where no other input has it, else the path below the folder that all inputs share.
    Names hold no colon, so that `Window.key` can be taken apart, and no query of a URL, where keys
    stand.

    >>> name_scenes(["day/1/a.tif", "day/2/a.tif", "day/2/b.tif"])
    ['1/a.tif', '2/a.tif', 'b.tif']
    """
    parts = [_without_query(path).replace(os.sep, "/").split("/") for path in paths]
    folders = zip(*(folder[:-1] for folder in parts), strict=False)
    shared = sum(1 for _ in takewhile(_all_equal, folders))
    times = Counter(folder[-1] for folder in parts)
    return make_unique(
        [folder[-1] if times[folder[-1]] == 1 else "/".join(folder[shared:]) for folder in parts]
    )


def _without_query(path: str) -> str:
    return path.split("?")[0] if scheme_of(path) in ("http", "https") else path


def _all_equal(values: tuple[str, ...]) -> bool:
    return len(set(values)) == 1


def make_unique(names: Sequence[str]) -> list[str]:
    """Return names that are safe in keys and as paths below a folder; copies get a number.

    >>> make_unique(["day:1.tif", "day_1.tif", "../../etc/a.tif"])
    ['day_1.tif', 'day_1.tif~2', 'etc/a.tif']
    """
    unique: dict[str, None] = {}
    number: Counter[str] = Counter()
    for wanted in map(_safe, names):
        name = wanted
        while name in unique:
            number[wanted] += 1
            name = f"{wanted}~{number[wanted] + 1}"
        unique[name] = None
    return list(unique)


def _safe(name: str) -> str:
    plain = "".join("_" if char == ":" or category(char) in _UNSEEN else char for char in name)
    parts = (part for part in plain.split("/") if part not in ("", ".", ".."))
    return "/".join(part.encode()[:_LONGEST].decode(errors="ignore") for part in parts) or "scene"
