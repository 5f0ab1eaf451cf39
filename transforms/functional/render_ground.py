"""The plan of a scene, what lies flat on its ground, and the traffic that stands there."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.render_canvas import Bytes, Canvas, Floats, Material, Rgb, rectangle
from transforms.functional.render_objects import Block, Tree
from transforms.functional.render_vehicles import Vehicle, draw_vehicle

ROAD, PAVED, BUILT, PARKED, PLANTED, KEPT = 1, 2, 4, 8, 16, 32
ZONE_STEP = 0.2  # metres per cell of the map of occupied ground
MARGIN = 25.0  # metres around the frame that are planned as well
WHITE: Rgb = (212, 211, 205)

ASPHALT = Material((122, 121, 123), 5.0, 4.0, 4.0, (1.0, 0.0, -1.0))
OLD_ASPHALT = Material((140, 137, 133), 6.0, 5.5, 5.0, (1.5, 0.5, -1.0))
DARK_ASPHALT = Material((92, 93, 97), 5.0, 4.0, 4.0, (0.5, 0.0, 0.0))
CONCRETE = Material((162, 158, 149), 4.5, 4.0, 5.0, (2.0, 1.0, -1.0))
PAVING = Material((150, 144, 136), 6.0, 5.0, 4.0, (3.0, 0.0, -2.0))
GRAVEL = Material((156, 145, 126), 9.0, 6.0, 6.0, (3.0, 1.0, -2.0))
SOIL = Material((134, 114, 92), 7.0, 7.0, 8.0, (4.0, 1.0, -2.0))
LAWN = Material((92, 104, 68), 6.0, 7.0, 8.0, (8.0, 1.0, -2.0))
MEADOW = Material((110, 114, 76), 7.0, 9.0, 10.0, (9.0, 2.0, -1.0))


@dataclass(frozen=True, eq=False)
class Road:
    """A road along points (n, 2) in metres; lanes are counted in one direction."""

    points: Floats
    width: float
    surface: Material = ASPHALT
    footway: float = 0.0
    lanes: int = 1
    marking: str = "none"
    one_way: bool = False


@dataclass(frozen=True)
class Mark:
    """A flat coloured rectangle on the ground: bay line, stripe, patch, stain."""

    x: float
    y: float
    angle: float
    length: float
    width: float
    colour: Rgb = WHITE
    opacity: float = 0.8


@dataclass(frozen=True)
class Frame:
    """A turned rectangle of land; `at` carries its local metres (u, v) to the scene."""

    x: float
    y: float
    angle: float
    length: float
    width: float

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Scene coordinates of a local point; (0, 0) is the centre."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return float(self.x + u * cos - v * sin), float(self.y + u * sin + v * cos)

    def line(self, points: list[tuple[float, float]]) -> Floats:
        """Scene coordinates (n, 2) of local points."""
        return np.array([self.at(u, v) for u, v in points], np.float32)

    @property
    def corners(self) -> Floats:
        """Corners (4, 2) in the scene."""
        return rectangle(self.x, self.y, self.angle, self.length, self.width)


@dataclass(eq=False)
class Plan:
    """Everything that will be drawn, in metres, and a coarse map of ground already taken."""

    height: float
    width: float
    rng: np.random.Generator
    ground: Material = MEADOW
    areas: list[tuple[Floats, Material]] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    lines: list[tuple[Floats, float, Rgb, float]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    vehicles: list[Vehicle] = field(default_factory=list)
    zone: Bytes = field(init=False)

    def __post_init__(self) -> None:
        """Start with free ground, reaching `MARGIN` beyond the frame."""
        cells = [int((side + 2 * MARGIN) / ZONE_STEP) + 1 for side in (self.height, self.width)]
        self.zone = np.zeros(cells, np.uint8)

    def _cells(self, points: Floats) -> tuple[tuple[slice, slice], Bytes] | None:
        local = (points + MARGIN) / ZONE_STEP
        low = np.floor(local.min(axis=0)).astype(int)
        high = np.ceil(local.max(axis=0)).astype(int) + 1
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), self.zone.shape[1]), min(int(high[1]), self.zone.shape[0])
        if x1 <= x0 or y1 <= y0:
            return None
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(mask, [np.round(local - (x0, y0)).astype(np.int32)], 1)
        return (slice(y0, y1), slice(x0, x1)), mask

    def free(self, points: Floats, flags: int) -> bool:
        """Whether no cell of the polygon carries one of the flags; far outside nothing is free."""
        found = self._cells(points)
        return found is not None and not np.any(self.zone[found[0]] & (found[1] * np.uint8(flags)))

    def inside(self, points: Floats, flags: int) -> bool:
        """Whether every cell of the polygon carries one of the flags."""
        found = self._cells(points)
        return found is not None and bool(
            np.all((self.zone[found[0]] & flags > 0) | (found[1] == 0))
        )

    def claim(self, points: Floats, flags: int) -> None:
        """Mark the cells of a polygon."""
        found = self._cells(points)
        if found is not None:
            self.zone[found[0]] |= found[1] * np.uint8(flags)

    def area(self, points: Floats, material: Material, flags: int = 0) -> None:
        """Add a flat area."""
        self.areas.append((points, material))
        if flags:
            self.claim(points, flags)

    def road(self, road: Road) -> None:
        """Add a road and take its ground, footways included."""
        self.roads.append(road)
        half = road.width / 2
        for flag, reach in ((ROAD, half), (KEPT, half + road.footway + 0.4)):
            edge = np.vstack([offset(road.points, reach), offset(road.points, -reach)[::-1]])
            for start in range(0, len(road.points) - 1):
                quad = np.vstack([edge[start : start + 2], edge[::-1][start : start + 2][::-1]])
                self.claim(quad, flag)

    def block(self, block: Block, *, avoid: int = ROAD | KEPT | BUILT | PARKED | PAVED) -> bool:
        """Add a block where its ground is free."""
        if not self.free(block.corners, avoid):
            return False
        self.claim(block.corners, BUILT)
        self.blocks.append(block)
        return True

    def tree(self, tree: Tree, *, avoid: int = ROAD | BUILT | PARKED | PAVED) -> bool:
        """Add a tree where its trunk stands on free ground and its crown touches no building."""
        trunk = rectangle(tree.x, tree.y, 0.0, 1.2, 1.2)
        crown = rectangle(tree.x, tree.y, 0.0, tree.radius * 1.3, tree.radius * 1.3)
        if not self.free(trunk, avoid) or not self.free(crown, BUILT & avoid):
            return False
        self.trees.append(tree)
        return True

    def park(self, x: float, y: float, heading: float, kind: int, *, avoid: int = BUILT) -> bool:
        """Add a vehicle where it overlaps no other."""
        vehicle = draw_vehicle(self.rng, x=x, y=y, heading=heading, kind=kind)
        ground = rectangle(x, y, heading, vehicle.length + 0.15, vehicle.width + 0.15)
        if not self.free(ground, PARKED | avoid):
            return False
        self.claim(ground, PARKED)
        self.vehicles.append(vehicle)
        return True


def offset(points: Floats, distance: float) -> Floats:
    """A line parallel to points (n, 2), `distance` metres to the right of its direction."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-6)
    normal = np.column_stack([-tangent[:, 1], tangent[:, 0]])
    return (points + normal * distance).astype(np.float32)


def smooth(points: NDArray[np.floating], step: float = 2.0) -> Floats:
    """A smooth line through points (n, 2), sampled about every `step` metres."""
    points = np.asarray(points, np.float64)
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    parts = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        count = max(int(np.linalg.norm(p2 - p1) / step), 2)
        t = np.linspace(0, 1, count, endpoint=False)[:, None]
        parts.append(
            0.5
            * (
                2 * p1
                + (p2 - p0) * t
                + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
                + (3 * p1 - p0 - 3 * p2 + p3) * t**3
            )
        )
    return np.vstack([*parts, points[-1:]]).astype(np.float32)


def stations(points: Floats, start: float, spacing: float) -> list[tuple[float, float, float]]:
    """(x, y, heading) every `spacing` metres along a line, from `start` metres on."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(start, along[-1], spacing)
    x, y = np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])
    place = np.clip(np.searchsorted(along, at, side="right") - 1, 0, len(steps) - 1)
    delta = np.diff(points, axis=0)[place]
    heading = np.arctan2(delta[:, 1], delta[:, 0])
    return list(zip(x.tolist(), y.tolist(), heading.tolist(), strict=True))


def draw_ground(canvas: Canvas, plan: Plan) -> None:
    """Draw everything flat: areas, footways, carriageways, wear, and markings on top."""
    canvas.fill_all(plan.ground)
    for points, material in plan.areas:
        canvas.polygon(points, material)
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
    for points, thickness, colour, opacity in plan.lines:
        canvas.stroke(points, thickness, colour, opacity)
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
    """Wheel tracks, patches of newer asphalt and cracks."""
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


def _mark_road(canvas: Canvas, road: Road, crossing: Bytes) -> None:
    lane = road.width / (2 * road.lanes)
    edge = road.width / 2 - 0.25
    if road.marking == "motorway":
        lane, edge = (road.width - 4.0) / (2 * road.lanes), road.width / 2 - 2.2
        span = road.width - 4.0
        lane = span / road.lanes if road.one_way else lane
        inner = [k * lane - span / 2 for k in range(1, road.lanes)] if road.one_way else []
        _dash(canvas, road, inner, crossing, (6.0, 12.0, 0.18))
        for side in (-edge, edge):
            _solid(canvas, offset(road.points, side), crossing, 0.2)
        return
    if road.marking == "none":
        return
    if road.lanes > 1:
        _dash(
            canvas,
            road,
            [k * lane for k in range(1 - road.lanes, road.lanes) if k],
            crossing,
            (4.0, 8.0, 0.15),
        )
        _solid(canvas, road.points, crossing, 0.15)
    else:
        _dash(canvas, road, [0.0], crossing, (3.0, 7.0, 0.14))
    if road.marking == "edges":
        for side in (-edge, edge):
            _solid(canvas, offset(road.points, side), crossing, 0.13)


def _solid(canvas: Canvas, points: Floats, crossing: Bytes, width: float) -> None:
    found = canvas.mask_of(points, thickness=width)
    if found is not None:
        region, mask = found
        alpha = mask.astype(np.float32) * (0.62 * min(1.0, width / canvas.gsd) / 255)
        canvas.blend(*region, np.float32(WHITE), alpha * (crossing[region] < 2))


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
                canvas.mark(x, y, heading, length, width, WHITE, 0.66)
