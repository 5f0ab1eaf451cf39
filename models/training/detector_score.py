"""How well a detector finds labelled vehicles: recall at a precision, average precision."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.train_detector import DetectorTraining, RenderedScenes, ScoredPlace
from models.detector import Detector
from models.training.detector_data import find_pictures, read_picture
from transforms.functional.boxes import Detections, Labels, xyxy_to_corners
from transforms.functional.gain import DetectionCounts, count_detections
from transforms.functional.matching import Matches, match_boxes
from transforms.functional.render import render_scene

IOU = 0.5


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """uint8 (h, w, 3) RGB with its true boxes xyxy float32 (k, 4) and classes int32 (k,)."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]


Found = tuple[Detections, LabelledImage]


@dataclass(frozen=True)
class DetectorScore:
    """All classes together, IoU 0.5; precision and recall at `threshold`."""

    labels: int
    threshold: float
    precision: float
    recall: float
    average_precision: float


def detect_all(detector: Detector, pictures: Iterable[LabelledImage]) -> list[Found]:
    """Run a detector over whole pictures, one by one."""
    return [(detector(picture.image[None])[0], picture) for picture in pictures]


def score(found: Sequence[Found], threshold: float) -> DetectorScore:
    """Compare the detections of pictures with their labels, at a score threshold."""
    counts = sum(
        (_count(detections, picture, threshold) for detections, picture in found),
        start=DetectionCounts(),
    )
    return DetectorScore(
        int(counts.labels.sum()),
        threshold,
        counts.precision,
        counts.recall,
        counts.average_precision,
    )


def operating_threshold(found: Sequence[Found], target_precision: float) -> float:
    """Return the lowest score threshold at which the precision of all pictures reaches the target.

    It is 1 where no threshold does.
    """
    scores = np.concatenate([detections.scores for detections, _ in found])
    true = np.concatenate([_match(detections, picture).found[0] for detections, picture in found])
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(true[order])
    last_of_score = np.append(np.diff(scores) != 0, True)[: len(scores)]
    precision = hits / np.arange(1, len(scores) + 1)
    reached = np.flatnonzero(last_of_score & (precision >= target_precision))
    return float(scores[reached[-1]]) if len(reached) else 1.0


def place_images(config: DetectorTraining, place: ScoredPlace) -> Iterator[LabelledImage]:
    """Read the pictures of a place with their boxes, shrunk to its scale."""
    classes = [config.names.index(config.class_map[name]) for name in config.label_names]
    paths = [path for pattern in place.globs for path in find_pictures(config.data, pattern)]
    for path in paths:
        picture = read_picture(path, math.nan, classes)
        image, vehicles = picture.levels[0][1], picture.vehicles
        if place.scale != 1:
            height, width = (round(side * place.scale) for side in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        low, high = vehicles.centres - vehicles.halves, vehicles.centres + vehicles.halves
        boxes = np.concatenate([low, high], axis=1) * np.float32(place.scale)
        yield LabelledImage(image, boxes, vehicles.classes)


def rendered_images(scenes: RenderedScenes) -> Iterator[LabelledImage]:
    """Render scenes with their boxes; all vehicles are class 0."""
    for seed in range(scenes.first_seed, scenes.first_seed + scenes.count):
        gsd = float(np.random.default_rng(seed).uniform(*scenes.gsd))
        scene = render_scene(seed=seed, height=scenes.size, width=scenes.size, gsd=gsd)
        boxes = np.concatenate([scene.corners.min(axis=1), scene.corners.max(axis=1)], axis=1)
        boxes = boxes.clip(0, scenes.size)
        yield LabelledImage(scene.image, boxes, np.zeros(len(boxes), np.int32))


def _match(detections: Detections, picture: LabelledImage) -> Matches:
    labels = Labels.plain(xyxy_to_corners(picture.boxes), picture.classes)
    return match_boxes(detections, labels, ious=(IOU,))


def _count(detections: Detections, picture: LabelledImage, threshold: float) -> DetectionCounts:
    matches = _match(detections, picture)
    [counts] = count_detections(
        detections.scores,
        found=matches.found,
        false=matches.false,
        cells=np.zeros(matches.labels.shape, np.int64),
        labels=np.array([[len(picture.boxes)]]),
        threshold=threshold,
    )
    return counts
