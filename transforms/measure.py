"""Measure: what each arm of a tile is worth, and how every detection meets the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from configs.schema import RunConfig
from transforms.edges import TileEdges
from transforms.functional.blur_estimate import measure_sharpness
from transforms.functional.boxes import Detections, Labels
from transforms.functional.histograms import Histograms, measure_histograms
from transforms.functional.matching import match_boxes, match_centres
from transforms.functional.pixels import first_equals
from transforms.functional.quality import Mean, Quality, measure_quality
from transforms.functional.windows import Rectangle
from transforms.georeference import metres_per_pixel
from transforms.histogram_rows import SceneHistograms
from transforms.inference import map_pending, pending_windows
from transforms.logs import about
from transforms.objects import Judgement, Pairs, judged_at, owns, see_objects
from transforms.packing import Packed
from transforms.records import (
    Arm,
    ArmRow,
    DetectedTile,
    Image,
    Rejected,
    Settled,
    Tile,
    TileRow,
    truth_of,
)
from transforms.stopwatch import Stopwatch

COCO_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""The intersections over union of COCO's average precision, AP50:95."""

Metres = tuple[float, float]


@dataclass(frozen=True)
class Ruler:
    """How detections are judged: class names, operating point, and when a box counts as found.

    `ious` are the criteria by overlap, the operating one first; `distances` (metres) those by
    centre. `border` is in pixels; `gsd` (metres per pixel) is that of scenes without a CRS.
    """

    names: tuple[str, ...]
    threshold: float
    ious: tuple[float, ...]
    distances: tuple[float, ...] = ()
    oriented: bool = False
    border: int = 16
    gsd: float | None = None

    @staticmethod
    def of(config: RunConfig, names: tuple[str, ...]) -> "Ruler":
        """Collect the settings of a run."""
        measure = config.measure
        others = tuple(iou for iou in COCO_IOUS if iou != measure.iou)
        return Ruler(
            names=names,
            threshold=config.detect.score_threshold,
            ious=(measure.iou, *others),
            distances=measure.distances,
            oriented=measure.oriented,
            border=measure.border,
            gsd=config.input.gsd,
        )


@dataclass(frozen=True, eq=False)
class MeasuredTile(Packed):
    """All that leaves a tile: its row, the histograms of its pixels, and the edges of its core."""

    row: TileRow
    histograms: SceneHistograms
    edges: TileEdges


def measure_tiles(
    outcomes: Sequence[DetectedTile | Settled], ruler: Ruler
) -> list[MeasuredTile | Settled]:
    """Measure every tile of a micro-batch; what is settled passes through."""

    def measure(tiles: Sequence[DetectedTile]) -> list[MeasuredTile]:
        return [measure_tile(tile, ruler) for tile in tiles]

    return map_pending(outcomes, measure, stage="measure", tile_of=_tile)


def measure_tile(detected: DetectedTile, ruler: Ruler) -> MeasuredTile:
    """Return the row, the histograms and the edges of one tile.

    Truth is the labels where the run has any, else the detections on the sharp reference at the
    operating point, else nothing: then only the changes between `before` and `after` are known.
    """
    deblurred = detected.deblurred
    tile, images = deblurred.tile, deblurred.images
    window, truth = tile.window, truth_of(tile.labels, tile.reference)
    owned = window.core.within(window.read)
    metres = metres_per_pixel(window.scene, window.core, gsd=ruler.gsd)
    labels = _pseudo_labels(detected, ruler) if tile.labels is None else tile.labels
    pairs = Pairs.of(
        detected.detections["before"],
        detected.detections["after"],
        iou=ruler.ious[0],
        oriented=ruler.oriented,
        threshold=ruler.threshold,
    )
    judgements = _judge_all(detected, labels, metres, ruler)
    sightings, objects = see_objects(
        deblurred, detected.detections, judgements, pairs, ruler.border
    )
    pixels = _measure_pixels(images, tile, owned)
    row = TileRow(
        window=window,
        status="measured",
        truth=truth,
        valid_pixels=int(tile.valid[owned].sum()),
        judged_pixels=int((tile.valid & tile.judged)[owned].sum()),
        blur=deblurred.blur,
        skipped=deblurred.skipped,
        fallback=deblurred.fallback,
        metres=metres,
        labels=None if labels is None else _in_scene(labels, window.read),
        owned=np.zeros(0, np.bool_) if labels is None else owns(window, labels.centres),
        arms=tuple(
            ArmRow(
                arm=arm,
                quality=pixels[arm].quality,
                sharpness=pixels[arm].sharpness,
                stability=_measure_stability(detected, arm, ruler),
                sightings=sightings[arm],
            )
            for arm in images
        ),
        objects=objects,
    )
    counted = {arm: pixels[arm].histograms for arm in images}
    histograms = SceneHistograms.of(window, truth, counted)
    return MeasuredTile(row, histograms, TileEdges.of(deblurred))


@dataclass
class Measure(beam.PTransform):
    """Turn micro-batches of detected tiles into one `MeasuredTile` or settled row per window."""

    ruler: Ruler

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches to single windows."""
        return batches | "Measure batch" >> beam.ParDo(_MeasureBatch(self.ruler))


class _MeasureBatch(beam.DoFn):
    def __init__(self, ruler: Ruler) -> None:
        self._ruler = ruler
        self._stopwatch = Stopwatch("measure")

    def process(self, batch: list[DetectedTile | Settled]) -> list[MeasuredTile | Settled]:
        windows = pending_windows(batch, _tile)
        with self._stopwatch.running(len(windows)), about(windows):
            return measure_tiles(batch, self._ruler)


def settled_of(measured: MeasuredTile | Settled) -> Settled:
    """Return how a window ended."""
    return measured if isinstance(measured, TileRow | Rejected) else measured.row


def histograms_of(measured: MeasuredTile | Settled) -> Iterator[SceneHistograms]:
    """Yield the histograms of a measured window; the others have none."""
    if isinstance(measured, MeasuredTile):
        yield measured.histograms


@dataclass(frozen=True, eq=False)
class _Pixels:
    quality: Quality | None
    sharpness: Mean
    histograms: Histograms


def _measure_pixels(
    images: Mapping[Arm, Image], tile: Tile, owned: tuple[slice, slice]
) -> dict[Arm, _Pixels]:
    """Measure the pixels of every arm; arms with equal pixels are measured once."""
    pictures, sharp = [*images.values()], tile.reference
    firsts = first_equals(pictures)
    measured = {
        first: _Pixels(
            None if sharp is None else measure_quality(image, sharp, tile.valid, owned),
            _mean(measure_sharpness(image[owned], tile.valid[owned])),
            measure_histograms(image, tile.valid, owned),
        )
        for first, image in ((first, pictures[first]) for first in set(firsts))
    }
    return {arm: measured[first] for arm, first in zip(images, firsts, strict=True)}


def _mean(value: float) -> Mean:
    """Return one sample, or none where the value is not defined."""
    return Mean.of(value, 1) if np.isfinite(value) else Mean()


def _pseudo_labels(detected: DetectedTile, ruler: Ruler) -> Labels | None:
    """Return what the detector finds on the sharp picture, where there is one."""
    tile = detected.deblurred.tile
    if tile.reference is None:
        return None
    sharp = detected.detections["reference"]
    sharp = sharp.select(sharp.scores >= ruler.threshold)
    known = Labels.plain(sharp.corners, sharp.classes)
    unjudged = ~judged_at(tile, known.centres)
    return Labels(known.corners, known.classes, unjudged, known.crowd, known.numbers)


def _judge_all(
    detected: DetectedTile, labels: Labels | None, metres: Metres | None, ruler: Ruler
) -> dict[Arm, Judgement]:
    """Match the detections of every arm; arms that share their detections are matched once."""
    found = detected.detections
    tile = detected.deblurred.tile
    if labels is None:
        return {arm: _unjudged(len(each)) for arm, each in found.items()}
    distinct = {id(each): each for each in found.values()}
    judged = {key: _judge(each, labels, tile, metres, ruler) for key, each in distinct.items()}
    return {arm: judged[id(each)] for arm, each in found.items()}


def _judge(
    detections: Detections, labels: Labels, tile: Tile, metres: Metres | None, ruler: Ruler
) -> Judgement:
    by_overlap = match_boxes(detections, labels, ious=ruler.ious, oriented=ruler.oriented)
    taken, ignored = [by_overlap.labels], [by_overlap.ignored]
    if metres is None or not ruler.distances:
        # Distances that nobody knows are not judged, so that every tile has the same criteria.
        size = (len(ruler.distances), len(detections))
        taken.append(np.full(size, -1, np.int64))
        ignored.append(np.ones(size, np.bool_))
    else:
        by_centre = match_centres(
            detections, labels, distances=ruler.distances, metres_per_pixel=metres
        )
        taken.append(by_centre.labels)
        ignored.append(by_centre.ignored)
    matched, passed = np.concatenate(taken), np.concatenate(ignored)
    passed |= (matched < 0) & ~judged_at(tile, detections.centres)
    return Judgement(matched.astype(np.int32), passed)


def _unjudged(detections: int) -> Judgement:
    return Judgement(np.zeros((0, detections), np.int32), np.zeros((0, detections), np.bool_))


def _measure_stability(detected: DetectedTile, arm: Arm, ruler: Ruler) -> Mean:
    """Count the core's detections at the operating point, and those found again when shifted."""
    if arm not in detected.shifted:
        return Mean()
    window, found, again = (
        detected.deblurred.tile.window,
        detected.detections[arm],
        detected.shifted[arm],
    )
    strong = found.select(found.scores >= ruler.threshold)
    known = Labels.plain(strong.corners, strong.classes)
    still = again.select(again.scores >= ruler.threshold)
    matches = match_boxes(still, known, ious=(ruler.ious[0],), oriented=ruler.oriented).labels[0]
    seen = np.isin(np.arange(len(known)), matches)
    mine = owns(window, known.centres)
    return Mean.of(int((seen & mine).sum()), int(mine.sum()))


def _in_scene(labels: Labels, read: Rectangle) -> Labels:
    offset = np.array([read.col_off, read.row_off], np.float32)
    return Labels(
        labels.corners + offset, labels.classes, labels.ignored, labels.crowd, labels.numbers
    )


def _tile(detected: DetectedTile) -> Tile:
    return detected.deblurred.tile
