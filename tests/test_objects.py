"""Objects: detections of `before` and `after` that are one thing, claimed whole by one core."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_boxes import draw_boxes, make_detections
from made_rows import make_scene
from scenes import textured

from transforms.functional.blur import blur_tile
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.boxes import Detections
from transforms.functional.windows import Rectangle
from transforms.objects import (
    Judgement,
    Pairs,
    change_of,
    judged_at,
    near_border,
    owns,
    see_objects,
)
from transforms.records import DeblurredTile, Tile, Window

CORE, READ = Rectangle(64, 64, 64, 64), Rectangle(32, 32, 128, 128)
"""In pixels of the read rectangle the core is 32 to 96."""
WINDOW = Window(make_scene(), CORE, READ, None)
BORDER = 8
INSIDE, FAR = (50, 50, 70, 60), (4, 50, 14, 60)


def pairs_of(before: Detections, after: Detections, threshold: float = 0.5) -> Pairs:
    return Pairs.of(before, after, iou=0.5, oriented=False, threshold=threshold)


def deblurred(
    before: np.ndarray, after: np.ndarray, *, length: float = 1.0, window: Window = WINDOW
) -> DeblurredTile:
    everywhere = np.ones(before.shape[:2], bool)
    tile = Tile(window, before, None, everywhere, None, everywhere)
    return DeblurredTile(tile, {"after": after}, BlurEstimate(length, 0, 0.5, 0.1), False, {})


def see(before: Detections, after: Detections, tile: DeblurredTile | None = None):
    """Return sightings and objects without truth."""
    if tile is None:
        image = textured(128, 128, seed=0)
        tile = deblurred(image, image)
    found = {"before": before, "after": after}
    nothing = {
        arm: Judgement(np.zeros((0, len(each)), np.int32), np.zeros((0, len(each)), bool))
        for arm, each in found.items()
    }
    return see_objects(tile, found, nothing, pairs_of(before, after), BORDER)


def strong(*boxes) -> Detections:
    return make_detections(boxes, [0.9] * len(boxes))


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 12))
def test_every_strong_detection_is_one_object_and_weak_ones_are_none(seed, old, new):
    rng = np.random.default_rng(seed)
    before, after = (
        make_detections(draw_boxes(rng, k), rng.integers(0, 5, k) / 4) for k in (old, new)
    )
    pairs = pairs_of(before, after)
    for index, found in ((pairs.before, before), (pairs.after, after)):
        expected = np.flatnonzero(found.scores >= 0.5).tolist()
        assert sorted(index[index >= 0].tolist()) == expected
    assert not ((pairs.before < 0) & (pairs.after < 0)).any()


def test_an_object_seen_in_both_arms_is_kept():
    pairs = pairs_of(strong(FAR, INSIDE), strong(tuple(np.add(INSIDE, 1))))
    changes = {change_of(*pair) for pair in zip(pairs.before, pairs.after, strict=True)}
    assert list(zip(pairs.before.tolist(), pairs.after.tolist(), strict=True)) == [(0, -1), (1, 0)]
    assert changes == {"kept", "lost"}


def test_another_class_is_another_object():
    other = make_detections([INSIDE], [0.9], [1])
    pairs = pairs_of(strong(INSIDE), other)
    assert list(zip(pairs.before.tolist(), pairs.after.tolist(), strict=True)) == [(0, -1), (-1, 0)]


def box_at(x: float, y: float = 64):
    return (x - 10, y - 5, x + 10, y + 5)


@pytest.mark.parametrize(
    ("old", "new", "mine"), [(95.5, 97, True), (96.5, 95, False), (95, 94, True), (98, 97, False)]
)
def test_an_object_belongs_whole_to_the_core_that_holds_its_centre_before(old, new, mine):
    sightings, _ = see(strong(box_at(old)), strong(box_at(new)))
    assert {arm: seen.claimed.tolist() for arm, seen in sightings.items()} == {
        "before": [mine],
        "after": [mine],
    }


def test_an_object_only_in_after_belongs_where_its_centre_lies():
    for x, mine in ((95.5, True), (96, False)):
        sightings, objects = see(Detections.empty(), strong(box_at(x)))
        assert sightings["after"].claimed.tolist() == [mine]
        assert objects.before.tolist() == [-1]


def test_weak_boxes_of_an_object_belong_where_their_own_centres_lie():
    weak = make_detections([box_at(97)], [0.3])
    sightings, objects = see(strong(box_at(95)), weak)
    assert sightings["before"].claimed.tolist() == [True]
    assert sightings["after"].claimed.tolist() == [False]
    assert (objects.before.tolist(), objects.after.tolist()) == ([0], [-1])


def test_both_boxes_of_an_object_are_kept_for_the_neighbours_if_one_is_near():
    """The border is 8 px wide: 104 is near it, 105 is not, and a lone box there is dropped."""
    sightings, objects = see(strong(box_at(105)), strong(box_at(104)))
    assert [len(seen.detections) for seen in sightings.values()] == [1, 1]
    assert (objects.before.tolist(), objects.after.tolist()) == ([0], [0])
    sightings, objects = see(strong(box_at(105)), Detections.empty())
    assert len(sightings["before"].detections) == len(objects) == 0


def test_places_of_objects_are_those_among_the_sightings():
    before = strong(FAR, INSIDE, box_at(95, 80))
    after = strong(box_at(95, 80), FAR, INSIDE)
    sightings, objects = see(before, after)
    for old, new in zip(objects.before, objects.after, strict=True):
        boxes = [sightings[arm].detections.xyxy[i] for arm, i in (("before", old), ("after", new))]
        assert boxes[0].tolist() == boxes[1].tolist()
    assert len(objects) == 2


def test_sightings_lie_in_pixels_of_the_scene():
    sightings, _ = see(strong(INSIDE), Detections.empty())
    assert sightings["before"].detections.xyxy.tolist() == [np.add(INSIDE, 32).tolist()]


def test_only_gained_objects_are_checked():
    _, objects = see(strong(INSIDE, box_at(80, 80)), strong(INSIDE, box_at(60, 88)))
    gained = objects.before < 0
    assert gained.tolist() == [False, False, True]
    assert np.isfinite(objects.residual).tolist() == gained.tolist()
    assert [bool(verdict) for verdict in objects.verdict] == gained.tolist()


def test_what_was_drawn_into_after_is_inconsistent_and_what_was_blurred_away_is_not():
    """The very same car: once it lies under the blur of `before`, once it is not there at all."""
    empty = textured(128, 128, seed=4)
    with_car = empty.copy()
    with_car[56:68, 50:76] = (230, 60, 40)
    box = strong((50, 56, 76, 68))
    verdicts = {}
    for name, sharp in (("real", with_car), ("drawn", empty)):
        before = blur_tile(sharp, length=9, angle=0, noise=0)
        _, objects = see(Detections.empty(), box, deblurred(before, with_car, length=9))
        verdicts[name] = objects.verdict
    assert verdicts == {"real": ("consistent",), "drawn": ("inconsistent",)}


@given(st.integers(0, 95), st.integers(0, 95))
def test_every_centre_has_exactly_one_owner(column, row):
    """Four cores of 48 px read the same rectangle."""
    read = Rectangle(0, 0, 96, 96)
    cores = [Rectangle(x, y, 48, 48) for x in (0, 48) for y in (0, 48)]
    centre = np.float32([[column, row]])
    owned = [bool(owns(Window(make_scene(), core, read, None), centre)[0]) for core in cores]
    assert sum(owned) == 1


@pytest.mark.parametrize(
    ("centre", "near"),
    [
        ((32, 64), True),
        ((24, 64), True),
        ((40, 64), True),
        ((23.75, 64), False),
        ((40.25, 64), False),
        ((64, 88), True),
        ((24, 24), True),
        ((24, 23), False),
        ((64, 64), False),
    ],
)
def test_near_is_within_the_border_on_both_sides_of_an_edge(centre, near):
    assert near_border(WINDOW, np.float32([centre]), BORDER).tolist() == [near]


def test_the_edge_of_the_scene_is_no_border():
    corner = Rectangle(0, 0, 64, 64)
    window = Window(make_scene(), corner, Rectangle(0, 0, 96, 96), None)
    centres = np.float32([[0, 30], [30, 0], [64, 30], [30, 64]])
    assert near_border(window, centres, BORDER).tolist() == [False, False, True, True]


def test_a_centre_outside_the_read_rectangle_is_not_judged():
    image = np.zeros((128, 128, 3), np.uint8)
    tile = deblurred(image, image).tile
    centres = np.float32([[0, 0], [127.9, 127.9], [128, 64], [64, -0.1]])
    assert judged_at(tile, centres).tolist() == [True, True, False, False]
