"""The large scene: an airport, its car park, a motorway with a junction, a suburb and industry."""

from __future__ import annotations

import math

import numpy as np

from transforms.functional.render_canvas import Floats, Material, Rgb, rectangle
from transforms.functional.render_layouts import industry, motorway, suburb
from transforms.functional.render_objects import SHEETS, Aircraft, Block
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
    tilt = float(rng.uniform(-0.16, -0.07))
    field = Frame(307 * scale, 92 * scale, tilt, 900 * scale, 330)
    _crops(plan, Frame(560 * scale, 250 * scale, tilt, 260 * scale, 150))
    homes = Frame(
        425 * scale, 505 * scale, float(rng.uniform(-0.08, 0.12)), 430 * scale, 236 * scale
    )
    works = Frame(92 * scale, 530 * scale, np.pi / 2 - 0.12, 260 * scale, 190)
    plan.area(field.corners, Material(MEADOW.colour, 6, 8, 9, (8, 2, -2)))
    line = [(-40, 402), (150, 352), (300, 336), (450, 322), (660, 262)]
    centre = smooth(np.array(line, float) * scale)
    _junction(plan, centre, scale)
    motorway(plan, centre, gap=34)
    airport(plan, field)
    suburb(plan, homes)
    industry(plan, works)
    belt = Frame(307 * scale, 335 * scale, -0.2, 700 * scale, 96)
    grove(plan, belt, int(420 * scale * scale), low=0.8, high=4.6)
    everywhere = Frame(307 * scale, 420 * scale, 0.0, 640 * scale, 420 * scale)
    grove(plan, everywhere, int(260 * scale * scale), low=0.7, high=4.0)


def _junction(plan: Plan, centre: Floats, scale: float) -> None:
    """A bridge over the motorway with four ramps."""
    middle = centre[len(centre) // 2]
    ahead = centre[len(centre) // 2 + 1] - middle
    frame = Frame(*middle.tolist(), math.atan2(ahead[1], ahead[0]), 10, 10)
    points = frame.line([(-30, -92), (-8, -60), (0, -25), (0, 25), (4, 60), (16, 110)])
    bridge = Road(smooth(points), 11.0, DARK_ASPHALT, 1.2, 1, "edges")
    deck = rectangle(frame.x, frame.y, frame.angle, 15.0, 44.0)
    ramps = []
    for side in (-1, 1):
        for way in (-1, 1):
            u, v = 150.0 * way, 15.2 * side
            bend = [
                (u, v + 1.0 * side),
                (u * 0.6, v + 5 * side),
                (u * 0.28, 33 * side),
                (3 * way, 44 * side),
            ]
            ramps.append(Road(smooth(frame.line(bend)), 5.4, ASPHALT, 0.0, 1, "none"))
    for ramp in ramps:
        plan.road(ramp)
    plan.road(bridge)
    plan.decks.append(Deck(deck, 6.0, bridge))
    drive(plan, bridge, gap=26, shares=(0.78, 0.12, 0.07, 0.03))
    plan.claim(deck, BUILT)
    for ramp in ramps:
        one = Road(offset(ramp.points, -1.3), 5.2, ASPHALT)
        for x, y, heading in stations(one.points, plan.rng.uniform(5, 40), 38):
            plan.park(x, y, heading, kind_of(plan, (0.8, 0.1, 0.1, 0)))


def _crops(plan: Plan, frame: Frame) -> None:
    rng = plan.rng
    tones = ((152, 140, 96), (108, 122, 70), (140, 120, 96), (168, 152, 108), (92, 110, 64))
    u = -frame.length / 2
    while u < frame.length / 2:
        step = float(rng.uniform(35, 70))
        strip = Frame(*frame.at(u + step / 2, 0), frame.angle, step, frame.width)
        plan.area(strip.corners, Material(tones[rng.integers(5)], 6, 6, 9, (4, 2, 0)))
        for row in np.arange(-step / 2, step / 2, 2.4):
            furrow = strip.line([(row, -strip.width / 2), (row, strip.width / 2)])
            plan.furrows.append(Line(furrow, 0.5, (94, 90, 64), rng.uniform(0.08, 0.2)))
        u += step


def airport(plan: Plan, frame: Frame) -> None:
    """Runway, taxiways, apron with aircraft, terminal, and the car park before it."""
    rng = plan.rng
    half = frame.length / 2
    _runway(plan, Frame(*frame.at(0, -75), frame.angle, frame.length, 40))
    taxiways = [
        smooth(frame.line([(-half, -14), (0, -14), (half, -14)])),
        smooth(frame.line([(-120, -75), (-95, -68), (-70, -42), (-52, -20), (-25, -14)])),
        smooth(frame.line([(215, -75), (190, -66), (172, -44), (160, -22), (135, -14)])),
        smooth(frame.line([(-190, -14), (-160, -11), (-150, 12), (-150, 40)])),
        smooth(frame.line([(40, -14), (66, -10), (74, 10), (74, 40)])),
    ]
    shoulders = [Road(line, 25.0, OLD_ASPHALT) for line in taxiways]
    for road in [*shoulders, *(Road(line, 18.0, RUNWAY) for line in taxiways)]:
        plan.road(road)
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
        Block(*frame.at(-70, 99), frame.angle, 120, 34, 18, "flat", (176, 176, 172)), avoid=0
    )
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
    link = Road(
        smooth(frame.line([(20, 150), (24, 178), (16, 205), (-12, 232)])),
        8.5,
        ASPHALT,
        1.6,
        1,
        "edges",
    )
    for road in (forecourt, supply, link):
        plan.road(road)
    lot = Frame(*frame.at(-112, 190), frame.angle, 236, 62)
    car_park(plan, lot, filled=0.9, style="perpendicular", trees=0.55)
    lot = Frame(*frame.at(112, 185), frame.angle, 150, 40)
    car_park(plan, lot, filled=0.8, style="herringbone", surface=OLD_ASPHALT, trees=0.3)
    for road, gap in ((forecourt, 14.0), (supply, 30.0), (link, 24.0)):
        drive(plan, road, gap=gap, shares=(0.72, 0.12, 0.04, 0.12))
    for x, y, _ in stations(offset(supply.points, 7.5), 6, 12):
        if rng.uniform() < 0.5:
            plant(plan, x, y, float(rng.uniform(1.5, 3.2)), avoid=ROAD | BUILT | KEPT | PAVED)
