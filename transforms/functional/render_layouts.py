"""Kinds of ground, each laid on a frame: suburb, car park, industry, highway, apron, fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from transforms.functional.render_blocks import BITUMEN, SHEETS, Block
from transforms.functional.render_canvas import Floats, Material
from transforms.functional.render_plan import (
    ASPHALT,
    BUILT,
    CONCRETE,
    DARK_ASPHALT,
    GRAVEL,
    LAWN,
    MEADOW,
    OLD_ASPHALT,
    PAVED,
    ROAD,
    SOIL,
    Frame,
    Line,
    Plan,
    Road,
    offset,
    pick,
    plant,
    smooth,
    stations,
)
from transforms.functional.render_plots import (
    containers,
    grove,
    house,
    houses,
    pitch,
    slabs,
    stall,
)
from transforms.functional.render_traffic import car_park, depot, drive, kerb, kind_of


def suburb(plan: Plan, frame: Frame, *, parked: tuple[float, float] = (0.25, 0.9)) -> None:
    """Curved streets with houses, gardens and cars at the kerb; `parked` bounds their share."""
    rng = plan.rng
    plan.area(frame.corners, LAWN)
    streets = _streets(plan, frame)
    for street in streets:
        plan.road(street)
    for _ in range(int(frame.length * frame.width / 40000)):
        u, v = rng.uniform(-0.4, 0.4, 2) * (frame.length, frame.width)
        pitch(plan, *frame.at(u, v), frame.angle + rng.normal(0, 0.2))
    for street in streets:
        houses(plan, street, pitch=float(rng.uniform(16.5, 22)), setback=float(rng.uniform(9, 12)))
    for street in streets:
        drive(plan, street, gap=90, shares=(0.84, 0.09, 0.04, 0.03))
        sides = (-1, 1) if street.width > 8 else (1,)
        kerb(plan, street, share=float(rng.uniform(*parked)), sides=sides)
    grove(plan, frame, int(frame.length * frame.width / 160), low=0.6, high=4.8)


def _streets(plan: Plan, frame: Frame) -> list[Road]:
    """Streets that swing in parallel, and shorter ones between them."""
    rng = plan.rng
    swing, wave, phase = rng.uniform(8, 22), rng.uniform(110, 230), rng.uniform(0, 2 * np.pi)
    sag = rng.uniform(-0.0006, 0.0006)

    def at(u: float, v: float) -> tuple[float, float]:
        return u, v + swing * float(np.sin(2 * np.pi * u / wave + phase)) + sag * u * u

    levels = [-frame.width / 2 + float(rng.uniform(6, 26))]
    while levels[-1] < frame.width / 2 - 40:
        levels.append(levels[-1] + float(rng.uniform(54, 68)))
    through, between = [], []
    for v in levels:
        line = [at(u, v) for u in np.linspace(-0.5, 0.5, int(frame.length / 18) + 2) * frame.length]
        surface = (OLD_ASPHALT, ASPHALT, DARK_ASPHALT)[rng.integers(3)]
        through.append(Road(smooth(frame.line(line)), float(rng.uniform(6.5, 9)), surface, 1.8))
    for above, below in itertools.pairwise(levels):
        u = -frame.length / 2 + float(rng.uniform(15, 70))
        while u < frame.length / 2:
            slant = float(rng.uniform(-10, 10))
            line = [at(u, above), at(u + slant, (above + below) / 2), at(u + slant / 2, below)]
            between.append(Road(smooth(frame.line(line)), 7.5, ASPHALT, 1.8, 1, "centre"))
            u += float(rng.uniform(85, 160))
    return [*between, *through]


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
        pick(plan, BITUMEN),
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
    drive(plan, street, gap=40, shares=(0.56, 0.16, 0.22, 0.06))
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
        pick(plan, SHEETS if roof == "sheet" else BITUMEN),
    )
    plan.block(hall, avoid=BUILT | ROAD)
    if rng.uniform() < 0.35:
        depot(plan, Frame(*frame.at(0, -26), frame.angle, frame.length * 0.85, 15))
        return
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
    drive(plan, side, gap=28, shares=(0.76, 0.1, 0.08, 0.06))
    lot = Frame(*frame.at(0, -58 if side.points[0, 1] > centre[0, 1] else 58), frame.angle, 60, 40)
    if plan.free(lot.corners, ROAD):
        car_park(plan, lot, filled=0.7, style="diagonal", trees=0.4)
    for x, y, heading in stations(offset(centre, 21.5), rng.uniform(5, 40), 45):  # roadside boxes
        stall(plan, x, y, heading)
    grove(plan, frame, int(frame.length * frame.width / 200), low=0.7, high=5.5)


def motorway(plan: Plan, centre: Floats, *, gap: float) -> None:
    """Two carriageways of three lanes along a line."""
    for side in (-1, 1):
        line = offset(centre, side * 9.0)
        road = Road(line if side > 0 else line[::-1].copy(), 14.6, ASPHALT, 0.0, 3, "motorway")
        plan.road(road)
        drive(plan, road, gap=gap, shares=(0.7, 0.11, 0.15, 0.04))
    for rail in (-0.6, 0.6):
        plan.areas.append(Line(offset(centre, rail), 0.3, (176, 178, 178), 0.9))


def apron(plan: Plan, frame: Frame) -> None:
    """Concrete slabs with taxi lines, service vehicles, a stand of cars behind a fence."""
    rng = plan.rng
    plan.area(frame.corners, MEADOW)
    slab = Frame(*frame.at(0, -18), frame.angle, frame.length, 74)
    plan.area(slab.corners, CONCRETE, PAVED)
    slabs(plan, slab)
    taxi = slab.line([(-slab.length / 2, 10), (slab.length / 2, 10)])
    plan.lines.append(Line(taxi, 0.3, (206, 176, 70), 0.85))
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
                plan.areas.append(Line(line, 0.4, (92, 88, 62), rng.uniform(0.1, 0.3)))
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
    drive(plan, road, gap=20, shares=(0.7, 0.12, 0.12, 0.06))
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
    for _ in range(rng.integers(0, 4)):
        x, y = frame.at(
            rng.uniform(-0.3, 0.3) * frame.length, rng.choice([-1, 1]) * rng.uniform(16, 35)
        )
        house(plan, x, y, frame.angle + rng.normal(0, 0.3))
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
    industry,
    parking,
)
