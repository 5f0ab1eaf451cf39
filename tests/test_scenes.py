"""Scenes: inputs and names, headers, files that are none, georeferencing, windows."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from scenes import CRS, DATA, ORIGIN, textured, transform_of, write_picture, write_scene

from configs.schema import BlurConfig, InputConfig, ReadConfig, RunConfig, Stretch
from transforms.functional.windows import Rectangle
from transforms.records import Blur, Scene
from transforms.scenes import (
    SceneError,
    expand_inputs,
    name_scenes,
    open_scene,
    plan_scenes,
    plan_windows,
)

READ = ReadConfig(core=64, halo=32)
GREY = np.full((1, 40, 50), 7, np.uint8)


def bands(count: int) -> np.ndarray:
    return np.repeat(GREY, count, axis=0)


def open_it(path: Path, config: ReadConfig = READ) -> Scene:
    return open_scene(path.name, str(path), config)


def test_inputs_are_sorted_and_unique(tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.tif").mkdir()
    patterns = [f"{tmp_path}/*.tif", f"{tmp_path}/./a.tif", f"{tmp_path}/missing.tif"]
    names = [os.path.basename(path) for path in expand_inputs(patterns)]
    assert names == ["a.tif", "b.tif", "missing.tif"]


def test_two_stars_search_all_folders(tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "a.tif").touch()
    assert len(expand_inputs([f"{tmp_path}/**/*.tif"])) == 1


def test_a_pattern_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file matches '.*/\*\.jp2'"):
        expand_inputs([f"{tmp_path}/*.jp2"])


def test_a_path_with_brackets_that_exists_is_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "flight[1].tif").touch()
    assert len(expand_inputs([f"{tmp_path}/flight[1].tif"])) == 1


def test_addresses_are_left_as_they_are() -> None:
    assert expand_inputs(["s3://maps//a.tif", "https://a.b/c.tif?x=[1]"]) == [
        "https://a.b/c.tif?x=[1]",
        "s3://maps//a.tif",
    ]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/x/a.tif"], ["a.tif"]),
        (["/x/1/a.tif", "/x/2/a.tif", "/x/2/b.tif"], ["1/a.tif", "2/a.tif", "b.tif"]),
        (["/x/a.tif", "/x/y/a.tif"], ["a.tif", "y/a.tif"]),
        (["day:1.tif"], ["day_1.tif"]),
        (["day:1.tif", "day_1.tif"], ["day_1.tif", "day_1.tif~2"]),
        (["s3://one/a.tif", "s3://two/a.tif"], ["one/a.tif", "two/a.tif"]),
        (["a/x.tif", "ab/x.tif"], ["a/x.tif", "ab/x.tif"]),
    ],
)
def test_names_are_short_and_unique(paths: list[str], names: list[str]) -> None:
    assert name_scenes(paths) == names


def test_a_header_is_read(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(70, 90, seed=0)))
    assert (scene.height, scene.width, scene.bands, scene.dtype) == (70, 90, (1, 2, 3), "uint8")
    assert scene.crs == CRS
    assert scene.transform == tuple(transform_of())[:6]
    assert scene.transform[2::3] == ORIGIN


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


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="does not exist"):
        open_it(tmp_path / "a.tif")


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(SceneError, match=r"is empty \(0 bytes\)"):
        open_it(tmp_path / "a.tif")


def test_a_folder_is_said_to_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"is a folder: name its pictures, such as .*\*\.tif"):
        open_it(tmp_path)


def test_text_is_no_raster(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("not a picture at all, only words\n" * 40)
    with pytest.raises(SceneError, match="no raster that GDAL can open"):
        open_it(tmp_path / "a.tif")


def test_a_header_that_is_cut_off_is_found_on_opening(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", textured(300, 300, seed=0))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SceneError, match="its header is cut off"):
        open_it(path)


def test_an_unreadable_scene_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.tif", textured(64, 64, seed=0))
    (tmp_path / "bad.tif").touch()
    scenes, rejected = plan_scenes(
        RunConfig(input=InputConfig(scenes=(f"{tmp_path}/*.tif",)), read=READ)
    )
    assert [scene.name for scene in scenes] == ["good.tif"]
    (reject,) = rejected
    assert (reject.key, reject.scene, reject.stage) == ("bad.tif", "bad.tif", "open")
    assert (reject.exception, "0 bytes" in reject.message) == ("SceneError", True)


def test_a_run_without_scenes_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"input\.scenes is empty"):
        plan_scenes(RunConfig())


def test_without_a_crs_the_transform_is_the_identity(tmp_path: Path) -> None:
    scene = open_it(write_scene(tmp_path / "a.tif", GREY, crs=None))
    assert scene.crs is None
    assert scene.transform == (1, 0, 0, 0, 1, 0)


def test_a_crs_without_a_transform_is_of_no_use(tmp_path: Path) -> None:
    scene = open_it(write_scene(tmp_path / "a.tif", GREY, transform=Affine.identity()))
    assert scene.crs is None


def test_ground_control_points_alone_are_no_crs(tmp_path: Path) -> None:
    points = [
        rasterio.control.GroundControlPoint(row, col, 9 + col / 1e5, 50 - row / 1e5)
        for row, col in [(0, 0), (0, 50), (40, 0)]
    ]
    path = write_scene(tmp_path / "a.tif", GREY, crs="EPSG:4326", transform=None, gcps=points)
    with rasterio.open(path) as dataset:
        assert len(dataset.gcps[0]) == 3
    assert open_it(path).crs is None


@pytest.mark.parametrize("crs", ["EPSG:28992", "EPSG:4326", "EPSG:2263", "EPSG:3857"])
def test_an_exact_crs_is_named_by_its_code(tmp_path: Path, crs: str) -> None:
    assert open_it(write_scene(tmp_path / "a.tif", GREY, crs=crs)).crs == crs


def test_a_crs_with_no_code_stays_wkt(tmp_path: Path) -> None:
    proj = "+proj=tmerc +lat_0=51 +lon_0=10.3 +k=1 +x_0=1234 +y_0=0 +ellps=GRS80 +units=m"
    crs = open_it(write_scene(tmp_path / "a.tif", GREY, crs=proj)).crs
    assert crs is not None
    assert crs.startswith("PROJCS[")


def test_a_world_file_gives_a_transform_but_no_crs(tmp_path: Path) -> None:
    path = write_scene(
        tmp_path / "a.jpg", bands(3), crs=None, driver="JPEG", tiled=False, compress=None
    )
    path.with_suffix(".jgw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")
    scene = open_it(path)
    assert scene.crs is None
    assert scene.transform == (0.5, 0, 1000, 0, -0.5, 2000)


def test_windows_are_cores_with_a_halo_inside_the_scene(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(100, 130, seed=0)))
    windows = list(plan_windows(scene, READ))
    assert sum(window.core.area for window in windows) == 100 * 130
    assert windows[0].read == Rectangle(0, 0, 96, 96)
    assert windows[-1].core == Rectangle(128, 64, 2, 36)
    assert windows[-1].read == Rectangle(96, 32, 34, 68)
    assert {window.blur for window in windows} == {None}


def test_every_core_meets_every_length_with_every_angle_once(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(64, 128, seed=0)))
    blur = BlurConfig(lengths=(7, 15, 7), angles=(0, 90))
    windows = list(plan_windows(scene, ReadConfig(core=64, blur=blur)))
    assert [window.blur for window in windows[:4]] == [
        Blur(7, 0),
        Blur(7, 90),
        Blur(15, 0),
        Blur(15, 90),
    ]
    assert len({window.key for window in windows}) == len(windows) == 8


def test_a_severity_is_planned_as_its_rung_of_the_ladder(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(64, 64, seed=0)))
    windows = list(plan_windows(scene, ReadConfig(core=64, blur=BlurConfig(severities=(5, 1, 5)))))
    angles = (0, 45, 90, 135)
    wanted = [Blur(21, angle, 5) for angle in angles] + [Blur(4, angle, 1) for angle in angles]
    assert [window.blur for window in windows] == wanted
    assert windows[1].key == "a.tif:0,0:21@45"


@pytest.mark.parametrize(
    ("pattern", "crs", "gsd"),
    [
        ("scenes_geotiff/OSBS_029.tif", "EPSG:32617", 0.1),
        ("scenes_geotiff/deepforest_test_tiled_rdnew_25cm.tif", "EPSG:28992", 0.25),
        ("scenes_geotiff/ign_bdortho_20cm.tif", "PROJCS", 0.2),
        ("scenes_geotiff/naip_nd_5m/*.tif", "EPSG:26914", 5.0),
        ("scenes_geotiff/riotiler_pix4d_alpha_35cm.tif", "EPSG:32750", 0.35272),
        ("scenes_nepal/predict/oam/*.tif", "EPSG:4326", 1.341104507446289e-06),
    ],
)
def test_real_scenes_come_with_their_crs(pattern: str, crs: str, gsd: float) -> None:
    if not DATA.is_dir():
        pytest.skip(f"no pictures in {DATA}")
    scenes, rejected = plan_scenes(RunConfig(input=InputConfig(scenes=(f"{DATA}/{pattern}",))))
    assert not rejected
    for scene in scenes:
        assert str(scene.crs).startswith(crs)
        assert scene.transform[0] == pytest.approx(gsd)
        assert scene.bands == (1, 2, 3)


def test_the_real_world_file_is_found() -> None:
    path = DATA / "world_file" / "autzen.jpg"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    scene = open_it(path)
    assert scene.crs is None
    assert scene.transform[2] == pytest.approx(635615.4278659122)
