"""Vehicles seen from straight above: heights from a side profile, lit by the scene's sun."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.render_canvas import Canvas, Floats, Rgb, Sun, rectangle

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


def _car_shape(vehicle: Vehicle, scale: float, rng: np.random.Generator) -> _Shape:
    x, y = _grid(vehicle, scale)
    side = np.abs(y)
    van = vehicle.kind == 1
    estate = vehicle.look > 0.45
    # Where glass begins and ends, front to rear, in half lengths.
    if van:
        windscreen, roof_front, roof_rear, rear_glass = 0.80, 0.56, -0.95, -0.99
    else:
        windscreen = 0.44 + rng.uniform(-0.05, 0.06)
        roof_front = windscreen - rng.uniform(0.26, 0.34)
        roof_rear = (-0.72 if estate else -0.36) + rng.uniform(-0.06, 0.06)
        rear_glass = roof_rear - (0.17 if estate else rng.uniform(0.22, 0.32))
    nose = 0.84 + 0.16 * _smooth(1.03, 0.62, np.abs(x))
    edge = np.abs(x) ** 8 + (side / nose) ** 5
    alpha = np.clip((1 - edge) * 2.6, 0, 1)
    shoulder = np.interp(
        x[0],
        [-1.02, -0.93, rear_glass, windscreen, 0.9, 1.02],
        [0.55, 0.86, 0.98, 0.98, 0.78, 0.45],
    ).astype(np.float32)[None, :]
    shoulder = shoulder * (1.35 if van else 1.0)
    ridge = np.interp(
        x[0],
        [
            -1.02,
            rear_glass,
            roof_rear,
            roof_rear / 2 + roof_front / 2,
            roof_front,
            windscreen,
            1.02,
        ],
        [0, 0, vehicle.height - 0.03, vehicle.height, vehicle.height - 0.02, 0, 0],
    ).astype(np.float32)[None, :]
    cabin = np.maximum(ridge - shoulder, 0) * _smooth(
        0.94 if van else 0.9, 0.80 if van else 0.66, side
    )
    dome = 0.16 * (1 - side**2) - 0.28 * _smooth(0.76, 1.04, side)
    height = cv2.GaussianBlur(shoulder + cabin + dome, (0, 0), 0.06 * scale)

    inner = _smooth(0.86, 0.78, side)
    front = _smooth(roof_front - 0.015, roof_front + 0.02, x) * _smooth(
        windscreen + 0.01, windscreen - 0.03, x
    )
    bow = 0.04 * side**2
    front = front * _smooth(windscreen + 0.02, windscreen - 0.02, x + bow)
    rear = _smooth(roof_rear + 0.015, roof_rear - 0.02, x) * _smooth(
        rear_glass - 0.01, rear_glass + 0.03, x
    )
    rear = rear * (0.0 if van else 1.0)
    flank = _smooth(0.70, 0.75, side) * _smooth(0.89, 0.85, side)
    flank = flank * _smooth(rear_glass + 0.04, rear_glass + 0.10, x)
    flank = flank * _smooth(windscreen - 0.02, windscreen - 0.10, x)
    flank = flank * (1 - 0.7 * (np.abs(x - (roof_front + roof_rear) / 2) < 0.02))
    if van:
        flank = flank * _smooth(0.25, 0.35, x)
    glass = np.clip(np.maximum((front + rear) * inner, flank), 0, 1)
    if not van and rng.uniform() < 0.12:  # glass roof
        panel = _smooth(roof_rear, roof_rear + 0.05, x) * _smooth(roof_front, roof_front - 0.05, x)
        glass = np.maximum(glass, panel * _smooth(0.62, 0.56, side) * 0.9)

    albedo = np.empty((*alpha.shape, 3), np.float32)
    albedo[:] = np.float32(vehicle.paint)
    lamp = _smooth(0.52, 0.62, side) * _smooth(0.9, 0.84, side)
    head = (lamp * _smooth(0.90, 0.93, x) * _smooth(0.985, 0.96, x))[..., None]
    tail = (lamp * _smooth(-0.94, -0.96, x))[..., None]
    albedo += (np.float32([205, 208, 210]) - albedo) * head * 0.7
    albedo += (np.float32([120, 20, 20]) - albedo) * tail * 0.7
    return _Shape(height, albedo, glass, alpha)


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
    load = np.float32(palette[rng.integers(len(palette))]) * rng.uniform(0.85, 1.05)
    if rng.uniform() < 0.12:  # open load of gravel or soil
        load = np.float32([128, 116, 98]) + 14 * rng.standard_normal((*alpha.shape, 1))
        load = cv2.GaussianBlur((load * box[..., None]).astype(np.float32), (0, 0), 0.15 * scale)
    albedo = np.full((*alpha.shape, 3), 44, np.float32)
    albedo += (load.astype(np.float32) - albedo) * box[..., None]
    albedo += (np.float32(vehicle.paint) - albedo) * cab[..., None]
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
    albedo[:] = np.float32(vehicle.paint)
    albedo += (np.float32([214, 215, 213]) - albedo) * (_smooth(0.9, 0.84, side) * 0.75)[..., None]
    for centre in np.linspace(-0.7, 0.6, 2 + int(vehicle.look * 4)) + rng.uniform(-0.05, 0.05):
        half = rng.uniform(0.35, 1.0) * metre
        wide = rng.uniform(0.35, 0.7)
        unit = _smooth(half, half - 0.1 * metre, np.abs(x - centre)) * _smooth(
            wide, wide - 0.06, side
        )
        height = height + 0.25 * unit
        albedo += (
            (np.float32([170, 172, 172]) * rng.uniform(0.5, 1.2) - albedo) * unit[..., None] * 0.8
        )
    height = cv2.GaussianBlur(height.astype(np.float32), (0, 0), 0.06 * scale)
    glass = _smooth(1 - 0.45 * metre, 1 - 0.35 * metre, x) * _smooth(1, 1 - 0.1 * metre, x)
    return _Shape(height, albedo, (glass * _smooth(0.95, 0.9, side)).astype(np.float32), alpha)


def vehicle_sprite(vehicle: Vehicle, sun: Sun, scale: float, rng: np.random.Generator) -> Floats:
    """Premultiplied RGBA float32 (h, w, 4), `scale` px per metre, facing right, lit by the sun."""
    make = (_car_shape, _car_shape, _lorry_shape, _bus_shape)[vehicle.kind]
    shape = make(vehicle, scale, rng)
    slope_y, slope_x = np.gradient(shape.height.astype(np.float32) * scale)
    norm = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    lx, ly, lz = sun.light(vehicle.heading)
    facing = np.clip((lz - slope_x * lx - slope_y * ly) * norm, 0, None)
    size = math.sqrt(lx**2 + ly**2 + (lz + 1) ** 2)
    half = (lx / size, ly / size, (lz + 1) / size)
    mirror = np.clip((half[2] - slope_x * half[0] - slope_y * half[1]) * norm, 0, 1)
    light = (0.38 + 0.62 * facing / lz)[..., None]
    sky = np.float32([66, 74, 86]) * (0.35 * norm**2)[..., None]
    glint = float(rng.uniform(90, 210))
    body = shape.albedo * light + sky * 0.55 + (glint * mirror**50)[..., None]
    pane = (
        np.float32(GLASS) * (0.5 + 0.5 * light) + sky * 0.7 + (1.5 * glint * mirror**90)[..., None]
    )
    colour = body + (pane - body) * shape.glass[..., None]
    rim = np.float32(1) - 0.35 * np.clip(1.6 - 2.2 * cv2.blur(shape.alpha, (5, 5)), 0, 1)
    colour = np.clip(colour * rim[..., None], 0, 252)
    sprite = np.dstack([colour * shape.alpha[..., None], shape.alpha]).astype(np.float32)
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
