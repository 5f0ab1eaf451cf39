"""Rendered scenes: repeatable, and their labels lie where vehicles were drawn."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.functional.render import (
    VEHICLE_CLASSES,
    RenderedScene,
    paint_scene,
    plan_scene,
    render_scene,
)
from transforms.functional.render_canvas import Canvas, Sun, rectangle
from transforms.functional.render_layouts import LAYOUTS
from transforms.functional.render_plan import PARKED, Frame, Plan
from transforms.functional.render_vehicles import draw_vehicle, vehicle_sprite


def painted(plan: Plan, *, side: int = 384, gsd: float = 0.15) -> RenderedScene:
    return paint_scene(plan, np.random.default_rng(5), height=side, width=side, gsd=gsd)


def mask_of(corners: np.ndarray, side: int, grow: float = 0.0) -> np.ndarray:
    """Pixels inside any of the boxes, each grown by `grow` px on every side."""
    mask = np.zeros((side, side), np.uint8)
    for box in corners:
        cv2.fillPoly(mask, [np.round(box - 0.5).astype(np.int32)], 1)
    size = 2 * int(grow) + 1
    return cv2.dilate(mask, np.ones((size, size), np.uint8)).astype(bool)


@pytest.mark.parametrize("seed", range(4))
def test_one_seed_gives_the_same_bytes(seed):
    first, second = (render_scene(seed=seed, height=256, width=320) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.corners.tobytes() == second.corners.tobytes()
    assert first.classes.tobytes() == second.classes.tobytes()


def test_another_seed_gives_another_scene():
    first, second = (render_scene(seed=seed, height=256, width=256) for seed in (1, 2))
    assert np.abs(first.image.astype(int) - second.image).mean() > 5


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**40),
    height=st.integers(64, 300),
    width=st.integers(64, 300),
    gsd=st.sampled_from((0.08, 0.15, 0.3)),
)
def test_every_scene_keeps_the_contract(seed, height, width, gsd):
    scene = render_scene(seed=seed, height=height, width=width, gsd=gsd)
    count = len(scene.classes)
    assert (scene.image.shape, scene.image.dtype) == ((height, width, 3), np.uint8)
    assert (scene.corners.shape, scene.corners.dtype) == ((count, 4, 2), np.float32)
    assert scene.classes.dtype == np.int32
    assert np.isin(scene.classes, range(len(VEHICLE_CLASSES))).all()
    centres = scene.corners.mean(axis=1)
    assert (centres > -0.01).all()
    assert (centres < np.array([width, height]) + 0.01).all()


def test_boxes_are_clockwise_rectangles_of_real_vehicle_sizes():
    scenes = [render_scene(seed=seed, height=384, width=384) for seed in range(4)]
    boxes = np.concatenate([scene.corners for scene in scenes])
    classes = np.concatenate([scene.classes for scene in scenes])
    across, along = boxes[:, 1] - boxes[:, 0], boxes[:, 1] - boxes[:, 2]
    width, length = (np.linalg.norm(side, axis=1) * 0.15 for side in (across, along))
    assert np.abs((across * along).sum(axis=1)).max() < 0.5  # square corners
    assert (along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0] > 0).all()  # front, then right
    cars = classes == 0
    assert cars.sum() > 50
    assert (length[cars] > 3.5).all()
    assert (length[cars] < 5.0).all()
    assert (width[cars] > 1.6).all()
    assert (width[cars] < 2.0).all()
    assert (length > width * 1.7).all()


def test_vehicles_of_every_class_stand_at_every_angle():
    plans = [plan_scene(np.random.default_rng(k), height=96, width=96) for k in range(30)]
    vehicles = [vehicle for plan in plans for vehicle in plan.vehicles]
    octants = [int(vehicle.heading % (2 * np.pi) / (np.pi / 4)) for vehicle in vehicles]
    assert np.bincount(octants, minlength=8).min() > len(vehicles) / 80
    assert np.bincount([vehicle.kind for vehicle in vehicles], minlength=4).min() > 10


@pytest.mark.parametrize("seed", range(5))
def test_no_two_vehicles_overlap(seed):
    boxes = render_scene(seed=seed, height=384, width=384).corners
    areas = [cv2.contourArea(box) for box in boxes]
    for (one, a), (other, b) in itertools.combinations(zip(boxes, areas, strict=True), 2):
        shared, _ = cv2.intersectConvexConvex(one, other)
        assert shared / (a + b - shared) < 0.2


@pytest.mark.parametrize("seed", [3, 4, 7])
def test_labels_lie_exactly_where_vehicles_change_the_picture(seed):
    """The same plan painted without its vehicles differs inside the boxes, and near them only."""
    plan = plan_scene(np.random.default_rng(seed), height=384 * 0.15, width=384 * 0.15)
    empty = replace(plan, vehicles=[])
    scene, ground = painted(plan), painted(empty)
    change = np.abs(scene.image.astype(int) - ground.image).max(axis=2)
    assert len(ground.corners) == 0
    inside = [change[mask_of(box[None], 384)] for box in scene.corners]
    assert len(inside) > 3
    assert np.mean([np.mean(pixels > 12) for pixels in inside]) > 0.75
    every = np.array([vehicle.corners for vehicle in plan.vehicles]) / 0.15
    far = ~mask_of(every, 384, grow=8 / 0.15)  # a lorry's shadow reaches about 5 m
    assert not change[far].any()


def test_vehicles_under_a_crown_or_outside_the_frame_are_not_labelled():
    plan = plan_scene(np.random.default_rng(3), height=60, width=60)
    scene = painted(plan, side=400)
    assert 0 < len(scene.corners) < len(plan.vehicles)


def test_a_vehicle_is_not_parked_on_another():
    plan = Plan(60, 60, np.random.default_rng(0))
    assert plan.park(30, 30, 0.3, 0)
    assert not plan.park(31, 30, 1.3, 0)
    assert plan.park(30, 40, 0.3, 0)
    assert not plan.free(plan.vehicles[0].corners, PARKED)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_has_vehicles_and_things_that_are_none(layout):
    plan = Plan(96, 96, np.random.default_rng(8))
    layout(plan, Frame(48, 48, 0.4, 180, 180))
    assert len(plan.vehicles) > 5
    assert plan.blocks
    assert plan.trees


def test_the_side_towards_the_sun_is_brighter():
    """A white car whose sun stands to its right is lighter on the right flank than on the left."""
    vehicle = replace(
        draw_vehicle(np.random.default_rng(1), x=0, y=0, heading=0.0, kind=0), paint=(120, 120, 120)
    )
    sun = Sun(azimuth=-np.pi / 2, elevation=0.8)  # shadows fall up, light comes from below
    sprite = vehicle_sprite(vehicle, sun, 26.0, np.random.default_rng(2))
    left, right = np.array_split(sprite[..., 0].sum(axis=1), 2)
    assert right.sum() > 1.1 * left.sum()


def test_thin_marks_cover_their_area():
    """A line thinner than a pixel is fainter, not wider: its total ink is its area."""
    canvas = Canvas(64, 64, 0.2, Sun(0.0, 0.8), np.random.default_rng(0))
    canvas.mark(6.4, 6.4, 0.4, 5.0, 0.1, (200, 200, 200))
    ink = canvas.image[..., 0].sum() / 200 * 0.2**2
    assert ink == pytest.approx(5.0 * 0.1, rel=0.15)


def test_a_rectangle_starts_at_its_front_left_corner():
    corners = rectangle(10, 20, 0.0, 4, 2)
    assert corners.tolist() == [[12, 19], [12, 21], [8, 21], [8, 19]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 32}, "height must be 64..8192 px, got 32"),
        ({"width": 9000}, "width must be 64..8192 px, got 9000"),
        ({"gsd": 3.0}, "gsd must be 0.05..0.5 m per pixel, got 3.0"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_scene(**{"seed": 0, "height": 256, "width": 256, **arguments})


@pytest.mark.slow
def test_the_large_scene_holds_hundreds_of_vehicles_and_is_nowhere_flat():
    scene = render_scene(seed=7, height=1280, width=1280, gsd=0.48)
    assert 400 <= len(scene.corners) <= 1100
    assert np.bincount(scene.classes, minlength=4).min() > 0
    grey = scene.image.mean(axis=2)
    blocks = grey.reshape(40, 32, 40, 32).std(axis=(1, 3))
    assert blocks.min() > 1.0
