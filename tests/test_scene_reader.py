"""The reader: upright pictures, native pixels, map tiles and VRTs as any other scene."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from opened import open_it, read_all
from PIL import Image, ImageOps
from PIL.ExifTags import GPS, IFD, Base
from rasterio.enums import ColorInterp
from scenes import textured, write_picture, write_scene

from configs.schema import InputConfig, ReadConfig, RunConfig, Stretch
from transforms.functional.windows import Rectangle
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_scenes, plan_windows

READ = ReadConfig(core=64, halo=32)
PICTURE = textured(200, 300, seed=4)


@pytest.fixture
def reader() -> Iterator[SceneReader]:
    with closing(SceneReader(InputConfig())) as reader:
        yield reader


def write_photo(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif.get_ifd(IFD.GPSInfo).update(
        {
            GPS.GPSLatitudeRef: "S",
            GPS.GPSLatitude: (12.0, 30.0, 0.0),
            GPS.GPSLongitudeRef: "W",
            GPS.GPSLongitude: (70.0, 0.0, 0.0),
        }
    )
    Image.fromarray(PICTURE).save(path, exif=exif, lossless=True, quality=95, subsampling=0)
    return path


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_windows_of_a_camera_are_cut_from_the_upright_picture(
    tmp_path: Path, reader: SceneReader, kind: str, orientation: int
) -> None:
    path = write_photo(tmp_path / f"a.{kind}", orientation)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    scene = open_it(path, READ, geometry="camera")
    assert (scene.height, scene.width) == upright.shape[:2]
    whole = Rectangle(0, 0, scene.width, scene.height)
    for window in plan_windows(scene, READ):
        pixels, valid = reader.read_window(window)
        # Two decoders of JPEG may round differently.
        difference = np.abs(pixels.astype(int) - upright[window.read.within(whole)])
        assert difference.max() <= (3 if kind == "jpg" else 0)
        assert valid.all()


def test_native_pixels_are_those_of_the_file(tmp_path: Path, reader: SceneReader) -> None:
    deep = PICTURE.transpose(2, 0, 1).astype(np.uint16) * 10
    deep[:, :20] = 0
    path = write_scene(tmp_path / "a.tif", deep, nodata=0)
    scene = open_it(path, ReadConfig(bands=(3, 1, 2), stretch=Stretch(low=0, high=2550)))
    place = Rectangle(10, 5, 100, 80)
    values, valid = reader.read_native(scene, place)
    assert values.dtype == np.uint16
    assert np.array_equal(values, deep[[2, 0, 1]][:, 5:85, 10:110])
    assert np.array_equal(valid, deep[0, 5:85, 10:110] > 0)
    image, _ = reader.read(scene, place)
    assert np.array_equal(image[15:], PICTURE[20:85, 10:110][..., [2, 0, 1]])


@pytest.mark.parametrize("place", [1, 3, 4, 5])
@pytest.mark.parametrize("nodata", [None, 0])
def test_alpha_counts_wherever_it_stands(
    tmp_path: Path, reader: SceneReader, place: int, nodata: float | None
) -> None:
    light = PICTURE.transpose(2, 0, 1)
    alpha = np.full((1, 200, 300), 255, np.uint8)
    alpha[:, 20:60, 30:90] = 0
    others = [*light, light[0]]
    bands = np.stack([*others[: place - 1], alpha[0], *others[place - 1 :]])
    path = write_scene(tmp_path / "a.tif", bands, nodata=nodata)
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [*colours[: place - 1], ColorInterp.alpha, *colours[place - 1 :]]
    scene = open_it(path, ReadConfig())
    _, valid = reader.read(scene, Rectangle(0, 0, 300, 200))
    assert np.array_equal(valid, alpha[0] > 0)


def test_deep_pixels_without_a_stretch_are_an_error(tmp_path: Path, reader: SceneReader) -> None:
    read = ReadConfig(stretch=Stretch(low=0, high=9))
    scene = open_it(
        write_scene(tmp_path / "a.tif", PICTURE.transpose(2, 0, 1).astype("int16")), read
    )
    with pytest.raises(ValueError, match=r"holds int16 and no read\.stretch is declared"):
        reader.read(replace(scene, stretch=None), Rectangle(0, 0, 4, 4))


def test_a_folder_of_map_tiles_is_a_scene(tmp_path: Path, reader: SceneReader) -> None:
    blocks = textured(512, 512, seed=2)
    for x, y in [(0, 0), (1, 0), (1, 1)]:
        folder = tmp_path / "map" / "17" / str(70_000 + x)
        folder.mkdir(parents=True, exist_ok=True)
        tile = blocks[y * 256 : y * 256 + 256, x * 256 : x * 256 + 256]
        Image.fromarray(tile).save(folder / f"{44_000 + y}.png")
    config = RunConfig(input=InputConfig(scenes=(f"{tmp_path}/map",)), read=READ)
    [scene], rejected = plan_scenes(config)
    assert not rejected
    assert (scene.crs, scene.height, scene.width) == ("EPSG:3857", 512, 512)
    assert scene.size == sum(path.stat().st_size for path in tmp_path.rglob("*.png"))
    image, valid = reader.read(scene, Rectangle(0, 0, 512, 512))
    wanted = np.ones((512, 512), np.bool_)
    wanted[256:, :256] = False
    assert np.array_equal(valid, wanted)
    assert np.array_equal(image[wanted], blocks[wanted])


def test_a_vrt_is_read_as_its_sources_are(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.tif", PICTURE)
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        "</SimpleSource></VRTRasterBand>"
        for band in (1, 2, 3)
    )
    path = tmp_path / "a.vrt"
    path.write_text(f'<VRTDataset rasterXSize="300" rasterYSize="200">{bands}</VRTDataset>')
    image, valid = read_all(path)
    assert np.array_equal(image, PICTURE)
    assert valid.all()
