"""Exported files: every row with a place, in files that other readers open."""

import gzip

import geopandas
import numpy as np
import pyogrio
import pytest
import shapely
from pmtiles.reader import MmapSource, Reader, all_tiles
from scenes import write_picture
from small_runs import configure

from pipeline import manifest
from pipeline.cli import main
from transforms.parquet import read_rows
from transforms.tables import DETECTIONS, LEDGER, TILES
from transforms.vector_files import move_shapes

NAMES = {"detections": DETECTIONS, "ledger": LEDGER, "tiles": TILES}


@pytest.mark.parametrize("table", NAMES)
def test_a_flatgeobuf_holds_every_row_in_the_crs_of_the_scenes(finished, tmp_path, table):
    target = tmp_path / "out.fgb"
    command = ["export", str(finished), "--format", "flatgeobuf", "--table", table]
    assert main([*command, "--to", str(target)]) == 0
    frame, rows = geopandas.read_file(target), list(read_rows(finished, NAMES[table]))
    assert frame.crs.to_epsg() == 32632
    assert len(frame) == len(rows) > 0
    assert sorted(frame["key"]) == sorted(row["key"] for row in rows)
    assert {g.wkb for g in frame.geometry.normalize()} == {
        g.wkb for g in geopandas.GeoSeries.from_wkb([r["geometry"] for r in rows]).normalize()
    }


def test_values_survive(finished, tmp_path):
    target = tmp_path / "out.fgb"
    assert main(["export", str(finished), "--format", "flatgeobuf", "--to", str(target)]) == 0
    frame, rows = geopandas.read_file(target), list(read_rows(finished, DETECTIONS))
    assert sorted(frame["arm"]) == sorted(row["arm"] for row in rows)
    for column in ("score", "label", "width_m"):
        known = sorted(row[column] for row in rows if row[column] is not None)
        assert sorted(frame[column].dropna()) == pytest.approx(known, rel=1e-6)


def test_pmtiles_hold_the_layer_where_the_scene_lies(finished, tmp_path):
    target = tmp_path / "out.pmtiles"
    assert main(["export", str(finished), "--format", "pmtiles", "--to", str(target)]) == 0
    with target.open("rb") as file:
        source = MmapSource(file)
        header, tiles = Reader(source).header(), dict(all_tiles(source))
    frame = geopandas.GeoSeries.from_wkb(
        [row["geometry"] for row in read_rows(finished, DETECTIONS)], crs=32632
    ).to_crs(4326)
    west, _, _, north = frame.total_bounds
    assert (header["min_zoom"], header["max_zoom"]) == (8, 18)
    assert header["min_lon_e7"] / 1e7 == pytest.approx(west, abs=1e-5)
    assert header["max_lat_e7"] / 1e7 == pytest.approx(north, abs=1e-5)
    assert {zoom for zoom, _, _ in tiles} == set(range(8, 19))
    assert all(b"detections" in gzip.decompress(tile) for tile in tiles.values())
    # GDAL reads the deepest level; a box on a border of tiles is there once per tile.
    found = pyogrio.read_dataframe(target)
    assert set(found["key"]) == {row["key"] for row in read_rows(finished, DETECTIONS)}
    assert found.crs.to_epsg() == 3857


def test_scenes_of_two_zones_meet_in_degrees(tmp_path, one_code_version):
    from pipeline.run import run
    from transforms.functional.render import render_scene

    image = render_scene(seed=3, height=256, width=256, gsd=0.15).image
    for zone in (32632, 32633):
        write_picture(tmp_path / f"{zone}.tif", image, crs=f"EPSG:{zone}")
    assert run(configure(tmp_path / "run", tmp_path / "*.tif")) == 0
    assert main(["export", str(tmp_path / "run"), "--format", "flatgeobuf"]) == 0
    frame = geopandas.read_file(tmp_path / "run" / "detections.fgb")
    assert frame.crs.to_epsg() == 4326
    assert len(frame) == len(list(read_rows(tmp_path / "run", DETECTIONS)))
    longitudes = frame.geometry.bounds.minx
    assert np.ptp(longitudes) == pytest.approx(6.0, abs=0.05)


def test_a_shape_across_the_antimeridian_is_cut_there_in_degrees():
    # Zone 1 begins at 180 degrees, about 166 km west of its central meridian at the equator.
    crossing, beside = (
        shapely.box(165_000, 0, 168_000, 1000),
        shapely.box(300_000, 0, 303_000, 1000),
    )
    cut, whole = move_shapes(np.array([crossing, beside]), "EPSG:32601", "EPSG:4326")
    assert cut.geom_type == "MultiPolygon"
    assert cut.bounds[0] == -180
    assert cut.bounds[2] == 180
    assert cut.area == pytest.approx(whole.area, rel=0.01)
    assert whole.geom_type == "Polygon"


def test_a_run_that_is_not_done_is_refused(tmp_path, capsys):
    manifest.start(tmp_path, {"run_id": "0", "config": {}})
    assert main(["export", str(tmp_path), "--format", "flatgeobuf"]) == 2
    assert "is running: only the tables of a run that is done" in capsys.readouterr().err


def test_pictures_without_a_place_are_refused(tmp_path, capsys, one_code_version):
    from pipeline.run import run
    from transforms.functional.render import render_scene

    image = render_scene(seed=3, height=256, width=256, gsd=0.15).image
    write_picture(tmp_path / "plain.tif", image, crs=None)
    assert run(configure(tmp_path / "run", tmp_path / "plain.tif")) == 0
    assert main(["export", str(tmp_path / "run"), "--format", "pmtiles"]) == 2
    assert "no row with a place on a map" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*.pmtiles"))
