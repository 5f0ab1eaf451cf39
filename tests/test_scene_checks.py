"""What is no scene: bombs, mixed and complex types, pixels that are no light."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from opened import open_it
from PIL import Image
from scenes import CRS, textured, transform_of, write_picture, write_scene

from configs.schema import PercentileStretch, ReadConfig, Stretch
from transforms.gdal import open_dataset
from transforms.scene_checks import SceneError, smallest_unit

GREY = np.full((1, 40, 50), 7, np.uint8)


def bands(count: int) -> np.ndarray:
    return np.repeat(GREY, count, axis=0)


def test_a_palette_is_not_light(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", GREY)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {7: (255, 0, 0, 255)})
    with pytest.raises(SceneError, match="palette, not light"):
        open_it(path)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64", "uint32"])
def test_other_types_need_a_stretch(tmp_path: Path, dtype: str) -> None:
    path = write_scene(tmp_path / "a.tif", bands(3).astype(dtype))
    with pytest.raises(SceneError, match=rf"are {dtype}.*read\.stretch: \{{low: 0, high: "):
        open_it(path)
    stretch = Stretch(low=0, high=4095)
    assert open_it(path, ReadConfig(stretch=stretch)).dtype == dtype


def test_the_suggested_stretch_comes_from_the_header(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(3).astype(np.uint16))
    with rasterio.open(path, "r+") as dataset:
        for band, (low, high) in enumerate([(9, 800), (12, 1200), (15, 950)], start=1):
            dataset.update_tags(band, STATISTICS_MINIMUM=low, STATISTICS_MAXIMUM=high)
    with pytest.raises(SceneError, match=r"\{low: 9, high: 1200\}"):
        open_it(path)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", GREY.astype(np.complex64))
    with pytest.raises(SceneError, match="complex64: only real numbers"):
        open_it(path, ReadConfig(stretch=Stretch(low=0, high=1)))


def test_the_remedy_of_deep_pixels_names_both_kinds_of_stretch(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", bands(3).astype(np.uint16))
    with pytest.raises(SceneError, match=r"\{low: 0, .*read\.stretch: \{percentiles: \[2, 98\]\}"):
        open_it(path)
    assert open_it(path, ReadConfig(stretch=PercentileStretch(percentiles=(2, 98)))).stretch


def test_bands_of_different_types_are_refused(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", bands(1))
    write_scene(tmp_path / "b.tif", bands(1).astype(np.float32))
    sources = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename></SimpleSource></VRTRasterBand>'
        for band, (kind, name) in enumerate(
            [("Byte", "a.tif"), ("Byte", "a.tif"), ("Float32", "b.tif")], start=1
        )
    )
    vrt = tmp_path / "c.vrt"
    vrt.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{sources}</VRTDataset>')
    with pytest.raises(
        SceneError, match=r"differ in type, \['uint8', 'uint8', 'float32'\]: choose"
    ):
        open_it(vrt)
    assert open_it(vrt, ReadConfig(bands=(1,))).dtype == "uint8"


def test_a_picture_larger_than_allowed_is_a_bomb(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", textured(100, 200, seed=0))
    with pytest.raises(SceneError, match=r"100 x 200 pixels, more than input\.max_pixels=19999"):
        open_it(path, max_pixels=19_999)
    assert open_it(path, max_pixels=20_000).width == 200


def test_a_giant_tile_is_a_bomb_and_costs_nothing_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    side = 32_768
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 2,
        "dtype": "uint8",
        "tiled": True,
    }
    blocks = {"blockxsize": side, "blockysize": side, "interleave": "pixel", "SPARSE_OK": True}
    with rasterio.open(path, "w", crs=CRS, transform=transform_of(), **profile, **blocks):
        pass
    assert path.stat().st_size < 10_000
    with pytest.raises(SceneError, match=rf"decompressed is {2 * side**2} bytes.*gdal_translate"):
        open_it(path)


@pytest.mark.parametrize(
    ("interleave", "dtype", "wanted"),
    [("pixel", "uint8", 3), ("band", "uint8", 1), ("pixel", "uint16", 6), ("band", "uint16", 2)],
)
def test_the_smallest_unit_is_a_block_of_the_bands_that_lie_together(
    tmp_path: Path, interleave: str, dtype: str, wanted: int
) -> None:
    array = np.zeros((3, 200, 200), dtype)
    path = write_scene(tmp_path / "a.tif", array, interleave=interleave)
    with rasterio.Env(), open_dataset(str(path)) as dataset:
        assert smallest_unit(dataset) == 128 * 128 * wanted


def test_a_webp_is_decoded_as_a_whole_and_a_jpeg_by_rows(tmp_path: Path) -> None:
    image = Image.fromarray(textured(700, 900, seed=0))
    units = {}
    for kind in ("webp", "jpg", "png"):
        image.save(tmp_path / f"a.{kind}")
        with rasterio.Env(), open_dataset(str(tmp_path / f"a.{kind}")) as dataset:
            units[kind] = smallest_unit(dataset)
    assert units == {"webp": 700 * 900 * 3, "jpg": 900 * 3, "png": 900 * 3}
