"""Everything flat: areas, roads with their wear, markings."""

from __future__ import annotations

import numpy as np

from transforms.functional.render_canvas import Bytes, Canvas, Floats, Material
from transforms.functional.render_plan import (
    CONCRETE,
    PAVING,
    WHITE,
    Line,
    Plan,
    Road,
    offset,
    stations,
)


def draw_ground(canvas: Canvas, plan: Plan) -> None:
    """Draw everything flat: areas, footways, carriageways, wear, and markings on top."""
    canvas.fill_all(plan.ground)
    for item in plan.areas:
        if isinstance(item, Line):
            canvas.stroke(*item)
        else:
            canvas.polygon(*item)
    for road in plan.roads:
        if road.footway:
            _pave(canvas, road, road.width + 2 * road.footway, PAVING)
    for road in plan.roads:
        if road.footway:
            _pave(canvas, road, road.width + 0.35, CONCRETE)
    for road in plan.roads:
        _pave(canvas, road, road.width, road.surface)
    for road in plan.roads:
        _wear(canvas, road)
    crossing = _crossings(canvas, plan.roads)
    for road in plan.roads:
        _mark_road(canvas, road, crossing)
    for line in plan.lines:
        canvas.stroke(*line)
    for mark in plan.marks:
        canvas.mark(mark.x, mark.y, mark.angle, mark.length, mark.width, mark.colour, mark.opacity)


def _pave(canvas: Canvas, road: Road, width: float, material: Material) -> None:
    found = canvas.mask_of(road.points, thickness=width)
    if found is not None:
        canvas.fill(*found, material)


def _crossings(canvas: Canvas, roads: list[Road]) -> Bytes:
    """Number of roads over every pixel, uint8 (h, w)."""
    count = np.zeros((canvas.height, canvas.width), np.uint8)
    for road in roads:
        found = canvas.mask_of(road.points, thickness=road.width + 1.5)
        if found is not None:
            count[found[0]] += found[1] > 127
    return count


def _wear(canvas: Canvas, road: Road) -> None:
    """Wheel tracks, patches of newer asphalt, cracks and manhole covers."""
    rng = canvas.rng
    lane = road.width / (2 * road.lanes)
    for index in range(-road.lanes, road.lanes):
        for side in (-0.8, 0.8):
            track = offset(road.points, (index + 0.5) * lane + side)
            tone = float(np.mean(road.surface.colour)) * 0.8
            canvas.stroke(track, 0.7, (tone, tone, tone), rng.uniform(0.08, 0.26))
    for x, y, heading in stations(road.points, rng.uniform(5, 60), rng.uniform(25, 90)):
        grey = rng.choice([rng.uniform(70, 98), rng.uniform(120, 150)])
        across = rng.uniform(-0.35, 0.35) * road.width
        canvas.mark(
            x - np.sin(heading) * across,
            y + np.cos(heading) * across,
            heading,
            rng.uniform(0.8, 9),
            rng.uniform(0.6, 2.6),
            (grey, grey, grey),
            0.35,
        )
    for x, y, heading in stations(road.points, rng.uniform(3, 30), rng.uniform(12, 40)):
        steps = rng.normal(0, 0.5, (12, 2)) + 0.6 * np.array([np.cos(heading), np.sin(heading)])
        crack = np.cumsum(steps, axis=0) + (x, y) + rng.uniform(-0.3, 0.3, 2) * road.width
        canvas.stroke(crack.astype(np.float32), 0.07, (58, 58, 60), 0.5)
        side = rng.uniform(-0.3, 0.3) * road.width
        lid = (x - np.sin(heading) * side, y + np.cos(heading) * side)
        if road.marking != "motorway":
            canvas.mark(*lid, heading, 0.65, 0.65, (72, 70, 68), 0.7)


def _mark_road(canvas: Canvas, road: Road, crossing: Bytes) -> None:
    """Lane lines, edge lines and, on streets, a zebra crossing."""
    edge = road.width / 2 - 0.25
    if road.marking == "motorway":
        lane, edge = (road.width - 4.0) / road.lanes, road.width / 2 - 2.2
        inner = [(k - road.lanes / 2) * lane for k in range(1, road.lanes)]
        _dash(canvas, road, inner, crossing, (6.0, 12.0, 0.18))
    elif road.marking != "none":
        _dash(canvas, road, [0.0], crossing, (3.0, 7.0, 0.14))
    if road.marking in ("motorway", "edges"):
        for side in (-edge, edge):
            _solid(canvas, offset(road.points, side), crossing, 0.16)
    if road.marking == "centre":
        for x, y, heading in stations(road.points, canvas.rng.uniform(12, 60), 110):
            _zebra(canvas, road, (x, y, heading), crossing)


def _zebra(canvas: Canvas, road: Road, at: tuple[float, float, float], crossing: Bytes) -> None:
    x, y, heading = at
    row, col = int(y / canvas.gsd), int(x / canvas.gsd)
    within = 0 <= row < canvas.height and 0 <= col < canvas.width
    if within and crossing[row, col] < 2:
        for side in np.arange(-road.width / 2 + 0.6, road.width / 2 - 0.3, 1.0):
            dx, dy = -np.sin(heading) * side, np.cos(heading) * side
            canvas.mark(x + dx, y + dy, heading, 3.4, 0.5, WHITE, 0.8)


def _solid(canvas: Canvas, points: Floats, crossing: Bytes, width: float) -> None:
    found = canvas.mask_of(points, thickness=width)
    if found is not None:
        region, mask = found
        mask[crossing[region] > 1] = 0
        canvas.lay(region, mask, WHITE, 0.78 * min(1.0, width / canvas.gsd))


def _dash(
    canvas: Canvas,
    road: Road,
    sides: list[float],
    crossing: Bytes,
    shape: tuple[float, float, float],
) -> None:
    length, period, width = shape
    for side in sides:
        for x, y, heading in stations(offset(road.points, side), period / 3, period):
            row, col = int(y / canvas.gsd), int(x / canvas.gsd)
            within = 0 <= row < canvas.height and 0 <= col < canvas.width
            if within and crossing[row, col] < 2:
                canvas.mark(x, y, heading, length, width, WHITE, 0.8)
