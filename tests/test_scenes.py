"""Scenes: headers, files that are none, cameras, areas of interest, windows and their groups."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from opened import open_it
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from rasterio.transform import Affine
from scenes import CRS, DATA, ORIGIN, textured, transform_of, write_labels, write_picture

from configs.schema import BlurConfig, InputConfig, ReadConfig, RunConfig
from transforms.aoi import open_aoi
from transforms.functional.windows import Rectangle
from transforms.headers import open_scene
from transforms.records import Blur, Source, Window
from transforms.scene_checks import SceneError
from transforms.scenes import plan_groups, plan_scenes, plan_windows

READ = ReadConfig(core=64, halo=32)
PICTURE = textured(200, 300, seed=4)


def test_a_header_is_read(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(70, 90, seed=0)))
    assert (scene.height, scene.width, scene.bands, scene.dtype) == (70, 90, (1, 2, 3), "uint8")
    assert scene.crs == CRS
    assert scene.transform == tuple(transform_of())[:6]
    assert scene.transform[2::3] == ORIGIN


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


def test_windows_are_cores_with_a_halo_inside_the_scene(tmp_path: Path) -> None:
    scene = open_it(write_picture(tmp_path / "a.tif", textured(100, 130, seed=0)))
    windows = list(plan_windows(scene, READ))
    assert sum(window.core.area for window in windows) == 100 * 130
    assert windows[0].read == Rectangle(0, 0, 96, 96)
    assert windows[-1].core == Rectangle(128, 64, 2, 36)
    assert windows[-1].read == Rectangle(96, 32, 34, 68)
    assert {window.blur for window in windows} == {None}


def test_the_area_of_interest_leaves_out_windows_and_rejects_scenes(tmp_path: Path) -> None:
    write_picture(tmp_path / "near.tif", PICTURE)
    a, b, c, *rest = tuple(transform_of())[:6]
    write_picture(tmp_path / "far.tif", PICTURE, transform=Affine(a, b, c + 9000, *rest))
    write_picture(tmp_path / "nowhere.tif", PICTURE, crs=None)
    box = np.array([[[70, 70], [120, 70], [120, 100], [70, 100]]])
    area = write_labels(tmp_path / "area.geojson", box, ["here"])
    given = InputConfig(scenes=(f"{tmp_path}/*.tif",), aoi=area)
    scenes, rejected = plan_scenes(RunConfig(input=given, read=READ))
    assert [scene.name for scene in scenes] == ["near.tif"]
    assert [reject.scene for reject in rejected] == ["far.tif", "nowhere.tif"]
    assert "outside of input.aoi" in rejected[0].message
    assert {reject.exception for reject in rejected} == {"SceneError"}
    windows = list(plan_windows(scenes[0], READ, open_aoi(area)))
    assert [window.core for window in windows] == [Rectangle(64, 64, 64, 64)]


def groups_of(path: Path, read: ReadConfig) -> list[tuple[Window, ...]]:
    scene = open_it(path, read)
    groups = list(plan_groups(scene, read))
    assert [window for group in groups for window in group] == list(plan_windows(scene, read))
    return groups


def test_windows_of_a_tiled_scene_are_groups_of_one(tmp_path: Path) -> None:
    groups = groups_of(write_picture(tmp_path / "a.tif", PICTURE), READ)
    assert [len(group) for group in groups] == [1] * 20


def test_windows_in_the_same_rows_of_strips_are_one_group(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, tiled=False)
    assert open_it(path, READ).sequential
    groups = groups_of(path, READ.model_copy(update={"blur": BlurConfig(lengths=(5, 9))}))
    assert [len(group) for group in groups] == [5] * 8
    for group in groups:
        assert len({(window.core.row_off, window.blur) for window in group}) == 1


def test_strips_no_wider_than_a_window_are_not_sequential(tmp_path: Path) -> None:
    strips = write_picture(tmp_path / "a.tif", PICTURE[:, :128], tiled=False)
    assert not open_it(strips, READ).sequential
    assert open_it(strips, ReadConfig(core=64, halo=0)).sequential
    # A picture is decoded from its top, however narrow it is.
    Image.fromarray(PICTURE[:, :100]).save(tmp_path / "b.png")
    assert open_it(tmp_path / "b.png", READ).sequential
    assert not open_it(tmp_path / "b.png", ReadConfig()).sequential


def test_a_scene_is_small_in_a_pickle(tmp_path: Path) -> None:
    proj = "+proj=tmerc +lat_0=51 +lon_0=10.3 +k=1 +x_0=1234 +y_0=0 +ellps=GRS80 +units=m"
    scene = open_it(write_picture(tmp_path / "a.tif", PICTURE, crs=proj), READ)
    window = next(plan_windows(scene, READ))
    assert len(pickle.dumps(window)) < 2500
    assert pickle.loads(pickle.dumps(window)) == window


def write_photo(path: Path, *, orientation: int = 1, gps: bool = True) -> Path:
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    if gps:
        exif.get_ifd(IFD.GPSInfo).update(
            {
                GPS.GPSLatitudeRef: "N",
                GPS.GPSLatitude: (52.0, 30.0, 36.0),
                GPS.GPSLongitudeRef: "E",
                GPS.GPSLongitude: (13.0, 24.0, 0.0),
                GPS.GPSDateStamp: "2026:05:01",
                GPS.GPSTimeStamp: (9.0, 30.0, 0.0),
            }
        )
    Image.fromarray(PICTURE).save(path, exif=exif, quality=95)
    return path


def test_a_picture_of_a_camera_has_a_position_and_no_grid(tmp_path: Path) -> None:
    scene = open_it(write_photo(tmp_path / "a.jpg", orientation=6), geometry="camera")
    assert scene.camera is not None
    assert (scene.camera.longitude, scene.camera.latitude) == pytest.approx((13.4, 52.51))
    assert scene.camera.sequence == str(tmp_path)
    assert scene.time == "2026-05-01T09:30:00Z"
    assert (scene.crs, scene.transform) == (None, (1, 0, 0, 0, 1, 0))
    assert (scene.height, scene.width, scene.orientation) == (300, 200, 6)


def test_on_a_grid_orientation_is_not_applied(tmp_path: Path) -> None:
    scene = open_it(write_photo(tmp_path / "a.jpg", orientation=6))
    assert (scene.height, scene.width, scene.orientation, scene.camera) == (200, 300, 1, None)


def test_a_picture_of_a_camera_without_a_position_is_a_reject(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.jpg", gps=False)
    with pytest.raises(SceneError, match=r"add GPS to its EXIF, or take input\.geometry"):
        open_it(path, geometry="camera")


def test_a_picture_of_a_camera_has_no_gsd() -> None:
    config = RunConfig(input=InputConfig(geometry="camera"), read=ReadConfig(gsd=0.1))
    with pytest.raises(ValueError, match="leave one of the two out"):
        plan_scenes(config)


def test_groups_of_a_turned_picture_are_rows_of_its_file(tmp_path: Path) -> None:
    path = write_photo(tmp_path / "a.jpg", orientation=6)
    scene = open_it(path, READ, geometry="camera")
    assert scene.sequential
    groups = list(plan_groups(scene, READ))
    assert [{window.core.col_off for window in group} for group in groups] == [
        {0},
        {64},
        {128},
        {192},
    ]


def test_a_file_that_is_named_otherwise_than_it_is_opens_all_the_same(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE).rename(tmp_path / "a.jpg")
    assert open_it(path).crs == CRS


def test_drivers_that_are_not_named_open_nothing(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    with pytest.raises(SceneError, match="no raster that GDAL can open"):
        open_it(path, drivers=("PNG", "VRT"))
    with pytest.raises(SceneError):
        open_it(path, drivers=("VRT",))


def write_vrt(path: Path, source: str) -> Path:
    path.write_text(
        '<VRTDataset rasterXSize="300" rasterYSize="200">'
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def test_a_vrt_of_files_beside_it_is_a_scene(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.tif", PICTURE)
    scene = open_it(write_vrt(tmp_path / "a.vrt", "a.tif"))
    assert (scene.height, scene.width, scene.bands) == (200, 300, (1,))


@pytest.mark.parametrize("name", ["a.vrt", "a.tif"])
def test_a_vrt_that_leads_out_of_its_folder_is_refused_whatever_its_name(
    tmp_path: Path, name: str
) -> None:
    write_picture(tmp_path / "secret.tif", PICTURE)
    (tmp_path / "in").mkdir()
    path = write_vrt(tmp_path / "in" / name, "../secret.tif")
    with pytest.raises(SceneError, match=r"input\.roots"):
        open_it(path)
    assert open_it(path, roots=(str(tmp_path),)).width == 300


@pytest.mark.parametrize("name", ["/vsicurl/http://localhost/a.tif", "/vsizip/a.zip/a.tif"])
def test_names_that_make_gdal_do_more_than_open_a_file_are_refused(name: str) -> None:
    config = RunConfig(input=InputConfig(scenes=("unused",)))
    with pytest.raises(SceneError, match=r"/vsi"):
        open_scene(Source("a", name), config)


def test_a_crs_that_nobody_understands_is_a_reject(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE, crs=None)
    earth = 'DATUM["odd",SPHEROID["odd",6378137,0]],PRIMEM["x",0],UNIT["degree",0.01745329]'
    text = f'PROJCS["odd",GEOGCS["odd",{earth}],PROJECTION["Nobody_Knows"],UNIT["metre",1]]'
    place = "<GeoTransform>5e5, 0.5, 0, 5.8e6, 0, -0.5</GeoTransform>"
    srs = text.replace('"', "&quot;")
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset><SRS>{srs}</SRS>{place}</PAMDataset>")
    config = RunConfig(input=InputConfig(scenes=(str(path),)))
    scenes, rejected = plan_scenes(config)
    assert not scenes
    assert "its CRS cannot be understood" in rejected[0].message


def test_a_scene_knows_what_its_file_was(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", PICTURE)
    scene = open_it(path)
    assert (scene.size, scene.version) == (path.stat().st_size, str(path.stat().st_mtime_ns))


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
