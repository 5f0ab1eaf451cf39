"""Matching keeps the rule's laws, and does by hand what the rule says.

That it is COCO's rule is shown by tests/test_coco_conformance.py.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.made_boxes import draw_picture, make_detections, make_labels
from transforms.functional.boxes import ANY_CLASS, Detections, Labels
from transforms.functional.matching import UNMATCHED, match_boxes, match_centres
from transforms.functional.overlap import oriented_overlap

IOUS = (0.3, 0.5, 0.75)
SEEDS = st.integers(0, 2**32 - 1)


def picture(seed: int, *, labels: int = 25, found: int = 40) -> tuple[Detections, Labels]:
    rng = np.random.default_rng(seed)
    return draw_picture(rng, labels=labels, detections=found, classes=3)


def without_ties(found: Detections, truth: Labels) -> tuple[Detections, Labels]:
    """Return the picture with boxes off the grid, where no two overlaps are equal or round."""
    rng = np.random.default_rng(len(truth))
    off = [rng.integers(0, 128, (len(x), 4)) / 1024 for x in (found, truth)]
    x, y = [0, 2, 2, 0], [1, 1, 3, 3]
    moved = [np.stack([o[:, x], o[:, y]], axis=2).astype(np.float32) for o in off]
    detections = Detections(found.corners + moved[0], found.scores, found.classes)
    return detections, relabel(truth, corners=truth.corners + moved[1], classes=truth.classes)


def by_boxes(found: Detections, truth: Labels) -> np.ndarray:
    return match_boxes(found, truth, ious=IOUS).labels


def by_oriented_boxes(found: Detections, truth: Labels) -> np.ndarray:
    return match_boxes(found, truth, ious=IOUS, oriented=True).labels


def by_centres(found: Detections, truth: Labels) -> np.ndarray:
    return match_centres(
        found, truth, distances=(0.25, 1.0, 3.0), metres_per_pixel=(0.5, 0.25)
    ).labels


RULES = pytest.mark.parametrize("rule", [by_boxes, by_oriented_boxes, by_centres])


def relabel(truth: Labels, *, corners: np.ndarray, classes: np.ndarray) -> Labels:
    return Labels(corners, classes, truth.ignored, truth.crowd, truth.numbers)


@RULES
@given(seed=SEEDS, threshold=st.floats(0, 1))
def test_weak_detections_never_change_strong_matches(rule, seed, threshold):
    found, truth = picture(seed)
    strong = found.scores >= threshold
    assert (rule(found, truth)[:, strong] == rule(found.select(strong), truth)).all()


@RULES
@given(seed=SEEDS)
def test_each_label_but_a_crowd_is_taken_once_in_a_class(rule, seed):
    found, truth = picture(seed)
    for row in rule(found, truth):
        single = np.flatnonzero(row != UNMATCHED)
        single = single[~truth.crowd[row[single]]]
        taken = list(zip(row[single], found.classes[single], strict=True))
        assert len(set(taken)) == len(taken)


@RULES
@given(seed=SEEDS)
def test_classes_never_mix(rule, seed):
    found, truth = picture(seed)
    for kind in range(3):
        own = np.isin(truth.classes, (kind, ANY_CLASS))
        mine = found.classes == kind
        alone = rule(found.select(mine), truth.select(own))
        back = np.append(np.flatnonzero(own), UNMATCHED)
        assert (rule(found, truth)[:, mine] == back[alone]).all()


@RULES
@given(seed=SEEDS, order=st.permutations(range(3)))
def test_names_of_classes_do_not_matter(rule, seed, order):
    found, truth = picture(seed)
    # The last entry keeps ANY_CLASS, which is -1, what it is.
    renamed = np.array([*order, ANY_CLASS], np.int32)
    other = Detections(found.corners, found.scores, renamed[found.classes])
    labels = relabel(truth, corners=truth.corners, classes=renamed[truth.classes])
    assert (rule(found, truth) == rule(other, labels)).all()


@RULES
@given(seed=SEEDS, dx=st.integers(-500, 500), dy=st.integers(-500, 500))
def test_moving_everything_by_whole_pixels_changes_nothing(rule, seed, dx, dy):
    # Crowded corners may share an intersection of rounding size; without ties nothing hangs on it.
    found, truth = without_ties(*picture(seed))
    moved = truth.corners + np.float32([dx, dy])
    labels = relabel(truth, corners=moved, classes=truth.classes)
    assert (rule(found, truth) == rule(found.shift(dx, dy), labels)).all()


@given(seed=SEEDS)
def test_swapping_x_and_y_changes_nothing(seed):
    found, truth = picture(seed)
    turned = Detections(found.corners[..., ::-1], found.scores, found.classes)
    labels = relabel(truth, corners=truth.corners[..., ::-1], classes=truth.classes)
    assert (by_boxes(found, truth) == by_boxes(turned, labels)).all()


@RULES
@given(seed=SEEDS)
def test_ignored_labels_never_change_what_is_found(rule, seed):
    found, truth = picture(seed)
    counting = np.flatnonzero(~truth.ignored)
    back = np.append(counting, UNMATCHED)
    alone = back[rule(found, truth.select(counting))]
    with_ignored = rule(found, truth)
    taken = alone != UNMATCHED
    assert (with_ignored[taken] == alone[taken]).all()
    others = with_ignored[~taken]
    assert truth.ignored[others[others != UNMATCHED]].all()


@given(seed=SEEDS, falling=st.booleans())
def test_several_thresholds_are_matched_as_each_alone(seed, falling):
    found, truth = picture(seed)
    several = IOUS[::-1] if falling else IOUS
    together = match_boxes(found, truth, ious=several)
    for t, iou in enumerate(several):
        alone = match_boxes(found, truth, ious=[iou])
        assert (together.labels[t] == alone.labels[0]).all()
        assert (together.ignored[t] == alone.ignored[0]).all()


@given(seed=SEEDS)
def test_axis_aligned_boxes_match_alike_when_oriented(seed):
    found, truth = without_ties(*picture(seed))
    horizontal, oriented = by_boxes(found, truth), by_oriented_boxes(found, truth)
    assert (horizontal == oriented).all()


@given(seed=SEEDS)
def test_every_detection_is_found_or_false_or_ignored(seed):
    found, truth = picture(seed)
    matches = match_boxes(found, truth, ious=IOUS)
    outcomes = np.stack([matches.found, matches.false, matches.ignored]).astype(int)
    assert outcomes.shape == (3, len(IOUS), len(found))
    assert (outcomes.sum(axis=0) == 1).all()


def turned(angle: float, *, width: float, height: float) -> Detections:
    """Return one box around (20, 20), turned by an angle in radians."""
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2] @ axes + 20
    return Detections(corners[None].astype(np.float32), np.float32([0.5]), np.int32([0]))


def matched(found: Detections, truth: Labels, **settings) -> list[int]:
    return match_boxes(found, truth, ious=[0.5], **settings).labels[0].tolist()


def test_a_better_detection_takes_the_label():
    found = make_detections([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.5])
    assert matched(found, make_labels([[0, 0, 10, 10]])) == [0, UNMATCHED]


def test_a_taken_label_leaves_the_next_best():
    found = make_detections([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8])
    assert matched(found, make_labels([[0, 0, 10, 10], [2, 0, 12, 10]])) == [0, 1]


def test_equal_scores_are_served_in_the_order_given():
    found = make_detections([[0, 0, 10, 9], [0, 0, 10, 10]], [0.5, 0.5])
    assert matched(found, make_labels([[0, 0, 10, 10]])) == [0, UNMATCHED]


def test_of_equal_overlaps_the_last_label_is_taken():
    found = make_detections([[2, 0, 12, 10]], [0.9])
    assert matched(found, make_labels([[0, 0, 10, 10], [4, 0, 14, 10]])) == [1]


@pytest.mark.parametrize(("height", "label"), [(5, 0), (4.75, UNMATCHED)])
def test_an_overlap_of_exactly_the_threshold_matches(height, label):
    found = make_detections([[0, 0, 10, height]], [0.9])
    assert matched(found, make_labels([[0, 0, 10, 10]])) == [label]


def test_a_label_that_counts_comes_before_a_closer_ignored_one():
    truth = make_labels([[0, 0, 10, 10], [0, 0, 10, 8]], ignored=[0])
    matches = match_boxes(make_detections([[0, 0, 10, 10]] * 3, [0.9, 0.8, 0.7]), truth, ious=[0.5])
    assert matches.labels.tolist() == [[1, 0, UNMATCHED]]
    assert matches.ignored.tolist() == [[False, True, False]]
    assert matches.found.tolist() == [[True, False, False]]
    assert matches.false.tolist() == [[False, False, True]]


def test_a_crowd_takes_every_detection_that_lies_half_in_it():
    truth = make_labels([[0, 0, 100, 100]], crowd=[0])
    boxes = [[0, 0, 4, 4], [8, 8, 12, 12], [-2, 0, 2, 4], [-3, 0, 1, 4]]
    matches = match_boxes(make_detections(boxes, [0.9, 0.8, 0.7, 0.6]), truth, ious=[0.5])
    assert matches.labels.tolist() == [[0, 0, 0, UNMATCHED]]
    assert matches.ignored.tolist() == [[True, True, True, False]]


def test_an_ignored_label_of_any_class_is_taken_once_in_every_class():
    truth = make_labels([[0, 0, 10, 10]], [ANY_CLASS], ignored=[0])
    found = make_detections([[0, 0, 10, 10]] * 3, [0.9, 0.8, 0.7], [4, 4, 7])
    assert matched(found, truth) == [0, UNMATCHED, 0]


def test_crossed_boxes_match_as_horizontal_but_not_as_oriented_boxes():
    found = turned(np.pi / 4, width=20, height=4)
    other = turned(-np.pi / 4, width=20, height=4)
    truth = Labels.plain(other.corners, other.classes)
    assert matched(found, truth) == [0]
    assert matched(found, truth, oriented=True) == [UNMATCHED]


def test_a_turned_box_matches_itself_at_an_overlap_of_one():
    # By GEOS 3.14 the area that this box shares with itself rounds to less than its own.
    corners = [[6.46871, -2.6887636], [10.684737, 14.33642], [-3.4166152, 17.828405]]
    box, kind = np.float32([[*corners, [-7.6326423, 0.8032211]]]), np.int32([0])
    assert oriented_overlap(box, box) == pytest.approx(1, abs=1e-15)
    found, truth = Detections(box, np.float32([0.5]), kind), Labels.plain(box, kind)
    assert match_boxes(found, truth, ious=[1.0], oriented=True).labels.tolist() == [[0]]


def test_centres_are_compared_in_metres_along_each_axis():
    truth = make_labels([[0, 0, 2, 2], [20, 0, 22, 2]])
    found = make_detections([[4, 0, 6, 2], [20, 4, 22, 6]], [0.9, 0.8])
    settings = {"distances": [0.9, 1.0, 2.0], "metres_per_pixel": (0.5, 0.25)}
    expected = [[UNMATCHED, UNMATCHED], [UNMATCHED, 1], [0, 1]]
    assert match_centres(found, truth, **settings).labels.tolist() == expected


def test_the_nearest_free_centre_is_taken():
    truth = make_labels([[0, 0, 2, 2], [3, 0, 5, 2]])
    found = make_detections([[2, 0, 4, 2], [2, 0, 4, 2], [2, 0, 4, 2]], [0.9, 0.8, 0.7])
    matches = match_centres(found, truth, distances=[2.0], metres_per_pixel=(1.0, 1.0))
    assert matches.labels.tolist() == [[1, 0, UNMATCHED]]


def test_a_crowd_takes_the_centres_in_its_box_and_no_others():
    truth = make_labels([[0, 0, 100, 10]], crowd=[0])
    # Far from the crowd's centre but inside, on the border, near the border but outside.
    found = make_detections([[1, 1, 3, 3], [-1, 4, 1, 6], [-2, 4, 0, 6]], [0.9, 0.8, 0.7])
    matches = match_centres(found, truth, distances=[60.0], metres_per_pixel=(1.0, 1.0))
    assert matches.labels.tolist() == [[0, 0, UNMATCHED]]
    assert matches.ignored.tolist() == [[True, True, False]]


@pytest.mark.parametrize(("found", "labels"), [(0, 0), (3, 0), (0, 3)])
def test_nothing_matches_nothing(found, labels):
    detections = make_detections([[0, 0, 1, 1]] * found, [0.5] * found)
    truth = make_labels([[0, 0, 1, 1]] * labels)
    for rule in (by_boxes, by_oriented_boxes, by_centres):
        assert rule(detections, truth).tolist() == [[UNMATCHED] * found] * 3


@pytest.mark.parametrize("ious", [[], [0.0], [0.5, 1.5], [float("nan")]])
def test_thresholds_outside_the_unit_interval_are_refused(ious):
    with pytest.raises(ValueError, match="ious must be"):
        match_boxes(make_detections([], []), make_labels([]), ious=ious)


@pytest.mark.parametrize(
    ("distances", "scale", "message"),
    [
        ([], (1, 1), "distances"),
        ([-1.0], (1, 1), "distances"),
        ([float("inf")], (1, 1), "distances"),
        ([1.0], (1, 0), "metres_per_pixel"),
    ],
)
def test_impossible_distances_and_scales_are_refused(distances, scale, message):
    found, truth = make_detections([], []), make_labels([])
    with pytest.raises(ValueError, match=message):
        match_centres(found, truth, distances=distances, metres_per_pixel=scale)


def test_a_label_that_counts_needs_a_class():
    with pytest.raises(ValueError, match="any class"):
        match_boxes(make_detections([], []), make_labels([[0, 0, 1, 1]], [ANY_CLASS]), ious=[0.5])
