"""Files: what cannot be written says so, bytes are deterministic, and others can read them.

Witnesses: DuckDB and geopandas. No GDAL in the wheels of rasterio or pyogrio can read Parquet, so
the test of GDAL waits for one that can.
"""

import json
from pathlib import Path

import duckdb
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import (
    DEGREES,
    NAMES,
    TURNED,
    make_detections,
    make_scene,
    make_tile_row,
    make_truth,
)
from test_rows import make_summary_row, rows_of

from transforms import parquet
from transforms.parquet import encode, list_parts, read_rows, write_part
from transforms.rows import detection_rows, summary_rows
from transforms.tables import (
    DETECTIONS,
    HISTOGRAMS,
    LEDGER,
    REJECTED,
    SCHEMA_VERSION,
    SUMMARY,
    TILES,
)

TABLES = (TILES, DETECTIONS, LEDGER, HISTOGRAMS, SUMMARY, REJECTED)
CAR = (100.0, 600.0, 130.0, 612.0)
WRITTEN = {"name": "part-epsg32632-00000.parquet", "crs": "EPSG:32632", "run_id": "0123456789ab"}


def rows_of_cars(count=1, scene=None):
    """Rows of cars on a diagonal, 20 px apart, in one arm of one tile."""
    boxes = [(20.0 * i, 512 + 20.0 * i, 20.0 * i + 30, 524 + 20.0 * i) for i in range(count)]
    row = make_tile_row(scene, make_detections(*boxes))
    rows = detection_rows(row, names=NAMES, min_score=0).rows
    return [found for found in rows if found["arm"] == "after"]


def write_cars(output: Path, count=1, scene=None, **changes) -> Path:
    batch = encode(rows_of_cars(count, scene), DETECTIONS)
    return output / write_part([batch], DETECTIONS, output=output, **(WRITTEN | changes)).path


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_explained_in_the_file(tmp_path, table):
    part = write_part([], table, output=tmp_path, **WRITTEN)
    schema = pq.read_schema(tmp_path / part.path)
    assert part.rows == 0
    assert schema.names == [column.name for column in table.columns]
    assert all(field.metadata[b"description"] for field in schema)
    assert all(b"unit" in field.metadata for field in schema)
    assert schema.metadata[b"schema_version"] == SCHEMA_VERSION.encode()
    assert schema.metadata[b"table"] == table.name.encode()
    assert schema.metadata[b"run_id"] == b"0123456789ab"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"score": "high"}, "column score of table detections must hold float32"),
        ({"arm": None}, "row a.tif:0,512: column arm must not be null"),
        ({"colour": "red"}, "the columns must be .* got .*colour"),
        ({"bbox": {"xmin": 0.0}}, "column bbox: the columns must be .*ymax"),
        ({"geometry": "POLYGON EMPTY", "key": 7}, "column key of table detections"),
    ],
)
def test_a_row_that_does_not_fit_names_table_and_column(change, reason):
    [row] = rows_of_cars()
    with pytest.raises(ValueError, match=reason):
        encode([row | change], DETECTIONS)


def test_a_null_inside_an_arm_is_found():
    [row] = rows_of(make_tile_row()).rows
    del row["arms"][1]["detections"]
    with pytest.raises(ValueError, match="column arms: the columns must be"):
        encode([row], TILES)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_bytes_ignore_the_order_and_the_batches_of_the_rows(tmp_path_factory, order, cut):
    rows = rows_of_cars(12)
    shuffled = [rows[index] for index in order]
    written = [
        write_part(
            [encode(part, DETECTIONS) for part in parts],
            DETECTIONS,
            output=tmp_path_factory.mktemp("part"),
            **WRITTEN,
        )
        for parts in ([rows], [shuffled[:cut], shuffled[cut:]])
    ]
    assert written[0] == written[1]


def test_detections_at_one_place_have_one_order(tmp_path):
    """The same box in two arms and classes, with equal scores: every column may decide."""
    [row] = rows_of_cars()
    rows = [
        row | {"class": name, "arm": arm} for name in ("car", "bus") for arm in ("null", "after")
    ]
    rows += [rows[0] | {"x1": 131.0}]
    digests = {
        write_part([encode(order, DETECTIONS)], DETECTIONS, output=tmp_path, **WRITTEN).sha256
        for order in (rows, rows[::-1], rows[2:] + rows[:2])
    }
    assert len(digests) == 1


def test_a_reader_of_one_place_can_skip_most_of_a_part(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP", 16)
    boxes = np.random.default_rng(0).integers(0, 4000, (1024, 2)).astype(float)
    found = make_detections(*[(x, y, x + 30, y + 12) for x, y in boxes])
    rows = detection_rows(make_tile_row(None, found), names=NAMES, min_score=0).rows
    part = write_part([encode(rows, DETECTIONS)], DETECTIONS, output=tmp_path, **WRITTEN)
    metadata = pq.read_metadata(tmp_path / part.path)
    x0, y1 = 500_000 + 0.15 * 1000, 5_300_000 - 0.15 * 1000
    touched = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = [group.column(c) for c in range(group.num_columns)]
        statistics = {c.path_in_schema: c.statistics for c in columns}
        touched += statistics["bbox.xmin"].min < x0 and statistics["bbox.ymax"].max > y1
    # A sixteenth of the area was asked for.
    assert metadata.num_row_groups == 128
    assert touched <= 128 / 16 * 2


def test_the_geo_metadata_is_that_of_geoparquet(tmp_path):
    geo = json.loads(pq.read_metadata(write_cars(tmp_path, 3)).metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32632}
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    assert column["bbox"] == pytest.approx([500_000, 5_299_915.4, 500_010.5, 5_299_923.2])


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32632", TURNED),
        ("EPSG:4326", DEGREES),
        ("EPSG:2263", (0.5, 0, 1e6, 0, -0.5, 2e5)),
    ],
)
def test_geopandas_reads_places_and_crs(tmp_path, crs, transform):
    scene = make_scene(crs=crs, transform=transform)
    path = write_cars(tmp_path, 20, scene, crs=crs)
    frame = geopandas.read_parquet(path)
    assert frame.crs == crs
    assert frame.geometry.is_valid.all()
    coverings = [[*row["bbox"].values()] for row in read_rows(tmp_path, DETECTIONS, ["bbox"])]
    assert frame.geometry.bounds.to_numpy().tolist() == coverings
    west, south, east, north = frame.total_bounds
    middle = (west, south, (west + east) / 2, (south + north) / 2)
    some = geopandas.read_parquet(path, bbox=middle, columns=["key", "geometry"])
    assert 0 < len(some) < 20


def test_pixels_have_no_crs_for_geopandas(tmp_path):
    scene = make_scene(crs=None, transform=(1, 0, 0, 0, 1, 0))
    frame = geopandas.read_parquet(write_cars(tmp_path, 1, scene, crs=None))
    assert frame.crs is None
    assert frame.total_bounds.tolist() == [0, 512, 30, 524]


def test_duckdb_finds_what_lies_in_a_rectangle(tmp_path):
    path = write_cars(tmp_path, 20)
    query = (
        f"select key, geometry, bbox, score from '{path}' "
        "where bbox.xmin < 500015.1 and bbox.xmax > 500014 order by bbox.xmin"
    )
    found = duckdb.sql(query).fetchall()
    expected = {row["geometry"] for row in rows_of_cars(20) if row["bbox"]["xmax"] > 500_014}
    assert 0 < len(found) < 20
    for _, geometry, bbox, score in found:
        # DuckDB gives WKB whether it knows the type GEOMETRY or takes the column for bytes.
        place = shapely.from_wkb(bytes(geometry))
        assert tuple(bbox.values()) == place.bounds
        assert score == np.float32(0.9)
        assert shapely.to_wkb(place, byte_order=1) in expected


def test_duckdb_unnests_the_arms_of_a_tile(tmp_path):
    found, truth = make_detections(CAR), make_truth(CAR)
    rows = rows_of(make_tile_row(None, found, truth="reference", labels=truth)).rows
    write_part([encode(rows, TILES)], TILES, output=tmp_path, **WRITTEN)
    query = (
        "select arm.arm, arm.found, arm.squared_error "
        f"from (select unnest(arms) as arm from '{tmp_path}/tiles/*.parquet')"
    )
    assert duckdb.sql(query).fetchall() == [("before", 1, 100), ("after", 1, 100)]


@pytest.mark.skipif(
    "Parquet" not in pyogrio.list_drivers(), reason="this GDAL has no Parquet driver"
)
def test_gdal_reads_places_and_crs(tmp_path):
    frame = pyogrio.read_dataframe(write_cars(tmp_path, 20))
    assert frame.crs == "EPSG:32632"
    assert frame.total_bounds.tolist()[:1] == [500_000]


def test_infinity_stays_and_rows_come_back(tmp_path):
    rows = summary_rows(make_summary_row(value=np.inf))
    write_part([encode(rows.rows, SUMMARY)], SUMMARY, output=tmp_path, **WRITTEN)
    [row] = read_rows(tmp_path, SUMMARY, ["value", "low"])
    assert row == {"value": np.inf, "low": None}


def test_a_place_that_is_not_known_is_left_out_of_the_bounds(tmp_path):
    rows = rows_of_cars(2)
    rows[0] |= {"geometry": None, "bbox": None}
    part = write_part([encode(rows, DETECTIONS)], DETECTIONS, output=tmp_path, **WRITTEN)
    metadata = pq.read_metadata(tmp_path / part.path).metadata
    bounds = json.loads(metadata[b"geo"])["columns"]["geometry"]["bbox"]
    assert bounds == pytest.approx([500_003, 5_299_918.4, 500_007.5, 5_299_920.2])


def test_parts_are_listed_as_they_were_written(tmp_path):
    batch = encode(rows_of_cars(3), DETECTIONS)
    part = write_part([batch], DETECTIONS, output=tmp_path, **WRITTEN)
    assert list_parts(tmp_path) == [part]
    assert part.rows == 3
