"""One tile's row: truth, classes, criteria and ownership."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from made_rows import join_detections, make_detections, make_scene
from scenes import textured

from configs.schema import RunConfig
from transforms import measure
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.boxes import Detections, Labels
from transforms.functional.windows import Rectangle
from transforms.measure import (
    COCO_IOUS,
    MeasuredTile,
    Ruler,
    measure_tile,
    measure_tiles,
    settled_of,
)
from transforms.records import DeblurredTile, DetectedTile, Rejected, Scene, Tile, TileRow, Window

RULER = Ruler(names=("car", "bus"), threshold=0.5, ious=(0.5, 0.75))
CORE, READ = Rectangle(64, 64, 64, 64), Rectangle(32, 32, 128, 128)
CAR, OTHER, OUTSIDE = (40, 40, 70, 52), (60, 70, 90, 82), (2, 2, 30, 14)
"""Boxes in pixels of the read rectangle; the core is 32 to 96 there."""
PLAIN = make_scene(crs=None, transform=(1, 0, 0, 0, 1, 0))
"""A scene of which nobody knows the size on the ground."""


def detected(
    *,
    before: Detections,
    after: Detections,
    reference: Detections | None = None,
    labels: Labels | None = None,
    judged: np.ndarray | None = None,
    scene: Scene | None = None,
    shifted: Mapping[str, Detections] | None = None,
) -> DetectedTile:
    """Return a tile with these detections; it has a sharp picture if `reference` is given."""
    image = textured(128, 128, seed=0)
    window = Window(scene or make_scene(), CORE, READ, None)
    valid = np.ones((128, 128), bool)
    sharp = None if reference is None else image
    tile = Tile(window, image, sharp, valid, labels, valid if judged is None else judged)
    found = {"before": before, "null": before, "after": after}
    if reference is not None:
        found = {"reference": reference} | found
    made = {"after": image, "null": image}
    deblurred = DeblurredTile(tile, made, BlurEstimate(7, 0, 0.5, 0.1), False, {})
    return DetectedTile(deblurred, found, shifted or {})


def row_of(tile: DetectedTile, ruler: Ruler = RULER) -> TileRow:
    return measure_tile(tile, ruler).row


def labels_of(*boxes, classes=None, ignored=(), crowd=()) -> Labels:
    k = len(boxes)
    kinds = np.zeros(k, np.int32) if classes is None else np.int32(classes)
    out, many = (np.isin(np.arange(k), index) for index in ((*ignored, *crowd), crowd))
    return Labels(make_detections(*boxes).corners, kinds, out, many, np.arange(k))


def counts(row: TileRow, arm: str, criterion: int = 0) -> tuple[int, int, int]:
    """Return labels, found and false of a tile at the operating point."""
    seen = row.arm(arm).sightings
    mine = seen.claimed & (seen.detections.scores >= RULER.threshold)
    labels = int((row.owned & ~row.labels.ignored).sum())
    return (
        labels,
        int((seen.found[criterion] & mine).sum()),
        int((seen.false[criterion] & mine).sum()),
    )


def test_labels_are_the_truth_where_there_are_any():
    row = row_of(
        detected(
            before=make_detections(CAR),
            after=make_detections(CAR, OTHER),
            labels=labels_of(CAR, OTHER, OUTSIDE),
        )
    )
    assert row.truth == "labels"
    assert counts(row, "before") == (2, 1, 0)
    assert counts(row, "after") == (2, 2, 0)


def test_the_sharp_detections_at_the_operating_point_are_the_truth_without_labels():
    strong, weak = make_detections(CAR), make_detections(OTHER, score=0.4)
    sharp = join_detections(strong, weak)
    row = row_of(detected(before=Detections.empty(), after=strong, reference=sharp))
    assert row.truth == "reference"
    assert counts(row, "reference") == (1, 1, 0)
    assert counts(row, "before") == (1, 0, 0)
    assert counts(row, "after") == (1, 1, 0)


def test_without_truth_nothing_is_judged():
    row = row_of(detected(before=make_detections(CAR), after=make_detections(OTHER)))
    assert (row.truth, row.labels) == ("none", None)
    for arm in row.arms:
        assert arm.quality is None
        assert arm.sightings.taken.shape == arm.sightings.ignored.shape == (0, 1)


def test_labels_and_detections_are_told_in_pixels_of_the_scene():
    found = make_detections(CAR)
    row = row_of(detected(before=found, after=found, labels=labels_of(CAR)))
    expected = np.add(CAR, [32, 32, 32, 32])
    assert row.labels.xyxy.tolist() == [expected.tolist()]
    assert row.arm("after").sightings.detections.xyxy.tolist() == [expected.tolist()]


def test_weak_detections_are_no_objects_but_are_kept_for_average_precision():
    weak = make_detections(OTHER, score=0.49)
    row = row_of(detected(before=weak, after=weak, labels=labels_of(CAR)))
    assert counts(row, "after") == (1, 0, 0)
    assert len(row.objects) == 0
    assert row.arm("after").sightings.false[0].tolist() == [True]


def test_what_the_halo_sees_belongs_to_another_tile():
    found = make_detections(OUTSIDE, CAR)
    row = row_of(detected(before=found, after=found, labels=labels_of(OUTSIDE, CAR)))
    assert counts(row, "before") == (1, 1, 0)
    assert row.owned.tolist() == [False, True]
    assert len(row.arm("before").sightings.detections) == 1


def test_a_label_in_the_halo_can_be_found_by_a_detection_in_the_core():
    """Its own tile counts the label, this one what found it: once each over both."""
    label, found = (17, 40, 46, 52), make_detections((18, 40, 48, 52))
    row = row_of(detected(before=found, after=found, labels=labels_of(label)))
    assert counts(row, "before") == (0, 1, 0)


def test_a_wrong_class_is_a_miss_and_a_false_detection():
    found = make_detections(CAR)
    row = row_of(detected(before=found, after=found, labels=labels_of(CAR, classes=[1])))
    assert counts(row, "before") == (1, 0, 1)


@pytest.mark.parametrize("kind", ["ignored", "crowd"])
def test_finding_an_ignored_label_or_a_crowd_counts_as_nothing(kind):
    found = make_detections(CAR, OTHER)
    labels = labels_of(CAR, OTHER, **{kind: (0,)})
    row = row_of(detected(before=found, after=found, labels=labels))
    assert counts(row, "before") == (1, 1, 0)


def test_a_crowd_takes_any_number_of_detections():
    crowd = (30, 30, 95, 95)
    found = make_detections(CAR, OTHER)
    row = row_of(detected(before=found, after=found, labels=labels_of(crowd, crowd=(0,))))
    assert counts(row, "before") == (0, 0, 0)


def test_outside_the_judged_area_a_detection_is_not_false():
    judged = np.ones((128, 128), bool)
    judged[:, :60] = False
    found = make_detections(CAR, OTHER)
    row = row_of(detected(before=found, after=found, labels=labels_of(), judged=judged))
    assert counts(row, "before") == (0, 0, 1)
    assert (row.valid_pixels, row.judged_pixels) == (CORE.area, CORE.area * 36 // 64)


def test_where_nobody_judges_the_sharp_picture_gives_no_labels():
    judged = np.ones((128, 128), bool)
    judged[:, :60] = False
    found = make_detections(CAR, OTHER)
    row = row_of(detected(before=found, after=found, reference=found, judged=judged))
    assert counts(row, "after") == (1, 1, 0)


def test_a_stricter_overlap_is_another_criterion():
    """Moved by 6 of 30 px a box keeps an IoU of 24 / 36: enough for 0.5, not for 0.75."""
    found = make_detections(tuple(np.add(CAR, [6, 0, 6, 0])))
    row = row_of(detected(before=found, after=found, labels=labels_of(CAR)))
    assert counts(row, "before", 0) == (1, 1, 0)
    assert counts(row, "before", 1) == (1, 0, 1)


BY_CENTRE = Ruler(names=("car", "bus"), threshold=0.5, ious=(0.5,), distances=(1.0, 2.0))


@pytest.mark.parametrize(("pixels", "found"), [(6, (1, 1)), (12, (0, 1)), (14, (0, 0))])
def test_centres_are_measured_in_metres_on_the_ground(pixels, found):
    """A pixel is 0.15 m wide; UTM stretches the ground here by less than 1 in 1000."""
    box = make_detections(tuple(np.add(CAR, [pixels, 0, pixels, 0])))
    row = row_of(detected(before=box, after=box, labels=labels_of(CAR)), BY_CENTRE)
    seen = row.arm("before").sightings
    assert row.metres == pytest.approx((0.15, 0.15), rel=1e-3)
    assert tuple(seen.found[1:, 0].tolist()) == tuple(map(bool, found))


def test_without_a_crs_no_distance_is_judged_unless_the_run_knows_the_size_of_a_pixel():
    found = make_detections(CAR)
    tile = detected(before=found, after=found, labels=labels_of(CAR), scene=PLAIN)
    unknown = row_of(tile, BY_CENTRE)
    assert unknown.metres is None
    assert unknown.arm("before").sightings.ignored[:, 0].tolist() == [False, True, True]
    known = row_of(tile, replace(BY_CENTRE, gsd=0.3))
    assert known.metres == (0.3, 0.3)
    assert known.arm("before").sightings.found[:, 0].tolist() == [True, True, True]


def test_a_run_hands_on_the_size_of_a_pixel_and_its_own_overlap_comes_first():
    sections = {"input": {"gsd": 0.3}, "measure": {"iou": 0.4, "border": 8}}
    ruler = Ruler.of(RunConfig.model_validate(sections), ("car",))
    assert (ruler.gsd, ruler.border, ruler.names) == (0.3, 8, ("car",))
    assert ruler.ious == (0.4, *COCO_IOUS)
    assert Ruler.of(RunConfig(), ("car",)).ious == COCO_IOUS


def test_the_size_that_the_run_tells_does_not_overrule_a_crs():
    nothing = Detections.empty()
    tile = detected(before=nothing, after=nothing)
    told = row_of(tile, replace(BY_CENTRE, gsd=0.3))
    assert told.metres == row_of(tile).metres != (0.3, 0.3)


def test_quality_is_that_of_the_core_against_the_reference():
    nothing = Detections.empty()
    row = row_of(detected(before=nothing, after=nothing, reference=nothing))
    for arm in row.arms:
        assert arm.quality.squared_error.count == CORE.area * 3
        assert arm.quality.squared_error.total == 0
        assert arm.quality.ssim.value == 1
    assert row.valid_pixels == CORE.area


def test_arms_of_equal_pixels_are_measured_once(monkeypatch):
    calls = []
    for name in ("measure_quality", "measure_histograms", "match_boxes"):
        true = getattr(measure, name)

        def counted(*args, name=name, true=true, **settings):
            calls.append(name)
            return true(*args, **settings)

        monkeypatch.setattr(measure, name, counted)
    found = make_detections(CAR)
    row = row_of(detected(before=found, after=found, reference=found))
    assert len(row.arms) == 4
    assert sorted(calls) == ["match_boxes", "measure_histograms", "measure_quality"]


def test_stability_counts_what_is_found_again_in_the_shifted_picture():
    """Of three detections in the core one is weak, and of the other two one is not found again."""
    before = join_detections(
        make_detections(CAR, OTHER), make_detections((40, 80, 70, 92), score=0.4)
    )
    again = join_detections(
        make_detections(tuple(np.add(CAR, 1))), make_detections(OTHER, score=0.4)
    )
    shifted = {"before": again, "after": before}
    row = row_of(detected(before=before, after=before, shifted=shifted))
    stable = {arm.arm: (arm.stability.total, arm.stability.count) for arm in row.arms}
    assert stable == {"before": (1, 2), "after": (2, 2), "null": (0, 0)}


def test_stability_is_counted_in_the_core_alone():
    both = make_detections(CAR, OUTSIDE)
    row = row_of(detected(before=both, after=both, shifted={"before": both, "after": both}))
    assert row.arm("after").stability.count == 1


def test_the_estimate_of_the_blur_and_the_skip_go_into_the_row():
    tile = detected(before=Detections.empty(), after=Detections.empty())
    row = row_of(tile)
    assert (row.blur, row.skipped) == (tile.deblurred.blur, False)


def test_settled_windows_pass_through_and_histograms_leave_beside_the_row():
    found = make_detections(CAR)
    rejected = Rejected("a", "a.tif", "read", "SceneError", "why")
    empty = TileRow.empty(Window(make_scene(), CORE, READ, None), "none")
    first, tile, last = measure_tiles([rejected, detected(before=found, after=found), empty], RULER)
    assert (first, last) == (rejected, empty)
    assert isinstance(tile, MeasuredTile)
    assert settled_of(tile) is tile.row
    assert settled_of(empty) is empty


def test_the_edges_of_the_core_leave_beside_the_row():
    nothing = Detections.empty()
    edges = measure_tile(detected(before=nothing, after=nothing), RULER).edges
    assert edges.picture == ("a.tif", "none", "a.tif")
    assert set(edges.edges) == {(axis, side, 64, 128) for axis in (0, 1) for side in (64, 128)}
