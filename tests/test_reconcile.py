"""Reconcile: after it every object has one owner, whoever does it and in whatever order."""

from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import make_detections, make_scene, make_tile_row, make_truth
from test_borders import ARMS, CORES, HALF, PLACES, SEEDS, owns, reach

from transforms.objects import claims_of
from transforms.reconcile import Reconcile, border_views, picture_key, reconcile
from transforms.records import Blur, Rejected, Settled, TileRow, Window

BORDER = 16
SCENE = replace(make_scene(), height=384, width=384)
REJECTED = Rejected("a.tif:0,0", "a.tif", "read", "SceneError", "why")


def row_of(core, found, **changes) -> TileRow:
    """Return a window that sees boxes by arm and claims those that its core owns."""
    area = (core.col_off, core.row_off, core.width, core.height)
    row = make_tile_row(SCENE, core=area, arms=found, **changes)
    arms = []
    for arm in row.arms:
        centres = arm.sightings.detections.centres
        claimed = np.array([owns(core, centre) for centre in centres], bool)
        arms.append(replace(arm, sightings=replace(arm.sightings, claimed=claimed)))
    claims = dict(zip(("before", "after"), (arm.sightings.claimed for arm in arms), strict=True))
    for old, new in zip(row.objects.before, row.objects.after, strict=True):
        if old >= 0 and new >= 0:
            claims["after"][new] = claims["before"][old]
    return replace(row, arms=tuple(arms))


def rows_of(places, seed: int, **changes) -> list[TileRow]:
    """Return the windows of a scene with objects at these centres, each seen a little elsewhere."""
    rng = np.random.default_rng(seed)
    parts = [((0,), (1,), (0, 1))[rng.integers(3)] for _ in places]
    rows = []
    for core in CORES:
        found = {}
        for side, arm in enumerate(ARMS):
            seen = [p for p, at in zip(places, parts, strict=True) if side in at and reach(core, p)]
            # A quarter of a pixel is exact in float32; a box keeps more than half of its overlap.
            centres = np.reshape(seen, (-1, 2)) + rng.integers(-4, 5, (len(seen), 2)) / 4
            boxes = np.concatenate([centres - HALF, centres + HALF], axis=1)
            found[arm] = make_detections(*map(tuple, boxes.tolist()))
        rows.append(row_of(core, found, **changes))
    return rows


def claimed_of(settled: list[Settled]) -> list:
    """Return what can be compared: of every window its claims, by arm, and its labels."""
    return sorted(
        (
            row.window.key,
            [arm.sightings.claimed.tolist() for arm in row.arms],
            row.owned.tolist(),
        )
        if isinstance(row, TileRow)
        else (row.key, [], [])
        for row in settled
    )


def boxes_claimed(rows, arm: str) -> int:
    return sum(int(row.arm(arm).sightings.claimed.sum()) for row in rows)


@given(PLACES, SEEDS)
def test_every_object_is_an_object_of_one_core(places, seed):
    rows = reconcile(rows_of(places, seed), BORDER)
    assert sum(int(claims_of(row).sum()) for row in rows) == len(places)


@given(PLACES, SEEDS)
def test_boxes_are_kept_and_lost_or_kept_and_gained(places, seed):
    rows = reconcile(rows_of(places, seed), BORDER)
    changes = [
        (int(old) >= 0, int(new) >= 0)
        for row in rows
        for old, new, mine in zip(
            row.objects.before, row.objects.after, claims_of(row), strict=True
        )
        if mine
    ]
    assert boxes_claimed(rows, "before") == sum(old for old, _ in changes)
    assert boxes_claimed(rows, "after") == sum(new for _, new in changes)


@given(PLACES, SEEDS, st.permutations(range(len(CORES))))
def test_the_order_of_the_windows_does_not_matter(places, seed, order):
    rows = rows_of(places, seed)
    shuffled = reconcile([rows[place] for place in order], BORDER)
    assert claimed_of(shuffled) == claimed_of(reconcile(rows, BORDER))


@settings(max_examples=4)
@given(PLACES, SEEDS)
def test_the_engine_settles_as_the_plain_loop_does(places, seed):
    settled = [REJECTED, *rows_of(places, seed), *rows_of(places, seed + 1, blur=Blur(7, 45))]
    expected = claimed_of(reconcile(settled, BORDER))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | beam.Create(settled) | Reconcile(BORDER) | beam.combiners.ToList()
        assert_that(rows | beam.Map(claimed_of), equal_to([expected]))


LEFT, RIGHT = CORES[:2]
ON_THE_BORDER = (118, 60, 138, 70)
"""A box whose centre lies on the border, so that it belongs to the right window."""


def pair(**changes) -> list[TileRow]:
    """Return two neighbours that both claim one object: each sees it on its own side."""
    left, right = ((117.5, 60, 137.5, 70), (118.5, 60, 138.5, 70))
    return [
        row_of(core, {arm: make_detections(box) for arm in ARMS}, **changes)
        for core, box in ((LEFT, left), (RIGHT, right))
    ]


def test_an_object_claimed_twice_is_counted_once():
    rows = pair()
    assert boxes_claimed(rows, "before") == 2
    assert boxes_claimed(reconcile(rows, BORDER), "before") == 1


def test_an_object_claimed_by_nobody_is_counted_once():
    left, right = (118.5, 60, 138.5, 70), (117.5, 60, 137.5, 70)
    rows = [
        row_of(core, {arm: make_detections(box) for arm in ARMS})
        for core, box in ((LEFT, left), (RIGHT, right))
    ]
    assert boxes_claimed(rows, "after") == 0
    assert boxes_claimed(reconcile(rows, BORDER), "after") == 1


def test_windows_of_other_scenes_and_blurs_have_no_say():
    left, right = pair()
    blurred = replace(right, window=replace(right.window, blur=Blur(7, 45)))
    elsewhere = replace(right, window=replace(right.window, scene=replace(SCENE, name="b.tif")))
    for other in (blurred, elsewhere):
        assert picture_key(other.window) != picture_key(left.window)
        assert boxes_claimed(reconcile([left, other], BORDER), "before") == 2


def test_rejected_and_empty_windows_pass_through():
    empty = TileRow.empty(Window(SCENE, LEFT, LEFT, None), "labels")
    assert reconcile([empty, REJECTED], BORDER) == [empty, REJECTED]


def test_a_row_whose_claims_stay_is_the_same_row():
    rows = [
        row_of(core, {arm: make_detections(box_inside(core)) for arm in ARMS}) for core in CORES
    ]
    assert all(a is b for a, b in zip(rows, reconcile(rows, BORDER), strict=True))
    assert not [view for row in rows for view in border_views(row, BORDER)]


def box_inside(core):
    return (core.col_off + 40, core.row_off + 40, core.col_off + 60, core.row_off + 50)


@pytest.mark.parametrize(("inset", "near"), [(BORDER, True), (BORDER + 0.25, False)])
def test_only_what_lies_near_an_inner_border_is_told_to_the_neighbours(inset, near):
    x = LEFT.width - inset
    row = row_of(LEFT, {arm: make_detections((x - 9, 60, x + 9, 70)) for arm in ARMS})
    assert bool(list(border_views(row, BORDER))) is near
    at_the_edge = row_of(LEFT, {arm: make_detections((0, 60, 18, 70)) for arm in ARMS})
    assert not list(border_views(at_the_edge, BORDER))


def test_both_boxes_of_an_object_are_told_if_one_lies_near_a_border():
    """In `after` it lies 15 px from the border, in `before` 17; what is lost there is not told."""
    far, near = ((x - 9, 60, x + 9, 70) for x in (LEFT.width - 17, LEFT.width - 15))
    alone = (LEFT.width - 26, 90, LEFT.width - 8, 100)
    row = row_of(LEFT, {"before": make_detections(alone, far), "after": make_detections(near)})
    [(_, view)] = border_views(row, BORDER)
    assert {arm: boxes.index.tolist() for arm, boxes in view.arms.items()} == {
        "before": [1],
        "after": [0],
    }
    assert view.bonds == ((("before", 0), ("after", 0)),)


def test_what_the_core_does_not_claim_is_told_wherever_it_lies():
    """It was kept for the sake of its other box, and only a neighbour can claim it."""
    beyond = LEFT.width + BORDER + 1
    boxes = {arm: make_detections((beyond - 9, 60, beyond + 9, 70)) for arm in ARMS}
    [(_, view)] = border_views(row_of(LEFT, boxes), BORDER)
    assert view.arms["before"].claimed.tolist() == [False]


def test_labels_read_off_the_sharp_picture_go_with_their_boxes():
    """Where the truth is what the detector finds there, each window has its own view of it."""
    rows = []
    for row in pair():
        box = row.arm("before").sightings.detections
        made = make_tile_row(
            SCENE,
            core=(row.window.core.col_off, 0, 128, 128),
            arms={"reference": box, "before": box, "after": box},
            truth="reference",
            labels=make_truth(tuple(box.xyxy[0].tolist())),
        )
        rows.append(made)
    settled = reconcile(rows, BORDER)
    assert [row.owned.tolist() for row in settled] == [[True], [False]]
    assert boxes_claimed(settled, "reference") == 1


def test_labels_that_were_given_stay_where_they_belong():
    rows = [
        replace(row, truth="labels", labels=make_truth(ON_THE_BORDER), owned=np.array([mine]))
        for row, mine in zip(pair(), (False, True), strict=True)
    ]
    assert [row.owned.tolist() for row in reconcile(rows, BORDER)] == [[False], [True]]
