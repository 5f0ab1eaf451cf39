"""The large scene: an airport, its car park, a motorway with a junction, a suburb and industry."""

from __future__ import annotations

import math

import numpy as np

from transforms.functional.render_aircraft import Aircraft
from transforms.functional.render_blocks import SHEETS, Block
from transforms.functional.render_canvas import Floats, Material, Rgb, rectangle
from transforms.functional.render_layouts import industry, motorway, suburb
from transforms.functional.render_plan import (
    ASPHALT,
    BUILT,
    CONCRETE,
    DARK_ASPHALT,
    KEPT,
    LAWN,
    MEADOW,
    OLD_ASPHALT,
    PAVED,
    ROAD,
    WHITE,
    Deck,
    Frame,
    Line,
    Mark,
    Plan,
    Road,
    offset,
    pick,
    plant,
    smooth,
    stations,
)
from transforms.functional.render_plots import containers, grove, slabs
from transforms.functional.render_traffic import car_park, drive, kind_of

REGION_SIDE = 614.4  # metres the coordinates below are written for
YELLOW: Rgb = (206, 172, 62)
RUNWAY = Material((98, 98, 100), 3.4, 3.6, 6.0, (1.0, 0.5, 0.0))
LIVERIES: tuple[Rgb, ...] = (
    (36, 62, 124),
    (168, 44, 42),
    (226, 226, 222),
    (40, 110, 92),
    (214, 160, 40),
)


def region(plan: Plan, scale: float) -> None:
    """Lay out the large scene; `scale` stretches its places, not the things that stand there."""
    rng = plan.rng
    tilt = float(rng.uniform(-0.13, -0.07))
    field = Frame(307 * scale, 92 * scale, tilt, 900 * scale, 330)
    homes = Frame(
        430 * scale, 510 * scale, float(rng.uniform(-0.08, 0.1)), 440 * scale, 240 * scale
    )
    works = Frame(92 * scale, 530 * scale, np.pi / 2 - 0.12, 250 * scale, 190)
    plan.area(field.corners, MEADOW)
    _crops(plan, Frame(572 * scale, 178 * scale, tilt, 230 * scale, 150 * scale))
    _crops(plan, Frame(-10 * scale, 270 * scale, tilt, 170 * scale, 150 * scale))
    line = [(-40, 412), (150, 358), (300, 340), (450, 326), (660, 270)]
    centre = smooth(np.array(line, float) * scale)
    bridge = _junction(plan, centre, field)
    motorway(plan, centre, gap=52)
    plan.road(bridge)
    airport(plan, field)
    suburb(plan, homes, parked=(0.03, 0.4))
    industry(plan, works)
    belt = Frame(307 * scale, 345 * scale, -0.2, 700 * scale, 84)
    grove(plan, belt, int(700 * scale * scale), low=0.8, high=4.6)
    everywhere = Frame(307 * scale, 420 * scale, 0.0, 640 * scale, 420 * scale)
    grove(plan, everywhere, int(520 * scale * scale), low=0.7, high=4.2)


def _junction(plan: Plan, centre: Floats, field: Frame) -> Road:
    """A bridge over the motorway, from the airport to the suburb, with four ramps.

    Returns the bridge, whose surface must be laid after the motorway's.
    """
    middle = len(centre) // 2
    ahead = centre[middle + 1] - centre[middle]
    x, y = centre[middle].tolist()
    frame = Frame(x, y, math.atan2(ahead[1], ahead[0]), 10, 10)
    start = [field.at(20, 150), field.at(22, 172)]
    rest = frame.line([(0, -44), (0, -22), (0, 22), (2, 50), (10, 80), (14, 120)])
    bridge = Road(smooth(np.vstack([start, rest])), 10.5, DARK_ASPHALT, 1.2, 1, "edges")
    deck = rectangle(frame.x, frame.y, frame.angle, 14.0, 42.0)
    for side in (-1, 1):
        for way in (-1, 1):
            leave = [
                offset(centre, side * v)[middle + way * u]
                for u, v in ((80, 13), (48, 19), (20, 31))
            ]
            ramp = Road(smooth(np.vstack([*leave, frame.at(4.0 * way, 43.0 * side)])), 5.4, ASPHALT)
            plan.road(ramp)
            for x, y, heading in stations(ramp.points, plan.rng.uniform(30, 70), 38):
                plan.park(x, y, heading, kind_of(plan, (0.8, 0.1, 0.1, 0)))
        rail = frame.line([(6.6 * side, -22), (6.6 * side, 22)])
        plan.lines.append(Line(rail, 0.4, (188, 186, 180), 0.9))
    plan.decks.append(Deck(deck, 6.0))
    drive(plan, bridge, gap=26, shares=(0.78, 0.12, 0.07, 0.03))
    plan.claim(deck, BUILT)
    return bridge


def _crops(plan: Plan, frame: Frame) -> None:
    rng = plan.rng
    tones = ((152, 140, 96), (108, 122, 70), (140, 120, 96), (168, 152, 108), (92, 110, 64))
    u = -frame.length / 2
    while u < frame.length / 2:
        step = float(rng.uniform(35, 70))
        strip = Frame(*frame.at(u + step / 2, 0), frame.angle, step, frame.width)
        plan.area(strip.corners, Material(tones[rng.integers(5)], 6, 6, 9, (4, 2, 0)))
        for row in np.arange(-step / 2 + 6, step / 2, 21.0):  # tramlines
            for wheel in (-0.9, 0.9):
                track = strip.line(
                    [(row + wheel, -strip.width / 2), (row + wheel, strip.width / 2)]
                )
                plan.areas.append(Line(track, 0.45, (112, 98, 78), 0.5))
        for row in np.arange(-step / 2, step / 2, 2.4):
            furrow = strip.line([(row, -strip.width / 2), (row, strip.width / 2)])
            plan.areas.append(Line(furrow, 0.5, (94, 90, 64), rng.uniform(0.08, 0.2)))
        u += step


def airport(plan: Plan, frame: Frame) -> None:
    """Runway, taxiways, apron with aircraft, terminal, and the car park before it."""
    half = frame.length / 2
    for v in np.arange(-92, 30, 7.0):
        mown = frame.line([(-half, v), (half, v)])
        plan.areas.append(Line(mown, 3.5, (126, 128, 92), 0.14))
    taxiways = [
        smooth(frame.line([(-half, -14), (0, -14), (half, -14)])),
        smooth(frame.line([(-120, -75), (-95, -68), (-70, -42), (-52, -20), (-25, -14)])),
        smooth(frame.line([(215, -75), (190, -66), (172, -44), (160, -22), (135, -14)])),
        smooth(frame.line([(-190, -14), (-160, -11), (-150, 0), (-150, 6)])),
        smooth(frame.line([(40, -14), (66, -10), (74, 0), (74, 6)])),
    ]
    shoulders = [Road(line, 25.0, OLD_ASPHALT) for line in taxiways]
    for road in shoulders:
        plan.road(road)
    _runway(plan, Frame(*frame.at(0, -75), frame.angle, frame.length, 40))
    for line in taxiways:
        plan.road(Road(line, 18.0, RUNWAY))
    apron = Frame(*frame.at(-15, 47), frame.angle, 430, 76)
    plan.area(apron.corners, CONCRETE, PAVED)
    slabs(plan, apron)
    for line in taxiways:
        plan.lines.append(Line(line, 0.35, YELLOW, 0.85))
    taxi = apron.line([(-205, -22), (205, -22)])
    plan.lines.append(Line(taxi, 0.35, YELLOW, 0.85))
    _stands(plan, apron)
    _landside(plan, frame)


def _runway(plan: Plan, frame: Frame) -> None:
    rng = plan.rng
    shoulder = Road(
        frame.line([(-frame.length / 2, 0), (frame.length / 2, 0)]), frame.width + 12, OLD_ASPHALT
    )
    plan.road(shoulder)
    plan.road(Road(shoulder.points, frame.width, RUNWAY))
    for u in np.arange(-frame.length / 2, frame.length / 2, 50.0):
        plan.marks.append(Mark(*frame.at(u, 0), frame.angle, 30, 0.9, WHITE, 0.85))
    for side in (-1, 1):
        edge = frame.line([(-frame.length / 2, side * 18.6), (frame.length / 2, side * 18.6)])
        plan.lines.append(Line(edge, 0.9, WHITE, 0.8))
        for k in range(6):  # threshold bars, then the aiming point
            plan.marks.append(
                Mark(*frame.at(-252, side * (2.4 + 2.7 * k)), frame.angle, 28, 1.7, WHITE, 0.88)
            )
        plan.marks.append(Mark(*frame.at(-95, side * 7.5), frame.angle, 42, 5.5, WHITE, 0.85))
        for k in range(3):
            plan.marks.append(
                Mark(*frame.at(-165, side * (5.5 + 2.6 * k)), frame.angle, 21, 1.6, WHITE, 0.85)
            )
    for _ in range(240):  # rubber of landing wheels
        u, v = -80 + rng.normal(0, 75), rng.choice([-1, 1]) * 3.4 + rng.normal(0, 1.3)
        line = frame.line([(u, v), (u + rng.uniform(20, 70), v + rng.normal(0, 0.3))])
        plan.lines.append(Line(line, 0.4, (48, 48, 50), rng.uniform(0.08, 0.25)))


def _stands(plan: Plan, apron: Frame) -> None:
    """Aircraft at the terminal, each with its lead-in line and service vehicles."""
    rng = plan.rng
    for u in np.arange(-170, 185, 46.0):
        lead = apron.line([(u - 18, -22), (u - 6, -18), (u, -8), (u, 30)])
        plan.lines.append(Line(smooth(lead), 0.3, YELLOW, 0.85))
        if rng.uniform() < 0.75:
            size = float(rng.uniform(31, 38))
            craft = Aircraft(
                *apron.at(u, 33 - size / 2), apron.angle + np.pi / 2, size, pick(plan, LIVERIES)
            )
            plan.aircraft.append(craft)
            if u < 60:  # a passenger bridge from the terminal to the front left door
                way = apron.angle + math.atan2(-12.0, 3.5)
                at = apron.at(u - 3.8, 33.0)
                plan.block(Block(*at, way, 13, 2.6, 5, "plain", (176, 178, 180), False), avoid=0)
            plan.claim(rectangle(craft.x, craft.y, craft.angle, size, 5.0), BUILT)
            plan.claim(rectangle(craft.x, craft.y, craft.angle, 8.0, size * 0.9), BUILT)
        for _ in range(rng.integers(2, 6)):
            x, y = apron.at(u + rng.uniform(-20, 20), rng.uniform(2, 36))
            turn = apron.angle + rng.choice([0, np.pi / 2, np.pi]) + rng.normal(0, 0.3)
            plan.park(x, y, turn, kind_of(plan, (0.3, 0.4, 0.25, 0.05)))
    containers(plan, Frame(*apron.at(185, 20), apron.angle, 34, 24), 12)


def _landside(plan: Plan, frame: Frame) -> None:
    """Terminal, its forecourt, the car park and a row of cargo halls."""
    rng = plan.rng
    plan.area(Frame(*frame.at(-20, 155), frame.angle, 420, 140).corners, LAWN)
    plan.block(
        Block(*frame.at(-70, 99), frame.angle, 236, 27, 15, "sheet", (196, 198, 197)), avoid=0
    )
    plan.block(
        Block(*frame.at(-70, 99), frame.angle, 120, 34, 18, "flat", (164, 162, 156)), avoid=0
    )
    for u in np.arange(-176, 36, 12.0):
        glass = (104, 124, 140)
        light = Block(
            *frame.at(u, 99), frame.angle + np.pi / 2, 18, 2.6, 19.5, "gable", glass, False
        )
        plan.block(light, avoid=0)
    for u in (80.0, 128.0, 176.0):
        plan.area(Frame(*frame.at(u + 5, 112), frame.angle, 48, 58).corners, OLD_ASPHALT, PAVED)
        plan.block(
            Block(*frame.at(u + 5, 104), frame.angle, 42, 34, 11, "sheet", pick(plan, SHEETS)),
            avoid=BUILT,
        )
        for k in (-14, -6, 2, 12):
            if rng.uniform() < 0.6:
                plan.park(
                    *frame.at(u + 5 + k, 130.5),
                    frame.angle + np.pi / 2,
                    kind_of(plan, (0, 0.3, 0.7, 0)),
                )
    forecourt = Road(
        smooth(
            frame.line([(-215, 150), (-205, 128), (-180, 123), (40, 123), (62, 128), (70, 150)])
        ),
        11.0,
        DARK_ASPHALT,
        2.4,
        1,
        "centre",
    )
    supply = Road(
        smooth(frame.line([(-230, 150), (0, 150), (120, 149), (210, 152), (300, 160)])),
        9.0,
        ASPHALT,
        1.6,
        1,
        "edges",
    )
    for road in (forecourt, supply):
        plan.road(road)
    lot = Frame(*frame.at(-146, 190), frame.angle, 188, 62)
    car_park(plan, lot, filled=0.8, style="perpendicular", trees=0.55)
    lot = Frame(*frame.at(112, 185), frame.angle, 150, 40)
    car_park(plan, lot, filled=0.7, style="herringbone", surface=OLD_ASPHALT, trees=0.3)
    for road, gap in ((forecourt, 18.0), (supply, 34.0)):
        drive(plan, road, gap=gap, shares=(0.72, 0.12, 0.04, 0.12))
    for x, y, _ in stations(offset(supply.points, 7.5), 6, 12):
        if rng.uniform() < 0.5:
            plant(plan, x, y, float(rng.uniform(1.5, 3.2)), avoid=ROAD | BUILT | KEPT | PAVED)
