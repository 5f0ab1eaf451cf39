"""Files without blocks: bands of rows give what windows give, are kept within bounds, cost less."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opened import open_it, read_each
from PIL import Image
from rasterio.errors import RasterioError
from scenes import textured, write_picture, write_scene

from configs.schema import BlurConfig, InputConfig, ReadConfig
from transforms import row_bands
from transforms.functional.windows import Rectangle
from transforms.read_cost import WORTH_A_NOTE, cost_notes
from transforms.records import Rejected, Scene, Tile
from transforms.row_bands import BAND_BYTES, RowBands, band_around
from transforms.scene_checks import SceneError
from transforms.scene_reader import SceneReader

READ = ReadConfig(core=64, halo=32)
PICTURE = textured(300, 400, seed=9)
KINDS = ("strips", "nodata", "mask", "jpg", "png", "rgba", "progressive", "interlaced", "webp")


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    with closing(SceneReader(InputConfig())) as reader:
        yield reader


def write_rows(folder: Path, kind: str) -> Path:
    """Write the picture as a file whose rows have to be read in order."""
    array = PICTURE.transpose(2, 0, 1)
    mask = np.full(PICTURE.shape[:2], 255, np.uint8)
    mask[100:150, 50:200] = 0
    if kind in ("strips", "nodata", "mask"):
        nodata = 255 if kind == "nodata" else None
        shown = np.where(mask, array, 255) if nodata else array
        path = write_scene(
            folder / "a.tif", shown, nodata=nodata, tiled=False, blockysize=7, photometric="rgb"
        )
        if kind == "mask":
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
                dataset.write_mask(mask)
        return path
    image = Image.fromarray(np.dstack([PICTURE, mask]) if kind == "rgba" else PICTURE)
    suffix = {"rgba": "png", "interlaced": "png", "progressive": "jpg"}.get(kind, kind)
    path = folder / f"a.{suffix}"
    image.save(path, **({"progressive": True} if kind == "progressive" else {}))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_are_those_of_windowed_reads(tmp_path: Path, kind: str) -> None:
    scene = open_it(write_rows(tmp_path, kind), READ)
    assert scene.sequential
    banded = read_each(scene, READ)
    plain = read_each(replace(scene, sequential=False), READ)
    assert {item.window.key for item in banded if isinstance(item, Tile)} == {
        item.window.key for item in plain if isinstance(item, Tile)
    }
    wanted = {item.window.key: item for item in plain if isinstance(item, Tile)}
    for tile in banded:
        assert isinstance(tile, Tile)
        assert np.array_equal(tile.before, wanted[tile.window.key].before)
        assert np.array_equal(tile.valid, wanted[tile.window.key].valid)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_order_of_rectangles_gives_the_same_pixels(tmp_path: Path, data: st.DataObject) -> None:
    path = write_rows(tmp_path, data.draw(st.sampled_from(["strips", "mask", "rgba"])))
    scene = open_it(path, READ)
    whole = Rectangle(0, 0, 400, 300)
    with (
        closing(SceneReader(InputConfig())) as first,
        closing(SceneReader(InputConfig())) as second,
    ):
        image, valid = second.read(replace(scene, sequential=False), whole)
        for _ in range(4):
            left, top = data.draw(st.integers(0, 399)), data.draw(st.integers(0, 299))
            width = data.draw(st.integers(1, 400 - left))
            part = Rectangle(left, top, width, data.draw(st.integers(1, 300 - top)))
            pixels, mask = first.read(scene, part)
            assert np.array_equal(pixels, image[part.within(whole)])
            assert np.array_equal(mask, valid[part.within(whole)])


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = open_it(write_rows(tmp_path, "mask"), READ)
    wanted = read_each(scene, READ)
    monkeypatch.setattr(row_bands, "_CHUNK_BYTES", 30_000)
    for tile, same in zip(read_each(scene, READ), wanted, strict=True):
        assert isinstance(tile, Tile)
        assert isinstance(same, Tile)
        assert np.array_equal(tile.before, same.before)
        assert np.array_equal(tile.valid, same.valid)


def test_a_band_is_the_picture_or_its_rows_or_the_window_as_the_budget_allows() -> None:
    place, size = Rectangle(500, 2000, 1344, 1344), (40_000, 65_535)
    assert band_around(place, size, whole=True, pixel=4) == Rectangle(0, 2000, 65_535, 1344)
    assert band_around(place, (40_000, 200_000), whole=True, pixel=4) == place
    assert band_around(place, (9000, 9000), whole=True, pixel=4) == Rectangle(0, 0, 9000, 9000)
    assert band_around(place, (9000, 9000), whole=False, pixel=4).height == 1344


@given(
    st.tuples(*[st.integers(1, 100_000)] * 2),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.booleans(),
    st.integers(2, 25),
)
def test_what_is_kept_stays_within_the_budget(
    size: tuple[int, int], width: int, height: int, whole: bool, pixel: int
) -> None:
    place = Rectangle(0, 0, min(width, size[1]), min(height, size[0]))
    kept = band_around(place, size, whole=whole, pixel=pixel)
    assert kept.area * pixel <= max(BAND_BYTES, place.area * pixel)
    assert place.within(kept)


def test_rows_are_decoded_once(
    tmp_path: Path, reader: SceneReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = open_it(write_rows(tmp_path, "strips"), READ)
    read: list[Rectangle] = []
    native = row_bands.read_native
    monkeypatch.setattr(
        row_bands, "read_native", lambda *given: (read.append(given[2]), native(*given))[1]
    )
    for left in (0, 64, 128, 336):
        reader.read(scene, Rectangle(left, 0, 64, 96))
    assert read == [Rectangle(0, 0, 400, 96)]
    reader.read(scene, Rectangle(0, 64, 64, 96))
    assert read[1:] == [Rectangle(0, 64, 400, 96)]


def test_a_broken_band_costs_the_windows_that_are_broken_alone(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "strips")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scene = open_it(path, READ)
    banded = read_each(scene, READ)
    plain = read_each(replace(scene, sequential=False), READ)
    assert [type(item) for item in banded] == [type(item) for item in plain]
    assert {type(item) for item in banded} == {Tile, Rejected}


def test_a_window_outside_is_no_band(tmp_path: Path) -> None:
    scene = open_it(write_rows(tmp_path, "strips"), READ)
    with rasterio.open(scene.path) as dataset, pytest.raises((RasterioError, ValueError)):
        RowBands().read(dataset, scene, Rectangle(0, 290, 64, 64), whole=False)


def empty_scene(height: int, width: int, **changes: object) -> Scene:
    scene = Scene(
        "a.tif",
        "a.tif",
        height,
        width,
        (1, 2, 3),
        "uint8",
        None,
        (1, 0, 0, 0, 1, 0),
        sequential=True,
    )
    return replace(scene, **changes)


def test_cost_is_estimated_for_large_files_without_blocks() -> None:
    read = ReadConfig(core=1024, halo=0)
    [note] = cost_notes(empty_scene(10_240, 10_240), read)
    # Ten windows beside each other each decode all columns.
    assert "window by window 10.0 times" in note
    assert "in bands of rows, of up to 40 MiB in each worker, 1.0 times" in note
    assert "Of a tiled copy (gdal_translate -of COG) it would be 1.0 times" in note
    [halo] = cost_notes(empty_scene(10_240, 10_240), ReadConfig(core=1024, halo=160))
    assert "1.3 times. Of a tiled copy" in halo
    [both] = cost_notes(
        empty_scene(10_240, 10_240), read.model_copy(update={"blur": BlurConfig(lengths=(5, 9))})
    )
    assert "window by window 20.0 times" in both


def test_a_band_beyond_the_budget_is_named() -> None:
    [note] = cost_notes(empty_scene(5000, 200_000), ReadConfig(core=1024, halo=0))
    assert "a band of rows would take 781 MiB, more than 640, so that it is read window by" in note
    assert "read window by window 196.0 times its pixels are decoded" in note


def test_what_is_quick_anyway_has_no_note() -> None:
    assert not cost_notes(empty_scene(10_240, 10_240, sequential=False), READ)
    small = empty_scene(1000, WORTH_A_NOTE // 4 // 1000 - 1)
    assert not cost_notes(small, ReadConfig())


def test_a_turned_picture_costs_the_columns_that_are_rows_of_its_file() -> None:
    tall = empty_scene(20_480, 5_120, orientation=6)
    [note] = cost_notes(tall, ReadConfig(core=1024, halo=0))
    assert "window by window 20.0 times" in note


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_pictures_of_a_hundred_thousand_columns_are_read(tmp_path: Path, kind: str) -> None:
    # libjpeg reads and writes no more than 65,500 columns, the format has room for 65,535.
    width = 65_500 if kind == "jpg" else 100_000
    row = textured(16, 1000, seed=3)
    image = np.tile(row, (4, -(-width // 1000), 1))[:, :width]
    path = tmp_path / f"a.{kind}"
    if kind == "tif":
        write_picture(path, image, tiled=False)
    else:
        Image.fromarray(image).save(path, quality=100, subsampling=0)
    tiles = read_each(open_it(path), ReadConfig())
    assert len(tiles) == -(-width // 1024)
    for tile in tiles:
        assert isinstance(tile, Tile)
        cut = image[tile.window.read.within(Rectangle(0, 0, width, 64))]
        assert np.abs(tile.before.astype(int) - cut).max() <= (6 if kind == "jpg" else 0)


def test_a_jpeg_wider_than_libjpeg_reads_is_a_reject(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(PICTURE).save(path)
    header = path.read_bytes()
    # The start of the frame: marker, length, bits, height, width.
    size = header.index(b"\xff\xc0") + 5
    path.write_bytes(header[: size + 2] + (65_535).to_bytes(2) + header[size + 4 :])
    with pytest.raises(SceneError, match="65500"):
        open_it(path)


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (1, 1)])
@pytest.mark.parametrize("tiled", [True, False])
def test_scenes_of_one_row_or_column_are_read(
    tmp_path: Path, size: tuple[int, int], tiled: bool
) -> None:
    image = textured(500, 500, seed=1)[: size[0], : size[1]]
    scene = open_it(write_picture(tmp_path / "a.tif", image, tiled=tiled), READ)
    tiles = read_each(scene, READ)
    assert (
        sum(tile.window.core.area for tile in tiles if isinstance(tile, Tile)) == image[..., 0].size
    )
    for tile in tiles:
        assert isinstance(tile, Tile)
        assert np.array_equal(
            tile.before, image[tile.window.read.within(Rectangle(0, 0, *size[::-1]))]
        )


def test_an_all_black_scene_is_a_picture(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", np.zeros((100, 100, 3), np.uint8))
    (tile,) = read_each(open_it(path), ReadConfig())
    assert isinstance(tile, Tile)
    assert tile.valid.all()
    assert not tile.before.any()
