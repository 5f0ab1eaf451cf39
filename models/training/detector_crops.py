"""Crops for the detector's training: a view of a picture, rows of parked cars, new colours.

A crop is resampled once, from a pyramid level close to its scale. Nothing blurs it, unless the
configuration asks for a detector that knows blur.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.train_detector import DetectorTraining, PictureSet, RenderedSet
from models.training.detector_data import (
    Affine,
    Float,
    Image,
    LabelledPicture,
    Vehicles,
    horizontal_boxes,
    load_pictures,
    render_pictures,
)
from models.training.detector_light import cast_shadow, recolour
from transforms.functional.blur_sampler import BlurModel, degrade, sample_degradation

Point = NDArray[np.float64]  # x, y

_VISIBLE = 0.35  # least visible share of a vehicle that still counts as one
_BLUR_STREAM = 1  # a random stream beside a crop's own, so that blur changes nothing else in it


@dataclass(frozen=True, eq=False)
class Crop:
    """A training example: image uint8 (s, s, 3) RGB, boxes xyxy float32 (k, 4), classes (k,)."""

    image: Image
    boxes: Float
    classes: NDArray[np.int32]


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


class VehicleCrops:
    """An endless stream of crops in which `crop(step, slot)` depends on its arguments alone."""

    def __init__(self, config: DetectorTraining) -> None:
        self.config = config
        self._blur = None if config.blur is None else BlurModel(**config.blur.model_dump())
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
        if settings.shadows and rng.random() < settings.shadows:
            image = cast_shadow(image, rng)
        if self._blur is not None:
            camera = np.random.default_rng([self.config.seed, step, slot, _BLUR_STREAM])
            image = degrade(image, sample_degradation(self._blur, camera), camera)
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
