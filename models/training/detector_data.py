"""Crops for the detector's training: real pictures, rendered scenes, and rows of parked cars.

Boxes are horizontal, so turning a picture must not inflate them. Every vehicle is therefore kept
as a rounded rectangle with an orientation wherever the label implies one (a box clearly longer
than wide lies along an axis; a rendered vehicle has known corners), and its horizontal box is
computed after the turn. Nothing here blurs: a crop is resampled once, from a pyramid level close
to its scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.train_detector import (
    Augmentation,
    DetectorTraining,
    PictureSet,
    RenderedScenes,
    RenderedSet,
    ScoredPlace,
)
from transforms.functional.render import render_scene

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Affine = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = NDArray[np.float64]  # x, y

_LONG = 1.8  # a box at least this much longer than wide lies along an axis within about 12 degrees
_ROUNDING = 0.4  # corner radius of a vehicle as a share of its half width
_VISIBLE = 0.35  # least visible share of a vehicle that still counts as one
_LEVELS = (1.0, 0.7, 0.5, 0.35, 0.25)


@dataclass(frozen=True, eq=False)
class Vehicles:
    """Vehicles of one picture as oriented rounded rectangles, in its pixels.

    `centres` is float32 (k, 2) x y; `halves` (k, 2) half lengths along the two axes of the vehicle;
    `angles` (k,) radians of the first axis; `oriented` (k,) says whether the angle is known: where
    it is not, the rectangle is only the horizontal box. `classes` is int32 (k,).
    """

    centres: Float
    halves: Float
    angles: Float
    oriented: Mask
    classes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.classes)

    def select(self, index: Mask | NDArray[np.intp]) -> "Vehicles":
        """Return the vehicles at a mask or an index array."""
        return Vehicles(
            self.centres[index],
            self.halves[index],
            self.angles[index],
            self.oriented[index],
            self.classes[index],
        )


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture as a pyramid of uint8 (h, w, 3) RGB levels (scale, image), and its vehicles."""

    levels: tuple[tuple[float, Image], ...]
    vehicles: Vehicles
    gsd: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in full-scale pixels."""
        height, width = self.levels[0][1].shape[:2]
        return height, width


@dataclass(frozen=True, eq=False)
class Crop:
    """A training example: image uint8 (s, s, 3) RGB, boxes xyxy float32 (k, 4), classes (k,)."""

    image: Image
    boxes: Float
    classes: NDArray[np.int32]


def vehicles_from_boxes(boxes: Float, classes: NDArray[np.int32]) -> Vehicles:
    """Turn horizontal boxes xyxy (k, 4) into vehicles; long boxes get the angle of their axis."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    halves = (boxes[:, 2:] - boxes[:, :2]) / np.float32(2)
    oriented = halves.max(axis=1) >= _LONG * halves.min(axis=1)
    centres = (boxes[:, :2] + boxes[:, 2:]) / np.float32(2)
    return Vehicles(centres, halves, np.zeros(len(boxes), np.float32), oriented, classes)


def vehicles_from_corners(corners: Float, classes: NDArray[np.int32]) -> Vehicles:
    """Turn oriented corners (k, 4, 2) into vehicles with known angles."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 2)
    along, across = (corners[:, 1] - corners[:, 0]) / 2, (corners[:, 2] - corners[:, 1]) / 2
    halves = np.stack([np.linalg.norm(along, axis=1), np.linalg.norm(across, axis=1)], axis=1)
    angles = np.arctan2(along[:, 1], along[:, 0]).astype(np.float32)
    oriented = np.ones(len(corners), np.bool_)
    centres: Float = corners.mean(axis=1, dtype=np.float32)
    return Vehicles(centres, halves.astype(np.float32), angles, oriented, classes)


def read_labels(path: Path, size: tuple[int, int], classes: Sequence[int]) -> Vehicles:
    """Read YOLO labels (class cx cy w h, relative) of a picture of `size` (height, width).

    `classes[i]` is the detector's class of label class i. No file means no vehicle.
    """
    rows = np.loadtxt(path, ndmin=2) if path.exists() and path.stat().st_size else np.zeros((0, 5))
    if rows.shape[1] != 5:
        raise ValueError(f"{path}: a label line is 'class cx cy w h', got {rows.shape[1]} values")
    height, width = size
    low, high = rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2
    boxes = np.concatenate([low, high], axis=1) * [width, height, width, height]
    mapped = np.array([classes[int(row[0])] for row in rows], np.int32)
    return vehicles_from_boxes(boxes.astype(np.float32), mapped)


def horizontal_boxes(vehicles: Vehicles, matrix: Affine, tolerance: float) -> tuple[Float, Mask]:
    """Horizontal boxes of the vehicles after the similarity `matrix` (2, 3), and which are tight.

    Returns xyxy float32 (k, 4) and a mask (k,). The box of a rounded rectangle with half axes a, b,
    unit directions u, v and corner radius r reaches (a - r)|u| + (b - r)|v| + r from its centre. A
    vehicle without a known angle keeps its box through quarter turns; it is tight only if the turn
    is within `tolerance` degrees of one.
    """
    linear = matrix[:, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    turn = float(np.degrees(np.arctan2(linear[1, 0], linear[0, 0])))
    near_quarter = abs(turn - 90 * round(turn / 90)) <= tolerance
    cos, sin = np.cos(vehicles.angles), np.sin(vehicles.angles)
    u = np.abs(np.stack([cos, sin], axis=1) @ linear.T) / scale
    v = np.abs(np.stack([-sin, cos], axis=1) @ linear.T) / scale
    a, b = (scale * vehicles.halves).T[:, :, None]
    radius = _ROUNDING * np.minimum(a, b)
    reach = (a - radius) * u + (b - radius) * v + radius
    upright = scale * vehicles.halves @ np.round(np.abs(linear) / scale).T
    reach = np.where(vehicles.oriented[:, None], reach, upright)
    centres = vehicles.centres @ linear.T + matrix[:, 2]
    boxes = np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)
    return boxes, vehicles.oriented | near_quarter


def similarity(
    scale: float, degrees: float, mirrored: bool, source: Point, target: Point
) -> Affine:
    """Return the (2, 3) map that mirrors, turns, scales, and sends `source` to `target` (x, y)."""
    angle = np.radians(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return np.concatenate([linear, (target - linear @ source)[:, None]], axis=1)


def warp(picture: LabelledPicture, matrix: Affine, size: tuple[int, int]) -> Image:
    """Resample a picture by `matrix` to uint8 (height, width, 3), grey outside.

    Coordinates are those of the labels: the centre of the first pixel lies at (0.5, 0.5).
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    level, image = min(
        (entry for entry in picture.levels if entry[0] >= 0.95 * scale),
        key=lambda entry: entry[0],
        default=picture.levels[0],
    )
    linear = matrix[:, :2] / level
    offset = matrix[:, 2] + linear.sum(axis=1) / 2 - 0.5
    centred = np.concatenate([linear, offset[:, None]], axis=1)
    grey = (114, 114, 114)
    crop = cv2.warpAffine(image, centred, size[::-1], flags=cv2.INTER_CUBIC, borderValue=grey)
    return np.asarray(crop, np.uint8)


def recolour(image: Image, settings: Augmentation, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, gamma, saturation, white balance, and add noise."""
    table = np.arange(256, dtype=np.float32)[:, None] / 255
    table = table ** np.exp(rng.uniform(-1, 1) * settings.gamma)
    table = (table - 0.5) * (1 + rng.uniform(-1, 1) * settings.contrast) + 0.5
    table = table + rng.uniform(-1, 1) * settings.brightness * 0.6
    table = table * (1 + rng.uniform(-1, 1, 3) * settings.white_balance)
    lookup = np.clip(np.rint(255 * table), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, lookup[None])
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = 1 + rng.uniform(-1, 0.6) * settings.saturation
    image = cv2.addWeighted(image, share, grey, 1 - share, 0)
    sigma = max(0.0, rng.uniform(-settings.noise, settings.noise))
    if sigma == 0:
        return image
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(sigma)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


class VehicleCrops:
    """An endless stream of crops in which `crop(step, slot)` depends on its arguments alone."""

    def __init__(self, config: DetectorTraining) -> None:
        self.config = config
        classes = [config.names.index(config.class_map[name]) for name in config.label_names]
        self.sets: list[tuple[PictureSet | RenderedSet, list[LabelledPicture]]] = [
            (
                section,
                load_pictures(config.data, section, classes, config.validation + config.held_out),
            )
            for section in config.pictures
        ]
        if config.rendered is not None:
            self.sets.append(
                (config.rendered, render_pictures(config.rendered, config.output / "rendered"))
            )
        shares = np.array([section.share for section, _ in self.sets])
        self._shares = shares / shares.sum()
        self._donors = [
            (picture, index)
            for section, pictures in self.sets
            if isinstance(section, PictureSet) and section.donor
            for picture in pictures
            for index in _donors(picture)
        ]

    def batch(self, step: int) -> list[Crop]:
        """Return the crops of one training step."""
        return [self.crop(step, slot) for slot in range(self.config.batch)]

    def crop(self, step: int, slot: int) -> Crop:
        """Return one crop."""
        rng = np.random.default_rng([self.config.seed, step, slot])
        settings, size = self.config.augmentation, self.config.crop
        section, pictures = self.sets[int(rng.choice(len(self.sets), p=self._shares))]
        picture = pictures[int(rng.integers(len(pictures)))]
        scale = float(np.exp(rng.uniform(*np.log(section.scales))))
        matrix = self._view(section, picture, scale, rng)
        image = warp(picture, matrix, (size, size))
        boxes, tight = horizontal_boxes(picture.vehicles, matrix, settings.tilt)
        image = _paint_over(image, boxes[~tight])
        boxes, classes = boxes[tight], picture.vehicles.classes[tight]
        if isinstance(section, PictureSet) and self._donors and rng.random() < settings.rows:
            image, boxes, classes = self._park(image, boxes, classes, picture.gsd / scale, rng)
        boxes, classes = _visible(boxes, classes, size)
        return Crop(recolour(image, settings, rng), boxes, classes)

    def _view(
        self,
        section: PictureSet | RenderedSet,
        picture: LabelledPicture,
        scale: float,
        rng: np.random.Generator,
    ) -> Affine:
        """Choose where a crop looks and how it is turned."""
        settings, size = self.config.augmentation, self.config.crop
        any_angle = isinstance(section, RenderedSet) or (section.any_angle and rng.random() < 0.5)
        tilt = 45.0 if any_angle else settings.tilt
        degrees = 90 * int(rng.integers(4)) + rng.uniform(-tilt, tilt)
        extent = np.array(picture.size[::-1], float)
        if len(picture.vehicles) and rng.random() < settings.near_vehicle:
            source = picture.vehicles.centres[int(rng.integers(len(picture.vehicles)))].astype(
                float
            )
        else:
            source = rng.uniform(0, extent)
        offset = rng.uniform(-0.45, 0.45, 2) * size / scale
        margin = np.minimum(0.55 * size / scale, extent / 2)
        source = np.clip(source + offset, margin, extent - margin)
        return similarity(scale, degrees, bool(rng.random() < 0.5), source, np.full(2, size / 2))

    def _park(
        self,
        image: Image,
        boxes: Float,
        classes: NDArray[np.int32],
        gsd: float,
        rng: np.random.Generator,
    ) -> tuple[Image, Float, NDArray[np.int32]]:
        """Paste a row of vehicles at any angle, wherever no labelled vehicle lies."""
        size = len(image)
        image = image.copy()
        heading = rng.uniform(0, 360)
        in_line = rng.random() < 0.3
        slant = rng.uniform(-35, 35) * (rng.random() < 0.5)
        pitch = (
            rng.uniform(5.2, 6.5) if in_line else rng.uniform(2.2, 3.2) / np.cos(np.radians(slant))
        )
        direction = np.array([np.cos(np.radians(heading)), np.sin(np.radians(heading))])
        start = rng.uniform(0.1, 0.9, 2) * size
        for place in range(int(rng.integers(3, 11))):
            picture, index = self._donors[int(rng.integers(len(self._donors)))]
            vehicle = picture.vehicles.select(np.array([index]))
            lies_along_x = vehicle.halves[0, 0] > vehicle.halves[0, 1]
            upright = 90.0 if lies_along_x == (not in_line) else 0.0
            degrees = heading + upright + slant * (not in_line) + 180 * int(rng.integers(2))
            target = start + (direction * pitch * place + rng.normal(0, 0.12, 2)) / gsd
            matrix = similarity(
                picture.gsd / gsd,
                degrees + rng.normal(0, 1.5),
                bool(rng.random() < 0.5),
                vehicle.centres[0].astype(float),
                target,
            )
            box, _ = horizontal_boxes(vehicle, matrix, 0.0)
            if _inside(box[0], size) and not _touches(box[0], boxes):
                _paste(image, picture, vehicle, matrix)
                boxes = np.concatenate([boxes, box])
                classes = np.concatenate([classes, vehicle.classes])
        return image, boxes, classes


def load_pictures(
    root: Path, section: PictureSet, classes: Sequence[int], held_out: Sequence[ScoredPlace]
) -> list[LabelledPicture]:
    """Load the pictures of a set; none of the places held out of training may be among them.

    Raises FileNotFoundError where a glob finds no picture, ValueError for a held-out one.
    """
    forbidden = {
        path for place in held_out for pattern in place.globs for path in root.glob(pattern)
    }
    paths = [path for pattern in section.globs for path in find_pictures(root, pattern)]
    leaked = sorted(path.name for path in paths if path in forbidden)
    if leaked:
        raise ValueError(f"held-out pictures must not be trained on, got {leaked}")
    return [read_picture(path, section.gsd, classes) for path in paths]


def find_pictures(root: Path, pattern: str) -> list[Path]:
    """Return the pictures that a glob below `root` names, sorted; label files are left out."""
    paths = sorted(path for path in root.glob(pattern) if path.suffix != ".txt")
    if not paths:
        raise FileNotFoundError(f"no picture matches {pattern!r} below {root}")
    return paths


def read_picture(path: Path, gsd: float, classes: Sequence[int]) -> LabelledPicture:
    """Read a picture and its labels; raises ValueError for a file that is no picture."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} is not a readable picture")
    image = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    vehicles = read_labels(path.with_suffix(".txt"), image.shape[:2], classes)
    return LabelledPicture(_pyramid(image), vehicles, gsd)


def render_pictures(section: RenderedScenes, folder: Path) -> list[LabelledPicture]:
    """Render the scenes of a set, each with its own ground sampling; all vehicles are class 0.

    Scenes are kept in `folder` and read from there when they exist, so a resumed run goes on with
    the same pictures and does not render twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    low, high = section.gsd
    pictures = []
    for seed in range(section.first_seed, section.first_seed + section.count):
        gsd = float(np.random.default_rng(seed).uniform(low, high))
        image, corners = _rendered(folder / f"scene-{seed}.npz", seed, section.size, gsd)
        vehicles = vehicles_from_corners(corners, np.zeros(len(corners), np.int32))
        pictures.append(LabelledPicture(((1.0, image),), vehicles, gsd))
    return pictures


def _rendered(path: Path, seed: int, size: int, gsd: float) -> tuple[Image, Float]:
    if not path.exists():
        scene = render_scene(seed=seed, height=size, width=size, gsd=gsd)
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, image=scene.image, corners=scene.corners)
        path.with_suffix(".tmp").replace(path)
    with np.load(path) as stored:
        return stored["image"], stored["corners"]


def _pyramid(image: Image) -> tuple[tuple[float, Image], ...]:
    height, width = image.shape[:2]
    smaller = [
        (
            scale,
            cv2.resize(
                image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
            ),
        )
        for scale in _LEVELS[1:]
    ]
    return ((1.0, image), *smaller)


def _donors(picture: LabelledPicture) -> list[int]:
    """Vehicles fit for pasting: orientation known, of a car's size (3.5 to 7 m by 1.5 to 3 m)."""
    metres = 2 * picture.gsd * np.sort(picture.vehicles.halves, axis=1)
    width, length = metres.T
    fits = (width > 1.5) & (width < 3) & (length > 3.5) & (length < 7)
    return [int(index) for index in np.flatnonzero(fits & picture.vehicles.oriented)]


def _paste(image: Image, picture: LabelledPicture, vehicle: Vehicles, matrix: Affine) -> None:
    """Copy one vehicle of a picture into `image`, in place, cut out as a rounded rectangle."""
    half = 0.97 * vehicle.halves[0]
    radius = 0.6 * half.min()
    turn = np.linspace(0, 2 * np.pi, 33)[:-1]
    spot = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    outline = vehicle.centres[0] + np.sign(spot) * (half - radius) + radius * spot
    points = outline @ matrix[:, :2].T + matrix[:, 2]
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - 1, 0)
    high = np.ceil(points.max(axis=0)).astype(int) + 1
    target = image[low[1] : high[1], low[0] : high[0]]
    shifted = matrix - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    layer = warp(picture, shifted, target.shape[:2])
    mask = np.zeros(target.shape[:2], np.uint8)
    fixed = np.rint((points - low - 0.5) * 16).astype(np.int32)
    cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_AA, 4)
    share = mask[..., None].astype(np.float32) / 255
    target[:] = np.rint(share * layer + (1 - share) * target).astype(np.uint8)


def _paint_over(image: Image, boxes: Float) -> Image:
    """Cover vehicles whose box cannot be known with the crop's median colour."""
    if not len(boxes):
        return image
    image = image.copy()
    colour = tuple(int(value) for value in np.median(image[::8, ::8].reshape(-1, 3), axis=0))
    for x0, y0, x1, y1 in boxes:
        cv2.rectangle(image, (int(x0), int(y0)), (int(x1) + 1, int(y1) + 1), colour, -1)
    return image


def _touches(box: Float, boxes: Float) -> bool:
    apart = (boxes[:, 2:] < box[:2]).any(axis=1) | (boxes[:, :2] > box[2:]).any(axis=1)
    overlap = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.where(apart, 0, overlap.clip(0).prod(axis=1))
    return bool((shared > 0.12 * np.prod(box[2:] - box[:2])).any())


def _inside(box: Float, size: int) -> bool:
    return bool((box[:2] >= 0).all() and (box[2:] <= size).all())


def _visible(
    boxes: Float, classes: NDArray[np.int32], size: int
) -> tuple[Float, NDArray[np.int32]]:
    """Clip boxes to the crop; keep those that are still mostly there."""
    clipped = boxes.clip(0, size)
    sides = (clipped[:, 2:] - clipped[:, :2]).clip(0)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    keep = (sides.prod(axis=1) >= _VISIBLE * area) & (sides.min(axis=1) >= 4)
    return clipped[keep], classes[keep]
