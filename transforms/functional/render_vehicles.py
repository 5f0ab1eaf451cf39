"""Vehicles seen from straight above: heights from a side profile, lit by the scene's sun."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.render_canvas import Canvas, Floats, Rgb, Sun, as_float32, rectangle

VEHICLE_CLASSES = ("car", "van", "truck", "bus")
SUPERSAMPLE = 4

PAINTS: tuple[tuple[float, Rgb], ...] = (
    (0.24, (226, 227, 226)),  # white
    (0.19, (30, 31, 34)),  # black
    (0.17, (84, 87, 91)),  # grey
    (0.16, (168, 171, 173)),  # silver
    (0.10, (38, 58, 104)),  # blue
    (0.06, (150, 32, 34)),  # red
    (0.03, (44, 62, 52)),  # green
    (0.03, (134, 116, 90)),  # beige
    (0.02, (196, 152, 40)),  # yellow, orange
)
GLASS: Rgb = (34, 40, 45)
SKY: Rgb = (66, 74, 86)


@dataclass(frozen=True)
class Vehicle:
    """One vehicle: centre in metres, heading in radians, class index, size in metres, look."""

    x: float
    y: float
    heading: float
    kind: int
    length: float
    width: float
    height: float
    paint: Rgb
    look: float

    @property
    def corners(self) -> Floats:
        """Corners (4, 2) in metres, clockwise on screen, front left first."""
        return rectangle(self.x, self.y, self.heading, self.length, self.width)


def _paint(rng: np.random.Generator, kind: int) -> Rgb:
    shares = np.array([share for share, _ in PAINTS])
    if kind:
        shares = shares * (5, 0.3, 0.6, 0.7, 1, 1, 0.5, 0.3, 1.5)
    _, colour = PAINTS[rng.choice(len(PAINTS), p=shares / shares.sum())]
    r, g, b = np.clip(np.array(colour) * rng.uniform(0.85, 1.12) + rng.normal(0, 4, 3), 8, 245)
    return float(r), float(g), float(b)


def draw_vehicle(
    rng: np.random.Generator, *, x: float, y: float, heading: float, kind: int
) -> Vehicle:
    """A vehicle of a class (index into VEHICLE_CLASSES) with a size and paint drawn at random."""
    look = float(rng.uniform())
    if kind == 0:
        length = rng.choice([rng.uniform(3.6, 4.1), rng.uniform(4.1, 4.9)], p=[0.25, 0.75])
        width, height = 1.58 + 0.075 * length * rng.uniform(0.8, 1.05), rng.uniform(1.42, 1.7)
    elif kind == 1:
        length, width, height = rng.uniform(4.9, 6.9), rng.uniform(1.9, 2.1), rng.uniform(1.95, 2.7)
    elif kind == 2:
        long = look > 0.45
        length = rng.uniform(13.5, 16.6) if long else rng.uniform(6.8, 9.8)
        width, height = (2.55 if long else rng.uniform(2.2, 2.5)), rng.uniform(3.1, 4.0)
    else:
        length, width, height = rng.uniform(10.5, 13.2), 2.55, rng.uniform(3.0, 3.4)
    return Vehicle(
        x, y, heading, kind, float(length), float(width), float(height), _paint(rng, kind), look
    )


def _smooth(low: float, high: float, values: Floats) -> Floats:
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class _Shape:
    """What a sprite is lit from: heights in metres, albedo (RGB), glass fraction, opacity."""

    height: Floats
    albedo: Floats
    glass: Floats
    alpha: Floats


def _grid(vehicle: Vehicle, scale: float) -> tuple[Floats, Floats]:
    """Local coordinates in half lengths and half widths; the sprite has a margin of 0.3 m."""
    rows = int(np.ceil((vehicle.width + 0.6) * scale))
    cols = int(np.ceil((vehicle.length + 0.6) * scale))
    x = (np.arange(cols, dtype=np.float32) + 0.5 - cols / 2) / scale / (vehicle.length / 2)
    y = (np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / scale / (vehicle.width / 2)
    return x[None, :], y[:, None]


@dataclass(frozen=True)
class _Side:
    """Where the glass of a car begins and ends, from the front, in half lengths."""

    windscreen: float
    roof_front: float
    roof_rear: float
    rear_glass: float


def _side_of(vehicle: Vehicle, rng: np.random.Generator) -> _Side:
    if vehicle.kind == 1:
        return _Side(0.80, 0.56, -0.95, -0.99)
    estate = vehicle.look > 0.45
    windscreen = 0.44 + rng.uniform(-0.05, 0.06)
    roof_rear = (-0.72 if estate else -0.36) + rng.uniform(-0.06, 0.06)
    slant = 0.17 if estate else rng.uniform(0.22, 0.32)
    return _Side(windscreen, windscreen - rng.uniform(0.26, 0.34), roof_rear, roof_rear - slant)


def _car_height(vehicle: Vehicle, side: _Side, x: Floats, away: Floats) -> Floats:
    """Metres above ground: bonnet and boot, the cabin on them, edges rounded."""
    van, top = vehicle.kind == 1, vehicle.height
    ends = [-1.02, -0.93, side.rear_glass, side.windscreen, 0.9, 1.02]
    body = np.interp(x[0], ends, [0.55, 0.86, 0.98, 0.98, 0.78, 0.45]) * (1.35 if van else 1.0)
    mid = (side.roof_rear + side.roof_front) / 2
    stops = [-1.02, side.rear_glass, side.roof_rear, mid, side.roof_front, side.windscreen, 1.02]
    ridge = np.interp(x[0], stops, [0, 0, top - 0.03, top, top - 0.02, 0, 0])
    inward = _smooth(0.94, 0.80, away) if van else _smooth(0.9, 0.66, away)
    dome = 0.16 * (1 - away**2) - 0.28 * _smooth(0.76, 1.04, away)
    return as_float32(body[None, :] + np.maximum(ridge - body, 0)[None, :] * inward + dome)


def _band(low: float, high: float, values: Floats, blur: float = 0.03) -> Floats:
    """1 between low and high, 0 outside, with soft edges inside."""
    return _smooth(low, low + blur, values) * _smooth(high, high - blur, values)


def _car_glass(
    vehicle: Vehicle, side: _Side, x: Floats, away: Floats, rng: np.random.Generator
) -> Floats:
    """Windscreen, rear window, side windows and, on some, a glass roof: fraction of glass."""
    van = vehicle.kind == 1
    glass = _band(side.roof_front - 0.015, side.windscreen, as_float32(x + 0.04 * away**2))
    if not van:
        glass = glass + _band(side.rear_glass, side.roof_rear + 0.015, x)
    glass = glass * _smooth(0.86, 0.78, away)
    flank = _band(0.70, 0.89, away, 0.045)
    flank = flank * _band(0.25 if van else side.rear_glass + 0.04, side.windscreen - 0.02, x, 0.07)
    pillar = np.abs(x - (side.roof_front + side.roof_rear) / 2) < 0.02
    glass = np.maximum(glass, flank * (1 - 0.7 * pillar))
    if not van and rng.uniform() < 0.12:
        panel = _band(side.roof_rear, side.roof_front, x, 0.05) * _smooth(0.62, 0.56, away)
        glass = np.maximum(glass, 0.9 * panel)
    return as_float32(np.clip(glass, 0, 1))


def _car_shape(vehicle: Vehicle, scale: float, rng: np.random.Generator) -> _Shape:
    """Cars and vans."""
    x, y = _grid(vehicle, scale)
    away, side = np.abs(y), _side_of(vehicle, rng)
    nose = 0.84 + 0.16 * _smooth(1.03, 0.62, np.abs(x))
    alpha = np.clip((1 - np.abs(x) ** 8 - (away / nose) ** 5) * 2.6, 0, 1)
    height = cv2.GaussianBlur(_car_height(vehicle, side, x, away), (0, 0), 0.06 * scale)
    glass = _car_glass(vehicle, side, x, away, rng)
    albedo = np.empty((*alpha.shape, 3), np.float32)
    albedo[:] = vehicle.paint
    lamp = _smooth(0.52, 0.62, away) * _smooth(0.9, 0.84, away)
    for colour, shine in (
        ((205, 208, 210), _band(0.90, 0.985, x)),
        ((120, 20, 20), _smooth(-0.94, -0.96, x)),
    ):
        albedo += (as_float32(colour) - albedo) * (0.7 * lamp * shine)[..., None]
    if vehicle.kind == 1:  # seams of the roof panel
        seam = _smooth(0.06, 0.03, np.abs((x * vehicle.length / 1.8 + vehicle.look) % 1 - 0.5))
        albedo *= (1 - 0.10 * seam * (away < 0.8))[..., None]
    return _Shape(height, albedo, glass, as_float32(alpha))


def _lorry_shape(vehicle: Vehicle, scale: float, rng: np.random.Generator) -> _Shape:
    x, y = _grid(vehicle, scale)
    side = np.abs(y)
    metre = 2 / vehicle.length
    cab_rear = 1 - (2.2 if vehicle.length > 11 else 1.9) * metre
    gap = 0.55 * metre
    cab = _smooth(cab_rear - 0.1 * metre, cab_rear, x) * np.clip(
        (1 - np.abs(x) ** 40 - side**14) * 4, 0, 1
    )
    box_front = cab_rear - gap
    box = _smooth(box_front + 0.06 * metre, box_front - 0.06 * metre, x)
    box = box * np.clip((1 - x**80 - side**40) * 9, 0, 1)
    frame = _smooth(0.62, 0.55, side) * (np.abs(x) < 0.98)
    alpha = np.clip(np.maximum(np.maximum(cab, box), frame), 0, 1)
    cab_height = min(vehicle.height, 3.0)
    slope = np.interp(x[0], [cab_rear, 1 - 0.75 * metre, 1 - 0.25 * metre, 1], [0, 0, -0.5, -1.4])
    height = 0.9 * frame + box * (vehicle.height - 0.9) + cab * (cab_height - 0.9 + slope[None, :])
    height = cv2.GaussianBlur(
        (height + 0.05 * (1 - side**2)).astype(np.float32), (0, 0), 0.07 * scale
    )
    palette = (
        (222, 222, 219),
        (196, 198, 198),
        (58, 84, 138),
        (150, 52, 46),
        (70, 104, 84),
        (176, 168, 150),
        (224, 224, 222),
    )
    load = as_float32(palette[rng.integers(len(palette))]) * rng.uniform(0.85, 1.05)
    if rng.uniform() < 0.12:  # open load of gravel or soil
        load = as_float32([128, 116, 98]) + 14 * rng.standard_normal((*alpha.shape, 1))
        load = cv2.GaussianBlur((load * box[..., None]).astype(np.float32), (0, 0), 0.15 * scale)
    albedo = np.full((*alpha.shape, 3), 44, np.float32)
    albedo += (load.astype(np.float32) - albedo) * box[..., None]
    albedo += (as_float32(vehicle.paint) - albedo) * cab[..., None]
    ribs = 1 - 0.05 * (np.sin(x / metre * 2 * np.pi / rng.uniform(0.5, 1.4)) > 0.85)
    albedo *= np.where(box > 0.5, ribs, 1)[..., None]
    glass = _smooth(1 - 0.72 * metre, 1 - 0.62 * metre, x) * _smooth(
        1 - 0.16 * metre, 1 - 0.26 * metre, x
    )
    glass = glass * _smooth(0.9, 0.84, side) * cab
    return _Shape(height, albedo, glass.astype(np.float32), alpha.astype(np.float32))


def _bus_shape(vehicle: Vehicle, scale: float, rng: np.random.Generator) -> _Shape:
    x, y = _grid(vehicle, scale)
    side = np.abs(y)
    metre = 2 / vehicle.length
    alpha = np.clip((1 - np.abs(x) ** 40 - side**16) * 4, 0, 1).astype(np.float32)
    height = vehicle.height - 0.5 * _smooth(0.86, 1.02, side) - 0.8 * _smooth(1 - 0.5 * metre, 1, x)
    albedo = np.empty((*alpha.shape, 3), np.float32)
    albedo[:] = as_float32(vehicle.paint)
    albedo += (as_float32([214, 215, 213]) - albedo) * (_smooth(0.9, 0.84, side) * 0.75)[..., None]
    for centre in np.linspace(-0.7, 0.6, 2 + int(vehicle.look * 4)) + rng.uniform(-0.05, 0.05):
        half = rng.uniform(0.35, 1.0) * metre
        wide = rng.uniform(0.35, 0.7)
        unit = _smooth(half, half - 0.1 * metre, np.abs(x - centre)) * _smooth(
            wide, wide - 0.06, side
        )
        height = height + 0.25 * unit
        albedo += (
            (as_float32([170, 172, 172]) * rng.uniform(0.5, 1.2) - albedo) * unit[..., None] * 0.8
        )
    height = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.06 * scale)
    glass = _smooth(1 - 0.45 * metre, 1 - 0.35 * metre, x) * _smooth(1, 1 - 0.1 * metre, x)
    return _Shape(height, albedo, (glass * _smooth(0.95, 0.9, side)).astype(np.float32), alpha)


def vehicle_sprite(vehicle: Vehicle, sun: Sun, scale: float, rng: np.random.Generator) -> Floats:
    """Premultiplied RGBA float32 (h, w, 4), `scale` px per metre, facing right, lit by the sun."""
    make = (_car_shape, _car_shape, _lorry_shape, _bus_shape)[vehicle.kind]
    shape = make(vehicle, scale, rng)
    slope_y, slope_x = np.gradient(shape.height.astype(np.float32) * scale)
    norm = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    lx, ly, lz = sun.light(vehicle.heading)
    facing = np.maximum((lz - slope_x * lx - slope_y * ly) * norm, 0)
    size = math.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
    mirror = np.clip((lz + 1 - slope_x * lx - slope_y * ly) * norm / size, 0, 1)
    light = 0.38 + 0.62 / lz * facing
    glint = float(rng.uniform(110, 250))
    shine, flash = glint * mirror**50, 1.5 * glint * mirror**90
    open_sky = norm * norm
    rim = 1 - 0.35 * np.clip(1.6 - 2.2 * cv2.blur(shape.alpha, (5, 5)), 0, 1)
    sprite = np.empty((*shape.alpha.shape, 4), np.float32)
    sprite[..., 3] = shape.alpha
    for band, (dark, sky) in enumerate(zip(GLASS, SKY, strict=True)):
        body = shape.albedo[..., band] * light + 0.19 * sky * open_sky + shine
        pane = dark * (0.5 + 0.5 * light) + 0.25 * sky * open_sky + flash
        colour = (body + (pane - body) * shape.glass) * rim
        sprite[..., band] = np.clip(colour, 0, 252) * shape.alpha
    return cv2.blur(sprite, (SUPERSAMPLE, SUPERSAMPLE))


def cast_vehicle(canvas: Canvas, vehicle: Vehicle) -> None:
    """Draw the shadow of a vehicle, and the dark gap under it, into the shade."""
    ground = rectangle(
        vehicle.x, vehicle.y, vehicle.heading, vehicle.length * 0.97, vehicle.width * 0.95
    )
    roof = rectangle(
        vehicle.x,
        vehicle.y,
        vehicle.heading,
        vehicle.length * (0.62 if vehicle.kind == 0 else 0.96),
        vehicle.width * 0.8,
    )
    belt = ground + canvas.sun.fall * min(0.75, vehicle.height)
    canvas.cast(np.vstack([ground, belt, roof + canvas.sun.fall * vehicle.height]), low=True)


def stamp_vehicle(canvas: Canvas, vehicle: Vehicle, rng: np.random.Generator) -> None:
    """Draw a vehicle and take its own body out of the shade it casts."""
    scale = SUPERSAMPLE / canvas.gsd
    sprite = vehicle_sprite(vehicle, canvas.sun, scale, rng)
    rows, cols = sprite.shape[:2]
    cos, sin = np.cos(vehicle.heading) / SUPERSAMPLE, np.sin(vehicle.heading) / SUPERSAMPLE
    centre = np.array([vehicle.x, vehicle.y]) / canvas.gsd - 0.5
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = centre - turn @ ((np.array([cols, rows]) - 1) / 2)
    matrix = np.column_stack([turn, shift]).astype(np.float32)
    outer = rectangle(
        vehicle.x, vehicle.y, vehicle.heading, vehicle.length + 0.6, vehicle.width + 0.6
    )
    found = canvas.stamp(sprite, matrix, outer)
    if found is not None:
        region, warped = found
        own = canvas.own[region]
        np.maximum(own, (warped[..., 3] * 255).astype(np.uint8), out=own)
