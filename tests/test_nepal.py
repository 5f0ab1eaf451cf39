"""Real georeferenced chips: one command, and everything opens at the right place on the map."""

from pathlib import Path

import duckdb
import geopandas
import pytest
import rasterio
from rasterio.crs import CRS
from scenes import DATA

from configs.load import find_config, load_yaml, validate
from configs.schema import RunConfig
from pipeline.run import run

CHIPS = DATA / "scenes_nepal" / "predict" / "oam"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHIPS.is_dir(), reason=f"no real pictures in {CHIPS}"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The shipped configuration `nepal`, with a low threshold so that there are boxes to place."""
    output = tmp_path_factory.mktemp("nepal") / "run"
    content = load_yaml(find_config("nepal"))
    content["input"] = {"scenes": [str(CHIPS / "*.tif")]}
    content |= {"output": str(output), "report": {"min_score": 0.02}, "engine": {"workers": 2}}
    assert run(validate(RunConfig, content, source="nepal")) == 0
    return output


def chip_bounds() -> dict[str, rasterio.coords.BoundingBox]:
    bounds = {}
    for path in CHIPS.glob("*.tif"):
        with rasterio.open(path) as dataset:
            assert dataset.crs == CRS.from_epsg(4326)
            bounds[path.name] = dataset.bounds
    return bounds


def test_tiles_cover_their_chips_on_the_map(finished):
    tiles = geopandas.read_parquet(finished / "tiles")
    assert tiles.crs == "EPSG:4326"
    covered = tiles.dissolve("scene").bounds
    for name, bounds in chip_bounds().items():
        assert covered.loc[name].tolist() == pytest.approx(list(bounds), abs=1e-9)


def test_duckdb_finds_every_box_inside_its_chip(finished):
    boxes = duckdb.sql(
        "select scene, bbox.xmin, bbox.ymin, bbox.xmax, bbox.ymax "
        f"from '{finished}/detections/*.parquet'"
    ).fetchall()
    assert boxes
    bounds = chip_bounds()
    for scene, xmin, ymin, xmax, ymax in boxes:
        chip = bounds[scene]
        margin = 0.05 * (chip.right - chip.left)
        assert chip.left - margin <= xmin < xmax <= chip.right + margin
        assert chip.bottom - margin <= ymin < ymax <= chip.top + margin


def test_the_pixels_under_a_box_are_those_of_its_pixel_coordinates(finished):
    found = geopandas.read_parquet(finished / "detections").head(20)
    for row in found.itertuples():
        with rasterio.open(CHIPS / row.scene) as dataset:
            left, bottom, right, top = row.geometry.bounds
            column, line = ~dataset.transform @ (left, top)
            assert (column, line) == pytest.approx((row.x0, row.y0), abs=0.01)
            column, line = ~dataset.transform @ (right, bottom)
            assert (column, line) == pytest.approx((row.x1, row.y1), abs=0.01)
