"""The summary: sums over strata that do not depend on order, and metrics by truth."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import make_detections, make_scene, make_tile_row

from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Mean, Quality
from transforms.records import Blur
from transforms.summarize import ArmSums, TileSums, strata_of, summarize, summarize_rows


def rows_of(truth):
    blurs = [None] if truth == "none" else [Blur(7, 0), Blur(15, 90)]
    return [
        make_tile_row(make_scene(name), make_detections((1, 2, 30, 14)), truth=truth, blur=blur)
        for name in ("a.tif", "b.tif")
        for blur in blurs
    ]


def values(rows, stratum="all"):
    return {(row.arm, row.metric): row.value for row in rows if row.stratum == stratum}


@pytest.mark.parametrize("truth", ["labels", "reference", "none"])
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_tiles_changes_nothing(truth, seed):
    rows = rows_of(truth)
    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    key = lambda row: (row.stratum, row.arm, row.metric)  # noqa: E731
    described = sorted(summarize_rows(rows, iou=0.5), key=key)
    assert described == sorted(summarize_rows(shuffled, iou=0.5), key=key)


def test_a_tile_counts_in_all_in_its_scene_and_in_its_blur():
    [row] = rows_of("labels")[:1]
    assert [stratum for (stratum, _), _ in strata_of(row)] == [
        "all",
        "scene=a.tif",
        "blur_length=7",
    ]


def test_a_rung_of_the_ladder_is_a_stratum():
    row = make_tile_row(truth="labels", blur=Blur(7, 0, severity=2))
    assert [stratum for (stratum, _), _ in strata_of(row)][2:] == ["blur_length=7", "severity=2"]


def test_recall_and_precision_are_ratios_of_the_sums():
    described = values(summarize_rows(rows_of("labels"), iou=0.5))
    # Two classes with 3 labels, 2 found and 1 false each, on every one of four tiles.
    assert described["before", "recall"] == pytest.approx(2 / 3)
    assert described["before", "precision"] == pytest.approx(2 / 3)
    assert described["after", "recall_gain"] == 0


def test_what_came_back_is_a_share_of_what_blur_took():
    def arm(found):
        return ArmSums(Quality(Mean.of(100, 1), Mean()), {"car": DetectionCounts(10, found, 0)})

    arms = {
        "reference": arm(9),
        "before": arm(4),
        "null": arm(4),
        "after": arm(6),
        "oracle": arm(8),
    }
    described = values(summarize(("all", "labels"), TileSums(arms=arms, tiles=1), iou=0.5))
    assert described["after", "recall_gain"] == pytest.approx(0.2)
    assert described["after", "recall_returned"] == pytest.approx(0.4)
    assert described["null", "recall_returned"] == 0
    assert described["oracle", "recall_returned"] == pytest.approx(0.8)
    assert described["after", "psnr_gain"] == 0


def test_the_iou_stands_in_the_name_of_average_precision():
    described = values(summarize_rows(rows_of("labels"), iou=0.3))
    assert ("before", "ap30") in described


def test_classes_have_rows_of_their_own():
    described = summarize_rows(rows_of("labels"), iou=0.5)
    assert values(described, "class=bus")["after", "recall"] == pytest.approx(2 / 3)


def test_sums_have_a_zero():
    [(_, sums), *_] = strata_of(rows_of("reference")[0])
    stratum = ("all", "reference")
    assert summarize(stratum, sums + TileSums(), iou=0.5) == summarize(stratum, sums, iou=0.5)
