"""What a run writes opens in readers that are not ours, and they see the same."""

import json
import shutil
import subprocess

import duckdb
import geopandas
import pystac
import pytest
import rasterio
import shapely
from duckdb_extensions import import_extension
from small_runs import configure

from pipeline.cli import main
from pipeline.demo import write_demo_scene
from pipeline.run import run
from transforms.parquet import read_rows
from transforms.tables import DETECTIONS, LEDGER, TILES

SPATIAL = (TILES, DETECTIONS, LEDGER)


@pytest.fixture(scope="module")
def written(tmp_path_factory, one_code_version):
    """A run that wrote everything that a run can write."""
    folder = tmp_path_factory.mktemp("written")
    scene, _ = write_demo_scene(folder, seed=3, size=640)
    assert run(configure(folder / "run", scene, mosaic={"write": True})) == 0
    assert main(["export", str(folder / "run"), "--format", "flatgeobuf"]) == 0
    return scene, folder / "run"


@pytest.fixture(scope="module")
def spatial():
    """DuckDB with its spatial extension."""
    import_extension("spatial")
    with duckdb.connect() as connection:
        connection.execute("load spatial")
        yield connection


@pytest.mark.parametrize("table", SPATIAL, ids=lambda table: table.name)
def test_duckdb_sees_geometries_in_their_crs(written, spatial, table):
    parts = f"'{written[1]}/{table.name}/*.parquet'"
    [(kind,)] = spatial.execute(
        f"select column_type from (describe select geometry from {parts})"
    ).fetchall()
    assert kind == "GEOMETRY('EPSG:32632')"
    found = spatial.execute(f"select key, st_area(geometry) from {parts}").fetchall()
    wanted = [
        (row["key"], shapely.from_wkb(row["geometry"]).area) for row in read_rows(written[1], table)
    ]
    assert [key for key, _ in sorted(found)] == [key for key, _ in sorted(wanted)]
    assert sorted(area for _, area in found) == pytest.approx(sorted(area for _, area in wanted))


def test_duckdb_finds_the_detections_of_a_place_by_their_boxes(written, spatial):
    [core] = [row for row in read_rows(written[1], TILES) if row["key"].endswith(":0,0")]
    box = core["bbox"]
    near = spatial.execute(
        f"select count(*) from '{written[1]}/detections/*.parquet' "
        f"where bbox.xmin < {box['xmax']} and bbox.ymax > {box['ymin']}"
    ).fetchone()
    exact = spatial.execute(
        f"select count(*) from '{written[1]}/detections/*.parquet' "
        f"where st_intersects(geometry, st_makeenvelope({box['xmin']}, {box['ymin']}, "
        f"{box['xmax']}, {box['ymax']}))"
    ).fetchone()
    assert near == exact
    assert near[0] > 0


def test_duckdb_reads_the_exported_file(written, spatial):
    [(count,)] = spatial.execute(
        f"select count(*) from st_read('{written[1]}/detections.fgb')"
    ).fetchall()
    assert count == len(list(read_rows(written[1], DETECTIONS)))


def test_geopandas_reads_the_table_of_items(written):
    scene, output = written
    frame = geopandas.read_parquet(output / "mosaics" / "items.parquet")
    with rasterio.open(scene) as source:
        footprint, crs = shapely.box(*source.bounds), source.crs
    [found] = frame.geometry.to_crs(crs)
    assert found.symmetric_difference(footprint).area < 1e-4 * footprint.area


def test_pystac_leads_from_the_collection_to_the_pixels(written):
    [item] = pystac.Collection.from_file(
        str(written[1] / "mosaics" / "collection.json")
    ).get_items()
    with rasterio.open(item.assets["data"].get_absolute_href()) as mosaic:
        assert list(mosaic.transform)[:9] == item.properties["proj:transform"]
        assert f"EPSG:{mosaic.crs.to_epsg()}" == item.properties["proj:code"]


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's own tools are not installed")
def test_gdalinfo_sees_the_grid_of_the_input(written):
    scene, output = written
    [mosaic] = (output / "mosaics").glob("*.deblurred.tif")
    told = [
        json.loads(
            subprocess.run(
                ["gdalinfo", "-json", str(path)], capture_output=True, text=True, check=True
            ).stdout
        )
        for path in (scene, mosaic)
    ]
    for what in ("size", "geoTransform", "coordinateSystem", "cornerCoordinates"):
        assert told[0][what] == told[1][what]
    for band, other in zip(told[0]["bands"], told[1]["bands"], strict=True):
        for what in ("type", "colorInterpretation", "block"):
            assert band[what] == other[what]
    assert told[1]["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
