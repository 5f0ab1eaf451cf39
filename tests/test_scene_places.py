"""Where scenes lie: CRS and transform of file, catalogue and config, and contradictions."""

from pathlib import Path

import numpy as np
import pyproj
import pytest
import rasterio
from opened import open_it, read_all
from rasterio.transform import Affine
from scenes import CRS, DATA, textured, write_picture, write_scene

from configs.schema import InputConfig, RunConfig
from transforms.headers import open_scene
from transforms.records import Source
from transforms.scene_checks import SceneError
from transforms.scene_places import read_crs
from transforms.scenes import plan_scenes

GREY = np.full((1, 40, 50), 7, np.uint8)
UTM = (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_800_000.0)
DEGREES = (1e-5, 0.0, 9.0, 0.0, -1e-5, 50.0)


def bands(count: int) -> np.ndarray:
    return np.repeat(GREY, count, axis=0)


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
    place = Affine(*DEGREES if crs == "EPSG:4326" else UTM)
    assert open_it(write_scene(tmp_path / "a.tif", GREY, crs=crs, transform=place)).crs == crs


def test_a_crs_with_no_code_stays_wkt(tmp_path: Path) -> None:
    proj = "+proj=tmerc +lat_0=51 +lon_0=10.3 +k=1 +x_0=1234 +y_0=0 +ellps=GRS80 +units=m"
    crs = open_it(write_scene(tmp_path / "a.tif", GREY, crs=proj)).crs
    assert crs is not None
    assert crs.startswith("PROJCS[")


WORLD = "0.5\n0\n0\n-0.5\n500000.25\n5799999.75\n"


def write_jpeg(path: Path, world: str | None = WORLD) -> Path:
    write_scene(path, bands(3), crs=None, driver="JPEG", tiled=False, compress=None)
    if world is not None:
        path.with_suffix(".jgw").write_text(world)
    return path


def test_coordinates_without_a_crs_are_a_reject_with_the_remedy(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    with pytest.raises(SceneError, match=r"no CRS: declare it as input\.crs .*input\.crs: pixels"):
        open_it(path)


def test_a_declared_crs_goes_with_the_coordinates_of_the_file(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    scene = open_it(path, crs="EPSG:32632")
    assert (scene.crs, scene.transform) == ("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, 5_800_000))


def test_a_crs_of_pixels_takes_the_coordinates_away(tmp_path: Path) -> None:
    scene = open_it(write_jpeg(tmp_path / "a.jpg"), crs="pixels")
    assert (scene.crs, scene.transform) == (None, (1, 0, 0, 0, 1, 0))


def test_a_declared_crs_is_for_files_that_declare_none(tmp_path: Path) -> None:
    assert open_it(write_scene(tmp_path / "a.tif", GREY), crs="EPSG:4326").crs == CRS
    assert open_it(write_scene(tmp_path / "b.tif", GREY, crs=None), crs="EPSG:4326").crs is None


def test_a_catalogue_comes_before_the_config(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg")
    config = RunConfig(input=InputConfig(crs="EPSG:32633"))
    assert open_scene(Source("a", str(path), crs="EPSG:25832"), config).crs == "EPSG:25832"
    with pytest.raises(SceneError, match="its catalogue gives no usable CRS"):
        open_scene(Source("a", str(path), crs="EPSG:none"), config)


@pytest.mark.parametrize("suffix", [".wkt", ".prj"])
def test_a_crs_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    version = "WKT1_ESRI" if suffix == ".prj" else "WKT2_2019"
    path.write_text(pyproj.CRS("EPSG:25832").to_wkt(version), encoding="utf-8")
    crs = read_crs(str(path))
    assert crs is not None
    assert pyproj.CRS(crs).is_exact_same(pyproj.CRS("EPSG:25832")) or pyproj.CRS(crs).equals(
        pyproj.CRS("EPSG:25832"), ignore_axis_order=True
    )


@pytest.mark.parametrize("crs", ["EPSG:999999", "nonsense", "missing.wkt", ""])
def test_what_is_no_crs_stops_the_run(tmp_path: Path, crs: str) -> None:
    write_scene(tmp_path / "a.tif", GREY)
    config = RunConfig(input=InputConfig(scenes=(f"{tmp_path}/a.tif",), crs=crs))
    with pytest.raises(ValueError, match="a CRS must be a code such as EPSG:32632"):
        plan_scenes(config)


@pytest.mark.parametrize(
    ("crs", "transform", "message"),
    [
        ("EPSG:4326", UTM, "WGS 84 is in degrees, and the scene lies at x 500000 to"),
        ("EPSG:32632", DEGREES, "UTM zone 32N is not in degrees, and the scene lies at x 9 to"),
        ("EPSG:3035", (1e12, 0, 1e15, 0, -1e12, 1e15), "has no place on earth"),
        ("EPSG:4326", (1e-5, 0.0, 9.0, 0.0, -1e-5, 90.5), "WGS 84 is in degrees"),
        ("EPSG:4326", (1e-5, 0.0, 361.0, 0.0, -1e-5, 50), "WGS 84 is in degrees"),
    ],
)
def test_a_crs_that_cannot_be_is_contradictory(
    tmp_path: Path, crs: str, transform: tuple[float, ...], message: str
) -> None:
    path = write_scene(tmp_path / "a.tif", GREY, crs=crs, transform=Affine(*transform))
    with pytest.raises(SceneError, match=rf"{message}.*gdal_edit"):
        open_it(path)


TURNED = Affine(0.17, 0.1, 600_000, 0.1, -0.17, 5_800_000)
POLE = Affine(10, 0, -200, 0, -10, 200)
DATE_LINE = Affine(1e-5, 0, 179.9998, 0, -1e-5, -17)
FIJI = Affine(1, 0, 825_000, 0, -1, 8_100_000)
BRITISH = Affine(0.25, 0, 400_000, 0, -0.25, 300_000)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", TURNED),
        ("EPSG:3995", POLE),
        ("EPSG:3031", POLE),
        ("EPSG:4326", DATE_LINE),
        ("EPSG:32760", FIJI),
        ("EPSG:2263", Affine(1, 0, 980_000, 0, -1, 200_000)),
        ("EPSG:27700", BRITISH),
        ("EPSG:3857", Affine(0.3, 0, 1e6, 0, -0.3, 6e6)),
    ],
    ids=["turned", "north pole", "south pole", "date line", "fiji", "feet", "britain", "web"],
)
def test_odd_places_are_planned_and_read(tmp_path: Path, crs: str, transform: Affine) -> None:
    image = textured(40, 50, seed=0)
    path = write_picture(tmp_path / "a.tif", image, crs=crs, transform=transform)
    scene = open_it(path)
    assert (scene.crs, scene.transform) == (crs, tuple(transform)[:6])
    pixels, valid = read_all(path)
    assert np.array_equal(pixels, image)
    assert valid.all()


def test_a_local_crs_that_knows_no_earth_is_taken_as_it_is(tmp_path: Path) -> None:
    crs = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    path = write_scene(tmp_path / "a.tif", GREY, crs=crs, transform=Affine(0.1, 0, 5, 0, -0.1, 5))
    assert "site" in str(open_it(path).crs)


def test_a_world_file_that_contradicts_the_file_is_an_error(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", GREY, transform=Affine(*UTM))
    sidecar = tmp_path / "a.tfw"
    sidecar.write_text(WORLD)
    assert open_it(path).transform == UTM
    # Half a pixel off: centres and corners are often confused.
    sidecar.write_text("0.5\n0\n0\n-0.5\n500000\n5800000\n")
    assert open_it(path).transform == UTM
    sidecar.write_text("0.5\n0\n0\n-0.5\n500002\n5800000\n")
    with pytest.raises(SceneError, match=r"a\.tfw gives the transform .* delete the one"):
        open_it(path)
    sidecar.write_text("no numbers")
    assert open_it(path).transform == UTM


def write_aux(path: Path, transform: tuple[float, ...] | None, crs: str | None) -> None:
    """Write what GDAL would say of a file beside it."""
    a, b, c, d, e, f = transform or (0,) * 6
    said = f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>" if transform else ""
    srs = f"<SRS>{pyproj.CRS(crs).to_wkt()}</SRS>".replace('"', "&quot;") if crs else ""
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{srs}{said}</PAMDataset>")


def test_an_aux_file_that_contradicts_the_file_is_an_error(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", GREY, transform=Affine(*UTM))
    write_aux(path, UTM, CRS)
    assert open_it(path).transform == UTM
    write_aux(path, None, None)
    assert open_it(path).transform == UTM
    write_aux(path, (*UTM[:2], 500_100.0, *UTM[3:]), CRS)
    with rasterio.open(path) as dataset:
        assert dataset.transform[2] == 500_100
    with pytest.raises(SceneError, match=r"a\.tif\.aux\.xml gives another transform than the file"):
        open_it(path)
    write_aux(path, UTM, "EPSG:32633")
    with pytest.raises(SceneError, match="gives another CRS than the file itself: delete"):
        open_it(path)


def test_an_aux_file_gives_the_place_that_the_file_lacks(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg", world=None)
    write_aux(path, UTM, CRS)
    scene = open_it(path)
    assert (scene.crs, scene.transform) == (CRS, UTM)


def test_a_world_file_that_gdal_does_not_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    write_scene(path, bands(3), crs=None, driver="WEBP", tiled=False, compress=None)
    sidecar = tmp_path / "a.wld"
    sidecar.write_text("no numbers")
    assert open_it(path).crs is None
    sidecar.write_text(WORLD)
    with pytest.raises(SceneError, match=r"no world file of WEBP, and .*a\.wld.*to GeoTIFF"):
        open_it(path, crs=CRS)
    assert open_it(path, crs="pixels").crs is None


def test_a_transform_that_cannot_be_inverted_is_refused(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", GREY, transform=Affine(0, 0, 9, 0, 0, 50))
    with pytest.raises(SceneError, match="cannot be inverted"):
        open_it(path)


def test_the_real_world_file_and_its_crs_are_read() -> None:
    folder = DATA / "world_file"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    scene = open_it(folder / "autzen.jpg", crs=str(folder / "autzen-srs.wkt"))
    assert scene.transform[2] == pytest.approx(635615.4278659122)
    assert "Lambert" in str(scene.crs)
