"""COGs are written whole or not at all, and say what they could not keep."""

import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from mosaics import configure, make_mosaic, make_mosaics
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate
from scenes import CRS, textured, transform_of, write_scene

from transforms.mosaic import copy_to_cog, describe_bands, lost_in_copy, write_cog

PICTURE = textured(700, 900, 3)
NOISE = np.random.default_rng(0).integers(1, 256, (3, 700, 900), np.uint8)


def test_a_picture_becomes_a_cog_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    smooth = cv2.GaussianBlur(PICTURE, (0, 0), 8)
    write_cog(path, smooth, crs=CRS, transform=tuple(transform_of())[:6])
    assert cog_validate(path, strict=True)[:2] == (True, [])
    with rasterio.open(path) as dataset:
        assert (dataset.crs, dataset.transform) == (CRS, transform_of())
        got = dataset.read().transpose(1, 2, 0)
    assert np.abs(got.astype(int) - smooth).max() < 8
    assert [each.name for each in tmp_path.iterdir()] == ["a.tif"]


def test_a_copy_without_loss_keeps_everything(tmp_path: Path) -> None:
    source = write_scene(tmp_path / "a.tif", PICTURE.transpose(2, 0, 1))
    rasterio.shutil.copy(source, tmp_path / "a.vrt", driver="VRT")
    copy_to_cog(tmp_path / "a.vrt", tmp_path / "b.tif", compress="zstd", overviews="nearest")
    with rasterio.open(source) as one, rasterio.open(tmp_path / "b.tif") as two:
        assert lost_in_copy(one, two) == []
        assert np.array_equal(one.read(), two.read())


def test_what_a_copy_lost_is_named(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1)
    source = write_scene(tmp_path / "a.tif", array, nodata=0)
    other = write_scene(tmp_path / "b.tif", array.astype(np.int16), crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(source) as one, rasterio.open(other) as two:
            lost = lost_in_copy(one, two)
    assert {"types", "CRS", "transform", "nodata of each band", "kinds of masks"} <= set(lost)
    assert not {"size", "RPCs", "scales"} & set(lost)


@pytest.mark.parametrize(
    ("nodata", "told"), [(None, None), (0, 0), (-1.5, -1.5), (np.nan, "nan"), (np.inf, "inf")]
)
def test_bands_are_described_as_stac_has_it(
    tmp_path: Path, nodata: float | None, told: float | str | None
) -> None:
    path = write_scene(tmp_path / "a.tif", np.ones((2, 8, 8), np.float32), nodata=nodata)
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(2, "nir")
    with rasterio.open(path) as dataset:
        bands = describe_bands(dataset)
    assert [band["name"] for band in bands] == ["gray 1", "nir"]
    assert {band["data_type"] for band in bands} == {"float32"}
    assert {band.get("nodata") for band in bands} == {told}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let every write beyond a size fail, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("missing", [1, 5, 100, 5_000, 100_000, 1_000_000])
def test_a_full_disk_leaves_no_mosaic_and_ends_the_run(tmp_path: Path, missing: int) -> None:
    path = write_scene(tmp_path / "a.tif", NOISE, photometric="rgb")
    size = make_mosaic(configure(path, tmp_path / "whole")).data.size
    config = configure(path, tmp_path / "run")
    with files_of_at_most(size - missing), pytest.raises(OSError, match=r"[iI]s the disk full"):
        make_mosaics(config)
    assert not list((tmp_path / "run" / "mosaics").iterdir())
    assert not list((tmp_path / "run" / "_cores").glob(".*"))
