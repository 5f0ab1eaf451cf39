"""Detect: the same detector, thresholds and suppression on every arm of a tile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from configs.schema import DetectConfig
from models.shipped import resolve_weights
from transforms.backends import find_detect_backend
from transforms.counters import count_devices
from transforms.functional.boxes import Detections
from transforms.functional.pixels import first_equals
from transforms.inference import map_by_shape, map_pending, pending_windows, use_one_thread
from transforms.logs import about
from transforms.records import SHIFT, DeblurredTile, DetectedTile, Image, Settled, Tile
from transforms.stopwatch import Stopwatch

if TYPE_CHECKING:
    from models.detector import Detector

Images = NDArray[np.uint8]
FindObjects = Callable[[Images], Sequence[Detections]]


def load_detector(config: DetectConfig) -> "Detector":
    """Load the configured detector; raises if weights, digest, trust or device forbid it."""
    # It needs torch, which takes longer to import than all else; who only plans does without.
    from models.detector import Detector

    use_one_thread()
    return Detector.load(
        resolve_weights(config.weights),
        sha256=config.sha256,
        trust=config.trust,
        names=config.names,
        device=config.device,
        backend=find_detect_backend(config),
        dtype=config.dtype,
        score_floor=config.score_floor,
        nms_iou=config.nms_iou,
        max_detections=config.max_detections,
    )


def detect_tiles(
    outcomes: Sequence[DeblurredTile | Settled], find: FindObjects
) -> list[DetectedTile | Settled]:
    """Find objects in every arm of a micro-batch; `find` maps uint8 (n, h, w, 3) to detections.

    Arms whose pixels are equal (such as `before` and `null`) share one answer. Detections whose
    centre lies on a pixel without data are dropped.
    """

    def detect(tiles: Sequence[DeblurredTile]) -> list[DetectedTile]:
        searches = [_Search.of(tile) for tile in tiles]
        images = [image for search in searches for image in search.distinct]
        found = iter(map_by_shape(images, find))
        return [search.collect([next(found) for _ in search.distinct]) for search in searches]

    return map_pending(outcomes, detect, stage="detect", tile_of=_tile)


@dataclass(frozen=True, eq=False)
class _Search:
    """The pictures of a tile that are searched: all that differ, and which stands for which."""

    tile: DeblurredTile
    distinct: list[Image]
    places: list[int]

    @staticmethod
    def of(tile: DeblurredTile) -> "_Search":
        images = [*tile.images.values(), *tile.shifted.values()]
        firsts = first_equals(images)
        kept = sorted(set(firsts))
        return _Search(tile, [images[i] for i in kept], [kept.index(i) for i in firsts])

    def collect(self, found: Sequence[Detections]) -> DetectedTile:
        """Give every arm its detections; arms with equal pixels get the very same ones."""
        valid = [drop_invalid(each, self.tile.tile.valid) for each in found]
        places = iter(self.places)
        kept = {arm: valid[next(places)] for arm in self.tile.images}
        again = {arm: found[next(places)].shift(-SHIFT, -SHIFT) for arm in self.tile.shifted}
        return DetectedTile(self.tile, kept, again)


def drop_invalid(detections: Detections, valid: NDArray[np.bool_]) -> Detections:
    """Return the detections whose centre lies on a valid pixel of the tile, bool (h, w)."""
    columns, rows = np.floor(detections.centres).astype(np.intp).T
    inside = (columns >= 0) & (columns < valid.shape[1]) & (rows >= 0) & (rows < valid.shape[0])
    kept = np.flatnonzero(inside)
    return detections.select(kept[valid[rows[kept], columns[kept]]])


@dataclass
class Detect(beam.PTransform):
    """Find objects in every arm of micro-batches of deblurred tiles."""

    config: DetectConfig

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches of `DeblurredTile` to batches of `DetectedTile`; the settled pass through."""
        return batches | "Detect batch" >> beam.ParDo(_DetectBatch(self.config))


class _DetectBatch(beam.DoFn):
    def __init__(self, config: DetectConfig) -> None:
        self._config = config
        self._shared = Shared()
        self._stopwatch = Stopwatch("detect")

    def setup(self) -> None:
        with self._stopwatch.loading():
            self._detector = self._shared.acquire(lambda: load_detector(self._config))

    def process(self, batch: list[DeblurredTile | Settled]) -> list[list[DetectedTile | Settled]]:
        windows = pending_windows(batch, _tile)
        with self._stopwatch.running(len(windows)), about(windows):
            detected = detect_tiles(batch, self._detector)
        count_devices()
        return [detected]


def _tile(deblurred: DeblurredTile) -> Tile:
    return deblurred.tile
