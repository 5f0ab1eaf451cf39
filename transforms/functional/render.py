"""Seeded aerial scenes with known vehicles: training and demonstration without a download."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.render_aircraft import cast_aircraft, draw_aircraft
from transforms.functional.render_blocks import cast_block, draw_block
from transforms.functional.render_canvas import Canvas, Floats, Sun, as_float32, expose
from transforms.functional.render_ground import draw_ground
from transforms.functional.render_layouts import LAYOUTS
from transforms.functional.render_plan import Frame, Plan
from transforms.functional.render_region import REGION_SIDE, region
from transforms.functional.render_trees import cast_tree, crown, stand_tree
from transforms.functional.render_vehicles import (
    VEHICLE_CLASSES,
    Vehicle,
    cast_vehicle,
    stamp_vehicle,
)

__all__ = ["VEHICLE_CLASSES", "RenderedScene", "render_scene"]

LAYOUT_DEPTH = 190.0  # metres of ground that one layout fills well
LEAST_VISIBLE = 0.4  # fraction of a vehicle inside the frame and not under a crown


@dataclass(frozen=True, eq=False)
class RenderedScene:
    """A rendered picture and its vehicles.

    image: uint8 (h, w, 3) RGB, sharp. corners: float32 (k, 4, 2), pixels (x right, y down, pixel
    centres at half integers), clockwise on screen: front left, front right, rear right, rear
    left; they may reach beyond the frame, centres do not. classes: int32 (k,), into
    VEHICLE_CLASSES.
    """

    image: NDArray[np.uint8]
    corners: NDArray[np.float32]
    classes: NDArray[np.int32]


def render_scene(*, seed: int, height: int, width: int, gsd: float = 0.15) -> RenderedScene:
    """Render a scene of (height, width) pixels of `gsd` metres; one seed gives the same bytes.

    Every vehicle whose centre lies in the frame and of which 40 % can be seen is labelled.
    Raises ValueError for a size outside 64..8192 px or a gsd outside 0.05..0.5 m.
    """
    for name, size in (("height", height), ("width", width)):
        if not 64 <= size <= 8192:
            raise ValueError(f"{name} must be 64..8192 px, got {size}")
    if not 0.05 <= gsd <= 0.5:
        raise ValueError(f"gsd must be 0.05..0.5 m per pixel, got {gsd}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    layout, paint = np.random.SeedSequence(seed).spawn(2)
    plan = plan_scene(np.random.default_rng(layout), height=height * gsd, width=width * gsd)
    return paint_scene(plan, np.random.default_rng(paint), height=height, width=width, gsd=gsd)


def plan_scene(rng: np.random.Generator, *, height: float, width: float) -> Plan:
    """Lay out a scene of height x width metres."""
    plan = Plan(height, width, rng)
    if min(height, width) >= REGION_SIDE / 2:
        region(plan, max(height, width) / REGION_SIDE)
        return plan
    side = 1.3 * float(np.hypot(height, width)) + 26
    x, y = rng.uniform(0.35, 0.65) * width, rng.uniform(0.35, 0.65) * height
    whole = Frame(x, y, float(rng.uniform(0, 2 * np.pi)), side, side)
    strips = max(1, round(side / LAYOUT_DEPTH))
    depth = side / strips
    for index in range(strips):
        v = (index + 0.5) * depth - side / 2
        layout = LAYOUTS[rng.integers(len(LAYOUTS))]
        layout(plan, Frame(*whole.at(0, v), whole.angle, side, depth))
    return plan


def paint_scene(
    plan: Plan, rng: np.random.Generator, *, height: int, width: int, gsd: float
) -> RenderedScene:
    """Draw a plan: flat ground, vehicles, cast shadows, roofs, crowns, then the camera."""
    streams = rng.spawn(5)
    sun = Sun(float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.68, 1.12)))
    canvas = Canvas(height, width, gsd, sun, streams[0])
    draw_ground(canvas, plan)
    seen = [v for v in plan.vehicles if canvas.box(v.corners) is not None]
    for vehicle in seen:
        cast_vehicle(canvas, vehicle)
    for vehicle, stream in zip(seen, streams[1].spawn(len(seen)), strict=True):
        stamp_vehicle(canvas, vehicle, stream)
    for deck in plan.decks:
        canvas.cast(np.vstack([deck.corners, deck.corners + canvas.sun.fall * deck.height]))
        canvas.clear_shade(deck.corners)
    for craft in plan.aircraft:
        cast_aircraft(canvas, craft)
    for block in plan.blocks:
        cast_block(canvas, block)
    trees = [
        t for t in plan.trees if canvas.box(_reach(t.x, t.y, t.radius + 3 * t.height)) is not None
    ]
    trees.sort(key=lambda tree: tree.height)
    crowns = [crown(tree, canvas, streams[2]) for tree in trees]
    for tree, (_, alpha) in zip(trees, crowns, strict=True):
        cast_tree(canvas, tree, alpha)
    canvas.apply_shade(float(rng.uniform(0.34, 0.58)))
    for block in sorted(plan.blocks, key=lambda block: block.height):
        draw_block(canvas, block, streams[3])
    for craft in plan.aircraft:
        draw_aircraft(canvas, craft, streams[3])
    for tree, drawn in zip(trees, crowns, strict=True):
        stand_tree(canvas, tree, drawn)
    corners, classes = _labels(seen, canvas)
    image = expose(canvas.image, streams[4], softness=0.5)
    return RenderedScene(image, corners, classes)


def _reach(x: float, y: float, radius: float) -> Floats:
    return as_float32([[x - radius, y - radius], [x + radius, y + radius]])


def _labels(
    vehicles: list[Vehicle], canvas: Canvas
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    kept = [v for v in vehicles if _visible(v, canvas) >= LEAST_VISIBLE]
    corners = np.array([v.corners for v in kept], np.float32).reshape(-1, 4, 2)
    return corners / as_float32(canvas.gsd), np.array([v.kind for v in kept], np.int32)


def _visible(vehicle: Vehicle, canvas: Canvas) -> float:
    """Fraction of a vehicle that is inside the frame and not hidden; 0 if its centre is outside."""
    inside = (
        0 <= vehicle.x < canvas.width * canvas.gsd and 0 <= vehicle.y < canvas.height * canvas.gsd
    )
    found = canvas.mask_of(vehicle.corners) if inside else None
    if found is None:
        return 0.0
    region, mask = found
    seen = mask.astype(np.float32) / 255 * (1 - canvas.cover[region].astype(np.float32) / 255)
    area = cv2.contourArea(vehicle.corners) / canvas.gsd**2
    return float(seen.sum() / area)
