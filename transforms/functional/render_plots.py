"""Plots and the things on them: houses with gardens, trees, stalls, containers, slabs."""

from __future__ import annotations

import numpy as np

from transforms.functional.render_blocks import BITUMEN, TILES, Block
from transforms.functional.render_canvas import Material, Rgb, rectangle
from transforms.functional.render_plan import (
    BUILT,
    CONCRETE,
    GRAVEL,
    KEPT,
    LAWN,
    LEAVES,
    PARKED,
    PAVED,
    PAVING,
    PLANTED,
    ROAD,
    WHITE,
    Frame,
    Line,
    Mark,
    Plan,
    Road,
    offset,
    pick,
    plant,
    stations,
)
from transforms.functional.render_traffic import kind_of


def grove(plan: Plan, frame: Frame, count: int, *, low: float = 1.5, high: float = 5.0) -> None:
    """Scatter trees and bushes over a frame."""
    for _ in range(count):
        u, v = plan.rng.uniform(-0.5, 0.5, 2) * (frame.length, frame.width)
        plant(plan, *frame.at(u, v), float(plan.rng.uniform(low, high)))


def house(plan: Plan, x: float, y: float, angle: float) -> bool:
    """A house with its garden things; the street lies towards -v of its frame."""
    rng = plan.rng
    length, width = float(rng.uniform(9, 15)), float(rng.uniform(8, 11))
    roof = str(rng.choice(["gable", "hip", "flat"], p=[0.62, 0.24, 0.14]))
    colour = pick(plan, BITUMEN if roof == "flat" else TILES)
    turn = angle + (np.pi / 2 if rng.uniform() < 0.3 else 0)
    body = Block(x, y, turn, length, width, float(rng.uniform(3.5, 6.5)), roof, colour)
    if not plan.block(body, avoid=ROAD | KEPT | BUILT | PARKED | PAVED | PLANTED):
        return False
    frame = Frame(x, y, angle, 18, 24)
    _lawn(plan, frame)
    if roof != "flat" and rng.uniform() < 0.3:
        wing = Block(
            *frame.at(rng.uniform(-3, 3), 5),
            turn + np.pi / 2,
            width + 3,
            length * 0.5,
            body.height - 0.4,
            roof,
            colour,
            fitted=False,
        )
        plan.block(wing, avoid=ROAD | KEPT | PARKED)
    side = float(rng.choice([-1, 1]))
    drive_way = Frame(*frame.at(side * 8.3, -5.5), angle, 3.3, 13)
    if plan.free(drive_way.corners, BUILT | PAVED | PARKED):
        plan.area(drive_way.corners, PAVING if rng.uniform() < 0.6 else GRAVEL, PAVED)
        if rng.uniform() < 0.45:
            garage = Block(
                *frame.at(side * 8.3, 4.4),
                angle + np.pi / 2,
                6,
                3.2,
                2.6,
                "flat",
                pick(plan, BITUMEN),
                fitted=False,
            )
            plan.block(garage)
        for v in (-7.4, -1.8):
            if rng.uniform() < 0.5:
                heading = angle + rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.04)
                plan.park(*frame.at(side * 8.3, v), heading, kind_of(plan, (0.93, 0.07, 0, 0)))
    _garden(plan, frame)
    return True


def _lawn(plan: Plan, frame: Frame) -> None:
    """A plot's own green, and hedges or fences around it."""
    rng = plan.rng
    tone = np.array(LAWN.colour) * rng.uniform(0.85, 1.18) + rng.normal(0, 5, 3)
    colour: Rgb = (float(tone[0]), float(tone[1]), float(tone[2]))
    plot = Frame(*frame.at(0, 3), frame.angle, 19.5, 27)
    plan.area(plot.corners, Material(colour, 5.5, 6, 5, (4, 1, -1)))
    if rng.uniform() < 0.7:
        hedge(plan, Frame(*plot.at(-9.4, 0), frame.angle + np.pi / 2, 24, 1.1))
    if rng.uniform() < 0.6:
        hedge(plan, Frame(*plot.at(0, 13), frame.angle, 18, 1.0))
    if rng.uniform() < 0.35:
        hedge(plan, Frame(*plot.at(-3, -12.6), frame.angle, 9, 0.8))


def hedge(plan: Plan, frame: Frame) -> None:
    """A clipped hedge along a frame, where the ground is free."""
    height = float(plan.rng.uniform(0.9, 2.0))
    plan.block(
        Block(
            frame.x,
            frame.y,
            frame.angle,
            frame.length,
            frame.width,
            height,
            "hedge",
            pick(plan, LEAVES),
            fitted=False,
        ),
        avoid=ROAD | KEPT | BUILT | PARKED | PAVED,
    )


def pitch(plan: Plan, x: float, y: float, angle: float) -> None:
    """A sports ground with its lines."""
    ground = Frame(x, y, angle, 62, 38)
    if not plan.free(ground.corners, ROAD | KEPT | BUILT | PAVED):
        return
    court = plan.rng.uniform() < 0.3
    plan.area(ground.corners, Material((150, 92, 72) if court else (98, 116, 70), 4, 4, 3), PAVED)
    for length, width in ((54.0, 32.0), (0.2, 32.0)):
        half, wide = length / 2, width / 2
        ring = ground.line(
            [(-half, -wide), (half, -wide), (half, wide), (-half, wide), (-half, -wide)]
        )
        plan.lines.append(Line(ring, 0.15, WHITE, 0.7))
    for side in (-1, 1):
        box = ground.line([(side * 27, -9), (side * 19, -9), (side * 19, 9), (side * 27, 9)])
        plan.lines.append(Line(box, 0.15, WHITE, 0.7))


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
                    pick(plan, TILES),
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
            pick(plan, colours),
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
                pick(plan, colours),
                fitted=False,
            ),
            avoid=BUILT | PARKED | ROAD,
        )


def slabs(plan: Plan, frame: Frame) -> None:
    """Joints of concrete slabs, and stains."""
    rng = plan.rng
    for u in np.arange(-frame.length / 2, frame.length / 2, 7.5):
        line = frame.line([(u, -frame.width / 2), (u, frame.width / 2)])
        plan.lines.append(Line(line, 0.09, (98, 96, 92), 0.7))
    for v in np.arange(-frame.width / 2, frame.width / 2, 7.5):
        line = frame.line([(-frame.length / 2, v), (frame.length / 2, v)])
        plan.lines.append(Line(line, 0.09, (98, 96, 92), 0.7))
    for _ in range(int(frame.length * frame.width / 160)):
        x, y = frame.at(*(rng.uniform(-0.5, 0.5, 2) * (frame.length, frame.width)))
        cell = rng.uniform(0.2, 1.0) * 7.5
        tone = rng.uniform(110, 180)
        plan.marks.append(
            Mark(x, y, frame.angle, cell, cell * rng.uniform(0.3, 1), (tone, tone, tone), 0.25)
        )
