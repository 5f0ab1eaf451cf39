"""Bands: by number, by name, by what the header says."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from opened import open_it
from rasterio.enums import ColorInterp
from scenes import write_scene

from configs.schema import ReadConfig
from transforms.scene_checks import SceneError

GREY = np.full((1, 40, 50), 7, np.uint8)


def bands(count: int) -> np.ndarray:
    return np.repeat(GREY, count, axis=0)


@pytest.mark.parametrize(
    ("count", "profile", "chosen"),
    [
        (1, {}, (1,)),
        (2, {}, (1,)),
        (2, {"alpha": "yes"}, (1,)),
        (3, {}, (1, 2, 3)),
        (4, {}, (1, 2, 3)),
        (4, {"photometric": "rgb", "alpha": "yes"}, (1, 2, 3)),
        (8, {"photometric": "rgb"}, (1, 2, 3)),
    ],
)
def test_bands_are_chosen(
    tmp_path: Path, count: int, profile: dict[str, str], chosen: tuple[int, ...]
) -> None:
    path = write_scene(tmp_path / "a.tif", bands(count), **profile)
    assert open_it(path).bands == chosen


def test_colour_interpretation_decides_the_order(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(5))
    with rasterio.open(path, "r+") as dataset:
        other = ColorInterp.undefined
        dataset.colorinterp = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, other, other]
    assert open_it(path).bands == (3, 2, 1)


def test_alpha_is_never_rendered(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(4))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.alpha, *[ColorInterp.undefined] * 3]
    assert open_it(path).bands == (2, 3, 4)


def test_eight_unmarked_bands_need_a_choice(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(8))
    with pytest.raises(SceneError, match=r"8 bands.*read\.bands: \[5, 3, 2\]"):
        open_it(path)
    assert open_it(path, ReadConfig(bands=(5, 3, 2))).bands == (5, 3, 2)
    assert open_it(path, ReadConfig(bands=(8,))).bands == (8,)


def test_a_band_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(3))
    with pytest.raises(SceneError, match=r"wants \[4, 3, 2\], but the file has 3 bands"):
        open_it(path, ReadConfig(bands=(4, 3, 2)))


def write_named(path: Path, names: list[str | None]) -> Path:
    write_scene(path, bands(len(names)), photometric="minisblack")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


def test_bands_are_called_by_their_descriptions_in_any_case(tmp_path: Path) -> None:
    path = write_named(tmp_path / "a.tif", ["Blue", "Green", "Red", " NIR "])
    assert open_it(path, ReadConfig(bands=("nir", "Red", "green"))).bands == (4, 3, 2)
    assert open_it(path, ReadConfig(bands=("red",))).bands == (3,)


def test_numbers_and_names_mix(tmp_path: Path) -> None:
    path = write_named(tmp_path / "a.tif", ["Blue", "Green", "Red", "NIR"])
    assert open_it(path, ReadConfig(bands=("nir", 3, 2))).bands == (4, 3, 2)


@pytest.mark.parametrize("colour", [ColorInterp.nir, ColorInterp.rededge])
def test_bands_are_called_by_their_colour_interpretation(
    tmp_path: Path, colour: ColorInterp
) -> None:
    path = write_scene(tmp_path / "a.tif", bands(4), photometric="rgb")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [*dataset.colorinterp[:3], colour]
    assert open_it(path, ReadConfig(bands=(colour.name, "red", "green"))).bands == (4, 1, 2)


def test_a_name_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    path = write_named(tmp_path / "a.tif", ["blue", None])
    with pytest.raises(
        SceneError, match=r"'nir', and no bands .*1 \(blue or gray\), 2 \(no name\)"
    ):
        open_it(path, ReadConfig(bands=("nir",)))


def test_a_name_that_two_bands_have_is_ambiguous(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(3), photometric="rgb")
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = ["Blue", "Green", "Red"]
    with pytest.raises(SceneError, match=r"'red', and 2 bands .*1 \(blue or red\), 2 \(green\)"):
        open_it(path, ReadConfig(bands=("red",)))
    assert open_it(path, ReadConfig(bands=("green",))).bands == (2,)


def test_nothing_is_called_undefined(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(2), photometric="minisblack")
    with pytest.raises(SceneError, match="no bands of the file"):
        open_it(path, ReadConfig(bands=("undefined",)))
