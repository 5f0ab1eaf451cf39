"""The table of inputs: every row of docs/inputs.md is planned, read, and compared."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio.warp
import yaml
from input_files import make_row
from input_locations import LOCATIONS, STORED
from input_words import BANDS, DTYPES, PLACES, Row
from rasterio.transform import Affine
from secure_server import serving_securely
from stub_networks import STUBS

from configs.load import validate
from configs.schema import RunConfig
from pipeline.direct import detect_windows
from pipeline.planning import Plan, Weights
from transforms.functional.windows import Rectangle
from transforms.georeference import pixels_to_map, rectangle_to_corners, reproject
from transforms.records import DetectedTile, TileRow
from transforms.scenes import plan_scenes

DOCS = Path(__file__).resolve().parents[1] / "docs" / "inputs.md"

TABLE = [
    Row("GTiff, tiled", "uint8", "3", "none", "EPSG", "file"),
    Row("GTiff, tiled", "uint8", "1", "nodata", "WKT", "list"),
    Row("GTiff, tiled", "uint8", "2: grey, alpha", "alpha", "feet", "glob"),
    Row("GTiff, tiled", "uint8", "3", "internal", "rotated", "file"),
    Row("GTiff, tiled", "uint8", "3", ".msk", "degrees", "CSV index"),
    Row("GTiff, tiled", "uint8", "3: marked BGR", "none", "polar", "file"),
    Row("GTiff, tiled", "uint8", "4: RGB, alpha", "alpha", "antimeridian", "file"),
    Row("GTiff, tiled", "uint8", "4: RGB, NIR", "nodata", "EPSG", "GeoParquet index"),
    Row("GTiff, tiled", "uint8", "3", "none", "none", "glob"),
    Row("GTiff, tiled", "uint16", "1", "none", "EPSG", "file"),
    Row("GTiff, tiled", "uint16", "3", "nodata", "degrees", "STAC item"),
    Row("GTiff, tiled", "uint16", "4: RGB, alpha", "alpha", "EPSG", "file"),
    Row("GTiff, tiled", "uint16", "4, by name", "none", "EPSG", "file"),
    Row("GTiff, tiled", "uint16", "5, by number", "nodata", "EPSG", "s3://"),
    Row("GTiff, tiled", "int16", "1", "nodata", "polar", "file"),
    Row("GTiff, tiled", "int16", "3", "internal", "EPSG", "list"),
    Row("GTiff, tiled", "float32", "1", "NaN", "EPSG", "file"),
    Row("GTiff, tiled", "float32", "3", "nodata", "antimeridian", "glob"),
    Row("GTiff, tiled", "float32", "5, by number", "NaN", "WKT", "file"),
    Row("GTiff, strips", "uint8", "3", "none", "EPSG", "glob"),
    Row("GTiff, strips", "uint8", "3", ".msk", "EPSG", "https://"),
    Row("GTiff, strips", "uint16", "4: RGB, NIR", "nodata", "rotated", "file"),
    Row("GTiff, BigTIFF", "uint8", "3", "none", "EPSG", "file"),
    Row("GTiff, BigTIFF", "float32", "1", "nodata", "feet", "s3:// glob"),
    Row("GTiff, band by band", "uint16", "4: RGB, NIR", "none", "EPSG", "file"),
    Row("GTiff, tiled", "uint8", "3", "none", "world file, catalogue", "CSV index"),
    Row("COG", "uint8", "3", "none", "EPSG", "s3://"),
    Row("COG", "uint8", "3", "internal", "EPSG", "https://"),
    Row("COG", "uint8", "4: RGB, alpha", "alpha", "EPSG", "s3:// glob"),
    Row("COG", "uint16", "4: RGB, NIR", "nodata", "EPSG", "s3:// glob"),
    Row("COG", "float32", "1", "NaN", "degrees", "https://"),
    Row("COG, JPEG", "uint8", "3", "internal", "EPSG", "s3://"),
    Row("JP2OpenJPEG", "uint8", "3", "none", "EPSG", "file"),
    Row("JP2OpenJPEG", "uint16", "4: RGB, NIR", "none", "degrees", "s3://"),
    Row("JP2OpenJPEG", "uint8", "4: RGB, alpha", "alpha", "feet", "glob"),
    Row("VRT of two files", "uint8", "3", "none", "EPSG", "file"),
    Row("VRT of two files", "uint16", "4: RGB, NIR", "nodata", "EPSG", "s3://"),
    Row("VRT of two files", "float32", "1", "nodata", "EPSG", "STAC item"),
    Row("JPEG", "uint8", "3", "none", "world file", "glob"),
    Row("JPEG", "uint8", "3", "none", ".aux.xml", "file"),
    Row("JPEG", "uint8", "1", "none", "none", "s3://"),
    Row("JPEG", "uint8", "3", "none", "world file, catalogue", "GeoParquet index"),
    Row("PNG", "uint8", "3", "none", "world file", "file"),
    Row("PNG", "uint8", "4: RGB, alpha", "alpha", ".aux.xml", "glob"),
    Row("PNG", "uint16", "1", "none", "world file, catalogue", "STAC item"),
    Row("WEBP", "uint8", "3", "none", "none", "STAC item"),
    Row("WEBP", "uint8", "4: RGB, alpha", "alpha", ".aux.xml", "file"),
    Row("MBTiles", "uint8", "3", "none", "Web Mercator", "file"),
    Row("MBTiles", "uint8", "4: RGB, alpha", "alpha", "Web Mercator", "file"),
    Row("map tiles, XYZ", "uint8", "3", "none", "Web Mercator", "folder"),
    Row("map tiles, TMS", "uint8", "4: RGB, alpha", "alpha", "Web Mercator", "folder"),
]


def plan_row(given: dict[str, Any], row: Row, output: Path) -> Plan:
    """Plan a run in cores of 128 px whose networks are stubs."""
    content: dict[str, Any] = {
        "input": dict(given),
        "read": {"core": 128, "halo": 32},
        "arms": {"controls": [], "oracle": {"method": "none"}},
        "measure": {"stability": 0},
        "output": str(output),
    }
    for name, value in row.settings.items():
        section, key = name.split(".")
        content[section][key] = value
    config = validate(RunConfig, content, source="test")
    scenes, rejected = plan_scenes(config)
    stub = Weights("stub", output, "0", None)
    return Plan(config, tuple(scenes), tuple(rejected), stub, stub, STUBS.find.names, 0)


def stitch(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Return `before` and `valid` of the only scene, put together from its cores."""
    [scene] = plan.scenes
    image = np.zeros((scene.height, scene.width, 3), np.uint8)
    valid = np.zeros((scene.height, scene.width), np.bool_)
    for tile in detect_windows(plan, plan.windows, STUBS):
        if isinstance(tile, TileRow):
            assert tile.status == "empty"
            continue
        assert isinstance(tile, DetectedTile), tile
        seen = tile.deblurred.tile
        core, inner = seen.window.core, seen.window.core.within(seen.window.read)
        place = core.within(Rectangle(0, 0, scene.width, scene.height))
        image[place], valid[place] = seen.before[inner], seen.valid[inner]
    return image, valid


@pytest.fixture
def server(request, row, tmp_path, tmp_path_factory):
    """Return what the location of a row needs: a bucket, a web server, or nothing."""
    if row.location in STORED:
        yield request.getfixturevalue("store")
    elif row.location == "https://":
        (tmp_path / "in").mkdir()
        with serving_securely(tmp_path / "in", tmp_path_factory.mktemp("keys")) as address:
            yield address
    else:
        yield None


@pytest.mark.parametrize("row", TABLE, ids=", ".join)
def test_a_row_is_planned_read_and_placed(row, tmp_path, server):
    given, truth = make_row(row, tmp_path, server)
    plan = plan_row(given, row, tmp_path / "run")
    assert plan.rejected == ()
    [scene] = plan.scenes
    assert (scene.height, scene.width) == truth.valid.shape
    image, valid = stitch(plan)
    np.testing.assert_array_equal(valid, truth.valid)
    off = np.abs(image[valid].astype(int) - truth.image[valid])
    assert off.mean() <= truth.loss
    check_place(scene, truth.crs, truth.transform)


def check_place(scene, crs: str | None, transform: Affine) -> None:
    """Compare the far corner with what GDAL makes of it; pixels are those of the earth."""
    corner = rectangle_to_corners(Rectangle(0, 0, scene.width, scene.height))[2]
    found = pixels_to_map(corner, scene.transform)
    a, b, c, d, e, f = tuple(transform)[:6]
    col, row = scene.width, scene.height
    wanted = (a * col + b * row + c, d * col + e * row + f)
    assert found == pytest.approx(wanted, abs=1e-3 * a)
    if crs is None:
        assert scene.crs is None
        return
    assert pyproj.CRS(scene.crs).is_geographic == pyproj.CRS(crs).is_geographic
    x, y = rasterio.warp.transform(crs, "EPSG:4326", [wanted[0]], [wanted[1]])
    there = reproject(found, scene.crs, "EPSG:4326")
    assert ((there[0] - x[0] + 180) % 360 - 180, there[1] - y[0]) == pytest.approx((0, 0), abs=1e-7)


def test_every_word_stands_in_the_table():
    assert {row.dtype for row in TABLE} == set(DTYPES)
    assert {row.bands for row in TABLE} == set(BANDS)
    assert {row.crs for row in TABLE} == set(PLACES)
    assert {row.location for row in TABLE} == set(LOCATIONS)
    assert len(set(TABLE)) == len(TABLE)


def lines_of(row: Row) -> str:
    """Return a row as a line of the table in the docs; settings are the last column."""
    needed = ", ".join(f"`{name}`" for name in row.settings)
    return f"| {' | '.join((*row, needed))} |".replace("|  |", "| |")


def test_the_table_in_the_docs_is_the_one_that_is_tested():
    text = DOCS.read_text(encoding="utf-8")
    table = re.search(r"\n\| driver \| dtype \|[^\n]*\n\|[-| ]+\|\n((?:\|[^\n]*\n)+)", text)
    assert table is not None
    assert table[1].splitlines() == [lines_of(row) for row in TABLE]


def test_every_example_in_the_docs_is_a_valid_config():
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)
    assert len(examples) >= 8
    for text in examples:
        validate(RunConfig, yaml.safe_load(text), source="docs")
