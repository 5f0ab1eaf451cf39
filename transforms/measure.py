"""Measure: what each arm of a tile is worth, as sums over what its core owns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from numpy.typing import NDArray

from configs.schema import DetectConfig, MeasureConfig
from transforms.functional.boxes import Detections, Labels
from transforms.functional.gain import DetectionCounts, count_detections
from transforms.functional.matching import match_greedily
from transforms.functional.quality import Quality, measure_quality
from transforms.functional.windows import Rectangle
from transforms.inference import map_pending
from transforms.records import (
    Arm,
    ArmRow,
    Changes,
    DetectedTile,
    Image,
    Settled,
    Tile,
    TileRow,
    truth_of,
)
from transforms.stopwatch import Stopwatch


@dataclass(frozen=True)
class Ruler:
    """How detections are judged: class names, operating point, and the IoU of a match."""

    names: tuple[str, ...]
    threshold: float
    iou: float

    @staticmethod
    def of(detect: DetectConfig, measure: MeasureConfig, names: tuple[str, ...]) -> "Ruler":
        """Collect the settings of a run."""
        return Ruler(names, detect.score_threshold, measure.iou)


def measure_tiles(outcomes: Sequence[DetectedTile | Settled], ruler: Ruler) -> list[Settled]:
    """Settle every tile of a micro-batch."""

    def measure(tiles: Sequence[DetectedTile]) -> list[TileRow]:
        return [measure_tile(tile, ruler) for tile in tiles]

    return map_pending(outcomes, measure, stage="measure", tile_of=_tile)


def measure_tile(detected: DetectedTile, ruler: Ruler) -> TileRow:
    """Return the row of one tile.

    Truth is the labels where the run has any, else the detections on the sharp reference at the
    operating point, else nothing: then only the changes between `before` and `after` are counted.
    """
    tile = detected.deblurred.tile
    core = tile.window.core
    owned = core.within(tile.window.read)
    targets = _pseudo_labels(detected, ruler) if tile.labels is None else tile.labels
    images = detected.deblurred.images
    quality = _measure_distinct(images, tile, owned)
    arms = []
    for arm in images:
        found = detected.detections[arm]
        counts = {} if targets is None else _count(found, targets, tile, ruler)
        arms.append(ArmRow(arm, quality[arm], counts, _own(found, tile)))
    return TileRow(
        window=tile.window,
        status="measured",
        truth=truth_of(tile.labels, tile.reference),
        valid_pixels=int(tile.valid[owned].sum()),
        arms=tuple(arms),
        changes=_count_changes(detected, ruler),
    )


@dataclass
class Measure(beam.PTransform):
    """Turn micro-batches of detected tiles into one `TileRow` or `Rejected` per window."""

    ruler: Ruler

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches to single settled windows."""
        return batches | "Measure batch" >> beam.ParDo(_MeasureBatch(self.ruler))


class _MeasureBatch(beam.DoFn):
    def __init__(self, ruler: Ruler) -> None:
        self._ruler = ruler
        self._stopwatch = Stopwatch("measure")

    def process(self, batch: list[DetectedTile | Settled]) -> list[Settled]:
        with self._stopwatch.running():
            return measure_tiles(batch, self._ruler)


def _measure_distinct(
    images: Mapping[Arm, Image], tile: Tile, owned: tuple[slice, slice]
) -> dict[Arm, Quality | None]:
    """Return the quality of every arm; arms with equal pixels are measured once."""
    if tile.reference is None:
        return dict.fromkeys(images)
    keys = {arm: image.tobytes() for arm, image in images.items()}
    distinct = {key: images[arm] for arm, key in keys.items()}
    measured = {
        key: measure_quality(image, tile.reference, tile.valid, owned)
        for key, image in distinct.items()
    }
    return {arm: measured[key] for arm, key in keys.items()}


def _pseudo_labels(detected: DetectedTile, ruler: Ruler) -> Labels | None:
    if detected.deblurred.tile.reference is None:
        return None
    sharp = _at_operating_point(detected.detections["reference"], ruler)
    return Labels.plain(sharp.corners, sharp.classes)


def _count(
    detections: Detections, labels: Labels, tile: Tile, ruler: Ruler
) -> dict[str, DetectionCounts]:
    boxes = Detections(labels.corners, np.ones(len(labels.classes), np.float32), labels.classes)
    matches = match_greedily(detections, boxes.xyxy, boxes.classes, iou=ruler.iou)
    owned_detections, owned_labels = _owned(detections, tile), _owned(boxes, tile)
    counts = {}
    for index, name in enumerate(ruler.names):
        # Matches never cross classes, so a class is counted by keeping its own detections.
        mine = detections.classes == index
        counts[name] = count_detections(
            detections.select(mine),
            matches=matches[mine],
            owned_detections=owned_detections[mine],
            owned_labels=owned_labels & (boxes.classes == index),
            threshold=ruler.threshold,
        )
    return counts


def _count_changes(detected: DetectedTile, ruler: Ruler) -> Changes:
    """Count the objects of both arms, each in the core that holds its centre."""
    tile = detected.deblurred.tile
    before = _at_operating_point(detected.detections["before"], ruler)
    after = _at_operating_point(detected.detections["after"], ruler)
    matches = match_greedily(after, before.xyxy, before.classes, iou=ruler.iou)
    still_there = np.zeros(len(before), bool)
    still_there[matches[matches >= 0]] = True
    owned_before, owned_after = _owned(before, tile), _owned(after, tile)
    return Changes(
        kept=int((still_there & owned_before).sum()),
        gained=int(((matches < 0) & owned_after).sum()),
        lost=int((~still_there & owned_before).sum()),
    )


def _at_operating_point(detections: Detections, ruler: Ruler) -> Detections:
    return detections.select(detections.scores >= ruler.threshold)


def _owned(detections: Detections, tile: Tile) -> NDArray[np.bool_]:
    """Say which objects, in pixels of the read rectangle, have their centre in the core."""
    rows, columns = tile.window.core.within(tile.window.read)
    x, y = detections.centres.T
    owned: NDArray[np.bool_] = (
        (columns.start <= x) & (x < columns.stop) & (rows.start <= y) & (y < rows.stop)
    )
    return owned


def _own(detections: Detections, tile: Tile) -> Detections:
    """Return what the core owns, in pixels of the scene."""
    read: Rectangle = tile.window.read
    return detections.select(_owned(detections, tile)).shift(read.col_off, read.row_off)


def _tile(detected: DetectedTile) -> Tile:
    return detected.deblurred.tile
