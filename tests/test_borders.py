"""Borders: what several windows see belongs to exactly one of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.functional.borders import BorderView, Claim, SeenBoxes, settle_borders
from transforms.functional.windows import Rectangle, plan_cores

CORE = 128
CORES = tuple(plan_cores(height=3 * CORE, width=3 * CORE, core=CORE))
HALF = np.array([9, 5], np.float32)
"""Half the width and height of every box in these tests, in pixels."""
ARMS = ("before", "after")

BESIDE_A_BORDER = st.sampled_from([CORE - 2, CORE - 0.25, CORE, CORE + 1, 2 * CORE - 1, 2 * CORE])
ANYWHERE = st.integers(8, 3 * CORE - 8)
PLACES = st.lists(
    st.tuples(BESIDE_A_BORDER | ANYWHERE, BESIDE_A_BORDER | ANYWHERE),
    min_size=1,
    max_size=9,
    unique_by=lambda place: (round(place[0] / 48), round(place[1] / 48)),
).filter(lambda places: _far_apart(places))
SEEDS = st.integers(0, 2**32 - 1)


def _far_apart(places) -> bool:
    """Say whether no two boxes at these centres touch, however far they are moved."""
    centres = np.array(places, float)
    gaps = np.abs(centres[:, None] - centres[None]) - 2 * HALF - 4
    return bool(((gaps > 0).any(axis=2) | np.eye(len(centres), dtype=bool)).all())


def owns(core: Rectangle, centre) -> bool:
    return core.owns(*map(float, centre))


def reach(core: Rectangle, centre) -> bool:
    """Say whether a window sees a box whose true centre is this: up to 16 px around its core."""
    return core.grow(16, height=3 * CORE, width=3 * CORE).owns(*centre)


def see(places, seed: int) -> list[BorderView]:
    """Return what every window sees of objects at these centres, moved by up to 1 px.

    Objects are in `before`, in `after` or in both; a window claims the centres that it owns, of an
    object in both arms that in `before`. `index` is the number of the object.
    """
    rng = np.random.default_rng(seed)
    parts = [((0,), (1,), (0, 1))[rng.integers(3)] for _ in places]
    views = []
    for core in CORES:
        seen = [number for number, place in enumerate(places) if reach(core, place)]
        moved = np.array(places, np.float32)[:, None] + rng.uniform(-1, 1, (len(places), 2, 2))
        claimed = {number: owns(core, moved[number, parts[number][0]]) for number in seen}
        arms = {}
        for side, arm in enumerate(ARMS):
            index = np.array([number for number in seen if side in parts[number]], np.intp)
            centres = moved[index, side].astype(np.float32)
            arms[arm] = SeenBoxes(
                np.concatenate([centres - HALF, centres + HALF], axis=1),
                np.zeros(len(index), np.int32),
                np.array([claimed[number] for number in index], bool),
                index,
            )
        bonds = tuple(
            tuple((arm, arms[arm].index.tolist().index(number)) for arm in ARMS)
            for number in seen
            if parts[number] == (0, 1)
        )
        views.append(BorderView(f"w{core.col_off},{core.row_off}", core, arms, bonds))
    return views


def object_in(core: Rectangle, *, claimed: bool, **centres) -> BorderView:
    """Return a view of one object, by the centre of its box in each arm."""
    arms = {}
    for arm, centre in centres.items():
        middle = np.float32([centre])
        box = np.concatenate([middle - HALF, middle + HALF], axis=1)
        arms[arm] = SeenBoxes(box, np.int32([0]), np.array([claimed]), np.array([0]))
    bonds = ((("before", 0), ("after", 0)),) if len(centres) == 2 else ()
    return BorderView(f"w{core.col_off},{core.row_off}", core, arms, bonds)


def claims_of(views, changes=()) -> dict[tuple[int, str], set[str]]:
    """Return the windows that claim each object's box in each arm, after the changes."""
    changed = {(claim.key, claim.arm, claim.index): claim.claimed for claim in changes}
    owners: dict[tuple[int, str], set[str]] = {}
    for view in views:
        for arm, boxes in view.arms.items():
            for number, claimed in zip(boxes.index.tolist(), boxes.claimed, strict=True):
                mine = owners.setdefault((number, arm), set())
                if changed.get((view.key, arm, number), bool(claimed)):
                    mine.add(view.key)
    return owners


@given(PLACES, SEEDS)
def test_every_object_is_claimed_by_exactly_one_window(places, seed):
    views = see(places, seed)
    owners = claims_of(views, settle_borders(views))
    assert {number for number, _ in owners} == set(range(len(places)))
    assert all(len(windows) == 1 for windows in owners.values())


@given(PLACES, SEEDS)
def test_both_boxes_of_an_object_go_to_one_window(places, seed):
    views = see(places, seed)
    owners = claims_of(views, settle_borders(views))
    for number, arm in owners:
        if (number, "before") in owners:
            assert owners[number, arm] == owners[number, "before"]


@given(PLACES, SEEDS, st.permutations(range(len(CORES))))
def test_the_order_of_the_views_does_not_matter(places, seed, order):
    views = see(places, seed)
    claims = {frozenset(settle_borders([views[place] for place in order]))}
    assert claims == {frozenset(settle_borders(views))}


@given(PLACES, SEEDS)
def test_what_exactly_one_window_claims_stays(places, seed):
    views = see(places, seed)
    once = {key for key, windows in claims_of(views).items() if len(windows) == 1}
    changed = {(claim.index, claim.arm) for claim in settle_borders(views)}
    assert not changed & once


@given(PLACES, SEEDS)
def test_settling_twice_is_settling_once(places, seed):
    views = see(places, seed)
    claims = {(c.key, c.arm, c.index): c.claimed for c in settle_borders(views)}
    settled = [
        BorderView(
            view.key,
            view.core,
            {
                arm: SeenBoxes(
                    boxes.xyxy,
                    boxes.classes,
                    np.array(
                        [
                            claims.get((view.key, arm, index), bool(claimed))
                            for index, claimed in zip(
                                boxes.index.tolist(), boxes.claimed, strict=True
                            )
                        ],
                        bool,
                    ),
                    boxes.index,
                )
                for arm, boxes in view.arms.items()
            },
            view.bonds,
        )
        for view in views
    ]
    assert settle_borders(settled) == []


@given(PLACES, SEEDS, st.integers(0, len(CORES) - 1))
def test_what_a_window_alone_sees_never_changes(places, seed, number):
    views = see(places, seed)
    assert settle_borders(views[number : number + 1]) == []


def view_of(core: Rectangle, *boxes, claimed, classes=None, index=None) -> BorderView:
    """Return a window that sees boxes in `before`, of class 0 unless said."""
    k = len(boxes)
    seen = SeenBoxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.zeros(k, np.int32) if classes is None else np.int32(classes),
        np.array(claimed, bool),
        np.arange(k) if index is None else np.array(index),
    )
    return BorderView(f"{core.col_off},{core.row_off}", core, {"before": seen}, ())


LEFT, RIGHT = Rectangle(0, 0, 128, 128), Rectangle(128, 0, 128, 128)
BELOW, ACROSS = Rectangle(0, 128, 128, 128), Rectangle(128, 128, 128, 128)


def box_at(x: float, y: float = 64):
    return (x - 10, y - 5, x + 10, y + 5)


def test_of_two_that_claim_an_object_the_deeper_one_keeps_it():
    views = [
        view_of(LEFT, box_at(127), claimed=[True], index=[7]),
        view_of(RIGHT, box_at(128.5), claimed=[True]),
    ]
    assert settle_borders(views) == [Claim("128,0", "before", 0, False)]


def test_of_two_that_see_an_object_and_do_not_claim_it_the_deeper_one_gets_it():
    views = [
        view_of(LEFT, box_at(128.75), claimed=[False]),
        view_of(RIGHT, box_at(127.5), claimed=[False], index=[3]),
    ]
    assert settle_borders(views) == [Claim("128,0", "before", 3, True)]


def test_a_tie_goes_to_the_first_core():
    views = [view_of(core, box_at(128), claimed=[True]) for core in (RIGHT, LEFT)]
    assert settle_borders(views) == [Claim("128,0", "before", 0, False)]


@given(PLACES, SEEDS)
def test_an_arm_that_equals_before_is_settled_the_same(places, seed):
    views = [
        replace(view, arms={**view.arms, "null": view.arms["before"]}) for view in see(places, seed)
    ]
    owners = claims_of(views, settle_borders(views))
    for (number, arm), windows in owners.items():
        if arm == "before":
            assert owners[number, "null"] == windows


def test_who_sees_it_before_goes_first_even_if_another_claims_what_came_after_deeper():
    left, right = CORES[0], CORES[1]
    ours = object_in(left, before=(CORE - 1, 40), after=(CORE + 4, 40), claimed=True)
    theirs = object_in(right, after=(CORE + 4, 40), claimed=True)
    owners = claims_of([ours, theirs], settle_borders([ours, theirs]))
    assert owners == {(0, "before"): {ours.key}, (0, "after"): {ours.key}}


def test_who_alone_claims_an_object_keeps_it_though_another_sees_it_in_before():
    """The left window sees it gained and inside, the right one kept and outside."""
    [gained] = view_of(LEFT, box_at(127.75), claimed=[True]).arms.values()
    [old, new] = (
        view_of(RIGHT, box_at(x), claimed=[False]).arms["before"] for x in (127.5, 127.75)
    )
    bonds = ((("before", 0), ("after", 0)),)
    left = BorderView("left", LEFT, {"after": gained}, ())
    right = BorderView("right", RIGHT, {"before": old, "after": new}, bonds)
    assert settle_borders([left, right]) == []


def test_four_windows_at_a_corner_settle_on_one():
    centre = box_at(128, 128)
    for claimed in (True, False):
        views = [view_of(c, centre, claimed=[claimed]) for c in (LEFT, RIGHT, BELOW, ACROSS)]
        claims = settle_borders(views)
        assert len(claims) == (3 if claimed else 1)
        assert all(claim.claimed is not claimed for claim in claims)


def test_an_object_seen_across_a_corner_is_one():
    views = [view_of(core, box_at(128, 128), claimed=[True]) for core in (LEFT, ACROSS)]
    assert settle_borders(views) == [Claim("128,128", "before", 0, False)]


@pytest.mark.parametrize(
    ("shift", "kind", "same"),
    [(0.0, 0, True), (6.5, 0, True), (7.0, 0, False), (0.0, 1, False)],
)
def test_boxes_are_one_object_from_an_iou_of_a_half_and_of_one_class_only(shift, kind, same):
    """Boxes 20 px wide that lie d apart have IoU (20 - d) / (20 + d), a half at 6.67."""
    views = [
        view_of(LEFT, box_at(127), claimed=[True]),
        view_of(RIGHT, box_at(127 + shift), claimed=[True], classes=[kind]),
    ]
    assert bool(settle_borders(views)) is same


def test_windows_that_do_not_touch_share_nothing():
    far = Rectangle(256, 0, 128, 128)
    views = [view_of(core, box_at(128), claimed=[True]) for core in (LEFT, far)]
    assert settle_borders(views) == []


def test_each_box_is_one_object_with_its_best_partner_only():
    """Two boxes that overlap by more than a half, both seen twice: neither takes the other's."""
    near = [box_at(127.5, 60), box_at(127.5, 63)]
    views = [
        view_of(LEFT, *near, claimed=[True, True]),
        view_of(RIGHT, *near[::-1], claimed=[True, True]),
    ]
    claims = settle_borders(views)
    assert {(claim.key, claim.index) for claim in claims} == {("128,0", 0), ("128,0", 1)}
