"""Tiles: rendering, data and no data, faults of files, synthetic blur, the PTransform."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import rasterio
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opened import open_it, read_all, read_each
from rasterio.enums import ColorInterp
from scenes import DATA, textured, write_labels, write_picture, write_scene

from configs.schema import BlurConfig, InputConfig, ReadConfig, RunConfig, Stretch
from transforms.functional.blur import apply_kernel, motion_kernel
from transforms.functional.boxes import Labels
from transforms.functional.windows import Rectangle
from transforms.ground import open_ground
from transforms.read import PlanWindows, ReadTiles, read_tile
from transforms.records import Blur, Rejected, Scene, Tile, TileRow, Window, truth_of
from transforms.scene_reader import OPEN_DATASETS, SceneReader
from transforms.scenes import plan_scenes, plan_windows

READ = ReadConfig(core=128, halo=32)
PICTURE = textured(256, 384, seed=5)


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    reader = SceneReader(InputConfig())
    yield reader
    reader.close()


def test_a_tile_holds_the_pixels_of_its_read_rectangle(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", PICTURE))
    for tile in read_each(scene, READ):
        assert isinstance(tile, Tile)
        rows, cols = tile.window.read.within(Rectangle(0, 0, 384, 256))
        assert np.array_equal(tile.before, PICTURE[rows, cols])
        assert tile.before.dtype == np.uint8
        assert tile.valid.all()
        assert tile.valid.shape == tile.before.shape[:2]
        assert tile.reference is None


def test_a_scene_smaller_than_a_tile_is_one_window(tmp_path: Path) -> None:
    (tile,) = read_each(open_it(write_picture(tmp_path / "a.tif", PICTURE[:40, :50])), READ)
    assert isinstance(tile, Tile)
    assert tile.before.shape == (40, 50, 3)


@pytest.mark.parametrize("count", [1, 2])
def test_grey_is_rendered_in_three_channels(tmp_path: Path, count: int) -> None:
    array = PICTURE[..., :count].transpose(2, 0, 1)
    image, valid = read_all(write_scene(tmp_path / "a.tif", array))
    assert all(np.array_equal(image[..., channel], PICTURE[..., 0]) for channel in range(3))
    assert valid.all()


def test_declared_bands_are_rendered_in_their_order(tmp_path: Path) -> None:
    array = np.stack([np.full((8, 8), 10 * band, np.uint8) for band in range(1, 9)])
    image, _ = read_all(write_scene(tmp_path / "a.tif", array), ReadConfig(bands=(8, 1, 4)))
    assert image[3, 3].tolist() == [80, 10, 40]


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_a_stretch_brings_deep_pixels_to_8_bits(tmp_path: Path, dtype: str) -> None:
    deep = (PICTURE.transpose(2, 0, 1).astype(np.float64) * 10 + 500).astype(dtype)
    path = write_scene(tmp_path / "a.tif", deep)
    image, _ = read_all(path, ReadConfig(stretch=Stretch(low=500, high=3050)))
    assert np.array_equal(image, PICTURE)


def test_a_pixel_is_nodata_only_if_all_its_bands_are(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[:, 10:20, 30:50] = 0
    array[0, 100, 100] = 0
    _, valid = read_all(write_scene(tmp_path / "a.tif", array, nodata=0))
    wanted = np.ones((256, 384), np.bool_)
    wanted[10:20, 30:50] = False
    assert np.array_equal(valid, wanted)


def test_bands_that_are_not_rendered_do_not_decide_about_nodata(tmp_path: Path) -> None:
    array = np.full((5, 64, 64), 9, np.uint8)
    array[:3, :8] = 0
    config = ReadConfig(bands=(1, 2, 3))
    _, valid = read_all(write_scene(tmp_path / "a.tif", array, nodata=0), config)
    assert valid.sum() == 64 * 56


@pytest.mark.parametrize("mask_of", ["alpha", "mask band"])
def test_alpha_and_mask_bands_say_what_is_valid(tmp_path: Path, mask_of: str) -> None:
    mask = np.full((256, 384), 255, np.uint8)
    mask[50:60] = 0
    colours = PICTURE.transpose(2, 0, 1)
    if mask_of == "alpha":
        path = write_scene(tmp_path / "a.tif", np.concatenate([colours, mask[None]]))
        with rasterio.open(path, "r+") as dataset:
            dataset.colorinterp = [
                ColorInterp.red,
                ColorInterp.green,
                ColorInterp.blue,
                ColorInterp.alpha,
            ]
    else:
        path = write_picture(tmp_path / "a.tif", PICTURE)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(mask)
    image, valid = read_all(path)
    assert np.array_equal(valid, mask > 0)
    assert np.array_equal(image, PICTURE)


def test_nodata_and_alpha_in_one_file_both_count(tmp_path: Path) -> None:
    array = np.concatenate([PICTURE.transpose(2, 0, 1), np.full((1, 256, 384), 255, np.uint8)])
    array[:3, :8], array[3, :, :9] = 0, 0
    path = write_scene(tmp_path / "a.tif", array, nodata=0, photometric="rgb", alpha="yes")
    _, valid = read_all(path)
    wanted = np.ones((256, 384), np.bool_)
    wanted[:8], wanted[:, :9] = False, False
    assert np.array_equal(valid, wanted)


def test_a_value_that_is_not_finite_is_not_valid(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).astype(np.float32)
    array[1, 5, 6], array[0, 7, 8] = np.nan, np.inf
    _, valid = read_all(
        write_scene(tmp_path / "a.tif", array), ReadConfig(stretch=Stretch(low=0, high=255))
    )
    assert np.argwhere(~valid).tolist() == [[5, 6], [7, 8]]


def test_a_core_without_a_valid_pixel_is_an_empty_row(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[:, :128, :128] = 0
    scene = open_it(write_scene(tmp_path / "a.tif", array, nodata=0))
    first, *others = read_each(scene, READ)
    assert isinstance(first, TileRow)
    assert (first.status, first.truth, first.valid_pixels, first.arms) == ("empty", "none", 0, ())
    assert all(isinstance(tile, Tile) for tile in others)


def test_an_empty_row_names_the_truth_that_it_would_have_had(tmp_path: Path) -> None:
    array = np.zeros((3, 64, 64), np.uint8)
    scene = open_it(write_scene(tmp_path / "a.tif", array, nodata=0))
    (row,) = read_each(scene, READ.model_copy(update={"blur": BlurConfig(lengths=(9,))}))
    assert isinstance(row, TileRow)
    assert row.truth == "reference"
    boxes = write_labels(tmp_path / "a.geojson", np.zeros((0, 4, 2)), [])
    ground = open_ground(InputConfig(labels=boxes), ("car",))
    with_labels = read_tile(row.window, SceneReader(InputConfig()), ground, READ)
    assert isinstance(with_labels, TileRow)
    assert with_labels.truth == "labels"


def test_truth_is_labels_else_reference_else_none() -> None:
    labels = Labels.plain(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.int32))
    picture = np.zeros((2, 2, 3), np.uint8)
    assert truth_of(labels, picture) == truth_of(labels, None) == "labels"
    assert truth_of(None, picture) == "reference"
    assert truth_of(None, None) == "none"


def truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def test_a_truncated_file_costs_exactly_the_windows_it_lost(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    config = READ.model_copy(update={"halo": 0})
    whole = read_each(open_it(path), config)
    truncate(path, 0.5)
    settled = read_each(open_it(path), config)
    assert [type(item) for item in settled] == [Tile] * 3 + [Rejected] * 3
    for item, intact in zip(settled, whole, strict=True):
        if isinstance(item, Tile) and isinstance(intact, Tile):
            assert np.array_equal(item.before, intact.before)
        elif isinstance(item, Rejected):
            assert (item.stage, item.exception, item.scene) == ("read", "RasterioIOError", "a.tif")
            assert "TIFFReadEncodedTile" in item.message
    assert [item.key for item in settled if isinstance(item, Rejected)] == [
        "a.tif:0,128",
        "a.tif:128,128",
        "a.tif:256,128",
    ]


def test_a_truncated_mask_is_a_reject_too(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    noise = np.random.default_rng(0).integers(0, 2, (256, 384), dtype=np.uint8) * 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(noise)
    size = path.stat().st_size
    truncate(path, (size - 6000) / size)
    settled = read_each(open_it(path), READ)
    assert any(isinstance(item, Rejected) for item in settled)


def test_a_truncated_jpeg_is_not_rendered_grey(tmp_path: Path) -> None:
    path = write_picture(
        tmp_path / "a.jpg",
        PICTURE,
        crs=None,
        driver="JPEG",
        tiled=False,
        compress=None,
        photometric=None,
    )
    truncate(path, 0.5)
    settled = read_each(open_it(path), READ)
    assert isinstance(settled[-1], Rejected)
    assert "Premature end of JPEG file" in settled[-1].message


def test_a_file_that_vanished_after_planning_is_a_reject(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    scene = open_it(path)
    path.unlink()
    assert {type(item) for item in read_each(scene, READ)} == {Rejected}


def test_a_file_that_changed_after_planning_is_a_reject(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    scene = open_it(path)
    write_picture(path, PICTURE[:200])
    item = read_each(scene, READ)[0]
    assert isinstance(item, Rejected)
    assert f"it had {scene.size} bytes and has {path.stat().st_size}. It is still" in item.message
    assert "wait until it is complete and run again" in item.message


def test_a_file_that_grows_while_it_is_read_costs_the_windows_after(
    tmp_path: Path, reader: SceneReader
) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    first, second, *_ = plan_windows(open_it(path), READ)
    assert isinstance(read_tile(first, reader, None, READ), Tile)
    with path.open("ab") as file:
        file.write(b"more")
    settled = read_tile(second, reader, None, READ)
    assert isinstance(settled, Rejected)
    assert "has changed since it was planned" in settled.message


def test_a_file_of_the_same_size_and_another_time_has_changed(
    tmp_path: Path, reader: SceneReader
) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    window = next(plan_windows(open_it(path), READ))
    os.utime(path, ns=(1, 1))
    settled = read_tile(window, reader, None, READ)
    assert isinstance(settled, Rejected)
    assert "has changed since it was planned. It is still" in settled.message


def test_a_scene_nobody_knows_the_version_of_is_told_by_its_size(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    scene = dataclasses.replace(open_it(path), size=None, version=None)
    write_picture(path, PICTURE[:200])
    item = read_each(scene, READ)[0]
    assert isinstance(item, Rejected)
    assert "planned as 256 x 384 pixels and is now 200 x 384" in item.message


def test_a_window_beyond_the_scene_is_a_reject(tmp_path: Path, reader: SceneReader) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", PICTURE))
    for rectangle in (Rectangle(300, 200, 128, 128), Rectangle(900, 0, 64, 64)):
        item = read_tile(Window(scene, rectangle, rectangle, None), reader, None, READ)
        assert isinstance(item, Rejected)
        assert item.stage == "read"


def test_after_a_fault_the_file_is_opened_anew(tmp_path: Path, reader: SceneReader) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    scene, content, status = open_it(path), path.read_bytes(), path.stat()
    window = list(plan_windows(scene, READ))[-1]
    truncate(path, 0.5)
    assert isinstance(read_tile(window, reader, None, READ), Rejected)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert isinstance(read_tile(window, reader, None, READ), Tile)


def test_running_out_of_memory_is_no_reject(
    tmp_path: Path, reader: SceneReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", PICTURE))

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reader, "read_window", fail)
    with pytest.raises(MemoryError):
        read_tile(next(plan_windows(scene, READ)), reader, None, READ)


def test_few_datasets_stay_open_and_none_after_close(tmp_path: Path) -> None:
    paths = [write_picture(tmp_path / f"{n}.tif", PICTURE[:64, :64]) for n in range(7)]
    reader = SceneReader(InputConfig())
    for path in [*paths, paths[0]]:
        reader.read(open_it(path), Rectangle(0, 0, 8, 8))
    held = list(reader._open.values())
    assert len(held) == OPEN_DATASETS
    reader.close()
    assert all(opened.file.closed for opened in held)


def blurred(scene: Scene, core: Rectangle, halo: int, blur: Blur, config: ReadConfig) -> Tile:
    read = core.grow(halo, height=scene.height, width=scene.width)
    reader = SceneReader(InputConfig())
    tile = read_tile(Window(scene, core, read, blur), reader, None, config)
    reader.close()
    assert isinstance(tile, Tile)
    return tile


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.floats(1, 40),
    st.floats(0, 359),
    st.tuples(*[st.integers(0, 64)] * 4),
    st.integers(0, 3),
)
def test_tiles_that_overlap_agree_pixel_for_pixel(
    tmp_path: Path, length: float, angle: float, offsets: tuple[int, ...], seed: int
) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[:, 90:130, 140:200] = 0
    scene = open_it(write_scene(tmp_path / "a.tif", array, nodata=0))
    config = ReadConfig(blur=BlurConfig(read_noise=0.004, shot_noise=0.01, seed=seed))
    blur = Blur(length, angle)
    whole_place = Rectangle(0, 0, 384, 256)
    whole = blurred(scene, whole_place, 0, blur, config)
    left, top, right, bottom = offsets
    core = Rectangle(left, top, 384 - left - right, 256 - top - bottom)
    part = blurred(scene, core, 16, blur, config)
    cut = part.window.read.within(whole_place)
    assert np.array_equal(part.before, whole.before[cut])
    assert np.array_equal(part.valid, whole.valid[cut])
    assert part.reference is not None
    assert whole.reference is not None
    assert np.array_equal(part.reference, whole.reference[cut])


def test_the_reference_is_the_sharp_picture_and_before_the_blurred_one(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", PICTURE))
    config = ReadConfig(blur=BlurConfig(read_noise=0, shot_noise=0))
    tile = blurred(scene, Rectangle(0, 0, 384, 256), 0, Blur(11, 30), config)
    assert np.array_equal(tile.reference, PICTURE)
    wanted = apply_kernel(PICTURE, motion_kernel(11, 30)).astype(int)
    assert np.abs(tile.before - wanted).max() <= 1
    assert (tile.before != wanted).mean() < 0.01
    assert tile.valid.all()


def test_noise_follows_the_seed_and_the_name_of_the_scene(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    place, blur = Rectangle(0, 0, 384, 256), Blur(5, 0)

    def before(name: str, seed: int) -> np.ndarray:
        config = ReadConfig(blur=BlurConfig(seed=seed, read_noise=0.01))
        return blurred(
            dataclasses.replace(open_it(path, config), name=name), place, 0, blur, config
        ).before

    assert np.array_equal(before("a", 1), before("a", 1))
    assert not np.array_equal(before("a", 1), before("a", 2))
    assert not np.array_equal(before("a", 1), before("b", 1))


def test_pixels_that_took_light_from_nodata_are_not_valid(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[:, 100, 200] = 0
    other = array.copy()
    other[:, 100, 200] = 255
    config = ReadConfig(blur=BlurConfig(read_noise=0, shot_noise=0))
    place, blur = Rectangle(0, 0, 384, 256), Blur(15, 60)
    first = blurred(
        open_it(write_scene(tmp_path / "a.tif", array, nodata=0)), place, 0, blur, config
    )
    second = blurred(open_it(write_scene(tmp_path / "b.tif", other)), place, 0, blur, config)
    assert 0 < (~first.valid).sum() < 60
    assert np.array_equal(first.before[first.valid], second.before[first.valid])


def settle(item: Tile | TileRow | Rejected) -> tuple[str, str]:
    key = item.key if isinstance(item, Rejected) else item.window.key
    return key, type(item).__name__


def test_every_planned_window_comes_out_of_beam_as_it_does_of_a_loop(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[:, :128, :128] = 0
    write_scene(tmp_path / "a.tif", array, nodata=0)
    truncate(write_picture(tmp_path / "b.tif", PICTURE), 0.5)
    config = RunConfig(
        input=InputConfig(scenes=(f"{tmp_path}/*.tif",)),
        read=READ.model_copy(update={"blur": BlurConfig(lengths=(5, 9))}),
    )
    scenes, _ = plan_scenes(config)
    wanted = [settle(item) for scene in scenes for item in read_each(scene, config.read)]
    assert {kind for _, kind in wanted} == {"Tile", "TileRow", "Rejected"}
    assert len({key for key, _ in wanted}) == len(wanted) == 24
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        windows = pipeline | beam.Create(scenes) | PlanWindows(config)
        items = windows | ReadTiles(config, ("car",))
        assert_that(items | "Settle" >> beam.Map(settle), equal_to(wanted))


AUTZEN = DATA / "world_file" / "autzen-srs.wkt"
REAL: dict[str, dict[str, object]] = {
    "scenes_geotiff/**/*.tif": {},
    "scenes_nepal/*/oam/*.tif": {},
    "sharp_texture/**/*.*": {},
    "real_soft/*.*": {},
    "vehicles_munich/*.png": {},
    "vehicles_minsk/*.[jJ][pP][gG]": {},
    "street/**/*.[jJ][pP][gG]": {"geometry": "camera"},
    "world_file/*.jpg": {"crs": str(AUTZEN)},
}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", REAL)
def test_real_scenes_are_read_whole(pattern: str) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no pictures in {DATA}")
    given = InputConfig(scenes=(f"{DATA}/{pattern}",), **REAL[pattern])
    read = ReadConfig()
    scenes, rejected = plan_scenes(RunConfig(input=given, read=read))
    assert scenes
    assert not rejected
    for scene in scenes:
        assert all(isinstance(tile, Tile | TileRow) for tile in read_each(scene, read))


def test_real_alpha_hides_what_lies_outside_the_flight() -> None:
    path = DATA / "scenes_geotiff" / "riotiler_pix4d_alpha_35cm.tif"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    _, valid = read_all(path)
    with rasterio.open(path) as dataset:
        assert np.array_equal(valid, dataset.read(4) > 0)
    assert 0 < valid.mean() < 1
