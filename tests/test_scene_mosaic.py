"""A mosaic is the input, its grid, bands, masks and meaning, but for the deblurred pixels."""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from mosaics import HEIGHT, WIDTH, brighten, configure, make_mosaic, make_mosaics, picture
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rio_cogeo import cog_validate
from scenes import CRS, DATA, textured, transform_of, write_scene

from configs.schema import RunConfig
from transforms import scene_mosaic
from transforms.records import Rejected
from transforms.scene_mosaic import Mosaic, assemble_mosaic
from transforms.scenes import plan_scenes
from transforms.workplace import Workplace

RED, GREEN, BLUE = ColorInterp.red, ColorInterp.green, ColorInterp.blue
ALPHA, OTHER = ColorInterp.alpha, ColorInterp.undefined
VALID = np.random.default_rng(5).random((HEIGHT, WIDTH)) > 0.2
STRETCHES: dict[str, dict[str, float]] = {
    "uint16": {"low": 0, "high": 4080},
    "int16": {"low": -1000, "high": 3080},
    "float32": {"low": -15, "high": 23},
    "float64": {"low": -15, "high": 23},
    "int8": {"low": -100, "high": 100},
    "uint32": {"low": 0, "high": 4080},
}
Edit = Callable[[rasterio.io.DatasetWriter], None]


def edited(path: Path, edit: Edit) -> Path:
    """Change a file's header or mask in place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset,
        ):
            edit(dataset)
    return path


def opened(path: Path) -> rasterio.DatasetReader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path)


MEANING = (
    "shape",
    "count",
    "dtypes",
    "crs",
    "transform",
    "rpcs",
    "nodatavals",
    "colorinterp",
    "mask_flag_enums",
    "descriptions",
    "scales",
    "offsets",
    "units",
)


def assert_same(first: Path, second: Path) -> None:
    """Compare two rasters as rasterio tells them; pixels, to the last bit of a NaN, and masks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(first) as one, rasterio.open(second) as two:
            for name in MEANING:
                assert str(getattr(one, name)) == str(getattr(two, name)), name
            assert str(one.gcps[0]) == str(two.gcps[0])
            if one.gcps[0]:
                assert one.gcps[1] == two.gcps[1]
            assert one.read().tobytes() == two.read().tobytes()
            assert np.array_equal(one.read_masks() > 0, two.read_masks() > 0)
            told = two.tags()
            assert {key: told.get(key) for key in one.tags()} == one.tags()


def alpha(array: np.ndarray) -> np.ndarray:
    """Return bands with an alpha band behind them, not only 0 and 255."""
    top = np.where(VALID, 255, 0).astype(array.dtype)
    top[:20] = 128
    return np.concatenate([array, top[None]])


def with_nan(array: np.ndarray) -> np.ndarray:
    """Return a picture with NaN of two kinds, a negative zero and infinity."""
    array = array.copy()
    array[:, :40, :60] = np.nan
    array[0, 70, 70] = -0.0
    array[1, 80, 80] = np.inf
    array.view(np.uint32)[2, 90, 90] = 0x7FC00123
    return array


def colours(*meaning: ColorInterp) -> Edit:
    def edit(dataset: rasterio.io.DatasetWriter) -> None:
        dataset.colorinterp = meaning

    return edit


def masked(dataset: rasterio.io.DatasetWriter) -> None:
    dataset.write_mask(VALID)


def described(dataset: rasterio.io.DatasetWriter) -> None:
    dataset.descriptions = ("rouge", "vert & <jaune>", "bleu é")
    dataset.scales, dataset.offsets, dataset.units = (0.5, 2, 1), (1, 0, -3), ("m", "", "K")
    dataset.update_tags(AREA_OR_POINT="Point", flight="7 < 8 & more", TIFFTAG_ARTIST="we")
    dataset.update_tags(2, filter="green", STATISTICS_MAXIMUM="9999")


def with_gcps(dataset: rasterio.io.DatasetWriter) -> None:
    corners = [(0, 0, 10, 50), (0, WIDTH, 10.1, 50), (HEIGHT, 0, 10, 49.9)]
    points = [GroundControlPoint(row, col, x, y, 3.5) for row, col, x, y in corners]
    dataset.gcps = points, rasterio.crs.CRS.from_epsg(4326)


def with_rpcs(dataset: rasterio.io.DatasetWriter) -> None:
    names = ("height", "lat", "line", "long", "samp")
    numbers = {f"{name}_off": 1.5 for name in names} | {f"{name}_scale": 2.5 for name in names}
    lists = {f"{n}_{part}_coeff": [0.25] * 20 for n in ("line", "samp") for part in ("num", "den")}
    dataset.rpcs = RPC(**numbers, **lists, err_bias=None, err_rand=None)


U8, U16, F32 = picture(), picture("uint16"), picture("float32")
SMALL = np.clip(picture("int16") // 17, -128, 127).astype(np.int8)
NOWHERE: dict[str, Any] = {"crs": None}
RGBA = {"photometric": "rgb", "alpha": "unspecified"}
GEOTIFFS: dict[str, tuple[np.ndarray, dict[str, Any], Edit | None]] = {
    "uint8": (U8, {"photometric": "rgb"}, None),
    "uint8 in strips": (U8, {"tiled": False}, None),
    "grey": (U8[:1], {}, None),
    "uint16": (U16, {}, None),
    "uint16 of 12 bits": (U16, {"nbits": 12}, None),
    "int16": (picture("int16"), {}, None),
    "int8": (SMALL, {}, None),
    "uint32": (picture("uint32"), {}, None),
    "float32": (F32, {}, None),
    "float64": (picture("float64"), {}, None),
    "NaN": (with_nan(F32), {}, None),
    "NaN as nodata": (with_nan(F32), {"nodata": float("nan")}, None),
    "nodata": (np.where(VALID, U8, 0), {"nodata": 0}, None),
    "nodata 16": (np.where(VALID, U16, 65535), {"nodata": 65535}, None),
    "nodata float": (np.where(VALID, F32, np.float32(-9999)), {"nodata": -9999}, None),
    "mask": (U8, {}, masked),
    "mask and nodata": (np.where(VALID, U8, 0), {"nodata": 0}, masked),
    "mask 16": (U16, {}, masked),
    "alpha": (alpha(U8), RGBA, colours(RED, GREEN, BLUE, ALPHA)),
    "alpha 16": (alpha(U16), RGBA, colours(RED, GREEN, BLUE, ALPHA)),
    "alpha and nodata": (alpha(U8), RGBA | {"nodata": 0}, colours(RED, GREEN, BLUE, ALPHA)),
    "alpha first": (alpha(U8)[::-1], {}, colours(ALPHA, RED, GREEN, BLUE)),
    "grey and alpha": (alpha(U8[:1]), {}, colours(ColorInterp.gray, ALPHA)),
    "four bands": (picture(bands=4), {"photometric": "rgb"}, colours(RED, GREEN, BLUE, OTHER)),
    "four bands and alpha": (
        alpha(picture(bands=4)),
        {"photometric": "rgb"},
        colours(RED, GREEN, BLUE, OTHER, ALPHA),
    ),
    "blue first": (U8, {}, colours(BLUE, GREEN, RED)),
    "by band": (U16, {"interleave": "band"}, None),
    "JPEG inside": (U8, {"compress": "jpeg", "photometric": "ycbcr"}, None),
    "described": (U8, {}, described),
    "rotated": (U8, {"transform": Affine(0.1, 0.05, 6e5, 0.04, -0.1, 5.8e6)}, None),
    "south up": (U8, {"transform": Affine(0.1, 0, 6e5, 0, 0.1, 5.8e6)}, None),
    "degrees": (U8, {"crs": "EPSG:4326", "transform": Affine(1e-6, 0, 10, 0, -1e-6, 50)}, None),
    "CRS without a code": (
        U8,
        {"crs": "+proj=laea +lat_0=10 +lon_0=-20 +ellps=GRS80 +units=us-ft"},
        None,
    ),
    "nowhere": (U8, NOWHERE, None),
    "control points": (U8, NOWHERE, with_gcps),
    "RPCs": (U8, NOWHERE, with_rpcs),
    "a row": (U8[:, :1], {"tiled": False}, None),
    "a pixel": (U8[:, :1, :1], {"tiled": False}, None),
}


@pytest.fixture
def geotiff(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One of the GeoTIFFs above."""
    array, profile, edit = GEOTIFFS[request.param]
    path = write_scene(tmp_path / "scene.tif", np.ascontiguousarray(array), **profile)
    return edited(path, edit) if edit else path


def read_section(path: Path) -> dict[str, Any]:
    """Return how a scene must be read: types other than uint8 need a stretch."""
    with opened(path) as dataset:
        stretch = STRETCHES.get(dataset.dtypes[0])
    return {} if stretch is None else {"stretch": stretch}


def is_valid_cog(path: Path) -> bool:
    """Ask an independent validator, which may neither find a fault nor warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        fine, errors, notes = cog_validate(path, strict=True)
    return bool(fine and not errors and not notes)


@pytest.mark.parametrize("geotiff", GEOTIFFS, indirect=True)
def test_what_a_network_leaves_alone_stays_the_same_file(geotiff: Path, tmp_path: Path) -> None:
    mosaic = make_mosaic(configure(geotiff, tmp_path / "run", read=read_section(geotiff)))
    assert mosaic.counts["deblurred"] > 0
    assert mosaic.counts["rejected"] == 0
    assert_same(geotiff, tmp_path / "run" / mosaic.data.path)
    for asset in (mosaic.data, mosaic.status):
        assert is_valid_cog(tmp_path / "run" / asset.path)


def as_driver(path: Path, target: Path, driver: str, **options: Any) -> Path:
    rasterio.shutil.copy(path, target, driver=driver, **options)
    return target


def warped(path: Path, target: Path) -> Path:
    """Write a VRT whose pixels GDAL computes when they are asked for."""
    with rasterio.open(path) as dataset, WarpedVRT(dataset, crs="EPSG:4326") as view:
        rasterio.shutil.copy(view, target, driver="VRT")
    return target


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"WORLDFILE": "YES"}),
    "png": ("PNG", {"WORLDFILE": "YES"}),
    "jp2": ("JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES"}),
    "webp": ("WEBP", {"LOSSLESS": "YES"}),
    "vrt": ("VRT", {}),
}


@pytest.mark.parametrize("suffix", OTHERS)
def test_other_files_keep_their_pixels_and_place(suffix: str, tmp_path: Path) -> None:
    driver, options = OTHERS[suffix]
    source = write_scene(tmp_path / "a.tif", U8, photometric="rgb")
    scene = as_driver(source, tmp_path / f"scene.{suffix}", driver, **options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    mosaic = make_mosaic(configure(scene, tmp_path / "run"))
    assert_same(scene, tmp_path / "run" / mosaic.data.path)
    # Nothing is written beside the input, no statistics either.
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_warped_scene_has_the_pixels_that_its_blocks_have(tmp_path: Path) -> None:
    source = write_scene(tmp_path / "a.tif", np.where(VALID, U8, 0), nodata=0)
    scene = warped(source, tmp_path / "scene.vrt")
    mosaic = make_mosaic(configure(scene, tmp_path / "run"))
    with rasterio.Env(GDAL_VRT_WARP_USE_DATASET_RASTERIO="NO"):
        assert_same(scene, tmp_path / "run" / mosaic.data.path)


def test_a_declared_crs_is_written_where_the_file_has_none(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", U8, crs=None, transform=transform_of())
    mosaic = make_mosaic(configure(scene, tmp_path / "run", input={"crs": CRS}))
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        assert dataset.crs == CRS
        assert dataset.transform == transform_of()


@pytest.mark.parametrize("origin", [(0, 0), (32, 32)])
@pytest.mark.parametrize("compress", ["deflate", "zstd", "lzw"])
def test_only_valid_pixels_of_rendered_bands_change(
    tmp_path: Path, origin: tuple[int, int], compress: str
) -> None:
    array = picture(bands=4).clip(0, 240)
    scene = edited(write_scene(tmp_path / "a.tif", array, photometric="rgb"), masked)
    config = configure(
        scene,
        tmp_path / "run",
        read={"origin": origin, "bands": [3, 1, 2]},
        mosaic={"compress": compress},
    )
    mosaic = make_mosaic(config, brighten)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        got = dataset.read()
        assert dataset.compression.name == compress
    wanted = array.copy()
    wanted[:3][:, VALID] += 10
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_a_grey_level_is_a_255th_of_the_stretch(tmp_path: Path, dtype: str) -> None:
    array = picture(dtype)
    low, high = STRETCHES[dtype]["low"], STRETCHES[dtype]["high"]
    scene = write_scene(tmp_path / "a.tif", array)
    config = configure(scene, tmp_path / "run", read={"stretch": STRETCHES[dtype]})
    mosaic = make_mosaic(config, brighten)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        got = dataset.read().astype(np.float64)
    middle = (array > low) & (array < high - 11 * (high - low) / 255)
    assert middle.mean() > 0.9
    step = 10 * (high - low) / 255
    assert np.abs(got - array - step)[middle].max() <= (0 if dtype != "float32" else 1e-5)


def test_a_valid_pixel_never_becomes_nodata(tmp_path: Path) -> None:
    array = np.full((3, HEIGHT, WIDTH), 90, np.uint8)
    array[:, :, :50] = 100
    scene = write_scene(tmp_path / "a.tif", array, nodata=100)
    mosaic = make_mosaic(configure(scene, tmp_path / "run"), brighten)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        got = dataset.read()
    assert (got[:, :, :50] == 100).all()
    assert (got[:, :, 50:] == 99).all()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    scene = edited(write_scene(tmp_path / "a.tif", U8, photometric="rgb"), masked)
    one, two = (make_mosaic(configure(scene, tmp_path / n), brighten) for n in ("one", "two"))
    assert (one.data, one.status) == (two.data, two.status)
    for asset in (one.data, one.status):
        assert (tmp_path / "one" / asset.path).read_bytes() == (
            tmp_path / "two" / asset.path
        ).read_bytes()


def test_a_mosaic_is_described_by_its_record(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "a.tif", np.where(VALID, U8, 0), nodata=0, photometric="rgb")
    mosaic = make_mosaic(configure(scene, tmp_path / "run"))
    assert (mosaic.name, mosaic.scene.name) == ("a.tif", "a.tif")
    assert mosaic.data.path == "mosaics/a.tif.deblurred.tif"
    assert mosaic.status.path == "mosaics/a.tif.status.tif"
    assert mosaic.counts == {
        "empty": 0,
        "deblurred": 12,
        "skipped": 0,
        "fallback": 0,
        "rejected": 0,
    }
    for asset in (mosaic.data, mosaic.status):
        content = (tmp_path / "run" / asset.path).read_bytes()
        assert asset.sha256 == hashlib.sha256(content).hexdigest()
        assert asset.size == len(content)
    assert [band["data_type"] for band in mosaic.data.bands] == ["uint8"] * 3
    assert {band["nodata"] for band in mosaic.data.bands} == {0}
    assert json.dumps(mosaic.data.bands)


def test_a_mosaic_tells_what_was_done_and_keeps_what_the_scene_tells(tmp_path: Path) -> None:
    scene = edited(write_scene(tmp_path / "a.tif", U8, photometric="rgb"), described)
    mosaic = make_mosaic(configure(scene, tmp_path / "run"), brighten)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        assert dataset.tags()["AERIAL_DEBLUR_RUN_ID"] == "0123456789ab"
        assert dataset.tags()["flight"] == "7 < 8 & more"
        pixels = dataset.read()
        for band in (1, 2, 3):
            told = dataset.tags(band)
            # The input's statistics are those of other pixels.
            assert float(told["STATISTICS_MAXIMUM"]) == pixels[band - 1].max()
            assert float(told["STATISTICS_MINIMUM"]) == pixels[band - 1].min()
            assert float(told["STATISTICS_MEAN"]) == pytest.approx(pixels[band - 1].mean())
            assert float(told["STATISTICS_STDDEV"]) == pytest.approx(pixels[band - 1].std())
            assert told["STATISTICS_VALID_PERCENT"] == "100"
        assert dataset.tags(2)["filter"] == "green"


def test_a_large_mosaic_has_overviews_that_are_means(tmp_path: Path) -> None:
    tall = np.tile(U8, (1, 5, 4))
    scene = write_scene(tmp_path / "a.tif", tall, photometric="rgb")
    mosaic = make_mosaic(configure(scene, tmp_path / "run", read={"core": 256}))
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        assert dataset.overviews(1) == [2]
        assert dataset.block_shapes[0] == (512, 512)
    with rasterio.open(tmp_path / "run" / mosaic.data.path, OVERVIEW_LEVEL=0) as half:
        got = half.read(1).astype(int)
    wanted = tall[0].reshape(tall.shape[1] // 2, 2, tall.shape[2] // 2, 2).mean(axis=(1, 3))
    assert np.abs(got - wanted).max() <= 0.5
    assert is_valid_cog(tmp_path / "run" / mosaic.data.path)
    assert is_valid_cog(tmp_path / "run" / mosaic.status.path)


def as_vrt(folder: Path) -> Path:
    return as_driver(write_scene(folder / "a.tif", picture(bands=4)), folder / "a.vrt", "VRT")


def rewritten(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def mixed_types(folder: Path) -> Path:
    return rewritten(as_vrt(folder), 'Byte" band="4"', 'Float32" band="4"')


def mixed_nodata(folder: Path) -> Path:
    return rewritten(as_vrt(folder), 'band="1">', 'band="1"><NoDataValue>7</NoDataValue>')


def unwritable_crs(folder: Path) -> Path:
    pole = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=70 +lon_0=-170 +ellps=WGS84"
    place = Affine(1e-4, 0, 10, 0, -1e-4, 50)
    return write_scene(folder / "a.tif", U8, crs=pole, transform=place)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (mixed_types, r"several types, \['float32', 'uint8'\].*mosaic\.write"),
        (mixed_nodata, r"cannot keep .*nodata of each band.*mosaic\.write"),
        (unwritable_crs, r"cannot keep .*CRS.*mosaic\.write"),
    ],
)
def test_what_no_geotiff_can_hold_is_a_reject(
    make: Callable[[Path], Path], wanted: str, tmp_path: Path
) -> None:
    [mosaic] = make_mosaics(configure(make(tmp_path), tmp_path / "run"))
    assert isinstance(mosaic, Rejected)
    assert (mosaic.key, mosaic.scene, mosaic.stage) == (mosaic.scene, mosaic.scene, "mosaic")
    assert re.search(wanted, mosaic.message), mosaic.message
    assert not list((tmp_path / "run" / "mosaics").iterdir())


def told_by_gdal(path: Path) -> dict[str, Any]:
    """Return what the command of another GDAL tells of a file's place and bands."""
    command = ["gdalinfo", "-json", "-checksum", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    place = ("size", "coordinateSystem", "geoTransform", "gcps", "cornerCoordinates")
    meaning = ("type", "colorInterpretation", "noDataValue", "description", "checksum", "unit")
    bands = [{name: band.get(name) for name in meaning} for band in told["bands"]]
    masks = [band.get("mask", {}).get("flags") for band in told["bands"]]
    return {name: told.get(name) for name in place} | {"bands": bands, "masks": masks}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's commands are not installed")
@pytest.mark.parametrize(
    "geotiff",
    # Older commands know no int8, and decode JPEG otherwise.
    sorted(set(GEOTIFFS) - {"int8", "JPEG inside"}),
    indirect=True,
)
def test_gdalinfo_tells_the_same_of_both_files(geotiff: Path, tmp_path: Path) -> None:
    mosaic = make_mosaic(configure(geotiff, tmp_path / "run", read=read_section(geotiff)))
    assert told_by_gdal(geotiff) == told_by_gdal(tmp_path / "run" / mosaic.data.path)


def real_scenes() -> list[Path]:
    """Return a picture of every kind that there is, and nothing where there are none."""
    patterns = (
        "scenes_geotiff/**/*.tif",
        "scenes_nepal/predict/**/*19.tif",
        "world_file/*.jpg",
        "vehicles_munich/MOS74.png",
    )
    return sorted(path for pattern in patterns for path in DATA.glob(pattern))


@pytest.mark.slow
def test_real_scenes_stay_the_same_files(tmp_path: Path) -> None:
    scenes = real_scenes()
    if not scenes:
        pytest.skip("no real pictures beside the project")
    assert len(scenes) > 8
    for path in scenes:
        # The CRS of the picture with a world file lies in a file that GDAL does not know.
        crs = {"crs": "pixels"} if path.parent.name == "world_file" else {}
        config = configure(path, tmp_path / "run", read={"core": 512}, input=crs)
        mosaic = make_mosaic(config)
        assert_same(path, tmp_path / "run" / mosaic.data.path)
        assert is_valid_cog(tmp_path / "run" / mosaic.data.path)


def write_tiles(folder: Path) -> Path:
    """Write map tiles of zoom level 18; one of the four is missing."""
    for number, (x, y) in enumerate([(100, 200), (101, 200), (100, 201)]):
        image = textured(256, 256, number)
        path = folder / "18" / str(x) / f"{y}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), image[..., ::-1])
    return folder


def test_a_folder_of_map_tiles_becomes_one_file(tmp_path: Path) -> None:
    tiles = write_tiles(tmp_path / "tiles")
    mosaic = make_mosaic(configure(tiles, tmp_path / "run", read={"core": 256}), brighten)
    assert (mosaic.counts["deblurred"], mosaic.counts["empty"]) == (3, 1)
    with rasterio.open(tmp_path / "run" / mosaic.data.path) as dataset:
        assert (dataset.crs, dataset.shape) == ("EPSG:3857", (512, 512))
        got, valid = dataset.read([1, 2, 3]), dataset.read_masks(1) > 0
    assert valid[:256].all()
    assert valid[256:, :256].all()
    assert not valid[256:, 256:].any()
    wanted = textured(256, 256, 1).clip(0, 245).transpose(2, 0, 1) + 10
    assert np.array_equal(got[:, :256, 256:], wanted)


def test_mbtiles_become_a_file(tmp_path: Path) -> None:
    place = Affine(1.194328566955879, 0, 1_000_000, 0, -1.194328566955879, 6_000_000)
    source = write_scene(
        tmp_path / "a.tif", np.tile(U8, (1, 3, 3)), crs="EPSG:3857", transform=place
    )
    scene = as_driver(source, tmp_path / "a.mbtiles", "MBTiles", TILE_FORMAT="PNG")
    mosaic = make_mosaic(configure(scene, tmp_path / "run", read={"core": 512}))
    assert mosaic.counts["deblurred"] > 0
    assert_same(scene, tmp_path / "run" / mosaic.data.path)


def hinder(monkeypatch: pytest.MonkeyPatch, happen: Callable[[], None]) -> None:
    """Let something happen when a scene was read once, and is about to be copied."""
    copy = scene_mosaic.copy_to_cog

    def hindered(*arguments: Any, **named: Any) -> None:
        happen()
        copy(*arguments, **named)

    monkeypatch.setattr(scene_mosaic, "copy_to_cog", hindered)


def assemble_from_scene(config: RunConfig) -> Mosaic | Rejected:
    """Make the mosaic of a scene without a deblurred core: its pixels are the scene's."""
    [scene], _ = plan_scenes(config)
    return assemble_mosaic(scene, [], config, {}, Workplace.open(config.output))


def unstamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody know when a file was changed, as it is with those of a server."""
    monkeypatch.setattr(scene_mosaic, "check_unchanged", lambda scene: None)


@pytest.mark.parametrize("stamped", [True, False])
def test_a_scene_that_breaks_while_it_is_copied_is_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stamped: bool
) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), compress=None, tiled=False)
    hinder(monkeypatch, lambda: os.truncate(path, 60_000))
    if not stamped:
        unstamp(monkeypatch)
    mosaic = assemble_from_scene(configure(path, tmp_path / "run"))
    assert isinstance(mosaic, Rejected)
    assert (mosaic.key, mosaic.stage) == ("a.tif", "mosaic")
    told = "changed since it was planned" if stamped else "a.tif, band 1"
    assert told in mosaic.message
    assert not list((tmp_path / "run" / "mosaics").iterdir())


def test_a_scene_that_is_replaced_while_it_is_copied_is_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "a.tif", picture(), compress=None)
    other = write_scene(tmp_path / "other.tif", picture(seed=9), compress=None)
    hinder(monkeypatch, lambda: path.write_bytes(other.read_bytes()))
    unstamp(monkeypatch)
    mosaic = assemble_from_scene(configure(path, tmp_path / "run"))
    assert isinstance(mosaic, Rejected)
    assert "a.tif has changed while its mosaic was written" in mosaic.message


def test_a_full_disk_is_no_fault_of_the_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write_scene(tmp_path / "a.tif", picture())
    hinder(monkeypatch, fill)
    with pytest.raises(OSError, match="No space left"):
        assemble_from_scene(configure(path, tmp_path / "run"))
    assert not list((tmp_path / "run" / "mosaics").iterdir())
