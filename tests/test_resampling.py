"""Scenes at another ground sampling distance: their grid, their pixels, their masks."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opened import open_it, read_all
from rasterio.transform import Affine
from scenes import ORIGIN, textured, write_picture, write_scene

from configs.schema import InputConfig, ReadConfig
from transforms.functional.windows import Rectangle
from transforms.georeference import metres_per_pixel, pixels_to_map, rectangle_to_corners
from transforms.records import Grid, Scene
from transforms.scene_checks import SceneError
from transforms.scene_reader import SceneReader

PICTURE = textured(200, 320, seed=7)
LOCAL = "+proj=tmerc +lat_0=52.3 +lon_0=10.5 +x_0=600000 +y_0=5800000 +ellps=GRS80 +units=m"
"""Where a unit is a metre on the ground, to a millionth."""


def at(gsd: float, **given: object) -> ReadConfig:
    return ReadConfig(gsd=gsd, **given)


def corners_of(grid: Scene | Grid) -> np.ndarray:
    whole = rectangle_to_corners(Rectangle(0, 0, grid.width, grid.height))
    return pixels_to_map(whole, grid.transform)


def test_the_grid_covers_the_extent_of_the_file(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1)
    plain, scene = open_it(path), open_it(path, at(0.25))
    assert (scene.height, scene.width) == (80, 128)
    assert scene.file_grid == Grid(200, 320, plain.transform)
    assert scene.file_pixels == (2.5, 2.5)
    assert scene.transform[2::3] == ORIGIN
    assert np.allclose(corners_of(scene), corners_of(plain), atol=1e-6)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", Affine(0.08, 0.06, 600_000, 0.06, -0.08, 5_800_000)),
        ("EPSG:4326", Affine(2e-6, 0, 10.5, 0, -1e-6, 52.3)),
        ("EPSG:3857", Affine(0.2, 0, 1e6, 0, -0.2, 8e6)),
        ("EPSG:3995", Affine(0.1, 0, -16, 0, -0.1, 10)),
        ("EPSG:4326", Affine(2e-6, 0, 179.9999, 0, -1e-6, -17)),
    ],
    ids=["turned", "degrees", "web", "pole", "date line"],
)
def test_a_pixel_in_the_middle_has_the_wanted_size_on_the_ground(
    tmp_path: Path, crs: str, transform: Affine
) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=crs, transform=transform)
    plain, scene = open_it(path), open_it(path, at(0.4))
    metres = metres_per_pixel(scene, Rectangle(0, 0, scene.width, scene.height))
    # Sides are whole pixels, of which there are about 50.
    assert metres == pytest.approx((0.4, 0.4), rel=0.02)
    assert np.allclose(corners_of(scene), corners_of(plain), rtol=1e-12)


def test_a_scene_that_is_near_enough_is_not_touched(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1)
    assert open_it(path, at(0.1005)) == open_it(path)
    assert open_it(path, at(0.102)).file_grid is not None


def test_a_scene_without_a_crs_needs_its_gsd(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=None)
    with pytest.raises(SceneError, match=r"how large a pixel is .*input\.gsd, or its input\.crs"):
        open_it(path, at(0.2))
    scene = open_it(path, at(0.2), gsd=0.1)
    assert (scene.width, scene.crs, scene.transform) == (160, None, (2, 0, 0, 0, 2, 0))


def test_a_scene_that_would_be_too_large_is_a_reject(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1)
    with pytest.raises(SceneError, match=r"2000 x 3200 pixels, more than .* a greater read"):
        open_it(path, at(0.01), max_pixels=1_000_000)


@pytest.mark.parametrize("crs", [LOCAL, None])
def test_pixels_that_shrink_are_averages(tmp_path: Path, crs: str | None) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=crs, gsd=0.1)
    image, valid = read_all(path, at(0.2), gsd=0.1)
    wanted = PICTURE.reshape(100, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - wanted).max() <= 0.5
    assert valid.all()


def test_shares_of_pixels_count_by_their_area(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1)
    image, _ = read_all(path, at(0.25))
    fine = PICTURE.repeat(2, axis=0).repeat(2, axis=1).reshape(80, 5, 128, 5, 3)
    assert np.abs(image - fine.mean(axis=(1, 3))).max() <= 0.51


def test_pixels_that_grow_keep_their_mean_and_place(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(20, 200, 320)[None, :, None], (200, 320, 3))
    path = write_picture(tmp_path / "a.tif", np.rint(smooth).astype(np.uint8), crs=LOCAL, gsd=0.2)
    image, valid = read_all(path, at(0.1))
    assert image.shape == (400, 640, 3)
    assert valid.all()
    wanted = np.interp((np.arange(640) + 0.5) / 2, np.arange(320) + 0.5, smooth[0, :, 0])
    assert np.abs(image[..., 0] - wanted)[:, 4:-4].max() < 1


MASKS = ("nodata", "alpha", "mask", "nodata and alpha", "nan")


def write_masked(path: Path, kind: str, valid: np.ndarray) -> Path:
    """Write the picture with pixels of 255 where it is not valid, if that can be."""
    colours = np.where(valid, PICTURE.transpose(2, 0, 1), 255)
    place = {"crs": LOCAL, "gsd": 0.1}
    if kind == "nan":
        return write_scene(path, np.where(valid, colours, np.nan).astype(np.float32), **place)
    if kind == "mask":
        write_scene(path, colours, photometric="rgb", **place)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(valid)
        return path
    nodata = 255 if "nodata" in kind else None
    if "alpha" not in kind:
        return write_scene(path, colours, nodata=nodata, photometric="rgb", **place)
    if nodata:
        # Half of what is not valid is said by alpha alone.
        colours[:, :, :160] = np.where(valid, PICTURE.transpose(2, 0, 1), 9)[:, :, :160]
    rgba = np.concatenate([colours, valid[None].astype(np.uint8) * 255])
    profile = {"photometric": "rgb", "alpha": "yes", "nodata": nodata}
    return write_scene(path, rgba, **profile, **place)


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("gsd", [0.2, 0.33, 0.05])
def test_what_is_not_valid_leaves_no_trace_in_what_is(
    tmp_path: Path, kind: str, gsd: float
) -> None:
    valid = np.ones((200, 320), np.bool_)
    valid[40:80, 60:120] = False
    valid[100:130, 200:260] = False
    stretch = {"low": 0, "high": 255} if kind == "nan" else None
    read = at(gsd, stretch=stretch)
    image, mask = read_all(write_masked(tmp_path / "a.tif", kind, valid), read)
    whole, _ = read_all(write_picture(tmp_path / "b.tif", PICTURE, crs=LOCAL, gsd=0.1), read)
    assert mask.shape == whole.shape[:2]
    share = 1 - mask.mean()
    assert share == pytest.approx(1 - valid.mean(), abs=0.02)
    # Far from the border nothing changed but by rounding, and by a level where a sum happened to
    # be the nodata value; at the border, no value comes from what is not valid.
    far = np.ones_like(mask)
    for row, col in np.argwhere(~mask):
        far[max(0, row - 5) : row + 6, max(0, col - 5) : col + 6] = False
    assert np.abs(image[far].astype(int) - whole[far]).max() <= 1
    near = mask & ~far
    assert image[near].max() <= 254
    assert np.abs(image[near].astype(int) - whole[near]).mean() < 12


def test_a_pixel_with_one_band_of_nodata_is_valid(tmp_path: Path) -> None:
    array = PICTURE.transpose(2, 0, 1).copy()
    array[0] = 0
    path = write_scene(tmp_path / "a.tif", array, nodata=0, crs=LOCAL, gsd=0.1)
    image, valid = read_all(path, at(0.2))
    assert valid.all()
    assert image[..., 0].max() <= 1
    wanted = PICTURE.reshape(100, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - wanted)[..., 1:].max() <= 0.5


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([0.05, 0.13, 0.2, 0.37]), st.data())
def test_windows_agree_pixel_for_pixel(tmp_path: Path, gsd: float, data: st.DataObject) -> None:
    valid = np.ones((200, 320), np.bool_)
    valid[40:80, 60:120] = False
    path = write_masked(tmp_path / "a.tif", "nodata", valid)
    scene = open_it(path, at(gsd))
    whole = Rectangle(0, 0, scene.width, scene.height)
    left, top = (
        data.draw(st.integers(0, scene.width - 1)),
        data.draw(st.integers(0, scene.height - 1)),
    )
    width = data.draw(st.integers(1, scene.width - left))
    part = Rectangle(left, top, width, data.draw(st.integers(1, scene.height - top)))
    with (
        closing(SceneReader(InputConfig())) as first,
        closing(SceneReader(InputConfig())) as second,
    ):
        image, mask = first.read(scene, part)
        wanted, wanted_mask = second.read(scene, whole)
    assert np.array_equal(image, wanted[part.within(whole)])
    assert np.array_equal(mask, wanted_mask[part.within(whole)])


def test_strips_and_blocks_give_the_same_pixels(tmp_path: Path) -> None:
    read = at(0.2, core=64, halo=0)
    strips = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1, tiled=False)
    tiles = write_picture(tmp_path / "b.tif", PICTURE, crs=LOCAL, gsd=0.1)
    assert open_it(strips, read).sequential
    assert np.array_equal(read_all(strips, read)[0], read_all(tiles, read)[0])


def test_a_file_of_another_size_than_planned_is_an_error(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=LOCAL, gsd=0.1)
    scene = open_it(path, at(0.2))
    other = replace(scene, size=None, version=None, file_grid=Grid(8, 9, scene.transform))
    with (
        closing(SceneReader(InputConfig())) as reader,
        pytest.raises(ValueError, match="planned as 8 x 9 pixels and is now 200 x 320"),
    ):
        reader.read(other, Rectangle(0, 0, 4, 4))
