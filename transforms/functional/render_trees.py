"""Trees: crowns lit leaf clump by leaf clump, and their shadows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.render_canvas import (
    NOISE_SIZE,
    Canvas,
    Floats,
    Rgb,
    as_float32,
)


@dataclass(frozen=True)
class Tree:
    """A crown: centre, radius and height in metres, mean colour."""

    x: float
    y: float
    radius: float
    height: float
    colour: Rgb


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
