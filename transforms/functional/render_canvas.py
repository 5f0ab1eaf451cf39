"""The picture being rendered: textured fills, strokes, sprites, cast shadows and the camera."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Rgb = tuple[float, float, float]

NOISE_SIZE = 512  # px, side of the noise tiles, which repeat without a seam
COARSE_STEP = 8  # px between samples of the coarsest noise
STRIP = 256  # rows worked on at once, so that large fills stay small in memory
SHIFT = 4  # fractional bits of the coordinates given to OpenCV


def as_float32(values: ArrayLike) -> Floats:
    """Values as a float32 array."""
    return np.asarray(values, np.float32)


@dataclass(frozen=True)
class Material:
    """A ground or roof surface: mean colour (RGB, 0..255) and noise amplitudes in grey levels."""

    colour: Rgb
    fine: float = 4.0
    middle: float = 4.0
    coarse: float = 5.0
    tint: Rgb = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Sun:
    """Light of the scene. Shadows fall towards `azimuth` (radians, x right, y down)."""

    azimuth: float
    elevation: float

    @property
    def fall(self) -> Floats:
        """Shadow offset in metres per metre of height, (x, y)."""
        reach = 1.0 / np.tan(self.elevation)
        return as_float32([reach * np.cos(self.azimuth), reach * np.sin(self.azimuth)])

    def light(self, heading: float = 0.0) -> tuple[float, float, float]:
        """Unit vector to the light in a frame turned by `heading` radians."""
        flat, turned = math.cos(self.elevation), self.azimuth - heading
        return -flat * math.cos(turned), -flat * math.sin(turned), math.sin(self.elevation)


@dataclass(frozen=True)
class Patch:
    """Pixels of a turned rectangle: its rows and columns in the picture, and local metres u, v."""

    rows: slice
    cols: slice
    u: Floats
    v: Floats

    def coverage(self, length: float, width: float, gsd: float) -> Floats:
        """Fraction of every pixel inside a `length` x `width` metre rectangle, 0..1."""
        along = np.clip(0.5 + (length / 2 - np.abs(self.u)) / gsd, 0.0, min(1.0, length / gsd))
        across = np.clip(0.5 + (width / 2 - np.abs(self.v)) / gsd, 0.0, min(1.0, width / gsd))
        return as_float32(along * across)


def noise_tile(rng: np.random.Generator, *, shortest: float, longest: float) -> Floats:
    """Periodic noise, unit variance, power falling with frequency between two wavelengths (px)."""
    size = NOISE_SIZE
    white = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    band = (frequency > 1 / longest) & (frequency <= 1 / shortest)
    weight = np.where(band, 1 / np.maximum(frequency, 1 / longest), 0)
    tile = np.fft.irfft2(white * weight, s=(size, size)).astype(np.float32)
    return tile / max(float(tile.std()), 1e-9)


def _wrapped(tile: Floats, row: int, col: int, height: int, width: int) -> Floats:
    rows = np.arange(row, row + height) % tile.shape[0]
    cols = np.arange(col, col + width) % tile.shape[1]
    return tile.take(rows, axis=0).take(cols, axis=1)


def _bands(region: tuple[slice, slice], mask: Bytes) -> Iterator[tuple[slice, slice, Floats]]:
    """Cut a mask into bands of rows, trimmed to the columns in use: rows, columns, alpha 0..1."""
    rows, cols = region
    for top in range(0, mask.shape[0], STRIP):
        band = mask[top : top + STRIP]
        used = np.flatnonzero(band.any(axis=0))
        if used.size:
            left, right = int(used[0]), int(used[-1]) + 1
            alpha = band[:, left:right].astype(np.float32) * as_float32(1 / 255)
            start = rows.start + top
            yield (
                slice(start, start + band.shape[0]),
                slice(cols.start + left, cols.start + right),
                alpha,
            )


@dataclass(eq=False)
class Canvas:
    """A picture under construction. Lengths are metres, from the top left corner, x right, y down.

    image: uint8 (h, w, 3) RGB; the rest are uint8 (h, w). shade: shadow of buildings and trees.
    low_shade: shadow of vehicles, which falls everywhere but on `own`, their bodies. cover: how
    far crowns and roofs hide the ground. Nothing outside the frame is drawn.
    """

    height: int
    width: int
    gsd: float
    sun: Sun
    rng: np.random.Generator
    image: Bytes = field(init=False)
    shade: Bytes = field(init=False)
    low_shade: Bytes = field(init=False)
    own: Bytes = field(init=False)
    cover: Bytes = field(init=False)
    noises: tuple[Floats, Floats, Floats, Floats] = field(init=False)

    def __post_init__(self) -> None:
        """Allocate an empty picture and the noise that textures it."""
        self.image = np.zeros((self.height, self.width, 3), np.uint8)
        flat = (self.height, self.width)
        self.shade, self.low_shade = np.zeros(flat, np.uint8), np.zeros(flat, np.uint8)
        self.own, self.cover = np.zeros(flat, np.uint8), np.zeros(flat, np.uint8)
        self.noises = (
            noise_tile(self.rng, shortest=2, longest=14),
            noise_tile(self.rng, shortest=8, longest=130),
            noise_tile(self.rng, shortest=6, longest=256),
            noise_tile(self.rng, shortest=6, longest=256),
        )

    def box(self, points: Floats, margin: float = 0.0) -> tuple[slice, slice] | None:
        """Rows and columns around points (n, 2) in metres, or None outside the picture."""
        low = np.floor((points.min(axis=0) - margin) / self.gsd).astype(int) - 1
        high = np.ceil((points.max(axis=0) + margin) / self.gsd).astype(int) + 2
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), self.width), min(int(high[1]), self.height)
        return None if x1 <= x0 or y1 <= y0 else (slice(y0, y1), slice(x0, x1))

    def patch(self, x: float, y: float, angle: float, length: float, width: float) -> Patch | None:
        """The pixels of a turned rectangle centred at (x, y), with their local coordinates."""
        found = self.box(rectangle(x, y, angle, length, width))
        if found is None:
            return None
        rows, cols = found
        dx = (np.arange(cols.start, cols.stop, dtype=np.float32) + 0.5) * self.gsd - x
        dy = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * self.gsd - y
        cos, sin = math.cos(angle), math.sin(angle)
        u = dx[None, :] * cos + dy[:, None] * sin
        v = dy[:, None] * cos - dx[None, :] * sin
        return Patch(rows, cols, as_float32(u), as_float32(v))

    def blend(self, rows: slice, cols: slice, colour: Floats, alpha: Floats) -> None:
        """Lay colour (h, w, 3) or (3,) over the picture with opacity alpha (h, w), 0..1."""
        under = self.image[rows, cols].astype(np.float32)
        under += (colour - under) * alpha[..., None]
        self.image[rows, cols] = np.clip(under + 0.5, 0, 255).astype(np.uint8)

    def texture(self, rows: slice, cols: slice, material: Material, seed: int) -> Floats:
        """Colours (h, w, 3) float32 of a material over a region; `seed` shifts the noise."""
        height, width = rows.stop - rows.start, cols.stop - cols.start
        row, col = rows.start + seed % 509, cols.start + seed // 509 % 503
        fine, middle, coarse, tint = self.noises
        level = material.fine * _wrapped(fine, row, col, height, width)
        level += material.middle * _wrapped(middle, row, col, height, width)
        level += material.coarse * self._coarse(coarse, row, col, height, width)
        colour = level[..., None] + as_float32(material.colour)
        if any(material.tint):
            drift = self._coarse(tint, row, col, height, width)
            colour += drift[..., None] * as_float32(material.tint)
        return colour

    def _coarse(self, tile: Floats, row: int, col: int, height: int, width: int) -> Floats:
        step = COARSE_STEP
        rows, cols = height // step + 3, width // step + 3
        small = _wrapped(tile, row // step, col // step, rows, cols)
        large = cv2.resize(small, (cols * step, rows * step), interpolation=cv2.INTER_LINEAR)
        return large[row % step : row % step + height, col % step : col % step + width]

    def fill(self, region: tuple[slice, slice], mask: Bytes, material: Material) -> None:
        """Lay a textured material where the mask (uint8, 0..255) of the region says."""
        seed = int(self.rng.integers(1 << 18))
        for rows, cols, alpha in _bands(region, mask):
            self.blend(rows, cols, self.texture(rows, cols, material, seed), alpha)

    def fill_all(self, material: Material) -> None:
        """Lay a material over the whole picture."""
        whole = (slice(0, self.height), slice(0, self.width))
        self.fill(whole, np.full((self.height, self.width), 255, np.uint8), material)

    def mask_of(
        self, points: Floats, *, thickness: float | None = None
    ) -> tuple[tuple[slice, slice], Bytes] | None:
        """Antialiased mask of a polygon, or of a line of `thickness` metres along the points."""
        region = self.box(points, (thickness or 0.0) / 2)
        if region is None:
            return None
        rows, cols = region
        mask = np.zeros((rows.stop - rows.start, cols.stop - cols.start), np.uint8)
        local = self._fixed(points, rows, cols)
        if thickness is None:
            cv2.fillPoly(mask, [local], 255, cv2.LINE_AA, SHIFT)
        else:
            pixels = max(1, round(thickness / self.gsd))
            cv2.polylines(mask, [local], False, 255, pixels, cv2.LINE_AA, SHIFT)
        return region, mask

    def _fixed(self, points: Floats, rows: slice, cols: slice) -> NDArray[np.int32]:
        pixels = points / self.gsd - as_float32([cols.start + 0.5, rows.start + 0.5])
        return np.round(pixels * (1 << SHIFT)).astype(np.int32)

    def polygon(self, points: Floats, material: Material) -> None:
        """Fill a polygon (n, 2) with a textured material."""
        found = self.mask_of(points)
        if found is not None:
            self.fill(*found, material)

    def stroke(self, points: Floats, thickness: float, colour: Rgb, opacity: float = 1.0) -> None:
        """Draw a line of `thickness` metres in one colour; thinner than a pixel means fainter."""
        found = self.mask_of(points, thickness=thickness)
        if found is not None:
            self.lay(*found, colour, opacity * min(1.0, thickness / self.gsd))

    def lay(
        self, region: tuple[slice, slice], mask: Bytes, colour: Rgb, opacity: float = 1.0
    ) -> None:
        """Lay one colour where the mask (uint8, 0..255) of the region says."""
        for rows, cols, alpha in _bands(region, mask):
            self.blend(rows, cols, as_float32(colour), alpha * as_float32(opacity))

    def mark(
        self,
        x: float,
        y: float,
        angle: float,
        length: float,
        width: float,
        colour: Rgb,
        opacity: float = 1.0,
    ) -> None:
        """Draw a turned, antialiased rectangle in one colour."""
        patch = self.patch(x, y, angle, length, width)
        if patch is not None:
            alpha = patch.coverage(length, width, self.gsd) * as_float32(opacity)
            self.blend(patch.rows, patch.cols, as_float32(colour), alpha)

    def cast(self, points: Floats, *, low: bool = False) -> None:
        """Add the convex hull of the points (n, 2) to the shade, or to that of vehicles."""
        found = self.mask_of(cv2.convexHull(points.astype(np.float32)).reshape(-1, 2))
        if found is not None:
            region, mask = found
            shade = (self.low_shade if low else self.shade)[region]
            np.maximum(shade, mask, out=shade)

    def clear_shade(self, points: Floats) -> None:
        """Take the shade off a polygon (n, 2) that stands above the ground."""
        found = self.mask_of(points)
        if found is not None:
            region, mask = found
            self.shade[region] = np.minimum(self.shade[region], 255 - mask)

    def cover_polygon(self, points: Floats) -> None:
        """Note that a polygon (n, 2) hides the ground."""
        found = self.mask_of(points)
        if found is not None:
            region, mask = found
            self.hide(region, as_float32(mask / 255))

    def hide(self, region: tuple[slice, slice], alpha: Floats) -> None:
        """Note that something with opacity alpha (h, w) now hides the ground there."""
        cover = self.cover[region]
        np.maximum(cover, (alpha * 255).astype(np.uint8), out=cover)

    def stamp(
        self,
        sprite: Floats,
        matrix: Floats,
        corners: Floats,
    ) -> tuple[tuple[slice, slice], Floats] | None:
        """Warp a premultiplied RGBA sprite into the frame; `matrix` maps sprite to scene pixels.

        Returns the region and the warped sprite (h, w, 4), or None outside the picture.
        """
        region = self.box(corners)
        if region is None:
            return None
        rows, cols = region
        local = matrix.copy()
        local[:, 2] -= (cols.start, rows.start)
        size = (cols.stop - cols.start, rows.stop - rows.start)
        warped = cv2.warpAffine(sprite, local, size, flags=cv2.INTER_LINEAR)
        under = self.image[rows, cols].astype(np.float32)
        under = under * (1 - warped[..., 3:]) + warped[..., :3]
        self.image[rows, cols] = np.clip(under + 0.5, 0, 255).astype(np.uint8)
        return region, warped

    def apply_shade(self, strength: float) -> None:
        """Darken everything drawn so far where shade falls; light in shadow is bluer."""
        np.maximum(
            self.shade, cv2.multiply(self.low_shade, 255 - self.own, scale=1 / 255), out=self.shade
        )
        lost = as_float32([strength, strength * 0.97, strength * 0.88])
        soft = cv2.GaussianBlur(self.shade, (0, 0), max(0.6, 0.12 / self.gsd))
        for top in range(0, self.height, STRIP):
            rows = slice(top, top + STRIP)
            factor = 1 - soft[rows, :, None].astype(np.float32) / 255 * lost
            self.image[rows] = (self.image[rows] * factor + 0.5).astype(np.uint8)


def rectangle(x: float, y: float, angle: float, length: float, width: float) -> Floats:
    """Corners (4, 2) of a turned rectangle: front left, front right, rear right, rear left.

    The front lies at `angle` (radians, x right, y down), so the order is clockwise on screen.
    """
    ax, ay = math.cos(angle) * length / 2, math.sin(angle) * length / 2
    bx, by = -math.sin(angle) * width / 2, math.cos(angle) * width / 2
    corners = ((ax - bx, ay - by), (ax + bx, ay + by), (bx - ax, by - ay), (-ax - bx, -ay - by))
    return np.array([(x + dx, y + dy) for dx, dy in corners], np.float32)


def expose(image: Bytes, rng: np.random.Generator, *, softness: float) -> Bytes:
    """The camera: optical softness (sigma, px), haze, white balance, contrast, sensor noise."""
    haze = as_float32([0.87, 0.9, 1.0]) * rng.uniform(10, 26)
    balance = np.array([1.0, 0.994, 1.02]) + rng.normal(0, 0.012, 3)
    gain = as_float32(rng.uniform(0.88, 1.05) * balance)
    grey = rng.uniform(0.08, 0.3)
    noise = rng.uniform(1.0, 2.6)
    soft = cv2.GaussianBlur(image, (0, 0), softness)
    for top in range(0, image.shape[0], STRIP):
        rows = soft[top : top + STRIP].astype(np.float32)
        mean = rows.mean(axis=2, keepdims=True)
        rows = (rows + (mean - rows) * grey) * gain + haze
        grain = rng.standard_normal(rows.shape[:2], dtype=np.float32)[..., None]
        chroma = rng.standard_normal(rows.shape, dtype=np.float32)
        rows += noise * 0.8 * grain + noise * 0.6 * chroma
        soft[top : top + STRIP] = np.clip(rows + 0.5, 0, 255).astype(np.uint8)
    return soft
