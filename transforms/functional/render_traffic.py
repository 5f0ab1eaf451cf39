"""Where vehicles stand: in lanes, along kerbs and in the bays of car parks."""

from __future__ import annotations

import numpy as np

from transforms.functional.render_canvas import Material, rectangle
from transforms.functional.render_plan import (
    ASPHALT,
    BUILT,
    LAWN,
    PAVED,
    PLANTED,
    ROAD,
    WHITE,
    Frame,
    Mark,
    Plan,
    Road,
    offset,
    plant,
    stations,
)


def kind_of(plan: Plan, shares: tuple[float, float, float, float]) -> int:
    """A vehicle class drawn from shares of VEHICLE_CLASSES."""
    return int(plan.rng.choice(4, p=np.array(shares) / sum(shares)))


def drive(plan: Plan, road: Road, *, gap: float, shares: tuple[float, float, float, float]) -> None:
    """Put moving traffic into the lanes of a road, on average one vehicle in `gap` metres."""
    rng = plan.rng
    if road.marking == "motorway":
        lane = (road.width - 4.0) / road.lanes
        lanes = [((k + 0.5) * lane - (road.width - 4) / 2, 1) for k in range(road.lanes)]
    else:
        lane = road.width / (2 * road.lanes)
        lanes = [((k + 0.5) * lane * side, side) for k in range(road.lanes) for side in (-1, 1)]
    for side, way in lanes:
        line = offset(road.points, side)
        for x, y, heading in stations(line, rng.uniform(0, gap), 7.0):
            if rng.uniform() < 7.0 / gap:
                turned = heading + (0 if way > 0 else np.pi) + rng.normal(0, 0.015)
                x, y = x + rng.normal(0, 0.2), y + rng.normal(0, 0.2)
                plan.park(x, y, turned, kind_of(plan, shares))


def kerb(plan: Plan, road: Road, *, share: float, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Park vehicles bumper to bumper along the kerbs of a road."""
    rng = plan.rng
    for side in sides:
        line = offset(road.points, side * (road.width / 2 - 1.05))
        stay = rng.uniform() < 0.5
        for x, y, heading in stations(line, rng.uniform(0, 4), rng.uniform(4.9, 5.6)):
            if rng.uniform() < 0.08:
                stay = not stay
            if rng.uniform() < (share if stay else share * 0.4):
                turned = heading + (np.pi if rng.uniform() < (0.2 if side > 0 else 0.8) else 0.0)
                plan.park(
                    x + rng.normal(0, 0.06),
                    y + rng.normal(0, 0.06),
                    turned + rng.normal(0, 0.02),
                    kind_of(plan, (0.9, 0.1, 0, 0)),
                )


def car_park(
    plan: Plan,
    frame: Frame,
    *,
    filled: float,
    style: str,
    surface: Material = ASPHALT,
    trees: float = 0.3,
    lines: bool = True,
) -> None:
    """Rows of bays on a frame. style: "perpendicular", "diagonal" or "herringbone"."""
    rng = plan.rng
    plan.area(frame.corners, surface, PAVED)
    lean = np.pi / 2 if style == "perpendicular" else float(rng.uniform(0.8, 1.15))
    bay = float(rng.uniform(2.35, 2.6))
    pitch = bay / np.sin(lean)
    depth = 5.0 * np.sin(lean) + (0.0 if style == "perpendicular" else bay / 2 * np.cos(lean))
    aisle = 6.0 if style == "perpendicular" else 4.0
    row = -frame.width / 2 + depth / 2 + 0.5
    index = 0
    while row + depth / 2 < frame.width / 2:
        up = -1 if index % 2 == 0 else 1
        tilt = lean if style != "herringbone" or index % 4 < 2 else np.pi - lean
        angle = frame.angle + up * tilt
        _bays(plan, frame, row, (angle, pitch, depth), filled * rng.uniform(0.75, 1.08), lines)
        if index % 2 and trees and rng.uniform() < 0.8:
            _island(plan, frame, row + depth / 2, trees)
        row += depth + (aisle if index % 2 == 0 else 0.25 + 1.6 * (trees > 0))
        index += 1


def _bays(
    plan: Plan,
    frame: Frame,
    row: float,
    shape: tuple[float, float, float],
    filled: float,
    lines: bool,
) -> None:
    rng = plan.rng
    angle, pitch, depth = shape
    lean = angle - frame.angle
    step = np.array([np.cos(lean), np.sin(lean)])
    for u in np.arange(-frame.length / 2 + 3.2, frame.length / 2 - 3.0, pitch):
        x, y = frame.at(u, row)
        if not plan.near(x, y) or not plan.free(rectangle(x, y, angle, 4.8, 2.2), BUILT | PLANTED):
            continue
        if lines:
            lx, ly = frame.at(u - pitch / 2, row)
            plan.marks.append(Mark(lx, ly, angle, depth / abs(np.sin(lean)), 0.12, WHITE, 0.75))
        if rng.uniform() < filled:
            nose = 0.0 if rng.uniform() < 0.75 else np.pi
            slide = rng.normal(0, 0.18)
            x, y = frame.at(u + step[0] * slide + rng.normal(0, 0.07), row + step[1] * slide)
            kind = kind_of(plan, (0.94, 0.06, 0, 0))
            plan.park(x, y, angle + nose + rng.normal(0, 0.018), kind)


def _island(plan: Plan, frame: Frame, row: float, trees: float) -> None:
    strip = Frame(*frame.at(0, row + 0.9), frame.angle, frame.length - 5, 1.4)
    plan.area(strip.corners, LAWN, PLANTED)
    for u in np.arange(-strip.length / 2, strip.length / 2, 9.0):
        if plan.rng.uniform() < trees:
            plant(plan, *strip.at(u, 0), float(plan.rng.uniform(1.2, 2.9)), avoid=ROAD | BUILT)


def depot(plan: Plan, frame: Frame) -> None:
    """One row of buses, lorries or vans side by side on ground that is already paved."""
    rng = plan.rng
    shares = ((0.0, 0.1, 0.2, 0.7), (0.0, 0.2, 0.8, 0.0), (0.1, 0.8, 0.1, 0.0))[rng.integers(3)]
    lean = float(rng.choice([np.pi / 2, 1.0]))
    for u in np.arange(-frame.length / 2 + 4, frame.length / 2 - 4, 3.7 / np.sin(lean)):
        plan.marks.append(Mark(*frame.at(u - 1.85, 0), frame.angle + lean, 13, 0.12, WHITE, 0.6))
        if rng.uniform() < 0.75:
            nose = lean + rng.choice([0.0, np.pi]) + rng.normal(0, 0.012)
            x, y = frame.at(u, rng.normal(0, 0.3))
            plan.park(x, y, frame.angle + nose, kind_of(plan, shares))
