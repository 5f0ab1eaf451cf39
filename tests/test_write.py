"""Writing tables: the engine and the plain loop give the same files, and only those."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import apache_beam as beam
import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyproj
import pytest
from made_rows import (
    DEGREES,
    NAMES,
    UTM,
    make_detections,
    make_scene,
    make_tile_row,
    make_tile_rows,
)

from transforms.clusters import Clusters
from transforms.parquet import list_parts, read_rows
from transforms.records import Rejected
from transforms.rows import detection_rows, ledger_rows, rejected_rows, summary_rows, tile_rows
from transforms.tables import DETECTIONS, LEDGER, REJECTED, SUMMARY, TILES
from transforms.write import (
    Batches,
    Destination,
    WriteTable,
    publish,
    write_batches,
    write_table,
)

to_tiles = partial(tile_rows, threshold=0.25, clusters=Clusters("block", 512, 1, 1))
to_detections = partial(detection_rows, names=NAMES, min_score=0.25)
to_ledger = partial(ledger_rows, names=NAMES)
LAMBERT = pyproj.CRS("EPSG:2154").to_wkt().replace("RGF93 v1 / Lambert-93", "our Lambert")


def to(output: Path, shards: int = 1) -> Destination:
    return Destination(output, "0123456789ab", shards)


def files_of(output: Path) -> dict[str, bytes]:
    """Return everything that lies in a folder, hidden files and folders included."""
    found = [path for path in output.rglob("*") if path.is_file()]
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in found}


def test_the_engine_and_the_plain_loop_write_the_same_bytes(tmp_path):
    rows = make_tile_rows(make_scene(), 20)
    written = ((TILES, to_tiles), (DETECTIONS, to_detections), (LEDGER, to_ledger))
    for table, to_rows in written:
        write_table(rows[::-1], table, to_rows, to(tmp_path / "loop", 3))
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            records = pipeline | beam.Create(rows)
            _ = records | WriteTable(table, to_rows, to(tmp_path / "beam", 3))
    loop = files_of(tmp_path / "loop")
    assert loop == files_of(tmp_path / "beam")
    assert len(loop) == 9


@pytest.mark.parametrize("at_hand", [1, 7, 10_000])
def test_how_many_rows_wait_makes_no_difference(tmp_path, monkeypatch, at_hand):
    rows = make_tile_rows(make_scene(), 20)
    write_table(rows, DETECTIONS, to_detections, to(tmp_path / "usual", 3))
    monkeypatch.setattr("transforms.write.ROWS_AT_HAND", at_hand)
    write_table(rows, DETECTIONS, to_detections, to(tmp_path / "other", 3))
    assert files_of(tmp_path / "usual") == files_of(tmp_path / "other")


def test_the_engine_publishes_an_empty_table_and_drops_the_stale(tmp_path):
    write_table(make_tile_rows(make_scene(), 9), DETECTIONS, to_detections, to(tmp_path, 4))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        records = pipeline | beam.Create([])
        _ = records | WriteTable(DETECTIONS, to_detections, to(tmp_path))
    assert list(files_of(tmp_path)) == ["detections/part-pixels-00000.parquet"]


@pytest.mark.parametrize(
    "table", [TILES, DETECTIONS, LEDGER, SUMMARY, REJECTED], ids=lambda t: t.name
)
def test_an_empty_table_is_one_part_that_readers_find(tmp_path, table):
    [part] = write_table([], table, to_tiles, to(tmp_path))
    assert part.rows == 0
    assert pq.read_table(tmp_path / part.path).column_names == [c.name for c in table.columns]
    assert list(read_rows(tmp_path, table)) == []
    if table.spatial:
        assert geopandas.read_parquet(tmp_path / part.path).empty


def test_a_scene_without_detections_has_an_empty_part_in_its_crs(tmp_path):
    [part] = write_table([make_tile_row()], DETECTIONS, to_detections, to(tmp_path))
    assert part.path == "detections/part-epsg32632-00000.parquet"
    assert geopandas.read_parquet(tmp_path / part.path).crs == "EPSG:32632"


def test_no_part_of_an_earlier_attempt_stays(tmp_path):
    rows = make_tile_rows(make_scene(), 20)
    many = write_table(rows, DETECTIONS, to_detections, to(tmp_path, 5))
    few = write_table(rows, DETECTIONS, to_detections, to(tmp_path, 2))
    assert (len(many), len(few)) == (5, 2)
    assert sum(part.rows for part in many) == sum(part.rows for part in few) == 160
    assert list_parts(tmp_path) == few


def test_publishing_leaves_foreign_files_alone(tmp_path):
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "notes.txt").write_text("mine")
    write_table([make_tile_row()], TILES, to_tiles, to(tmp_path))
    assert (tmp_path / "tiles" / "notes.txt").read_text() == "mine"


def test_what_a_killed_writer_left_is_removed(tmp_path):
    left = tmp_path / "tiles" / "_tmp" / "0f.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    write_table([make_tile_row()], TILES, to_tiles, to(tmp_path))
    assert list(files_of(tmp_path)) == ["tiles/part-epsg32632-00000.parquet"]


def test_a_retried_bundle_replaces_its_part(tmp_path):
    batches = Batches(TILES, to_tiles, 1)
    assert list(batches.add(make_tile_row())) == []
    [(key, batch)] = batches.take()
    first = write_batches(key, [batch], TILES, to(tmp_path))
    again = write_batches(key, [batch], TILES, to(tmp_path))
    assert publish(TILES, [again], to(tmp_path)) == [first]
    assert len(files_of(tmp_path)) == 1


def test_every_crs_has_parts_of_its_own(tmp_path):
    scenes = [
        make_scene("utm.tif"),
        make_scene("degrees.tif", "EPSG:4326", DEGREES),
        make_scene("lambert.tif", LAMBERT, (0.2, 0, 7e5, 0, -0.2, 6.6e6)),
        make_scene("plain.jpg", None, (1, 0, 0, 0, 1, 0)),
    ]
    found = make_detections((100, 600, 130, 612))
    rows = [make_tile_row(scene, found) for scene in scenes]
    parts = write_table(rows, DETECTIONS, to_detections, to(tmp_path))
    names = [Path(part.path).name.removesuffix("-00000.parquet") for part in parts]
    assert names[:3] == ["part-epsg32632", "part-epsg4326", "part-pixels"]
    assert names[3].startswith("part-wkt")
    frames = [geopandas.read_parquet(tmp_path / part.path) for part in parts]
    assert [frame.crs for frame in frames] == ["EPSG:32632", "EPSG:4326", None, LAMBERT]
    assert [frame.scene.unique().tolist() for frame in frames] == [
        ["utm.tif"],
        ["degrees.tif"],
        ["plain.jpg"],
        ["lambert.tif"],
    ]


def test_one_crs_for_the_run_gathers_its_scenes(tmp_path):
    east = make_scene("east.tif", "EPSG:32633", UTM)
    rows = [
        make_tile_row(scene, make_detections((0, 512, 9, 519))) for scene in (make_scene(), east)
    ]
    [part] = write_table(rows, DETECTIONS, partial(to_detections, crs="EPSG:4326"), to(tmp_path))
    frame = geopandas.read_parquet(tmp_path / part.path)
    longitudes = dict(zip(frame.scene, frame.geometry.bounds.minx.round(3), strict=True))
    assert frame.crs == "EPSG:4326"
    assert longitudes == {"a.tif": 9, "east.tif": 15}


def test_every_row_is_written_once_whatever_the_shards(tmp_path):
    rows = make_tile_rows(make_scene(), 30)
    for shards in (1, 3, 64):
        write_table(rows, TILES, to_tiles, to(tmp_path, shards))
        keys = [row["key"] for row in read_rows(tmp_path, TILES, ["key"])]
        assert sorted(keys) == sorted(row.window.key for row in rows)


def test_rejects_are_one_part_and_keep_their_words(tmp_path):
    rejects = [
        Rejected(f"ä b.tif:{i},0", "ä b.tif", "read", "SceneError", "it's") for i in range(5)
    ]
    to_rejected = partial(rejected_rows, output="out/a run")
    [part] = write_table(rejects[::-1], REJECTED, to_rejected, to(tmp_path, 8))
    rows = list(read_rows(tmp_path, REJECTED))
    assert part.path == "rejected/part-00000.parquet"
    assert [row["key"] for row in rows] == [reject.key for reject in rejects]
    assert rows[0]["replay"] == "aerial-deblur replay 'out/a run' 'ä b.tif:0,0'"


def test_a_bad_row_fails_before_any_file_is_written(tmp_path):
    row = make_tile_row()
    with pytest.raises(AttributeError):
        write_table([row], SUMMARY, summary_rows, to(tmp_path))
    assert files_of(tmp_path) == {}


def test_neighbours_on_the_map_are_neighbours_in_the_file(tmp_path):
    rows = make_tile_rows(make_scene(), 64)
    np.random.default_rng(0).shuffle(rows)
    write_table(rows, TILES, to_tiles, to(tmp_path))
    written = list(read_rows(tmp_path, TILES, ["col_off", "row_off"]))
    quarters = [(row["col_off"] // 2048, row["row_off"] // 2048) for row in written]
    changes = sum(a != b for a, b in pairwise(quarters))
    assert changes == 3
