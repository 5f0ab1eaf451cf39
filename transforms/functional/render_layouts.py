"""Kinds of ground: suburb, car park, industry, highway, apron and fields, each laid on a frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transforms.functional.render_canvas import Floats, Material, Rgb, rectangle
from transforms.functional.render_ground import (
    ASPHALT,
    BUILT,
    CONCRETE,
    DARK_ASPHALT,
    GRAVEL,
    KEPT,
    LAWN,
    MEADOW,
    OLD_ASPHALT,
    PARKED,
    PAVED,
    PAVING,
    PLANTED,
    ROAD,
    SOIL,
    WHITE,
    Frame,
    Mark,
    Plan,
    Road,
    offset,
    smooth,
    stations,
)
from transforms.functional.render_objects import BITUMEN, SHEETS, TILES, Block, Tree

LEAVES: tuple[Rgb, ...] = (
    (66, 82, 46),
    (78, 92, 50),
    (58, 76, 48),
    (88, 98, 56),
    (52, 68, 44),
    (96, 96, 52),
    (70, 84, 60),
)


def _pick(plan: Plan, options: tuple[Rgb, ...]) -> Rgb:
    r, g, b = np.array(options[plan.rng.integers(len(options))]) * plan.rng.uniform(0.9, 1.1)
    return float(r), float(g), float(b)


def plant(
    plan: Plan, x: float, y: float, radius: float, *, avoid: int = ROAD | BUILT | PARKED | PAVED
) -> bool:
    """Plant one tree or, below 1.2 m, one bush."""
    height = radius * plan.rng.uniform(1.6, 2.6)
    return plan.tree(Tree(x, y, radius, height, _pick(plan, LEAVES)), avoid=avoid)


def grove(plan: Plan, frame: Frame, count: int, *, low: float = 1.5, high: float = 5.0) -> None:
    """Scatter trees and bushes over a frame."""
    for _ in range(count):
        u, v = plan.rng.uniform(-0.5, 0.5, 2) * (frame.length, frame.width)
        plant(plan, *frame.at(u, v), float(plan.rng.uniform(low, high)))


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
        if not plan.free(rectangle(x, y, angle, 4.8, 2.2), BUILT | PLANTED):
            continue
        if lines:
            lx, ly = frame.at(u - pitch / 2, row)
            plan.marks.append(Mark(lx, ly, angle, depth / abs(np.sin(lean)), 0.11, WHITE, 0.6))
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


def house(plan: Plan, x: float, y: float, angle: float) -> bool:
    """A house with its garden things; the street lies towards -v of its frame."""
    rng = plan.rng
    length, width = float(rng.uniform(9, 15)), float(rng.uniform(8, 11))
    roof = str(rng.choice(["gable", "hip", "flat"], p=[0.62, 0.24, 0.14]))
    colour = _pick(plan, BITUMEN if roof == "flat" else TILES)
    turn = angle + (np.pi / 2 if rng.uniform() < 0.3 else 0)
    body = Block(x, y, turn, length, width, float(rng.uniform(3.5, 6.5)), roof, colour)
    if not plan.block(body):
        return False
    frame = Frame(x, y, angle, 18, 24)
    side = float(rng.choice([-1, 1]))
    drive_way = Frame(*frame.at(side * 8.5, -6.5), angle, 3.2, 13)
    if plan.free(drive_way.corners, ROAD | BUILT | PAVED):
        plan.area(drive_way.corners, PAVING if rng.uniform() < 0.6 else GRAVEL, PAVED)
        if rng.uniform() < 0.45:
            garage = Block(
                *frame.at(side * 8.5, 3.4),
                angle + np.pi / 2,
                6,
                3.2,
                2.6,
                "flat",
                _pick(plan, BITUMEN),
                fitted=False,
            )
            plan.block(garage)
        for v in (-9.5, -3.8):
            if rng.uniform() < 0.45:
                heading = angle + rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.04)
                plan.park(*frame.at(side * 8.5, v), heading, kind_of(plan, (0.93, 0.07, 0, 0)))
    _garden(plan, frame)
    return True


def _garden(plan: Plan, frame: Frame) -> None:
    rng = plan.rng
    for _ in range(rng.integers(1, 5)):
        u, v = rng.uniform(-9, 9), rng.uniform(4, 15)
        x, y = frame.at(u, v)
        what = rng.uniform()
        spot = rectangle(x, y, frame.angle, 4, 4)
        if not plan.free(spot, ROAD | KEPT | BUILT | PAVED):
            continue
        if what < 0.12:
            circle(plan, x, y, float(rng.uniform(1.2, 2.0)), (52, 58, 70))  # trampoline
        elif what < 0.24:
            plan.area(rectangle(x, y, frame.angle, 7, 4.2), CONCRETE, PAVED)
            plan.marks.append(Mark(x, y, frame.angle, 6, 3.2, (112, 168, 182), 0.9))  # pool
        elif what < 0.45:
            plan.block(
                Block(
                    x,
                    y,
                    frame.angle,
                    rng.uniform(2, 3.5),
                    rng.uniform(1.8, 2.6),
                    2.0,
                    "gable",
                    _pick(plan, TILES),
                    fitted=False,
                )
            )
        elif what < 0.6:
            plan.marks.append(
                Mark(x, y, frame.angle, rng.uniform(2, 5), rng.uniform(2, 4), (122, 104, 84), 0.7)
            )
        else:
            plan.area(rectangle(x, y, frame.angle, rng.uniform(3, 6), rng.uniform(2, 4)), PAVING)
    for _ in range(rng.integers(2, 8)):
        u, v = rng.uniform(-11, 11), rng.uniform(-9, 16)
        plant(
            plan, *frame.at(u, v), float(rng.choice([rng.uniform(0.5, 1.4), rng.uniform(1.4, 4.4)]))
        )


def circle(plan: Plan, x: float, y: float, radius: float, colour: Rgb) -> None:
    """A flat disc in one colour."""
    turn = np.linspace(0, 2 * np.pi, 25)
    points = np.column_stack([x + radius * np.cos(turn), y + radius * np.sin(turn)])
    plan.area(points.astype(np.float32), Material(colour, 3, 3, 2))


def houses(plan: Plan, road: Road, *, pitch: float, setback: float) -> None:
    """Line both sides of a street with houses."""
    for side in (-1, 1):
        line = offset(road.points, side * (road.width / 2 + setback))
        for x, y, heading in stations(line, plan.rng.uniform(4, 14), pitch):
            angle = heading + (0.0 if side > 0 else np.pi) + plan.rng.normal(0, 0.03)
            house(plan, x, y, angle)


def suburb(plan: Plan, frame: Frame) -> None:
    """Curved streets with houses, gardens and cars at the kerb."""
    rng = plan.rng
    plan.area(frame.corners, Material(LAWN.colour, 7, 8, 9, (9, 2, -2)))
    bend = rng.uniform(-0.12, 0.12, 3) * frame.width
    streets = []
    spacing = float(rng.uniform(52, 66))
    for v in np.arange(-frame.width / 2 + rng.uniform(5, 30), frame.width / 2, spacing):
        line = [(s * frame.length / 2, v + b) for s, b in zip((-1, 0, 1), bend, strict=True)]
        streets.append(
            Road(
                smooth(frame.line(line)),
                float(rng.uniform(6.5, 9)),
                OLD_ASPHALT if rng.uniform() < 0.5 else ASPHALT,
                1.8,
            )
        )
    for u in np.arange(
        -frame.length / 2 + rng.uniform(20, 70), frame.length / 2, rng.uniform(90, 150)
    ):
        line = [(u, -frame.width / 2), (u + rng.uniform(-9, 9), 0), (u, frame.width / 2)]
        streets.append(Road(smooth(frame.line(line)), 8.0, ASPHALT, 2.0, 1, "centre"))
    for street in streets:
        plan.road(street)
    for street in streets:
        houses(plan, street, pitch=float(rng.uniform(17, 24)), setback=float(rng.uniform(9, 12)))
    for street in streets:
        drive(plan, street, gap=70, shares=(0.88, 0.09, 0.03, 0.0))
        kerb(
            plan,
            street,
            share=float(rng.uniform(0.25, 0.9)),
            sides=((-1, 1) if street.width > 8 else (1,)),
        )
    grove(plan, frame, int(frame.length * frame.width / 260), low=0.6, high=4.6)


def parking(plan: Plan, frame: Frame) -> None:
    """A large car park with a shop beside it."""
    rng = plan.rng
    plan.area(frame.corners, LAWN)
    street = Road(
        smooth(frame.line([(-frame.length / 2, -30), (0, -32), (frame.length / 2, -28)])),
        9.0,
        ASPHALT,
        2.2,
        1,
        "centre",
    )
    plan.road(street)
    style = str(rng.choice(["perpendicular", "diagonal", "herringbone"]))
    surface = (ASPHALT, OLD_ASPHALT, DARK_ASPHALT, CONCRETE, GRAVEL)[rng.integers(5)]
    depth = float(rng.uniform(44, 80))
    lot = Frame(*frame.at(0, -22 + depth / 2), frame.angle, frame.length, depth)
    shop = Block(
        *frame.at(rng.uniform(-20, 20), -22 + depth + 24),
        frame.angle,
        70,
        40,
        8,
        "flat",
        _pick(plan, BITUMEN),
    )
    plan.block(shop)
    car_park(
        plan,
        lot,
        filled=float(rng.uniform(0.3, 0.98)),
        style=style,
        surface=surface,
        trees=float(rng.choice([0.0, 0.4, 0.8])),
        lines=surface is not GRAVEL,
    )
    for _ in range(rng.integers(0, 5)):
        stall(plan, *lot.at(*(rng.uniform(-0.4, 0.4, 2) * (lot.length, lot.width))), frame.angle)
    drive(plan, street, gap=25, shares=(0.82, 0.1, 0.05, 0.03))
    kerb(plan, street, share=0.5)
    houses(plan, Road(offset(street.points, -12), 8.0), pitch=22, setback=10)
    grove(plan, frame, int(frame.length * frame.width / 300), low=0.8, high=5)


def stall(plan: Plan, x: float, y: float, angle: float) -> None:
    """A market stall or bin shelter: about as large as a car, and none."""
    rng = plan.rng
    colours: tuple[Rgb, ...] = ((214, 212, 206), (172, 44, 42), (60, 92, 150), (78, 120, 84))
    plan.block(
        Block(
            x,
            y,
            angle + rng.normal(0, 0.1),
            rng.uniform(2.5, 5),
            rng.uniform(1.6, 3),
            2.4,
            str(rng.choice(["plain", "gable"])),
            _pick(plan, colours),
            fitted=False,
        ),
        avoid=BUILT | PARKED | ROAD,
    )


def containers(plan: Plan, frame: Frame, count: int) -> None:
    """Shipping containers and skips in rough rows."""
    rng = plan.rng
    colours: tuple[Rgb, ...] = (
        (134, 62, 48),
        (52, 84, 130),
        (70, 104, 82),
        (164, 160, 150),
        (190, 150, 70),
        (120, 124, 128),
    )
    for _ in range(count):
        u = rng.uniform(-0.5, 0.5) * frame.length
        v = np.round(rng.uniform(-0.5, 0.5) * frame.width / 2.9) * 2.9
        length = 6.06 if rng.uniform() < 0.6 else 12.2
        plan.block(
            Block(
                *frame.at(u, v),
                frame.angle,
                length,
                2.44,
                2.6,
                "sheet",
                _pick(plan, colours),
                fitted=False,
            ),
            avoid=BUILT | PARKED | ROAD,
        )


def industry(plan: Plan, frame: Frame) -> None:
    """Halls in paved yards with lorries, containers and small car parks."""
    rng = plan.rng
    plan.area(frame.corners, MEADOW)
    street = Road(
        smooth(
            frame.line([(-frame.length / 2, 0), (0, rng.uniform(-6, 6)), (frame.length / 2, 0)])
        ),
        9.5,
        ASPHALT,
        2.0,
        1,
        "edges",
    )
    plan.road(street)
    for side in (-1, 1):
        u = -frame.length / 2 + float(rng.uniform(0, 25))
        while u < frame.length / 2:
            plot = float(rng.uniform(50, 105))
            _yard(
                plan,
                Frame(
                    *frame.at(u + plot / 2, side * 50),
                    frame.angle + (np.pi if side < 0 else 0),
                    plot,
                    84,
                ),
            )
            u += plot + 6
    drive(plan, street, gap=40, shares=(0.6, 0.16, 0.22, 0.02))
    kerb(plan, street, share=0.25)
    grove(plan, frame, int(frame.length * frame.width / 420), low=0.8, high=4.5)


def _yard(plan: Plan, frame: Frame) -> None:
    """One plot; its street lies towards -v."""
    rng = plan.rng
    surface = (ASPHALT, OLD_ASPHALT, CONCRETE, DARK_ASPHALT, GRAVEL)[rng.integers(5)]
    plan.area(frame.corners, surface, PAVED)
    length, width = frame.length * rng.uniform(0.5, 0.9), float(rng.uniform(28, 46))
    roof = str(rng.choice(["sheet", "flat"]))
    hall = Block(
        *frame.at(0, 18),
        frame.angle,
        length,
        width,
        float(rng.uniform(7, 12)),
        roof,
        _pick(plan, SHEETS if roof == "sheet" else BITUMEN),
    )
    plan.block(hall, avoid=BUILT | ROAD)
    strip = Frame(
        *frame.at(rng.uniform(-0.15, 0.15) * frame.length, -31),
        frame.angle,
        frame.length * rng.uniform(0.4, 0.8),
        17,
    )
    car_park(
        plan,
        strip,
        filled=float(rng.uniform(0.3, 0.95)),
        style="perpendicular",
        surface=surface,
        trees=0.0,
    )
    for u in np.arange(-length / 2 + 3, length / 2 - 3, 4.2):  # lorries at the loading docks
        if rng.uniform() < 0.35:
            x, y = frame.at(u, 18 - width / 2 - 9.2)
            kind = kind_of(plan, (0.0, 0.3, 0.7, 0.0))
            plan.park(x, y, frame.angle - np.pi / 2 + rng.normal(0, 0.02), kind)
    if rng.uniform() < 0.5:
        containers(plan, Frame(*frame.at(0, -12), frame.angle, frame.length * 0.8, 10), 8)
    for _ in range(rng.integers(2, 7)):
        x, y = frame.at(
            rng.uniform(-0.48, 0.48) * frame.length, rng.uniform(-0.3, 0.46) * frame.width
        )
        plan.park(x, y, rng.uniform(0, 2 * np.pi), kind_of(plan, (0.5, 0.3, 0.2, 0)))


def highway(plan: Plan, frame: Frame) -> None:
    """A motorway with two carriageways and a bridge road, in meadows."""
    rng = plan.rng
    bend = float(rng.uniform(-0.12, 0.12)) * frame.length
    centre = smooth(frame.line([(-frame.length / 2, bend), (0, 0), (frame.length / 2, bend)]))
    motorway(plan, centre, gap=float(rng.uniform(14, 45)))
    side = Road(
        offset(centre, float(rng.choice([-1, 1]) * rng.uniform(32, 40))),
        7.5,
        OLD_ASPHALT,
        0.0,
        1,
        "edges",
    )
    plan.road(side)
    drive(plan, side, gap=28, shares=(0.8, 0.1, 0.08, 0.02))
    lot = Frame(*frame.at(0, -58 if side.points[0, 1] > centre[0, 1] else 58), frame.angle, 60, 40)
    if plan.free(lot.corners, ROAD):
        car_park(plan, lot, filled=0.7, style="diagonal", trees=0.4)
    grove(plan, frame, int(frame.length * frame.width / 200), low=0.7, high=5.5)


def motorway(plan: Plan, centre: Floats, *, gap: float) -> None:
    """Two carriageways of three lanes along a line."""
    for side in (-1, 1):
        line = offset(centre, side * 9.0)
        road = Road(
            line if side > 0 else line[::-1].copy(), 14.6, ASPHALT, 0.0, 3, "motorway", True
        )
        plan.road(road)
        drive(plan, road, gap=gap, shares=(0.72, 0.11, 0.15, 0.02))
    plan.lines.append((offset(centre, 0.6), 0.3, (176, 178, 178), 0.9))
    plan.lines.append((offset(centre, -0.6), 0.3, (176, 178, 178), 0.9))


def apron(plan: Plan, frame: Frame) -> None:
    """Concrete slabs with taxi lines, service vehicles, a stand of cars behind a fence."""
    rng = plan.rng
    plan.area(frame.corners, MEADOW)
    slab = Frame(*frame.at(0, -18), frame.angle, frame.length, 74)
    plan.area(slab.corners, CONCRETE, PAVED)
    slabs(plan, slab)
    plan.lines.append(
        (
            smooth(slab.line([(-slab.length / 2, 10), (0, 10), (slab.length / 2, 10)])),
            0.3,
            (206, 176, 70),
            0.85,
        )
    )
    for _ in range(rng.integers(8, 22)):
        x, y = slab.at(*(rng.uniform(-0.48, 0.48, 2) * (slab.length, slab.width)))
        plan.park(x, y, rng.uniform(0, 2 * np.pi), kind_of(plan, (0.45, 0.3, 0.15, 0.1)))
    containers(plan, Frame(*slab.at(rng.uniform(-30, 30), 30), frame.angle, 40, 8), 9)
    road = Road(
        smooth(frame.line([(-frame.length / 2, 26), (0, 26), (frame.length / 2, 26)])),
        8.0,
        DARK_ASPHALT,
        0.0,
        1,
        "edges",
    )
    plan.road(road)
    drive(plan, road, gap=24, shares=(0.5, 0.3, 0.12, 0.08))
    lot = Frame(*frame.at(0, 54), frame.angle, frame.length * 0.8, 46)
    car_park(
        plan,
        lot,
        filled=float(rng.uniform(0.5, 0.97)),
        style=str(rng.choice(["perpendicular", "herringbone"])),
        trees=0.3,
    )
    grove(plan, frame, int(frame.length * frame.width / 700), low=0.8, high=4)


def slabs(plan: Plan, frame: Frame) -> None:
    """Joints of concrete slabs, and stains."""
    rng = plan.rng
    for u in np.arange(-frame.length / 2, frame.length / 2, 7.5):
        line = frame.line([(u, -frame.width / 2), (u, frame.width / 2)])
        plan.lines.append((line, 0.09, (98, 96, 92), 0.7))
    for v in np.arange(-frame.width / 2, frame.width / 2, 7.5):
        line = frame.line([(-frame.length / 2, v), (frame.length / 2, v)])
        plan.lines.append((line, 0.09, (98, 96, 92), 0.7))
    for _ in range(int(frame.length * frame.width / 160)):
        x, y = frame.at(*(rng.uniform(-0.5, 0.5, 2) * (frame.length, frame.width)))
        cell = rng.uniform(0.2, 1.0) * 7.5
        tone = rng.uniform(110, 180)
        plan.marks.append(
            Mark(x, y, frame.angle, cell, cell * rng.uniform(0.3, 1), (tone, tone, tone), 0.25)
        )


def fields(plan: Plan, frame: Frame) -> None:
    """Crops, a farm and a country road with some traffic, cars on grass."""
    rng = plan.rng
    crops = (
        Material((150, 138, 92), 6, 6, 8, (4, 2, 0)),
        Material((104, 118, 66), 6, 6, 8, (6, 0, 0)),
        SOIL,
        Material((168, 152, 106), 5, 6, 7, (3, 2, 0)),
        Material((84, 104, 58), 6, 6, 8, (5, 1, 0)),
    )
    u = -frame.length / 2
    while u < frame.length / 2:
        step = float(rng.uniform(28, 80))
        for side in (-1, 1):
            strip = Frame(
                *frame.at(u + step / 2, side * frame.width / 4), frame.angle, step, frame.width / 2
            )
            plan.area(strip.corners, crops[rng.integers(5)])
            for row in np.arange(-step / 2, step / 2, rng.uniform(1.5, 6)):
                line = strip.line([(row, -strip.width / 2), (row, strip.width / 2)])
                plan.lines.append(
                    (line, rng.uniform(0.2, 0.5), (92, 88, 62), rng.uniform(0.1, 0.35))
                )
        u += step
    road = Road(
        smooth(
            frame.line(
                [
                    (-frame.length / 2, rng.uniform(-9, 9)),
                    (0, 0),
                    (frame.length / 2, rng.uniform(-9, 9)),
                ]
            )
        ),
        7.0,
        OLD_ASPHALT,
        0,
        1,
        "edges",
    )
    plan.road(road)
    drive(plan, road, gap=20, shares=(0.74, 0.12, 0.12, 0.02))
    for _ in range(rng.integers(0, 4)):
        x, y = frame.at(
            rng.uniform(-0.3, 0.3) * frame.length, rng.choice([-1, 1]) * rng.uniform(16, 35)
        )
        house(plan, x, y, frame.angle + rng.normal(0, 0.3))
    meadow = Frame(
        *frame.at(rng.uniform(-20, 20), rng.choice([-1, 1]) * 26),
        frame.angle + rng.normal(0, 0.1),
        float(rng.uniform(25, 70)),
        34,
    )
    plan.area(meadow.corners, MEADOW)
    if rng.uniform() < 0.6:
        car_park(
            plan, meadow, filled=0.85, style="perpendicular", surface=MEADOW, trees=0.0, lines=False
        )
    for x, y, _ in stations(offset(road.points, 7), 4, 9):
        if rng.uniform() < 0.4:
            plant(plan, x, y, float(rng.uniform(1, 4.5)))
    grove(plan, frame, int(frame.length * frame.width / 900), low=0.6, high=5)


LAYOUTS: tuple[Callable[[Plan, Frame], None], ...] = (
    suburb,
    parking,
    industry,
    highway,
    apron,
    fields,
    parking,
    suburb,
)
