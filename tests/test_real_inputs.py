"""Every real picture runs, aerial and street, and lies where another reader says it does."""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import rasterio
import shapely
from PIL import Image
from PIL.ExifTags import GPS, IFD
from rasterio.errors import NotGeoreferencedWarning
from scenes import DATA
from stub_networks import use_stubs

from configs.load import validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.manifest import ExitCode
from pipeline.run import run
from transforms.parquet import read_rows
from transforms.tables import REJECTED, TILES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("stubs"),
    pytest.mark.skipif(not DATA.exists(), reason="the real pictures are not beside the project"),
]

SUFFIXES = (".tif", ".jpg", ".png")
SETTINGS: dict[str, dict[str, Any]] = {
    "real_soft": {},
    "scenes_geotiff": {},
    "scenes_nepal": {},
    "sharp_texture": {},
    "street": {"geometry": "camera"},
    "vehicles_minsk": {},
    "vehicles_munich": {},
    "world_file": {"crs": str(DATA / "world_file" / "autzen-srs.wkt")},
}
"""What `input` says of the pictures of each folder, beside where they are."""


@pytest.fixture(scope="module")
def stubs():
    """Let networks do nothing."""
    with pytest.MonkeyPatch.context() as patch:
        use_stubs(patch)
        yield


def pictures(folder: str) -> list[Path]:
    """Return every raster file below a folder of the data."""
    return [p for p in sorted((DATA / folder).rglob("*")) if p.suffix.lower() in SUFFIXES]


def process(
    paths: Sequence[Path], output: Path, given: dict[str, Any], **read: Any
) -> list[dict[str, Any]]:
    """Run the main job over pictures, each cut as little as can be; return its tiles."""
    content = {
        "input": {"scenes": [str(path) for path in paths], **given},
        "read": {"core": 8192, "halo": 0, **read},
        "arms": {"controls": [], "oracle": {"method": "none"}},
        "measure": {"stability": 0, "interval": {"replicates": 0}},
        "engine": {"batch_size": 1},
        "output": str(output),
    }
    assert run(validate(RunConfig, content, source="test")) == ExitCode.OK
    assert list(read_rows(output, REJECTED)) == []
    return list(read_rows(output, TILES))


def test_no_folder_is_left_out():
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == set(SETTINGS)
    assert all(pictures(folder) for folder in SETTINGS)


@pytest.mark.parametrize("folder", SETTINGS)
def test_every_picture_runs_and_lies_where_it_should(folder, tmp_path):
    paths = pictures(folder)
    tiles = process(paths, tmp_path / "run", SETTINGS[folder])
    known = manifest.read(tmp_path / "run")["scenes"]
    assert sorted(scene["path"] for scene in known) == [str(path) for path in paths]
    measured: Counter[str] = Counter()
    for row in tiles:
        assert (row["status"], row["fallback"]) == ("measured", None)
        measured[row["scene"]] += row["width"] * row["height"]
    assert measured == {scene["name"]: scene["width"] * scene["height"] for scene in known}
    witness = camera_of if folder == "street" else bounds_of
    of_scene = {scene["name"]: Path(scene["path"]) for scene in known}
    for row in tiles:
        found, wanted = witness(row, of_scene[row["scene"]])
        assert found == pytest.approx(wanted, rel=1e-9)


def bounds_of(row: dict[str, Any], path: Path) -> tuple[list[float], list[float]]:
    """Return left, bottom, right, top of a row, and what rasterio says of the only tile's file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            bounds, size = dataset.bounds, (dataset.width, dataset.height)
    assert (row["width"], row["height"]) == size
    return sorted([row[side] for side in ("left", "bottom", "right", "top")]), sorted(bounds)


def camera_of(row: dict[str, Any], path: Path) -> tuple[list[float], list[float]]:
    """Return the point of a row, and the position that Pillow reads from the EXIF."""
    with Image.open(path) as picture:
        gps = picture.getexif().get_ifd(IFD.GPSInfo)
    position = []
    for name, reference in (
        (GPS.GPSLongitude, GPS.GPSLongitudeRef),
        (GPS.GPSLatitude, GPS.GPSLatitudeRef),
    ):
        degrees, minutes, seconds = map(float, gps[name])
        sign = -1 if gps[reference] in "WS" else 1
        position.append(sign * (degrees + minutes / 60 + seconds / 3600))
    assert row["sequence"] == str(path.parent)
    point = shapely.from_wkb(row["geometry"])
    return [point.x, point.y], position


def test_near_infrared_is_seen_as_red(tmp_path):
    paths = sorted((DATA / "scenes_geotiff").glob("m_*.tif"))
    tiles = process(paths, tmp_path / "run", {}, bands=[4, 1, 2])
    assert len(tiles) == len(paths) == 2
    [first, second] = manifest.read(tmp_path / "run")["scenes"]
    assert first["bands"] == second["bands"] == [4, 1, 2]


def test_a_real_scene_is_resampled_and_its_boxes_stay_in_pixels_of_the_file(tmp_path):
    path = DATA / "scenes_geotiff" / "deepforest_test_tiled_rdnew_25cm.tif"
    [row] = process([path], tmp_path / "run", {}, gsd=0.5)
    assert (row["width"], row["height"]) == (500, 500)
    found, wanted = bounds_of(row | {"width": 1000, "height": 1000}, path)
    assert found == pytest.approx(wanted, rel=1e-9)
