"""Buildings and other boxes: tiled, flat and metal roofs with what lies on them, and shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.functional.render_canvas import (
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
