"""Stretches: fixed, and percentiles of a sample that depends on the file alone."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from opened import open_it, read_all
from rasterio.enums import Resampling
from scenes import textured, write_picture, write_scene

from configs.schema import PercentileStretch, ReadConfig, Stretch
from transforms.gdal import open_dataset
from transforms.scene_checks import SceneError
from transforms.stretches import SIDE, sample_pixels

PICTURE = textured(256, 384, seed=5).transpose(2, 0, 1)
DEEP = PICTURE.astype(np.uint16) * 10 + np.array([500, 900, 1300], np.uint16)[:, None, None]
MIDDLE = PercentileStretch(percentiles=(2, 98))
WHOLE = PercentileStretch(percentiles=(0, 100))


def stretch_of(
    path: Path, config: Stretch | PercentileStretch | None, **read: object
) -> tuple[tuple[float, float], ...] | None:
    return open_it(path, ReadConfig(stretch=config, **read)).stretch


def test_fixed_ends_are_those_of_every_band(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", DEEP)
    assert stretch_of(path, Stretch(low=500, high=3050)) == ((500, 3050),) * 3


def test_eight_bits_need_no_stretch_and_may_have_one(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", PICTURE)
    assert stretch_of(path, None) is None
    assert stretch_of(path, WHOLE) == tuple((band.min(), band.max()) for band in PICTURE)


def test_percentiles_are_those_of_each_band(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", DEEP)
    wanted = np.percentile(DEEP.reshape(3, -1), [2, 98], axis=1).T
    assert np.array_equal(stretch_of(path, MIDDLE), wanted)
    (one,) = stretch_of(path, MIDDLE, bands=(2,)) or ()
    assert one == tuple(wanted[1])


def test_joint_percentiles_keep_colours(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", DEEP)
    ends = stretch_of(path, PercentileStretch(percentiles=(2, 98), joint=True))
    assert ends == (tuple(np.percentile(DEEP, [2, 98])),) * 3


def test_a_stretch_over_the_whole_range_gives_the_picture_back(tmp_path: Path) -> None:
    deep = PICTURE.astype(np.uint16) * 10 + 500
    deep[:, 0, 0], deep[:, 0, 1] = 500, 3050
    image, valid = read_all(write_scene(tmp_path / "a.tif", deep), ReadConfig(stretch=WHOLE))
    assert np.array_equal(image.reshape(-1, 3)[2:], PICTURE.transpose(1, 2, 0).reshape(-1, 3)[2:])
    assert valid.all()


@pytest.mark.parametrize("kind", ["nodata", "nan"])
def test_only_valid_pixels_count(tmp_path: Path, kind: str) -> None:
    array = DEEP.astype(np.float32)
    wanted = tuple((band.min(), band.max()) for band in array[:, 100:])
    array[:, :100] = np.nan if kind == "nan" else -9999
    path = write_scene(tmp_path / "a.tif", array, nodata=None if kind == "nan" else -9999)
    assert stretch_of(path, WHOLE) == wanted


def test_percentiles_that_coincide_give_way_to_the_whole_range(tmp_path: Path) -> None:
    array = np.full((1, 100, 100), 300, np.uint16)
    array[0, 0, :50], array[0, 1, :50] = 100, 900
    assert stretch_of(write_scene(tmp_path / "a.tif", array), MIDDLE) == ((100, 900),)


@pytest.mark.parametrize(
    ("value", "dtype", "ends"),
    [(300, "uint16", (150, 450)), (0, "uint16", (-0.5, 0.5)), (-0.25, "float32", (-0.75, 0.25))],
)
def test_a_constant_scene_is_mid_grey(
    tmp_path: Path, value: float, dtype: str, ends: tuple[float, float]
) -> None:
    path = write_scene(tmp_path / "a.tif", np.full((1, 20, 30), value, dtype))
    assert stretch_of(path, MIDDLE) == (ends,)
    image, _ = read_all(path, ReadConfig(stretch=MIDDLE))
    assert set(image.ravel().tolist()) <= {127, 128}


@pytest.mark.parametrize(
    ("dtype", "ends"), [("uint16", (0, 65535)), ("int16", (-32768, 32767)), ("float32", (0, 1))]
)
def test_a_scene_without_a_valid_pixel_takes_the_range_of_its_type(
    tmp_path: Path, dtype: str, ends: tuple[float, float]
) -> None:
    path = write_scene(tmp_path / "a.tif", np.zeros((1, 20, 30), dtype), nodata=0)
    assert stretch_of(path, MIDDLE) == (ends,)


def sample_of(path: Path) -> np.ndarray:
    with rasterio.Env(), open_dataset(str(path)) as dataset:
        return sample_pixels(dataset, [1])


@pytest.mark.parametrize("layout", ["overviews", "tiles", "strips"])
def test_a_large_scene_is_sampled_evenly(tmp_path: Path, layout: str) -> None:
    side = 5000
    ramp = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint16)[None]
    path = write_scene(tmp_path / "a.tif", ramp, tiled=layout != "strips", compress="lzw")
    if layout == "overviews":
        with rasterio.open(path, "r+") as dataset:
            dataset.build_overviews([2, 4, 8], Resampling.nearest)
    sample = sample_of(path)
    assert sample.size <= SIDE**2
    assert sample.size > SIDE**2 / 8
    assert np.array_equal(sample, sample_of(path))
    found = np.percentile(sample, [2, 25, 50, 75, 98])
    # The blocks of a sample are a third of a tenth of the side apart.
    assert np.abs(found - np.percentile(ramp, [2, 25, 50, 75, 98])).max() < 0.03 * 2 * side


def test_a_file_whose_pixels_cannot_be_read_is_a_reject(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE.transpose(1, 2, 0))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(SceneError, match=r"percentiles cannot be read.*\{low: 0, high: 4095\}"):
        open_it(path, ReadConfig(stretch=MIDDLE))
    assert open_it(path, ReadConfig(stretch=Stretch(low=0, high=9))).stretch
