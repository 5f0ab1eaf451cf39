"""Records to rows: places, sums, and what a run without truth must not say."""

import dataclasses
import json
import math
import re
import shlex

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from made_rows import (
    DEGREES,
    NAMES,
    SOUTH_UP,
    TURNED,
    UTM,
    join_detections,
    make_camera_scene,
    make_detections,
    make_scene,
    make_tile_row,
    make_truth,
)

from transforms.clusters import Clusters
from transforms.functional.boxes import Detections
from transforms.parquet import encode, write_part
from transforms.records import Blur, Grid, Rejected, SummaryRow, TileRow
from transforms.rows import (
    OF_OBJECTS,
    detection_rows,
    ledger_rows,
    rejected_rows,
    summary_rows,
    tile_rows,
)
from transforms.tables import DETECTIONS, HISTOGRAMS, LEDGER, REJECTED, SUMMARY, TILES

CAR = (100.0, 600.0, 130.0, 612.0)
VAN, BUS = (200.0, 600.0, 232.0, 614.0), (300.0, 600.0, 370.0, 616.0)
NO_PLACE = {"geometry": None, "bbox": None}
BLOCKS = Clusters("block", 512, 1, 1)


def rows_of(row: TileRow, crs="scene", threshold=0.25):
    return tile_rows(row, threshold=threshold, clusters=BLOCKS, crs=crs)


def tile_of(*args, crs="scene", **settings):
    [row] = rows_of(make_tile_row(*args, **settings), crs).rows
    return row


def make_summary_row(**changes) -> SummaryRow:
    """Return a PSNR of `after` of which nothing else is known, but for the changes."""
    nothing = dict.fromkeys(("value", "low", "high", "minimum_detectable", "p", "p_holm"))
    known = {"stratum": "all", "truth": "labels", "arm": "after", "metric": "psnr", "n": 7}
    return SummaryRow(**(known | {"clusters": 1, "status": "ok"} | nothing | changes))


def ledger_of(row: TileRow):
    return {line["change"]: line for line in ledger_rows(row, names=NAMES).rows}


def changed_row(**settings) -> TileRow:
    """CAR is kept (.5 to .75), VAN gained, BUS lost."""
    before = join_detections(make_detections(CAR, score=0.5), make_detections(BUS, score=0.5))
    after = join_detections(make_detections(VAN, score=0.5), make_detections(CAR, score=0.75))
    return make_tile_row(arms={"before": before, "after": after}, **settings)


def detections_of(scene, *boxes, crs="scene", score=0.9, min_score=0.25):
    row = make_tile_row(scene, make_detections(*boxes, score=score))
    return detection_rows(row, names=NAMES, min_score=min_score, crs=crs).rows


def test_a_tile_row_has_exactly_the_columns_of_its_table():
    assert list(tile_of()) == [column.name for column in TILES.columns]
    assert set(detections_of(make_scene(), CAR)[0]) == {c.name for c in DETECTIONS.columns}
    for line in ledger_rows(changed_row(), names=NAMES).rows:
        assert set(line) == {column.name for column in LEDGER.columns}


@pytest.mark.parametrize(
    ("transform", "bounds"),
    [
        (UTM, (500_000, 5_299_846.4, 500_076.8, 5_299_923.2)),
        (SOUTH_UP, (500_000, 5_300_076.8, 500_076.8, 5_300_153.6)),
        # Turned: the lowest x is that of one corner, the lowest y that of another.
        (TURNED, (690_046.08, 5_329_877.12, 690_153.6, 5_329_984.64)),
    ],
)
def test_bounds_hold_all_four_corners(transform, bounds):
    tile = tile_of(make_scene(transform=transform))
    assert (tile["left"], tile["bottom"], tile["right"], tile["top"]) == pytest.approx(bounds)
    assert shapely.from_wkb(tile["geometry"]).bounds == pytest.approx(bounds)


def test_a_tile_names_its_window_and_blur():
    sharp, blurred = tile_of(), tile_of(blur=Blur(11, 45))
    assert (sharp["key"], sharp["blur_length"], sharp["blur_angle"]) == ("a.tif:0,512", None, None)
    assert blurred["key"] == "a.tif:0,512:11@45"
    assert (blurred["blur_length"], blurred["blur_angle"], blurred["severity"]) == (11, 45, None)
    assert tile_of(blur=Blur(11, 45, severity=3))["severity"] == 3


def test_a_tile_counts_what_it_owns_at_the_operating_point():
    labels = make_truth(CAR, VAN, BUS, kinds=(0, 0, 1), ignored=(1,))
    found = join_detections(
        make_detections(CAR, VAN), make_detections(BUS), make_detections(BUS, kind=1, score=0.2)
    )
    row = make_tile_row(detections=found, truth="labels", labels=labels)
    arm = rows_of(row).rows[0]["arms"][0]
    # The car is found, the van ignored, a bus taken for a car false, the weak bus not there yet.
    assert (arm["labels"], arm["found"], arm["false"], arm["detections"]) == (2, 1, 1, 3)
    assert arm["squared_error"] is None


def test_a_tile_counts_the_labels_that_it_owns():
    row = make_tile_row(truth="labels", labels=make_truth(CAR, VAN))
    row = dataclasses.replace(row, owned=np.array([True, False]))
    assert rows_of(row).rows[0]["arms"][0]["labels"] == 1


def test_a_tile_counts_detections_from_the_operating_point():
    both = make_tile_row(None, make_detections(CAR, VAN, score=0.3))
    for threshold, count in ((0.25, 2), (0.3, 2), (0.31, 0)):
        [row] = rows_of(both, threshold=threshold).rows
        assert [arm["detections"] for arm in row["arms"]] == [count, count]


def test_a_tile_counts_what_was_kept_gained_and_lost():
    [row] = rows_of(changed_row()).rows
    assert (row["kept"], row["gained"], row["lost"]) == (1, 1, 1)
    before, after = row["arms"]
    assert (before["detections"], after["detections"]) == (2, 2)


def test_what_the_core_does_not_claim_is_in_no_table():
    row = changed_row()
    arms = tuple(
        dataclasses.replace(
            arm,
            sightings=dataclasses.replace(arm.sightings, claimed=np.zeros(2, bool)),
        )
        for arm in row.arms
    )
    row = dataclasses.replace(row, arms=arms)
    [tile] = rows_of(row).rows
    assert (tile["kept"], tile["gained"], tile["lost"]) == (0, 0, 0)
    assert [arm["detections"] for arm in tile["arms"]] == [0, 0]
    assert ledger_rows(row, names=NAMES).rows == []
    assert detection_rows(row, names=NAMES, min_score=0).rows == []


def test_the_ledger_tells_what_became_of_every_object():
    lines = ledger_of(changed_row())
    scores = {name: (line["score_before"], line["score_after"]) for name, line in lines.items()}
    assert scores == {"kept": (0.5, 0.75), "gained": (None, 0.5), "lost": (0.5, None)}
    boxes = {name: (line["x0"], line["x1"]) for name, line in lines.items()}
    assert boxes == {"kept": (100, 130), "gained": (200, 232), "lost": (300, 370)}


def test_only_gained_objects_carry_the_reblur_check():
    lines = ledger_of(changed_row())
    reblur = ("reblur", "reblur_evidence", "reblur_residual")
    assert [lines["gained"][name] for name in reblur] == ["consistent", 1, 0.5]
    for change in ("kept", "lost"):
        assert [lines[change][name] for name in reblur] == [None, None, None]


def test_the_ledger_tells_how_both_boxes_met_the_truth():
    labels = make_truth(CAR, VAN, BUS, kinds=(0, 0, 0), ignored=(1,))
    labels = dataclasses.replace(labels, numbers=np.array([70, 80, 90]))
    lines = ledger_of(changed_row(truth="labels", labels=labels))
    met = ("outcome_before", "label_before", "outcome_after", "label_after")
    assert [lines["kept"][name] for name in met] == ["found", 70, "found", 70]
    assert [lines["gained"][name] for name in met] == [None, None, "ignored", 80]
    assert [lines["lost"][name] for name in met] == ["found", 90, None, None]


def test_a_detection_says_what_it_met_and_which_label():
    found = join_detections(make_detections(CAR, BUS), make_detections(VAN))
    labels = dataclasses.replace(make_truth(VAN, CAR, ignored=(0,)), numbers=np.array([7, 9]))
    rows = detection_rows(
        make_tile_row(detections=found, truth="labels", labels=labels), names=NAMES, min_score=0
    ).rows
    met = {(row["x0"], row["outcome"], row["label"]) for row in rows}
    assert met == {(100, "found", 9), (200, "ignored", 7), (300, "false", None)}


def test_without_truth_no_outcome_is_told():
    [row, _] = detections_of(make_scene(), CAR)
    assert (row["outcome"], row["label"]) == (None, None)
    for line in ledger_of(changed_row()).values():
        assert {line[f"{name}_{arm}"] for name in ("outcome", "label") for arm in OF_OBJECTS} == {
            None
        }


def test_what_is_not_known_is_null_and_never_zero():
    arm = tile_of(truth="none")["arms"][0]
    unknown = [name for name, value in arm.items() if value is None]
    sums = ["squared_error", "squared_error_samples", "ssim_total", "ssim_samples"]
    assert unknown == [*sums, "labels", "found", "false"]
    assert tile_of(truth="reference")["arms"][0]["squared_error"] == 100


def test_an_empty_tile_is_a_row_without_arms():
    empty = TileRow.empty(make_tile_row().window, "labels")
    [row] = rows_of(empty).rows
    assert (row["status"], row["arms"]) == ("empty", [])
    estimated = ("estimated_length", "estimated_angle", "estimated_confidence")
    assert [row[name] for name in estimated] == [None, None, None]
    assert detection_rows(empty, names=NAMES, min_score=0.25).rows == []
    assert ledger_rows(empty, names=NAMES).rows == []


def test_a_detection_lies_where_its_pixels_are():
    before, after = detections_of(make_scene(), CAR)
    place = shapely.from_wkb(before["geometry"])
    assert place.bounds == pytest.approx((500_015, 5_299_908.2, 500_019.5, 5_299_910))
    assert tuple(before["bbox"].values()) == place.bounds
    assert (before["arm"], after["arm"], before["class"]) == ("before", "after", "car")
    assert [before[side] for side in ("x0", "y0", "x1", "y1")] == [*CAR]


def test_a_turned_scene_turns_its_boxes():
    before, _ = detections_of(make_scene(transform=TURNED), CAR)
    place = shapely.from_wkb(before["geometry"])
    assert place.area == pytest.approx(30 * 12 * 0.15**2)
    assert place.minimum_rotated_rectangle.area == pytest.approx(place.area, rel=1e-3)
    assert shapely.box(*place.bounds).area > 1.5 * place.area


def test_a_car_is_as_long_in_degrees_as_in_metres():
    # One degree of latitude is about 111 km, so a pixel of 2e-6 degrees is about 22 cm high.
    before, _ = detections_of(make_scene(crs="EPSG:4326", transform=DEGREES), CAR)
    assert before["height_m"] == pytest.approx(12 * 2e-6 * 110_850, rel=1e-3)
    shrunk = 30 * 2e-6 * 111_320 * math.cos(math.radians(27.6))
    assert before["width_m"] == pytest.approx(shrunk, rel=2e-3)


def test_the_sides_of_an_oriented_box_are_its_own():
    corners = np.float32([[[120, 600], [128, 606], [125, 610], [117, 604]]])
    found = Detections(corners, np.float32([0.9]), np.int32([1]))
    row = detection_rows(make_tile_row(None, found), names=NAMES, min_score=0.25).rows[0]
    assert row["width_m"] == pytest.approx(10 * 0.15, rel=1e-3)
    assert row["height_m"] == pytest.approx(5 * 0.15, rel=1e-3)
    assert (row["x0"], row["y0"], row["x1"], row["y1"]) == (117, 600, 128, 610)
    assert row["class"] == "bus"


def test_detections_below_the_least_score_are_not_written():
    scene = make_scene()
    assert len(detections_of(scene, CAR, score=0.5, min_score=0.5)) == 2
    assert detections_of(scene, CAR, score=0.49, min_score=0.5) == []


def test_without_a_crs_boxes_stay_in_pixels():
    scene = make_scene(crs=None, transform=(1, 0, 0, 0, 1, 0))
    before, _ = detections_of(scene, CAR, crs="EPSG:4326")
    assert shapely.from_wkb(before["geometry"]).bounds == CAR
    assert (before["width_m"], before["height_m"]) == (None, None)
    assert rows_of(make_tile_row(scene), "EPSG:4326").crs is None


def test_geometries_can_be_put_into_one_crs():
    rows = rows_of(make_tile_row(make_scene()), "EPSG:4326")
    [tile] = rows.rows
    place = shapely.from_wkb(tile["geometry"])
    assert rows.crs == "EPSG:4326"
    assert place.bounds == pytest.approx((9, 47.85, 9.001, 47.851), abs=2e-3)
    # The bounds stay those of the scene's own grid, whose CRS stands beside them.
    assert tile["crs"] == "EPSG:32632"
    assert tile["left"] == 500_000


def test_a_box_outside_the_projection_has_no_place_and_no_metres():
    nowhere = make_scene(transform=(1e30, 0, 0, 0, -1e30, 0))
    before, _ = detections_of(nowhere, CAR, crs="EPSG:4326")
    assert {name: before[name] for name in NO_PLACE} == NO_PLACE
    assert (before["width_m"], before["height_m"]) == (None, None)


STREET = (13.4, 0.0)


def all_rows_of(scene, crs="scene"):
    """Return the rows of tile, detections and ledger of a scene, and the CRSs of their places."""
    row = changed_row(scene=scene)
    kinds = (
        rows_of(row, crs),
        detection_rows(row, names=NAMES, min_score=0, crs=crs),
        ledger_rows(row, names=NAMES, crs=crs),
    )
    return [line for rows in kinds for line in rows.rows], {rows.crs for rows in kinds}


def test_a_picture_of_a_camera_lies_where_the_camera_stood():
    lines, crss = all_rows_of(make_camera_scene(longitude=13.4))
    assert len(lines) == 1 + 4 + 3
    assert crss == {"EPSG:4326"}
    for line in lines:
        point = shapely.from_wkb(line["geometry"])
        assert (point.geom_type, point.x, point.y) == ("Point", *STREET)
        assert tuple(line["bbox"].values()) == point.bounds
        assert (line["sequence"], line["heading"]) == ("street", 90)
        assert line["time"] == "2024-02-29T23:59:58-03:00"


def test_the_numbers_of_a_picture_of_a_camera_are_pixels():
    tile = tile_of(make_camera_scene())
    assert (tile["left"], tile["bottom"], tile["right"], tile["top"]) == (0, 512, 512, 1024)
    assert tile["crs"] is None
    before, _ = detections_of(make_camera_scene(), CAR)
    assert [before[side] for side in ("x0", "y0", "x1", "y1")] == [*CAR]
    assert (before["width_m"], before["height_m"]) == (None, None)


def test_a_camera_is_put_into_the_crs_that_was_asked_for():
    lines, crss = all_rows_of(make_camera_scene(longitude=180.0), "EPSG:3857")
    assert crss == {"EPSG:3857"}
    # Half the circumference of the sphere that Web Mercator takes the earth for.
    x = math.pi * 6_378_137
    assert shapely.from_wkb(lines[0]["geometry"]).bounds == pytest.approx((x, 0, x, 0), abs=1e-6)


def test_scenes_without_a_camera_have_neither_sequence_nor_heading():
    lines, _ = all_rows_of(make_scene())
    assert {(line["sequence"], line["heading"], line["time"]) for line in lines} == {
        (None, None, None)
    }
    timed = dataclasses.replace(make_scene(), time="2024-05-01T10:00:00Z")
    assert {line["time"] for line in all_rows_of(timed)[0]} == {"2024-05-01T10:00:00Z"}
    [unknown, *_], _ = all_rows_of(make_camera_scene(heading=None))
    assert unknown["heading"] is None


def test_a_fallback_says_why():
    row = dataclasses.replace(make_tile_row(), fallback="saturated")
    assert rows_of(row).rows[0]["fallback"] == "saturated"
    assert tile_of()["fallback"] is None


def resampled_scene():
    """Return a scene read at twice the pixel size across and four times along."""
    a, b, c, d, e, f = UTM
    file_grid = Grid(4 * 4096, 2 * 4096, UTM)
    coarse = dataclasses.replace(make_scene(), file_grid=file_grid)
    return dataclasses.replace(coarse, transform=(2 * a, b, c, d, 4 * e, f))


def test_boxes_of_a_resampled_scene_are_in_pixels_of_the_file():
    before, _ = detections_of(resampled_scene(), CAR)
    box = [before[side] for side in ("x0", "y0", "x1", "y1")]
    assert box == [2 * 100, 4 * 600, 2 * 130, 4 * 612]
    # Where the file's own transform puts the box in pixels of the file.
    place = shapely.from_wkb(before["geometry"])
    x0, y0 = 500_000 + 0.15 * box[0], 5_300_000 - 0.15 * box[1]
    assert (place.bounds[0], place.bounds[3]) == pytest.approx((x0, y0))
    assert before["width_m"] == pytest.approx(60 * 0.15, rel=1e-3)
    assert before["height_m"] == pytest.approx(48 * 0.15, rel=1e-3)


def at_the_date_line():
    """Return a scene whose CAR crosses 180 degrees east, 11.5 m of it on the far side."""
    return make_scene(crs="EPSG:4326", transform=(1e-5, 0, 180 - 115e-5, 0, -1e-5, -16.8))


def test_a_box_on_the_date_line_is_cut_there():
    before, _ = detections_of(at_the_date_line(), CAR)
    place = shapely.from_wkb(before["geometry"])
    assert place.geom_type == "MultiPolygon"
    assert place.area == pytest.approx(30e-5 * 12e-5)
    bbox = [before["bbox"][side] for side in ("xmin", "xmax")]
    assert bbox == pytest.approx([180 - 15e-5, 15e-5 - 180])
    assert before["width_m"] == pytest.approx(30e-5 * 111_320 * math.cos(math.radians(16.8)), 1e-3)


def write_detections(folder, *scenes, boxes=(CAR, VAN, BUS)):
    rows = [row for scene in scenes for row in detections_of(scene, *boxes)]
    batch = encode(rows, DETECTIONS)
    settings = {"name": "part.parquet", "crs": "EPSG:4326", "run_id": "r"}
    write_part([batch], DETECTIONS, output=folder, **settings)
    return folder / "detections" / "part.parquet"


@pytest.mark.parametrize(
    ("scenes", "types"),
    [
        ((), []),
        ((make_camera_scene(),), ["Point"]),
        ((make_scene(crs="EPSG:4326", transform=DEGREES),), ["Polygon"]),
        (
            (make_camera_scene(), at_the_date_line()),
            ["MultiPolygon", "Point", "Polygon"],
        ),
    ],
)
def test_a_part_names_the_geometries_that_it_holds(tmp_path, scenes, types):
    path = write_detections(tmp_path, *scenes)
    told = json.loads(pq.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
    assert told["geometry_types"] == types
    frame = geopandas.read_parquet(path)
    assert sorted(set(frame.geometry.geom_type)) == types


def test_a_part_across_the_date_line_has_bounds_across_it_and_order_along_it(tmp_path):
    scene = at_the_date_line()
    boxes = [(col, 600.0, col + 6, 606.0) for col in (0.0, 50.0, 100.0, 113.0, 130.0, 200.0)]
    path = write_detections(tmp_path, scene, boxes=boxes)
    told = json.loads(pq.read_metadata(path).metadata[b"geo"])["columns"]["geometry"]
    west, _, east, _ = told["bbox"]
    assert (west, east) == pytest.approx((180 - 115e-5, -180 + 91e-5))
    columns = pq.read_table(path, columns=["x0"])["x0"].to_pylist()
    assert set(columns) == {box[0] for box in boxes}
    # What lies on one side of the line stays together.
    sides = [(x > 115) for x in columns if x != 113]
    assert sides in (sorted(sides), sorted(sides, reverse=True))


def test_a_run_without_truth_speaks_of_neither_recall_nor_gain():
    rows = [tile_of(), *detections_of(make_scene(), CAR), *ledger_of(changed_row()).values()]
    said = f"{rows} {TILES} {DETECTIONS} {LEDGER} {SUMMARY} {REJECTED} {HISTOGRAMS}"
    words = set(re.split("[^a-z]+", said.lower()))
    assert {"kept", "gained", "lost"} <= words
    assert not words & {"recall", "precision", "gain"}


@pytest.mark.parametrize(
    ("value", "written"), [(math.nan, None), (None, None), (math.inf, math.inf), (0.5, 0.5)]
)
def test_a_summary_keeps_infinity_and_makes_undefined_null(value, written):
    row = make_summary_row(value=value, high=value, p=value, minimum_detectable=value)
    [summary] = summary_rows(row).rows
    assert list(summary) == [column.name for column in SUMMARY.columns]
    assert (summary["value"], summary["high"], summary["low"]) == (written, written, None)
    assert (summary["p"], summary["minimum_detectable"], summary["p_holm"]) == (
        written,
        written,
        None,
    )


@given(st.text(), st.text(min_size=1))
def test_the_replay_command_survives_a_shell(output, key):
    rejected = Rejected(key, "a.tif", "read", "SceneError", "why")
    [row] = rejected_rows(rejected, output=output).rows
    assert shlex.split(row["replay"]) == ["aerial-deblur", "replay", output, key]
