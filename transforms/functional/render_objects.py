"""What stands on the ground beside vehicles: buildings, trees, and small things with a shadow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.render_canvas import (
    NOISE_SIZE,
    Canvas,
    Floats,
    Material,
    Patch,
    Rgb,
    as_float32,
    rectangle,
)

TILES: tuple[Rgb, ...] = (
    (164, 84, 62),
    (150, 76, 58),
    (176, 100, 74),
    (128, 70, 58),
    (104, 66, 58),
    (96, 94, 96),
    (78, 80, 86),
    (120, 112, 104),
    (140, 92, 70),
    (112, 98, 90),
)
SHEETS: tuple[Rgb, ...] = (
    (176, 178, 180),
    (150, 154, 158),
    (198, 198, 194),
    (120, 128, 136),
    (94, 120, 152),
    (140, 84, 72),
    (168, 164, 152),
    (206, 208, 208),
)
BITUMEN: tuple[Rgb, ...] = (
    (112, 112, 114),
    (134, 130, 124),
    (152, 150, 144),
    (92, 92, 96),
    (164, 158, 148),
    (124, 116, 106),
)


@dataclass(frozen=True)
class Block:
    """A building or other box: centre, angle of its ridge, size and height in metres, roof.

    `roof` is "gable", "hip", "flat" (bitumen, gravel), "sheet" (corrugated metal), "tube",
    "hedge" or "plain".
    """

    x: float
    y: float
    angle: float
    length: float
    width: float
    height: float
    roof: str
    colour: Rgb
    fitted: bool = True

    @property
    def corners(self) -> Floats:
        """Corners (4, 2) of the footprint in metres."""
        return rectangle(self.x, self.y, self.angle, self.length, self.width)


@dataclass(frozen=True)
class Tree:
    """A crown: centre, radius and height in metres, mean colour."""

    x: float
    y: float
    radius: float
    height: float
    colour: Rgb


@dataclass(frozen=True)
class Aircraft:
    """A parked airliner: centre, heading in radians, length in metres, colour of its tail."""

    x: float
    y: float
    angle: float
    length: float
    livery: Rgb

    def part(self, points: list[tuple[float, float]]) -> Floats:
        """Scene coordinates (n, 2) of local points given in lengths, nose at (0.5, 0)."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        turned = np.array(points) * self.length @ np.array([[cos, sin], [-sin, cos]])
        return (turned + np.array([self.x, self.y])).astype(np.float32)

    @property
    def wings(self) -> list[Floats]:
        """Outlines of wings and tailplane."""
        wing = [(0.13, 0.03), (-0.09, 0.47), (-0.135, 0.475), (-0.06, 0.16), (-0.08, 0.03)]
        tail = [(-0.36, 0.01), (-0.455, 0.17), (-0.49, 0.17), (-0.455, 0.01)]
        return [
            self.part([(x, y * s) for x, y in shape]) for shape in (wing, tail) for s in (-1, 1)
        ]

    @property
    def engines(self) -> list[Block]:
        """Nacelles under the wings."""
        spots = self.part([(0.085, 0.165), (0.085, -0.165)])
        return [
            Block(
                float(x),
                float(y),
                self.angle,
                self.length * 0.115,
                self.length * 0.058,
                2.0,
                "tube",
                (206, 208, 208),
                fitted=False,
            )
            for x, y in spots
        ]

    @property
    def fuselage(self) -> Block:
        """The hull, as a tube."""
        return Block(
            self.x,
            self.y,
            self.angle,
            self.length,
            self.length * 0.105,
            4.5,
            "tube",
            (222, 223, 222),
            fitted=False,
        )


def cast_aircraft(canvas: Canvas, craft: Aircraft) -> None:
    """Shadow of wings, hull and fin."""
    for wing in craft.wings:
        canvas.cast(wing + canvas.sun.fall * 3.6)
    hull = craft.part(
        [
            (0.49, 0),
            (0.42, 0.05),
            (-0.25, 0.05),
            (-0.5, 0.01),
            (-0.5, -0.01),
            (-0.25, -0.05),
            (0.42, -0.05),
        ]
    )
    canvas.cast(np.vstack([hull + canvas.sun.fall * 1.5, hull + canvas.sun.fall * 5.5]))
    fin = craft.part([(-0.36, 0), (-0.47, 0)])
    canvas.cast(np.vstack([fin, craft.part([(-0.47, 0.003), (-0.5, 0)]) + canvas.sun.fall * 11.5]))


def draw_aircraft(canvas: Canvas, craft: Aircraft, rng: np.random.Generator) -> None:
    """Draw engines, wings, hull and fin from the ground up."""
    for block in craft.engines:
        draw_block(canvas, block, rng)
    for wing in craft.wings:
        canvas.polygon(wing, Material((190, 193, 196), 1.0, 2.0, 3.0))
        canvas.cover_polygon(wing)
        canvas.stroke(wing[2:], 0.35, (150, 153, 158), 0.6)
    for sign in (-1, 1):
        x, y = craft.part([(-0.03, 0.053 * sign)])[0] + canvas.sun.fall * 1.2
        canvas.mark(float(x), float(y), craft.angle, craft.length * 0.2, 1.0, (60, 62, 68), 0.4)
    draw_block(canvas, craft.fuselage, rng)
    x, y = craft.part([(0.452, 0)])[0].tolist()
    canvas.mark(x, y, craft.angle, 0.9, 1.9, (48, 54, 62), 0.85)
    fin = craft.part(
        [(-0.33, 0), (-0.42, 0.008), (-0.495, 0.006), (-0.495, -0.006), (-0.42, -0.008)]
    )
    canvas.polygon(fin, Material(craft.livery, 1.0, 2.0, 2.0))


def cast_block(canvas: Canvas, block: Block) -> None:
    """Shadow of a block: hull of its footprint and of its eaves and ridge carried by the sun."""
    ground = block.corners
    points = [ground, ground + canvas.sun.fall * block.height]
    if block.roof in ("gable", "hip"):
        inset = 0.0 if block.roof == "gable" else block.width
        ridge = rectangle(block.x, block.y, block.angle, max(block.length - inset, 0.1), 0.05)
        points.append(ridge + canvas.sun.fall * (block.height + _rise(block)))
    canvas.cast(np.vstack(points))


def _rise(block: Block) -> float:
    return 0.36 * block.width


def _pitched(block: Block, patch: Patch, canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Colours of a tiled roof: two or four planes, each lit by its slope, with rows of tiles."""
    half, end = block.width / 2, block.length / 2
    down = np.abs(patch.v)
    hip = (end - np.abs(patch.u) < half - down) & (block.roof == "hip")
    nx = np.where(hip, np.sign(patch.u), 0) * 0.55
    ny = np.where(hip, 0, np.sign(patch.v)) * 0.55
    lx, ly, lz = canvas.sun.light(block.angle)
    lit = np.clip(nx * lx + ny * ly + lz, 0.05, None) / np.sqrt(1 + 0.3) / lz
    fallen = np.where(hip, end - np.abs(patch.u), half - down)
    rows = np.sin(fallen * (2 * np.pi / max(0.42, 2.6 * canvas.gsd)))
    base = Material(block.colour, 5.0, 4.5, 3.0, (3.0, 0.5, -1.5))
    colour = canvas.texture(patch.rows, patch.cols, base, int(rng.integers(1 << 18)))
    colour = colour * (0.30 + 0.70 * lit + 0.035 * rows)[..., None]
    ridge = np.minimum(down, np.where(hip | (block.roof == "gable"), np.inf, np.inf))
    on_ridge = (np.clip(1.2 - ridge / 0.16, 0, 1) * (~hip))[..., None]
    colour += (colour * 0.25 + 10) * on_ridge
    if block.roof == "hip":
        seam = np.clip(1 - np.abs((end - np.abs(patch.u)) - (half - down)) / 0.2, 0, 1)
        colour += (colour * 0.18 + 6) * seam[..., None]
    gutter = np.clip(1 - (half - down) / 0.18, 0, 1)[..., None]
    return (colour * (1 - 0.3 * gutter)).astype(np.float32)


def _level(block: Block, patch: Patch, canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Colours of a flat or metal roof, with a parapet, joints, stains and corrugation."""
    sheet = block.roof == "sheet"
    middle = 2.0 if sheet else 4.0
    base = Material(block.colour, 3.0, middle, 3.0, (1.5, 0.4, -1.5))
    if block.roof == "hedge":
        base = Material(block.colour, 11.0, 7.0, 3.0, (3.0, 1.0, 0.0))
    colour = canvas.texture(patch.rows, patch.cols, base, int(rng.integers(1 << 18)))
    if sheet:
        pitch = max(0.9, 3 * canvas.gsd)
        colour *= (1 + 0.035 * np.sin(patch.u * (2 * np.pi / pitch)))[..., None]
        lx, ly, lz = canvas.sun.light(block.angle)
        colour *= np.where(patch.v > 0, 1 + 0.16 * ly / lz, 1 - 0.16 * ly / lz)[..., None]
        streak = np.clip(1 - np.abs(patch.v) / 0.3, 0, 1)
        colour += 9 * streak[..., None]
    elif block.fitted:
        joint = np.abs((patch.u / 5.0) % 1 - 0.5) * 5.0
        colour -= (7 * np.clip(1 - joint / 0.12, 0, 1))[..., None]
    inner = np.minimum(block.length / 2 - np.abs(patch.u), block.width / 2 - np.abs(patch.v))
    if block.fitted and not sheet:
        rim = np.clip(1.5 - np.abs(inner - 0.25) / 0.16, 0, 1)[..., None]
        colour += (as_float32([178, 176, 170]) - colour) * rim * 0.75
        lx, ly, _ = canvas.sun.light(block.angle)
        near = np.where(lx > 0, block.length / 2 - patch.u, block.length / 2 + patch.u)
        other = np.where(ly > 0, block.width / 2 - patch.v, block.width / 2 + patch.v)
        inside = (np.minimum(near, other) < 1.1) & (inner > 0.45)
        colour *= np.where(inside, 0.66, 1.0)[..., None]
    else:
        colour *= (1 - 0.22 * np.clip(1 - inner / 0.2, 0, 1))[..., None]
    return colour.astype(np.float32)


def _tube(block: Block, patch: Patch, canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Colours of a lying cylinder, lit across."""
    across = np.clip(2 * patch.v / block.width, -0.98, 0.98)
    _, ly, lz = canvas.sun.light(block.angle)
    lit = np.clip(across * ly + np.sqrt(1 - across**2) * lz, 0, 1) / lz
    colour = as_float32(block.colour) * (0.42 + 0.58 * np.minimum(lit, 1.1))[..., None]
    return (colour + rng.normal(0, 1.0)).astype(np.float32)


def _outline(block: Block, patch: Patch, gsd: float) -> Floats:
    """Coverage of a tube, round at the nose and tapering to the tail."""
    u = 2 * patch.u / block.length
    nose = np.sqrt(np.clip(1 - np.clip((u - 0.76) / 0.24, 0, 1) ** 2, 0, 1))
    tail = 1 - 0.9 * np.clip((-u - 0.45) / 0.55, 0, 1) ** 1.4
    half = block.width / 2 * nose * tail
    return np.clip(0.5 + (half - np.abs(patch.v)) / gsd, 0, 1) * (np.abs(u) <= 1)


def draw_block(canvas: Canvas, block: Block, rng: np.random.Generator) -> None:
    """Draw the roof of a block with what lies on it; the ground below is hidden."""
    patch = canvas.patch(block.x, block.y, block.angle, block.length, block.width)
    if patch is None:
        return
    shader = {"gable": _pitched, "hip": _pitched, "tube": _tube}.get(block.roof, _level)
    if block.roof == "tube":
        alpha = _outline(block, patch, canvas.gsd)
    else:
        alpha = patch.coverage(block.length, block.width, canvas.gsd)
    canvas.blend(patch.rows, patch.cols, shader(block, patch, canvas, rng), alpha)
    canvas.hide((patch.rows, patch.cols), alpha)
    if block.fitted:
        _fit_roof(canvas, block, rng)


def _place(block: Block, u: float, v: float) -> tuple[float, float]:
    cos, sin = np.cos(block.angle), np.sin(block.angle)
    return block.x + u * cos - v * sin, block.y + u * sin + v * cos


def _unit(
    canvas: Canvas,
    block: Block,
    at: tuple[float, float],
    size: tuple[float, float],
    height: float,
    colour: Rgb,
) -> None:
    """A small box on a roof: its shadow first, then itself."""
    x, y = _place(block, *at)
    dx, dy = canvas.sun.fall * height
    canvas.mark(
        x + dx / 2,
        y + dy / 2,
        block.angle,
        size[0] + abs(dx) / 2,
        size[1] + abs(dy) / 2,
        (38, 40, 46),
        0.5,
    )
    canvas.mark(x, y, block.angle, *size, colour)


def _fit_roof(canvas: Canvas, block: Block, rng: np.random.Generator) -> None:
    half, wide = block.length / 2, block.width / 2
    if block.roof in ("gable", "hip"):
        side = rng.choice([-1, 1])
        reach = half * (0.8 if block.roof == "gable" else 0.45)
        for _ in range(rng.integers(0, 2 + int(block.length / 4))):  # roof windows
            at = (rng.uniform(-reach, reach), rng.choice([-1, 1]) * wide * rng.uniform(0.3, 0.7))
            x, y = _place(block, *at)
            shine = (196, 204, 212) if rng.uniform() < 0.2 else (58, 66, 76)
            canvas.mark(x, y, block.angle, 1.0, 1.25, (150, 150, 150))
            canvas.mark(x, y, block.angle, 0.75, 1.0, shine)
        for _ in range(rng.integers(1, 3)):  # chimneys
            at = (rng.uniform(-reach, reach), rng.uniform(-0.35, 0.35) * wide)
            _unit(canvas, block, at, (0.7, 0.6), 1.3, (132, 104, 92))
        if rng.uniform() < 0.22:
            _panels(canvas, block, rng, (0.0, side * wide * 0.5), (reach * 1.1, wide * 0.6))
        return
    for _ in range(int(rng.integers(0, 3 + int(block.length * block.width / 260)))):
        at = (rng.uniform(-0.85, 0.85) * half, rng.uniform(-0.75, 0.75) * wide)
        grey = rng.uniform(130, 205)
        size = (rng.uniform(0.8, 2.8), rng.uniform(0.8, 1.9))
        _unit(canvas, block, at, size, rng.uniform(0.6, 1.6), (grey, grey, grey * 0.99))
    if block.length > 24 and rng.uniform() < 0.7:  # rows of skylights
        pitch = rng.uniform(5, 9)
        for v in np.linspace(-0.6, 0.6, rng.integers(1, 4)) * wide:
            for u in np.arange(-half + 4, half - 3, pitch):
                x, y = _place(block, u, v)
                canvas.mark(x, y, block.angle, 1.5, min(3.2, wide * 0.5), (196, 204, 208), 0.85)
    if rng.uniform() < 0.15 and wide > 4:
        _panels(canvas, block, rng, (0.0, 0.0), (half * 1.2, wide * 1.0))


def _panels(
    canvas: Canvas,
    block: Block,
    rng: np.random.Generator,
    at: tuple[float, float],
    size: tuple[float, float],
) -> None:
    """Solar panels in a grid over an area of `size` metres."""
    blue = (34 + rng.uniform(0, 10), 42 + rng.uniform(0, 12), 66 + rng.uniform(0, 24))
    for u in np.arange(-size[0] / 2 + 0.5, size[0] / 2, 1.04):
        for v in np.arange(-size[1] / 2 + 0.85, size[1] / 2, 1.74):
            x, y = _place(block, at[0] + u, at[1] + v)
            canvas.mark(x, y, block.angle, 0.98, 1.66, blue, 0.92)


def crown(tree: Tree, canvas: Canvas, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colours (n, n, 3) and opacity (n, n) of a crown, lit leaf clump by leaf clump."""
    radius = tree.radius / canvas.gsd
    size = int(2 * radius * 1.15) + 3
    grid = np.arange(size, dtype=np.float32) - (size - 1) / 2
    x, y = grid[None, :] / radius, grid[:, None] / radius
    height = np.full((size, size), -1.0, np.float32)
    lumps = rng.normal(0, 0.09, 3)
    turn = np.arctan2(y, x)
    reach = 1 + sum(a * np.cos((k + 2) * turn + 6 * a) for k, a in enumerate(lumps))
    for _ in range(int(np.clip(8 + tree.radius * 12, 10, 80))):
        away, angle = 0.86 * math.sqrt(rng.uniform()), rng.uniform(0, 2 * math.pi)
        cx, cy = away * math.cos(angle), away * math.sin(angle)
        r = rng.uniform(0.11, 0.27)
        top = 0.7 * math.sqrt(1 - away**2) + rng.uniform(-0.12, 0.06)
        lo_x, hi_x = np.searchsorted(x[0], (cx - 1.6 * r, cx + 1.6 * r))
        lo_y, hi_y = np.searchsorted(y[:, 0], (cy - 1.6 * r, cy + 1.6 * r))
        part = height[lo_y:hi_y, lo_x:hi_x]
        away2 = (x[:, lo_x:hi_x] - cx) ** 2 + (y[lo_y:hi_y] - cy) ** 2
        np.maximum(part, top + r * (0.8 - away2 / r**2), out=part)
    row, col = rng.integers(0, NOISE_SIZE, 2)
    rows, cols = (row + np.arange(size)) % NOISE_SIZE, (col + np.arange(size)) % NOISE_SIZE
    leaf = canvas.noises[0].take(rows, 0).take(cols, 1)
    clump = canvas.noises[1].take(cols, 0).take(rows, 1)
    edge = np.hypot(x, y) / reach + 0.07 * leaf + 0.06 * clump
    alpha = np.clip((height + 0.06 + 0.10 * leaf) * radius * 0.5, 0, 1)
    alpha = alpha * np.clip((1.04 - edge) * radius * 0.5, 0, 1)
    rough = cv2.GaussianBlur(height, (0, 0), 0.7) + (0.5 / max(radius, 4) + 0.02) * leaf
    slope_y, slope_x = np.gradient(rough * radius * 0.55)
    lx, ly, lz = canvas.sun.light()
    lit = (lz - slope_x * lx - slope_y * ly) / np.sqrt(1 + slope_x**2 + slope_y**2)
    side = -(x * lx + y * ly) * -0.16
    shade = 0.42 + 0.82 * np.clip(lit, 0, 1.2) + side + 0.05 * leaf + 0.06 * clump
    shade *= np.clip(0.62 + 0.6 * height, 0.42, 1.1)
    colour = as_float32(tree.colour) * shade[..., None]
    colour += as_float32([10, 7, -3]) * np.clip(lit - 0.7, 0, 1)[..., None]
    return colour.astype(np.float32), alpha.astype(np.float32)


def stand_tree(canvas: Canvas, tree: Tree, drawn: tuple[Floats, Floats]) -> None:
    """Draw a crown over the picture; what is below it is hidden."""
    found = _window(canvas, tree.x, tree.y, drawn[1].shape[0])
    if found is not None:
        region, part = found
        canvas.blend(*region, drawn[0][part], drawn[1][part])
        canvas.hide(region, drawn[1][part])


def cast_tree(canvas: Canvas, tree: Tree, alpha: Floats) -> None:
    """Shadow of a crown: its outline carried by the sun, from its lower to its upper leaves."""
    for share in (0.15, 0.45, 0.75) if tree.height > 1.5 else (0.3, 0.7):
        dx, dy = canvas.sun.fall * tree.height * share
        found = _window(canvas, tree.x + dx, tree.y + dy, alpha.shape[0])
        if found is not None:
            region, part = found
            shade = canvas.shade[region]
            np.maximum(shade, (alpha[part] * 235).astype(np.uint8), out=shade)


def _window(
    canvas: Canvas, x: float, y: float, size: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Region of the frame under a square sprite centred at (x, y), and that part of the sprite."""
    left, top = round(x / canvas.gsd - size / 2), round(y / canvas.gsd - size / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + size, canvas.width), min(top + size, canvas.height)
    if x1 <= x0 or y1 <= y0:
        return None
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return (slice(y0, y1), slice(x0, x1)), part
