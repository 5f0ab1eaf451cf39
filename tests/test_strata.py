"""Strata: cells partition what a tile counts, and arms that ran on a sample are compared there."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import (
    NAMES,
    THRESHOLD,
    join_detections,
    make_detections,
    make_reporter,
    make_ruler,
    make_scene,
    make_tile_row,
    make_truth,
)

from configs.schema import MeasureConfig
from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.functional.cells import SIZES_PX, box_sizes, size_level
from transforms.functional.gain import DetectionCounts
from transforms.records import Blur, TileRow
from transforms.strata import strata_of, sum_cells, sum_tile
from transforms.sums import Changes, TileSums

SEEDS = st.integers(0, 2**32 - 1)
CROSSINGS = [("class",), ("size_px",), ("size_m",), ("class", "size_px"), ("size_m", "class")]


def draw_row(seed: int, **settings) -> TileRow:
    """Return a tile with labels, some ignored or outside, and arms that found some of them."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 400, (12, 2))
    truth = make_truth(
        *map(tuple, np.hstack([low, low + rng.integers(4, 150, (12, 2))]).tolist()),
        kinds=tuple(rng.integers(0, 2, 12).tolist()),
        ignored=np.flatnonzero(rng.random(12) < 0.2),
    )
    arms = {arm: draw_detections(rng, truth) for arm in ("before", "after")}
    row = make_tile_row(truth="labels", labels=truth, arms=arms, **settings)
    return dataclasses.replace(row, owned=rng.random(12) < 0.8)


def draw_detections(rng, truth) -> Detections:
    moved = truth.xyxy[rng.integers(0, 12, 15)] + rng.integers(-6, 7, (15, 4))
    return Detections(
        xyxy_to_corners(moved.astype(np.float32)),
        rng.integers(1, 100, 15).astype(np.float32) / 100,
        rng.integers(0, 2, 15).astype(np.int32),
    )


def claim(row: TileRow, arm: str, claimed: list[bool]) -> TileRow:
    """Return the row with other claims in one arm."""
    arms = tuple(
        dataclasses.replace(
            each, sightings=dataclasses.replace(each.sightings, claimed=np.array(claimed))
        )
        if each.arm == arm
        else each
        for each in row.arms
    )
    return dataclasses.replace(row, arms=arms)


def described(counts: DetectionCounts) -> list[list[int]]:
    bins = [counts.bins.index, counts.bins.count]
    return [each.tolist() for each in (counts.labels, counts.found, counts.false, *bins)]


def names_of(row: TileRow, reporter=None) -> list[str]:
    return [name for ((name, _), _), _ in strata_of(row, (reporter or make_reporter()).stratifier)]


def sums_of(row: TileRow, reporter=None) -> dict[str, TileSums]:
    return {
        name: sums
        for ((name, _), _), sums in strata_of(row, (reporter or make_reporter()).stratifier)
    }


def crossing(*dimensions: str):
    return make_reporter(MeasureConfig(strata=(dimensions,)))


@pytest.mark.parametrize("dimensions", CROSSINGS)
@given(seed=SEEDS)
def test_the_cells_of_a_tile_partition_its_labels_and_detections(dimensions, seed):
    row, ruler = draw_row(seed), make_ruler()
    whole, cells = sum_tile(row, ruler), sum_cells(row, dimensions, ruler)
    total = sum(cells.values(), start=TileSums())
    assert total.changes == whole.changes
    for arm, sums in whole.arms.items():
        for name in NAMES:
            assert described(total.arms[arm].counts[name]) == described(sums.counts[name])


@given(seed=SEEDS)
def test_the_sums_of_a_tile_are_those_of_a_plain_loop(seed):
    row, ruler = draw_row(seed), make_ruler()
    seen = row.arm("after").sightings
    expected = dict.fromkeys(("labels", "found", "false"), 0)
    for owned, ignored, kind in zip(row.owned, row.labels.ignored, row.labels.classes, strict=True):
        expected["labels"] += owned and not ignored and kind == 0
    for at in range(len(seen.detections)):
        if seen.detections.classes[at] != 0 or seen.detections.scores[at] < THRESHOLD:
            continue
        label = seen.taken[0, at]
        expected["false"] += label < 0
        expected["found"] += label >= 0 and not row.labels.ignored[label]
    counts = sum_tile(row, ruler).arms["after"].counts["car"]
    assert {name: getattr(counts, name)[0] for name in expected} == expected


def test_a_detection_that_found_a_label_counts_with_the_size_of_the_label():
    """The label is 15 px large, the detection 17: between them lies the border of two sizes."""
    row = make_tile_row(
        None,
        make_detections((0, 0, 17, 17), (100, 100, 117, 117)),
        truth="labels",
        labels=make_truth((0, 0, 15, 15)),
    )
    cells = sum_cells(row, ("size_px",), make_ruler())
    small, large = (
        cells[f"size_px={level}"].arms["after"].counts["car"] for level in ("<16", "16-32")
    )
    assert (small.labels[0], small.found[0], small.false[0]) == (1, 1, 0)
    assert (large.labels[0], large.found[0], large.false[0]) == (0, 0, 1)


def test_so_it_does_if_the_label_belongs_to_the_core_next_door():
    row = make_tile_row(
        None, make_detections((0, 0, 17, 17)), truth="labels", labels=make_truth((0, 0, 15, 15))
    )
    cells = sum_cells(dataclasses.replace(row, owned=np.array([False])), ("size_px",), make_ruler())
    counts = cells["size_px=<16"].arms["after"].counts["car"]
    assert (counts.labels[0], counts.found[0]) == (0, 1)
    elsewhere = cells["size_px=16-32"].arms["after"].counts["car"]
    assert (elsewhere.found[0], elsewhere.false[0]) == (0, 0)


def test_what_is_ignored_counts_nowhere():
    found = make_detections((0, 0, 20, 20), (50, 50, 70, 70))
    truth = make_truth((0, 0, 20, 20), (50, 50, 70, 70), ignored=[0])
    row = make_tile_row(None, found, truth="labels", labels=truth)
    counts = sum_tile(row, make_ruler()).arms["before"].counts["car"]
    assert (counts.labels[0], counts.found[0], counts.false[0]) == (1, 1, 0)
    assert described(counts)[4] == [1] * len(counts.labels)


def test_what_a_core_does_not_claim_counts_nowhere():
    found = make_detections((0, 0, 20, 20), (50, 50, 70, 70), (90, 90, 99, 99))
    row = make_tile_row(None, found, truth="labels", labels=make_truth((0, 0, 20, 20)))
    for arm in ("before", "after"):
        row = claim(row, arm, [False, True, False])
    sums = sum_tile(row, make_ruler())
    counts = sums.arms["before"].counts["car"]
    assert (counts.found[0], counts.false[0], sums.changes.kept) == (0, 1, 1)
    assert list(sum_cells(row, ("size_px",), make_ruler())) == ["size_px=16-32"]


def test_changes_are_counted_by_what_they_were():
    """A car is kept, one is lost, of two gained one is true; a faint one is no object."""
    kept, lost = (0, 0, 20, 20), (50, 50, 70, 70)
    gained, false = (100, 100, 140, 140), (200, 200, 240, 240)
    row = make_tile_row(
        truth="labels",
        labels=make_truth(kept, lost, gained),
        arms={
            "before": make_detections(kept, lost, score=0.5),
            "after": join_detections(
                make_detections(kept, gained, false, score=0.75),
                make_detections((300, 300, 320, 320), score=0.125),
            ),
        },
    )
    changes = sum_tile(row, make_ruler()).changes
    assert (changes.kept, changes.gained, changes.lost) == (1, 2, 1)
    assert (changes.gained_true, changes.gained_false) == (1, 1)
    assert (changes.lost_true, changes.lost_false) == (1, 0)
    assert (changes.gained_consistent, changes.gained_undecided) == (2, 0)
    assert changes.score_shift.total == Fraction(1, 4)
    large = sum_cells(row, ("size_px",), make_ruler())["size_px=32-64"].changes
    assert large == Changes(gained=2, gained_consistent=2, gained_true=1, gained_false=1)


def test_of_the_gained_those_that_fail_the_check_are_told_apart():
    true, false = (0, 0, 20, 20), (50, 50, 70, 70)
    row = make_tile_row(
        truth="labels",
        labels=make_truth(true),
        arms={"before": Detections.empty(), "after": make_detections(true, false, false)},
    )
    verdict = ("inconsistent", "inconsistent", "undecided")
    objects = dataclasses.replace(row.objects, verdict=verdict)
    changes = sum_tile(dataclasses.replace(row, objects=objects), make_ruler()).changes
    counted = (changes.gained_consistent, changes.gained_inconsistent, changes.gained_undecided)
    assert counted == (0, 2, 1)
    assert (changes.gained_inconsistent_true, changes.gained_inconsistent_false) == (1, 1)


def test_without_truth_objects_are_counted_all_the_same():
    row = make_tile_row(None, make_detections((0, 0, 20, 20), (0, 0, 90, 90)))
    sums = sums_of(row)
    assert sums["all"].changes.kept == 2
    assert sums["size_px=64-128"].changes.kept == 1
    assert sums["all"].arms["after"].counts == {}


def test_a_tile_counts_in_all_in_its_blurs_and_in_every_crossing():
    found = make_detections((0, 0, 20, 20))
    row = make_tile_row(None, found, truth="labels", blur=Blur(7, 0, severity=2))
    assert names_of(row) == [
        "all",
        "blur_length=7",
        "severity=2",
        "class=car",
        "scene=a.tif",
        "size_px=16-32",
        "size_m=2-4",
        "blur=6-10",
        "class=car,size_px=16-32,blur=6-10",
    ]


@pytest.mark.parametrize(
    ("length", "level"),
    [(0, "sharp"), (2.9, "sharp"), (3, "3-6"), (9.9, "6-10"), (14, "10-15"), (40, ">=21")],
)
def test_blur_is_named_by_the_level_of_the_estimate(length, level):
    row = make_tile_row()
    row = dataclasses.replace(row, blur=dataclasses.replace(row.blur, length=length))
    assert names_of(row, crossing("blur")) == ["all", f"blur={level}"]


def test_a_tile_whose_blur_nobody_knows_is_in_no_stratum_of_blur():
    row = make_tile_row(None, make_detections((0, 0, 20, 20)))
    blind = dataclasses.replace(row, blur=dataclasses.replace(row.blur, confidence=0))
    assert names_of(blind, crossing("size_px", "blur")) == ["all"]
    assert names_of(TileRow.empty(row.window, "labels"), crossing("blur")) == ["all"]


def test_dimensions_stand_in_the_name_objects_first():
    row = make_tile_row(None, make_detections((0, 0, 20, 20)))
    [_, name] = names_of(row, crossing("scene", "size_px", "blur", "class"))
    assert name == "size_px=16-32,class=car,blur=6-10,scene=a.tif"


@pytest.mark.parametrize(
    ("side", "level"),
    [(15.99, "<16"), (16, "16-32"), (31.99, "16-32"), (64, "64-128"), (128, ">=128")],
)
def test_sizes_are_half_open(side, level):
    [(cell, _)] = sum_cells(
        make_tile_row(None, make_detections((0, 0, side, side))), ("size_px",), make_ruler()
    ).items()
    assert cell == f"size_px={level}"


def test_every_level_has_a_name_of_its_own():
    names = [size_level(level, SIZES_PX) for level in range(len(SIZES_PX) + 1)]
    assert names == ["<16", "16-32", "32-64", "64-128", ">=128"]


@given(st.floats(0, 360), st.floats(1, 60), st.floats(1, 60))
def test_the_size_of_a_box_does_not_depend_on_how_it_is_turned(angle, width, height):
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = xyxy_to_corners(np.array([[0, 0, width, height]])) @ matrix.T
    size = box_sizes(corners.astype(np.float32), (1.0, 1.0))[0]
    assert size == pytest.approx(np.sqrt(width * height), rel=1e-4)


def test_a_pixel_may_be_longer_than_wide():
    assert box_sizes(xyxy_to_corners(np.array([[0, 0, 4, 9]])), (0.25, 4.0))[0] == 6


def test_sizes_on_the_ground_need_known_pixels():
    row = make_tile_row(
        make_scene(crs=None),
        make_detections((0, 0, 20, 20)),
        truth="labels",
        labels=make_truth((0, 0, 20, 20)),
        metres=None,
    )
    assert not any("size_m" in name for name in names_of(row))
    sums = sum_tile(row, make_ruler(distances=(1.0, 2.0)))
    counts = sums.arms["before"].counts["car"]
    assert counts.labels.tolist() == [1] * 10 + [0, 0]
    assert counts.found.tolist() == [1] * 10 + [0, 0]
    assert sums.area == 0


def test_the_judged_area_is_that_of_its_pixels_on_the_ground():
    row = dataclasses.replace(make_tile_row(metres=(0.5, 0.25)), judged_pixels=1000)
    assert sum_tile(row, make_ruler()).area == Fraction(125, 10**6)


def test_an_empty_tile_counts_as_such_and_as_nothing_else():
    row = TileRow.empty(make_tile_row().window, "labels")
    sums = sums_of(row)
    assert list(sums) == ["all", "scene=a.tif"]
    assert (sums["all"].tiles, sums["all"].empty, sums["all"].arms) == (1, 1, {})


def test_skipped_tiles_are_counted_with_their_pixels():
    sums = sum_tile(dataclasses.replace(make_tile_row(), skipped=True), make_ruler())
    assert (sums.skipped, sums.skipped_pixels) == (1, 512 * 512)
    sums = sum_tile(make_tile_row(), make_ruler())
    assert (sums.skipped, sums.skipped_pixels, sums.valid_pixels) == (0, 0, 512 * 512)


def partly(*arms: str):
    """Return the sums of a tile with the given arms beside before and after, by stratum."""
    found = make_detections((0, 0, 20, 20))
    row = make_tile_row(arms=dict.fromkeys(("before", "after", *arms), found))
    partial = frozenset({"null", "unsharp", "unskipped"})
    reporter = make_reporter(partial=partial)
    return {name: set(sums.arms) for name, sums in sums_of(row, reporter).items()}


def test_arms_that_run_on_a_sample_appear_only_where_they_ran():
    strata = partly("null", "unsharp")
    assert strata.pop("controls=ran") == {"before", "after", "null", "unsharp"}
    assert all(arms == {"before", "after"} for arms in strata.values())
    assert "controls=ran" not in partly()
    assert "skip=audited" not in partly("null")


def test_the_audit_of_skipping_has_a_stratum_of_its_own():
    strata = partly("null", "unskipped")
    assert strata.pop("skip=audited") == {"before", "after", "unskipped"}
    assert strata.pop("controls=ran") == {"before", "after", "null"}
    assert all(arms == {"before", "after"} for arms in strata.values())


def test_arms_that_run_everywhere_have_no_stratum_of_their_own():
    row = make_tile_row(arms=dict.fromkeys(("before", "null", "after"), make_detections()))
    sums = sums_of(row)
    assert "controls=ran" not in sums
    assert set(sums["all"].arms) == {"before", "null", "after"}


def test_truth_is_part_of_a_stratum():
    [(stratum, cluster), _] = next(iter(strata_of(make_tile_row(), make_reporter().stratifier)))
    assert stratum == ("all", "none")
    assert cluster == "a.tif:0,1"
