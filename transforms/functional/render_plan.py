"""The plan of a scene in metres: roads, areas, buildings, trees, vehicles, and ground taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.render_aircraft import Aircraft
from transforms.functional.render_blocks import Block
from transforms.functional.render_canvas import Bytes, Floats, Material, Rgb, rectangle
from transforms.functional.render_trees import Tree
from transforms.functional.render_vehicles import Vehicle, draw_vehicle

ROAD, PAVED, BUILT, PARKED, PLANTED, KEPT = 1, 2, 4, 8, 16, 32
ZONE_STEP = 0.2  # metres per cell of the map of occupied ground
MARGIN = 25.0  # metres around the frame that are planned as well
WHITE: Rgb = (212, 211, 205)

ASPHALT = Material((126, 124, 125), 2.7, 2.8, 4.0, (1.0, 0.0, -1.0))
OLD_ASPHALT = Material((144, 140, 137), 3.0, 3.0, 4.0, (1.2, 0.5, -0.8))
DARK_ASPHALT = Material((94, 95, 98), 3.2, 3.2, 4.0, (0.5, 0.0, 0.0))
CONCRETE = Material((164, 160, 152), 2.8, 2.2, 3.5, (1.5, 0.8, -1.0))
PAVING = Material((152, 146, 138), 5.0, 4.0, 4.0, (3.0, 0.0, -2.0))
GRAVEL = Material((156, 146, 128), 6.5, 5.0, 6.0, (3.0, 1.0, -2.0))
SOIL = Material((134, 114, 92), 7.0, 7.0, 8.0, (4.0, 1.0, -2.0))
LAWN = Material((96, 108, 70), 5.5, 6.0, 6.0, (4.0, 1.5, -1.0))
MEADOW = Material((114, 117, 82), 6.0, 7.0, 8.0, (5.0, 2.0, 0.0))


@dataclass(frozen=True, eq=False)
class Road:
    """A road along points (n, 2) in metres.

    marking: "none", "centre" (street), "edges" (country road) or "motorway" (one carriageway,
    whose lanes all run along the points; elsewhere `lanes` counts one direction).
    """

    points: Floats
    width: float
    surface: Material = ASPHALT
    footway: float = 0.0
    lanes: int = 1
    marking: str = "none"


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


class Area(NamedTuple):
    """A polygon of ground (n, 2) and what covers it."""

    points: Floats
    material: Material


class Line(NamedTuple):
    """A flat line along points (n, 2), `width` metres wide."""

    points: Floats
    width: float
    colour: Rgb
    opacity: float


@dataclass(frozen=True, eq=False)
class Deck:
    """A bridge that carries a road over another: its outline and height in metres."""

    corners: Floats
    height: float


@dataclass(eq=False)
class Plan:
    """Everything that will be drawn, in metres, and a coarse map of ground already taken."""

    height: float
    width: float
    rng: np.random.Generator
    ground: Material = MEADOW
    areas: list[Area | Line] = field(default_factory=list)
    roads: list[Road] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    decks: list[Deck] = field(default_factory=list)
    aircraft: list[Aircraft] = field(default_factory=list)
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

    def near(self, x: float, y: float) -> bool:
        """Whether a point lies in the frame or in the margin around it."""
        return -MARGIN < x < self.width + MARGIN and -MARGIN < y < self.height + MARGIN

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
        self.areas.append(Area(points, material))
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
        self.claim(trunk, PLANTED)
        self.trees.append(tree)
        return True

    def park(self, x: float, y: float, heading: float, kind: int, *, avoid: int = BUILT) -> bool:
        """Add a vehicle where it overlaps no other."""
        if not self.near(x, y):
            return False
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


LEAVES: tuple[Rgb, ...] = (
    (62, 84, 48),
    (72, 94, 50),
    (54, 78, 48),
    (88, 98, 56),
    (52, 68, 44),
    (96, 96, 52),
    (62, 84, 56),
)


def pick(plan: Plan, options: tuple[Rgb, ...]) -> Rgb:
    """One of the colours, a little lighter or darker."""
    r, g, b = np.array(options[plan.rng.integers(len(options))]) * plan.rng.uniform(0.9, 1.1)
    return float(r), float(g), float(b)


def plant(
    plan: Plan, x: float, y: float, radius: float, *, avoid: int = ROAD | BUILT | PARKED | PAVED
) -> bool:
    """Plant one tree or, below 1.2 m, one bush."""
    height = radius * plan.rng.uniform(1.6, 2.6)
    return plan.tree(Tree(x, y, radius, height, pick(plan, LEAVES)), avoid=avoid)
