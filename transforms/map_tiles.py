"""Folders of map tiles, `z/x/y.png`: all tiles of one zoom level are one scene in EPSG:3857."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape

from PIL import Image

from transforms.exif import MALFORMED
from transforms.picture_heads import is_picture

Scheme = Literal["xyz", "tms"]

PREFIX = "map-tiles:"
CRS = "EPSG:3857"
HALF = 20037508.342789244
"""Half the side of the square world, in metres: zoom level 0 is one tile from -HALF to HALF."""
DEEPEST = 30
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
LARGEST = 4096
"""Pixels along the side of a tile; usual are 256 and 512."""
LONGEST = 2**31 - 1
"""Pixels along a side of a raster that GDAL can count."""

_PATH = re.compile(rf"{PREFIX}(?P<folder>.+)\?zoom=(?P<zoom>\d+)&scheme=(?P<scheme>xyz|tms)", re.S)
_NUMBER = re.compile(r"0|[1-9]\d{0,9}", re.A)


@dataclass(frozen=True)
class Tile:
    """One file of the level, at column x and row y; rows are counted from the north."""

    x: int
    y: int
    file: str


@dataclass(frozen=True)
class Header:
    """What a tile's header says: its side in pixels, and how its values become RGB.

    `bands` are those of the file. With a `palette` the only band holds its indices. `depth` is the
    bits of a grey value.
    """

    side: int
    bands: int
    palette: bool
    depth: int


def find_map_tiles(folder: str, *, zoom: int | None, scheme: Scheme) -> str | None:
    """Return the path under which all tiles of a zoom level are one scene; None without tiles.

    Tiles are `z/x/y` with the suffix of PNG, JPEG or WebP, all three numbers within the matrix of
    the level, so that folders by date are none. Without `zoom` it is the deepest level. Raises
    ValueError if there are tiles, but none of that zoom level.

    >>> find_map_tiles("no/such/folder", zoom=None, scheme="xyz") is None
    True
    """
    levels = [level for level in _levels(folder) if next(_tiles(folder, level), None)]
    if not levels:
        return None
    if zoom is not None and zoom not in levels:
        raise ValueError(
            f"{folder} holds map tiles of the zoom levels {levels}, and input.zoom is {zoom}: "
            "set it to one of them"
        )
    return f"{PREFIX}{folder}?zoom={levels[-1] if zoom is None else zoom}&scheme={scheme}"


def is_map_tiles(path: str) -> bool:
    """Say whether a path is one that `find_map_tiles` gave."""
    return _PATH.fullmatch(path) is not None


def map_tile_files(path: str) -> list[str]:
    """Return the files behind a path of `find_map_tiles`, in the order of x, then y.

    Raises ValueError for a path that is none of these, and what `map_tiles_vrt` raises.
    """
    return [tile.file for tile in _read_level(path)[1]]


def map_tiles_vrt(path: str) -> str:
    """Return the XML of a VRT over a path of `find_map_tiles`: red, green, blue and alpha, uint8.

    Palettes become colours, and alpha is 0 where there is no tile. Raises ValueError, with the
    remedy, for tiles that cannot be read or do not fit together.
    """
    zoom, tiles = _read_level(path)
    headers = _read_headers(tiles)
    side = headers[0].side
    left, top = min(tile.x for tile in tiles), min(tile.y for tile in tiles)
    width = (max(tile.x for tile in tiles) + 1 - left) * side
    height = (max(tile.y for tile in tiles) + 1 - top) * side
    if max(width, height) > LONGEST:
        raise ValueError(
            f"the tiles of {path} lie too far apart for one scene, {width} x {height} px: move "
            "those of each place to a folder of their own"
        )
    places = [((tile.x - left) * side, (tile.y - top) * side) for tile in tiles]
    placed = list(zip(tiles, headers, places, strict=True))
    pixel = 2 * HALF / 2**zoom / side
    x, y = left * side * pixel - HALF, HALF - top * side * pixel
    bands = (
        f'<VRTRasterBand dataType="Byte" band="{band}" blockXSize="{side}" blockYSize="{side}">'
        f"<ColorInterp>{colour}</ColorInterp>"
        f"{''.join(_source(tile.file, header, band, at=at) for tile, header, at in placed)}"
        "</VRTRasterBand>"
        for band, colour in enumerate(("Red", "Green", "Blue", "Alpha"), 1)
    )
    return (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{CRS}</SRS>'
        f"<GeoTransform>{x!r}, {pixel!r}, 0, {y!r}, 0, {-pixel!r}</GeoTransform>"
        f"{''.join(bands)}</VRTDataset>"
    )


def _read_level(path: str) -> tuple[int, list[Tile]]:
    """Return the zoom level of a path, and its tiles, each place once."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ValueError(f"a path must be {PREFIX}FOLDER?zoom=N&scheme=xyz or tms, got {path!r}")
    zoom = int(match["zoom"])
    rows = 2**zoom
    tiles: dict[tuple[int, int], Tile] = {}
    for found in _tiles(match["folder"], zoom):
        y = found.y if match["scheme"] == "xyz" else rows - 1 - found.y
        other = tiles.setdefault((found.x, y), Tile(found.x, y, os.path.abspath(found.file)))
        if Path(other.file).name != Path(found.file).name:
            raise ValueError(f"{other.file} and {found.file} are the same tile: remove one of them")
    if not tiles:
        raise ValueError(f"{match['folder']} holds no map tiles of zoom level {zoom}: see the path")
    return zoom, [tiles[place] for place in sorted(tiles)]


def _levels(folder: str) -> list[int]:
    return sorted(number for number, _ in _numbered(folder, DEEPEST + 1))


def _tiles(folder: str, zoom: int) -> Iterator[Tile]:
    """Yield the tiles of a level as they are named, rows from wherever the scheme counts them."""
    side = 2**zoom
    for x, column in _numbered(os.path.join(folder, str(zoom)), side):
        for entry in _entries(column):
            stem, suffix = os.path.splitext(entry.name)
            inside = _NUMBER.fullmatch(stem) is not None and int(stem) < side
            if inside and suffix.lower() in SUFFIXES and entry.is_file():
                yield Tile(x, int(stem), entry.path)


def _numbered(folder: str, end: int) -> Iterator[tuple[int, str]]:
    """Yield the folders in a folder that are called 0, 1, ... end - 1."""
    for entry in _entries(folder):
        if _NUMBER.fullmatch(entry.name) and int(entry.name) < end and entry.is_dir():
            yield int(entry.name), entry.path


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return list(entries)


def _read_headers(tiles: Sequence[Tile]) -> list[Header]:
    """Return the headers of tiles, all of one size; raises ValueError naming the odd one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        headers = [_read_header(tile.file) for tile in tiles]
    usual = Counter(header.side for header in headers).most_common(1)[0][0]
    for tile, header in zip(tiles, headers, strict=True):
        if header.side != usual:
            raise ValueError(
                f"{tile.file} has {header.side} px a side, and the others have {usual}: tiles of "
                "a level must have one size, so render it again, or remove it"
            )
    return headers


def _read_header(file: str) -> Header:
    """Return a tile's header; raises ValueError, with the remedy, for what is no usable tile."""
    try:
        with open(file, "rb") as stream:
            start = stream.read(1024)
            stream.seek(0)
            with Image.open(stream, formats=("PNG", "JPEG", "WEBP")) as image:
                width, height, mode = image.width, image.height, image.mode
    except (*MALFORMED, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{file} is no tile: {error}. Render it again, or remove it") from error
    if width != height or width > LARGEST:
        raise ValueError(
            f"{file} has {width} x {height} px, and tiles are squares of {LARGEST} px at most"
        )
    kinds = {"1": 1, "L": 1, "P": 1, "LA": 2, "RGB": 3, "RGBA": 4}
    if mode not in kinds:
        raise ValueError(
            f"{file} has pixels of kind {mode}: tiles must have 8 bits, in grey, colour or with a "
            "palette, with or without alpha"
        )
    # GDAL opens it with whichever driver takes it, and some would follow what it names.
    if not is_picture(start, file):
        raise ValueError(
            f"{file} holds a VRT within a picture, or another format that names files: remove it"
        )
    # Where the header of a PNG begins, byte 24 is its depth; the others have 8 bits.
    depth = start[24] if start.startswith(b"\x89PNG") else 8
    return Header(width, kinds[mode], mode == "P", depth)


def _source(file: str, header: Header, band: int, *, at: tuple[int, int]) -> str:
    """Return one source of a band, 1 to 4, whose top left corner lies at (column, row)."""
    name, chosen, change = "SimpleSource", str(min(band, header.bands)), ""
    grey = header.bands < 3
    if header.palette:
        name, chosen = "ComplexSource", "1"
        change = f"<ColorTableComponent>{band}</ColorTableComponent>"
    elif band == 4:
        chosen = "mask,1"
    elif grey:
        chosen = "1"
        if header.depth < 8:
            name = "ComplexSource"
            change = f"<ScaleRatio>{255 // (2**header.depth - 1)}</ScaleRatio>"
    side = header.side
    return (
        f'<{name}><SourceFilename relativeToVRT="0">{escape(file)}</SourceFilename>'
        f"<SourceBand>{chosen}</SourceBand>"
        f'<SourceProperties RasterXSize="{side}" RasterYSize="{side}" DataType="Byte"/>'
        f'<SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>'
        f'<DstRect xOff="{at[0]}" yOff="{at[1]}" xSize="{side}" ySize="{side}"/>{change}</{name}>'
    )
