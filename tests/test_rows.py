"""Records to rows: places, sums, and what a run without truth must not say."""

import dataclasses
import math
import re
import shlex

import numpy as np
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
    make_detections,
    make_scene,
    make_tile_row,
)

from transforms.functional.boxes import Detections
from transforms.records import Blur, Rejected, SummaryRow
from transforms.rows import detection_rows, rejected_rows, summary_rows, tile_rows
from transforms.tables import DETECTIONS, REJECTED, SUMMARY, TILES

CAR = (100.0, 600.0, 130.0, 612.0)
NO_PLACE = {"geometry": None, "bbox": None}


def tile_of(*args, crs="scene", **settings):
    [row] = tile_rows(make_tile_row(*args, **settings), threshold=0.25, crs=crs).rows
    return row


def detections_of(scene, *boxes, crs="scene", score=0.9, min_score=0.25):
    row = make_tile_row(scene, make_detections(*boxes, score=score))
    return detection_rows(row, names=NAMES, min_score=min_score, crs=crs).rows


def test_a_tile_row_has_exactly_the_columns_of_its_table():
    assert list(tile_of()) == [column.name for column in TILES.columns]
    assert list(detections_of(make_scene(), CAR)[0]) == [c.name for c in DETECTIONS.columns]


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


def test_a_tile_sums_the_counts_of_its_classes():
    arm = tile_of(truth="labels")["arms"][0]
    assert (arm["labels"], arm["found"], arm["false"]) == (6, 4, 2)
    assert arm["squared_error"] is None


def test_a_tile_counts_detections_from_the_operating_point():
    both = make_tile_row(None, make_detections(CAR, CAR, score=0.3))
    for threshold, count in ((0.25, 2), (0.3, 2), (0.31, 0)):
        [row] = tile_rows(both, threshold=threshold).rows
        assert [arm["detections"] for arm in row["arms"]] == [count, count]


def test_what_is_not_known_is_null_and_never_zero():
    arm = tile_of(truth="none")["arms"][0]
    unknown = [name for name, value in arm.items() if value is None]
    sums = ["squared_error", "squared_error_samples", "ssim_total", "ssim_samples"]
    assert unknown == [*sums, "labels", "found", "false"]
    assert tile_of(truth="reference")["arms"][0]["squared_error"] == 100


def test_an_empty_tile_is_a_row_without_arms():
    empty = dataclasses.replace(make_tile_row(), status="empty", valid_pixels=0, arms=())
    [row] = tile_rows(empty, threshold=0.25).rows
    assert (row["status"], row["arms"]) == ("empty", [])
    assert detection_rows(empty, names=NAMES, min_score=0.25).rows == []


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
    assert tile_rows(make_tile_row(scene), threshold=0.25, crs="EPSG:4326").crs is None


def test_geometries_can_be_put_into_one_crs():
    rows = tile_rows(make_tile_row(make_scene()), threshold=0.25, crs="EPSG:4326")
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


def test_a_run_without_truth_speaks_of_neither_recall_nor_gain():
    rows = [tile_of(), *detections_of(make_scene(), CAR)]
    said = f"{rows} {TILES} {DETECTIONS} {SUMMARY} {REJECTED}"
    assert re.findall(r"recall|gain(?!ed)", said) == []


@pytest.mark.parametrize(
    ("value", "written"), [(math.nan, None), (None, None), (math.inf, math.inf), (0.5, 0.5)]
)
def test_a_summary_keeps_infinity_and_makes_undefined_null(value, written):
    row = SummaryRow("all", "labels", "after", "psnr", value, None, value, 7, None)
    [summary] = summary_rows(row).rows
    assert (summary["value"], summary["high"], summary["low"]) == (written, written, None)


@given(st.text(), st.text(min_size=1))
def test_the_replay_command_survives_a_shell(output, key):
    rejected = Rejected(key, "a.tif", "read", "SceneError", "why")
    [row] = rejected_rows(rejected, output=output).rows
    assert shlex.split(row["replay"]) == ["aerial-deblur", "replay", output, key]
