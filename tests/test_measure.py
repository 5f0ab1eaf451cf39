"""One tile's row: truth, classes, changes and ownership."""

import numpy as np
import pytest
from made_rows import make_detections, make_scene
from scenes import textured

from transforms.functional.boxes import Detections, Labels
from transforms.functional.windows import Rectangle
from transforms.measure import Ruler, measure_tile
from transforms.records import DeblurredTile, DetectedTile, Tile, Window

RULER = Ruler(names=("car", "bus"), threshold=0.5, iou=0.5)
CORE, READ = Rectangle(64, 64, 64, 64), Rectangle(32, 32, 128, 128)
CAR, OTHER, OUTSIDE = (40, 40, 70, 52), (60, 70, 90, 82), (2, 2, 30, 14)
"""Boxes in pixels of the read rectangle; the core is 32 to 96 there."""


def detected(*, before, after, reference=None, labels=None, sharp=False) -> DetectedTile:
    image = textured(128, 128, seed=0)
    window = Window(make_scene(), CORE, READ, None)
    valid = np.ones((128, 128), bool)
    tile = Tile(window, image, image if sharp else None, valid, labels, valid)
    found = {"before": before, "null": before, "after": after}
    if sharp:
        found = {"reference": reference} | found
    return DetectedTile(DeblurredTile(tile, {"after": image, "null": image}), found)


def labels_of(*boxes, classes=None) -> Labels:
    kinds = np.zeros(len(boxes), np.int32) if classes is None else np.int32(classes)
    return Labels.plain(make_detections(*boxes).corners, kinds)


def counts(row, arm, name="car"):
    found = next(a for a in row.arms if a.arm == arm).counts[name]
    return found.labels, found.found, found.false


def test_labels_are_the_truth_where_there_are_any():
    labels = labels_of(CAR, OTHER, OUTSIDE)
    tile = detected(before=make_detections(CAR), after=make_detections(CAR, OTHER), labels=labels)
    row = measure_tile(tile, RULER)
    assert row.truth == "labels"
    assert counts(row, "before") == (2, 1, 0)
    assert counts(row, "after") == (2, 2, 0)
    assert counts(row, "after", "bus") == (0, 0, 0)


def test_the_sharp_detections_at_the_operating_point_are_the_truth_without_labels():
    weak = make_detections(OTHER, score=0.4)
    strong = make_detections(CAR)
    both = Detections(
        np.concatenate([strong.corners, weak.corners]),
        np.concatenate([strong.scores, weak.scores]),
        np.concatenate([strong.classes, weak.classes]),
    )
    tile = detected(before=Detections.empty(), after=strong, reference=both, sharp=True)
    row = measure_tile(tile, RULER)
    assert row.truth == "reference"
    assert counts(row, "reference") == (1, 1, 0)
    assert counts(row, "before") == (1, 0, 0)
    assert counts(row, "after") == (1, 1, 0)


def test_without_truth_nothing_is_counted_but_changes():
    tile = detected(before=make_detections(CAR), after=make_detections(OTHER))
    row = measure_tile(tile, RULER)
    assert row.truth == "none"
    assert all(arm.counts == {} and arm.quality is None for arm in row.arms)
    assert (row.changes.kept, row.changes.gained, row.changes.lost) == (0, 1, 1)


def test_an_object_seen_in_both_arms_is_kept():
    moved = tuple(np.add(CAR, 1))
    tile = detected(before=make_detections(CAR), after=make_detections(moved))
    changes = measure_tile(tile, RULER).changes
    assert (changes.kept, changes.gained, changes.lost) == (1, 0, 0)


def test_weak_detections_are_no_change_and_not_false():
    labels = labels_of(CAR)
    weak = make_detections(OTHER, score=0.49)
    row = measure_tile(detected(before=weak, after=weak, labels=labels), RULER)
    assert counts(row, "after") == (1, 0, 0)
    assert row.changes.kept == 0
    false_bins = next(a for a in row.arms if a.arm == "after").counts["car"].false_bins
    assert false_bins.sum() == 1


def test_what_the_halo_sees_belongs_to_another_tile():
    found = make_detections(OUTSIDE, CAR)
    row = measure_tile(detected(before=found, after=found, labels=labels_of(OUTSIDE, CAR)), RULER)
    assert counts(row, "before") == (1, 1, 0)
    [box] = row.arms[0].detections.xyxy
    assert box.tolist() == pytest.approx(np.add(CAR, [32, 32, 32, 32]))


def test_a_wrong_class_is_a_miss_and_a_false_detection():
    row = measure_tile(
        detected(
            before=make_detections(CAR),
            after=make_detections(CAR),
            labels=labels_of(CAR, classes=[1]),
        ),
        RULER,
    )
    assert counts(row, "before", "bus") == (1, 0, 0)
    assert counts(row, "before", "car") == (0, 0, 1)


def test_quality_is_that_of_the_core_against_the_reference():
    nothing = Detections.empty()
    row = measure_tile(
        detected(before=nothing, after=nothing, reference=nothing, sharp=True), RULER
    )
    for arm in row.arms:
        assert arm.quality.squared_error.count == CORE.area * 3
        assert arm.quality.squared_error.total == 0
        assert arm.quality.ssim.value == 1
    assert row.valid_pixels == CORE.area
