"""Folders of map tiles: one scene, where the tiles say that it is."""

import os
import sqlite3
import struct
import zlib
from contextlib import closing
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import morecantile
import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from scenes import textured

from transforms.gdal import GDAL, open_dataset
from transforms.map_tiles import (
    CRS,
    HALF,
    find_map_tiles,
    is_map_tiles,
    map_tile_files,
    map_tiles_vrt,
)

ZOOM, X, Y = 17, 68_500, 42_800
SIDE = 256


def write_tile(folder: Path, x: int, y: int, image: Image.Image, suffix: str = "png") -> Path:
    path = folder / str(ZOOM) / str(x) / f"{y}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"webp": {"lossless": True, "exact": True}, "jpg": {"subsampling": 0}}
    image.save(path, **options.get(suffix, {}))
    return path


def write_tiles(folder: Path, picture: np.ndarray, side: int = SIDE, suffix: str = "png") -> None:
    """Cut a picture (h, w, c), sides multiples of `side`, into tiles from (X, Y) on."""
    for top in range(0, picture.shape[0], side):
        for left in range(0, picture.shape[1], side):
            tile = Image.fromarray(picture[top : top + side, left : left + side])
            write_tile(folder, X + left // side, Y + top // side, tile, suffix)


def open_tiles(folder: Path, scheme: str = "xyz") -> rasterio.DatasetReader:
    path = find_map_tiles(str(folder), zoom=ZOOM, scheme=scheme)
    assert path is not None
    with rasterio.Env(**GDAL):
        return open_dataset(map_tiles_vrt(path))


def read_one(folder: Path, image: Image.Image, suffix: str = "png") -> np.ndarray:
    """Return one tile, as the scene shows it: uint8 (4, h, w)."""
    write_tile(folder, X, Y, image, suffix)
    with open_tiles(folder) as dataset:
        return dataset.read()


@pytest.mark.parametrize(("side", "suffix"), [(256, "png"), (512, "png"), (256, "webp")])
def test_a_picture_that_is_cut_into_tiles_is_read_back(tmp_path, side, suffix):
    picture = textured(2 * side, 3 * side, seed=1)
    write_tiles(tmp_path, picture, side, suffix)
    with open_tiles(tmp_path) as dataset:
        colours = dataset.colorinterp
        pixels = dataset.read()
    assert colours == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    np.testing.assert_array_equal(pixels[:3], picture.transpose(2, 0, 1))
    assert (pixels[3] == 255).all()


def test_tiles_as_jpeg_hold_what_pillow_finds_in_them(tmp_path):
    write_tiles(tmp_path, textured(SIDE, 2 * SIDE, seed=2), suffix="jpg")
    with open_tiles(tmp_path) as dataset:
        pixels = dataset.read((1, 2, 3), window=((0, SIDE), (SIDE, 2 * SIDE)))
    seen = np.asarray(Image.open(tmp_path / str(ZOOM) / str(X + 1) / f"{Y}.jpg"))
    assert np.abs(pixels.astype(int) - seen.transpose(2, 0, 1)).max() <= 3  # two decoders


def test_a_tile_that_is_not_there_has_no_data(tmp_path):
    picture = textured(2 * SIDE, 2 * SIDE, seed=3)
    write_tiles(tmp_path, picture)
    os.unlink(tmp_path / str(ZOOM) / str(X) / f"{Y + 1}.png")
    with open_tiles(tmp_path) as dataset:
        valid, pixels = dataset.dataset_mask(), dataset.read((1, 2, 3))
    expected = np.full((2 * SIDE, 2 * SIDE), 255, np.uint8)
    expected[SIDE:, :SIDE] = 0
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(
        pixels[:, expected > 0], picture.transpose(2, 0, 1)[:, expected > 0]
    )


@pytest.mark.parametrize("zoom", [0, 3, ZOOM, 22])
def test_bounds_are_those_of_morecantile(tmp_path, zoom):
    x, y = X % 2**zoom, Y % 2**zoom
    path = tmp_path / str(zoom) / str(x) / f"{y}.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(textured(SIDE, SIDE, seed=4)).save(path)
    with open_tiles_at(tmp_path, zoom) as dataset:
        bounds, crs = dataset.bounds, dataset.crs
    expected = morecantile.tms.get("WebMercatorQuad").xy_bounds(morecantile.Tile(x, y, zoom))
    assert crs == rasterio.crs.CRS.from_epsg(3857)
    np.testing.assert_allclose(bounds, expected, rtol=0, atol=1e-6)  # metres


def open_tiles_at(folder: Path, zoom: int) -> rasterio.DatasetReader:
    path = find_map_tiles(str(folder), zoom=zoom, scheme="xyz")
    with rasterio.Env(**GDAL):
        return open_dataset(map_tiles_vrt(path))


def test_a_known_place_lies_in_the_tile_that_the_slippy_map_says(tmp_path):
    # Munich, Marienplatz: zoom 17 by the formula of the OpenStreetMap wiki.
    longitude, latitude = 11.5755, 48.1373
    x = int((longitude + 180) / 360 * 2**ZOOM)
    y = int((1 - np.arcsinh(np.tan(np.radians(latitude))) / np.pi) / 2 * 2**ZOOM)
    write_tile(tmp_path, x, y, Image.fromarray(textured(SIDE, SIDE, seed=5)))
    with open_tiles(tmp_path) as dataset:
        left, bottom, right, top = rasterio.warp.transform_bounds(
            dataset.crs, "EPSG:4326", *dataset.bounds
        )
    assert left < longitude < right
    assert bottom < latitude < top


def test_rows_of_tms_count_from_the_south(tmp_path):
    picture = textured(2 * SIDE, SIDE, seed=6)
    write_tiles(tmp_path / "xyz", picture)
    for top in (0, 1):
        tile = Image.fromarray(picture[top * SIDE : (top + 1) * SIDE])
        write_tile(tmp_path / "tms", X, 2**ZOOM - 1 - (Y + top), tile)
    with open_tiles(tmp_path / "xyz") as north, open_tiles(tmp_path / "tms", "tms") as south:
        assert south.transform == north.transform
        np.testing.assert_array_equal(south.read(), north.read())


def test_the_same_tiles_lie_elsewhere_by_the_other_scheme(tmp_path):
    write_tiles(tmp_path, textured(SIDE, SIDE, seed=6))
    with open_tiles(tmp_path) as north, open_tiles(tmp_path, "tms") as south:
        assert north.bounds.top == pytest.approx(-south.bounds.bottom, abs=1e-6)


GREYS = np.arange(SIDE * SIDE, dtype=np.int64).reshape(SIDE, SIDE) % 251
COLOURS = np.dstack([GREYS, GREYS.T, 250 - GREYS]).astype(np.uint8)


def with_alpha(mode: str) -> Image.Image:
    alpha = (GREYS.T // 2).astype(np.uint8)
    base = COLOURS if mode == "RGBA" else GREYS.astype(np.uint8)
    return Image.fromarray(np.dstack([base, alpha]))


PICTURES = {
    "RGB": Image.fromarray(COLOURS),
    "RGBA": with_alpha("RGBA"),
    "grey": Image.fromarray(GREYS.astype(np.uint8)),
    "grey and alpha": with_alpha("LA"),
    "black and white": Image.fromarray(GREYS > 99),
    "palette of 256": Image.fromarray(COLOURS).quantize(256),
    "palette of 4": Image.fromarray(COLOURS).quantize(4),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_png_becomes_rgb_and_alpha(tmp_path, kind):
    pixels = read_one(tmp_path, PICTURES[kind])
    expected = np.asarray(PICTURES[kind].convert("RGBA"))
    np.testing.assert_array_equal(pixels, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_a_few_bits_spans_the_range(tmp_path, depth):
    values = GREYS % 2**depth
    path = write_tile(tmp_path, X, Y, PICTURES["grey"])
    path.write_bytes(png_of_greys(values, depth))
    with open_tiles(tmp_path) as dataset:
        pixels = dataset.read()
    np.testing.assert_array_equal(pixels[:3], np.stack([values * 255 // (2**depth - 1)] * 3))
    assert (pixels[3] == 255).all()


def png_of_greys(values: np.ndarray, depth: int) -> bytes:
    """Return a PNG of grey values (h, w) of a few bits, which Pillow does not write."""
    height, width = values.shape
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    raster = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())  # 0: rows are not filtered
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", raster), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize("kind", ["palette of 256", "palette of 4"])
def test_a_palette_keeps_its_transparent_colours(tmp_path, kind):
    transparency = bytes([0, 100, 255, 255])
    path = write_tile(tmp_path, X, Y, PICTURES[kind])
    PICTURES[kind].save(path, transparency=transparency)
    with open_tiles(tmp_path) as dataset:
        alpha = dataset.read(4)
    expected = np.asarray(Image.open(path).convert("RGBA"))[..., 3]
    assert {0, 100, 255} <= set(np.unique(expected))
    np.testing.assert_array_equal(alpha, expected)


def test_a_colour_that_is_declared_transparent_has_no_data(tmp_path):
    path = write_tile(tmp_path, X, Y, PICTURES["RGB"])
    colour = tuple(int(value) for value in COLOURS[7, 9])
    PICTURES["RGB"].save(path, transparency=colour)
    with open_tiles(tmp_path) as dataset:
        alpha = dataset.read(4)
    np.testing.assert_array_equal(alpha == 0, (colour == COLOURS).all(axis=2))


def test_kinds_and_formats_mix_in_one_level(tmp_path):
    write_tile(tmp_path, X, Y, PICTURES["grey"], "jpeg")
    write_tile(tmp_path, X + 1, Y, PICTURES["RGBA"])
    write_tile(tmp_path, X + 2, Y, PICTURES["RGB"], "webp")
    with open_tiles(tmp_path) as dataset:
        pixels = dataset.read()
    np.testing.assert_array_equal(
        pixels[:, :, SIDE : 2 * SIDE], np.asarray(PICTURES["RGBA"]).transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(pixels[:3, :, 2 * SIDE :], COLOURS.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["a b", "what?zoom=3&scheme=tms", "a#b", "ü&<'\">", "map-tiles:"])
def test_folders_of_any_name_are_read(tmp_path, name):
    write_tiles(tmp_path / name, textured(SIDE, SIDE, seed=7))
    path = find_map_tiles(str(tmp_path / name), zoom=None, scheme="xyz")
    assert path == f"map-tiles:{tmp_path / name}?zoom={ZOOM}&scheme=xyz"
    assert map_tile_files(path) == [str(tmp_path / name / str(ZOOM) / str(X) / f"{Y}.png")]
    with open_tiles(tmp_path / name) as dataset:
        assert dataset.read(4).all()


@given(st.text())
def test_a_vrt_is_never_made_of_another_path(text):
    if not is_map_tiles(text):
        with pytest.raises(ValueError, match="a path must be map-tiles:"):
            map_tiles_vrt(text)


@pytest.mark.parametrize(
    "path", ["a.tif", "map-tiles:a", "map-tiles:a?zoom=x&scheme=xyz", "s3://b"]
)
def test_other_paths_are_no_map_tiles(path):
    assert not is_map_tiles(path)


def test_the_deepest_level_is_read_unless_another_is_chosen(tmp_path):
    for zoom in (3, 12):
        path = tmp_path / str(zoom) / "1" / "2.png"
        path.parent.mkdir(parents=True)
        PICTURES["RGB"].save(path)
    (tmp_path / "14" / "9").mkdir(parents=True)  # a level without tiles
    deepest = find_map_tiles(str(tmp_path), zoom=None, scheme="xyz")
    chosen = find_map_tiles(str(tmp_path), zoom=3, scheme="xyz")
    assert deepest == f"map-tiles:{tmp_path}?zoom=12&scheme=xyz"
    assert chosen == f"map-tiles:{tmp_path}?zoom=3&scheme=xyz"
    with pytest.raises(ValueError, match=r"zoom levels \[3, 12\], and input.zoom is 14"):
        find_map_tiles(str(tmp_path), zoom=14, scheme="xyz")


@pytest.mark.parametrize(
    "file",
    [
        "2024/5/12.jpg",  # by date: there is no such zoom level
        "12/05/12.jpg",  # tiles have no leading zeros
        "2/4/1.png",  # level 2 has columns 0 to 3
        "2/1/4.png",
        "17/5/a.png",
        "17/5/7.tif",
        "17/5/7@2x.png",
        "a.png",
    ],
)
def test_folders_that_hold_no_tiles_are_none(tmp_path, file):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    assert find_map_tiles(str(tmp_path), zoom=None, scheme="xyz") is None
    assert find_map_tiles(str(path), zoom=None, scheme="xyz") is None


def test_files_beside_the_tiles_are_left_alone(tmp_path):
    write_tiles(tmp_path, textured(SIDE, SIDE, seed=8))
    for name in ("metadata.json", f"{ZOOM}/{X}/{Y}.png.aux.xml", f"{ZOOM}/{X}/Thumbs.db"):
        (tmp_path / name).write_text("no tile")
    with open_tiles(tmp_path) as dataset:
        assert dataset.shape == (SIDE, SIDE)


def png(size: tuple[int, int], mode: str = "RGB") -> bytes:
    stream = BytesIO()
    Image.new(mode, size).save(stream, "png")
    return stream.getvalue()


def cut_off() -> bytes:
    return png((SIDE, SIDE))[:20]


def bomb() -> bytes:
    """Return the header of a PNG of 60,000 x 60,000 px."""
    content = bytearray(png((1, 1)))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def polyglot() -> bytes:
    stream, note = BytesIO(), PngInfo()
    note.add_text("note", "<VRTDataset>")
    Image.new("RGB", (SIDE, SIDE)).save(stream, "png", pnginfo=note)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no tile: cannot identify"),
        (b"<html>404</html>", "Render it again, or remove it"),
        (cut_off(), "is no tile"),
        (bomb(), "is no tile: .*decompression bomb"),
        (png((512, 512)), "has 512 px a side, and the others have 256"),
        (png((256, 255)), "256 x 255 px, and tiles are squares of 4096 px at most"),
        (png((SIDE, SIDE), "I;16"), "pixels of kind I;16: tiles must have 8 bits"),
        (polyglot(), "holds a VRT within a picture"),
    ],
)
def test_a_bad_tile_is_named(tmp_path, content, message):
    write_tiles(tmp_path, textured(SIDE, 2 * SIDE, seed=9))
    odd = tmp_path / str(ZOOM) / str(X + 2) / f"{Y}.png"
    odd.parent.mkdir()
    odd.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        open_tiles(tmp_path)
    assert str(odd) in str(error.value)


def test_two_files_of_one_tile_are_an_error(tmp_path):
    write_tile(tmp_path, X, Y, PICTURES["RGB"], "png")
    write_tile(tmp_path, X, Y, PICTURES["RGB"], "jpg")
    with pytest.raises(ValueError, match="are the same tile: remove one of them"):
        open_tiles(tmp_path)


def test_tiles_at_both_ends_of_the_world_are_no_scene(tmp_path):
    for x in (0, 2**24 - 1):
        path = tmp_path / "24" / str(x) / "5.png"
        path.parent.mkdir(parents=True)
        PICTURES["RGB"].save(path)
    with pytest.raises(ValueError, match="too far apart for one scene"):
        open_tiles_at(tmp_path, 24)


def test_tiles_that_vanished_are_an_error():
    with pytest.raises(ValueError, match="holds no map tiles of zoom level 3"):
        map_tiles_vrt("map-tiles:gone?zoom=3&scheme=xyz")


def test_no_tile_is_opened_before_it_is_read(tmp_path):
    """A thousand tiles are not a thousand files to open for the header of the scene."""
    write_tiles(tmp_path, textured(SIDE, 2 * SIDE, seed=10))
    path = find_map_tiles(str(tmp_path), zoom=ZOOM, scheme="xyz")
    xml = map_tiles_vrt(path)
    for file in map_tile_files(path):
        os.unlink(file)
    with rasterio.Env(**GDAL), open_dataset(xml) as dataset:
        assert dataset.shape == (SIDE, 2 * SIDE)
        with pytest.raises(rasterio.errors.RasterioIOError):
            dataset.read(1)


def test_the_vrt_names_absolute_files_and_each_tile_once_a_band(tmp_path, monkeypatch):
    write_tiles(tmp_path / "tiles", textured(2 * SIDE, 2 * SIDE, seed=11))
    monkeypatch.chdir(tmp_path)
    path = find_map_tiles("tiles", zoom=ZOOM, scheme="xyz")
    names = [
        node.text for node in ElementTree.fromstring(map_tiles_vrt(path)).iter("SourceFilename")
    ]
    assert all(os.path.isabs(name) for name in names)
    assert sorted(names) == sorted(map_tile_files(path) * 4)


@pytest.mark.parametrize("tile_format", ["PNG", "JPEG"])
def test_mbtiles_are_one_scene_in_web_mercator(tmp_path, tile_format):
    """GDAL's driver needs nothing from us: it cuts the deepest level to the declared bounds."""
    picture = np.repeat(textured(300, 500, seed=12)[..., :1], 3, axis=2)
    path = tmp_path / "a.mbtiles"
    pixel = 2 * HALF / 2**ZOOM / SIDE
    left, top = X * SIDE * pixel - HALF, HALF - Y * SIDE * pixel
    options = {"QUALITY": "95"} if tile_format == "JPEG" else {}
    with rasterio.open(
        path, "w", driver="MBTiles", width=500, height=300, count=3, dtype="uint8", crs=CRS,
        transform=Affine(pixel, 0, left, 0, -pixel, top), TILE_FORMAT=tile_format, **options,
    ) as dataset:  # fmt: skip
        dataset.write(picture.transpose(2, 0, 1))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM tiles WHERE tile_column = ?", [X + 1])
    with rasterio.Env(**GDAL), open_dataset(str(path)) as dataset:
        colours, crs, transform = dataset.colorinterp, dataset.crs, dataset.transform
        pixels = dataset.read()
    assert colours == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    assert crs == rasterio.crs.CRS.from_epsg(3857)
    assert transform.almost_equals(Affine(pixel, 0, left, 0, -pixel, top), precision=1e-6)
    assert pixels.shape == (4, 300, 500)
    difference = np.abs(pixels[:3].astype(int) - picture.transpose(2, 0, 1))[..., :SIDE]
    assert difference.mean() <= (0 if tile_format == "PNG" else 3)
    assert (pixels[3, :, :SIDE] == 255).all()
    assert not pixels[3, :, SIDE:].any()
