"""Tile rows with known contents, made without reading a picture."""

import dataclasses
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from configs.schema import MeasureConfig
from transforms.clusters import Clusters
from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.boxes import Detections, Labels, xyxy_to_corners
from transforms.functional.matching import match_boxes, match_centres
from transforms.functional.quality import Mean, Quality
from transforms.functional.windows import Rectangle
from transforms.measure import COCO_IOUS, Ruler
from transforms.objects import Pairs
from transforms.records import (
    Affine6,
    Arm,
    ArmRow,
    Blur,
    Camera,
    Objects,
    Scene,
    Sightings,
    TileRow,
    Truth,
    Window,
)
from transforms.strata import Stratifier
from transforms.summarize import Reporter

NAMES = ("car", "bus")
THRESHOLD = 0.25
"""The operating point of the rows: from here on their detections are objects."""
METRES = (0.15, 0.15)
UTM: Affine6 = (0.15, 0, 500_000, 0, -0.15, 5_300_000)
DEGREES: Affine6 = (2e-6, 0, 85.5, 0, -2e-6, 27.6)
TURNED: Affine6 = (0.12, 0.09, 690_000, 0.09, -0.12, 5_330_000)
SOUTH_UP: Affine6 = (0.15, 0, 500_000, 0, 0.15, 5_300_000)


def make_scene(
    name: str = "a.tif", crs: str | None = "EPSG:32632", transform: Affine6 = UTM
) -> Scene:
    """Return a scene of 4096 x 4096 pixels, as a header would describe it."""
    return Scene(name, f"in/{name}", 4096, 4096, (1, 2, 3), "uint8", crs, transform)


def make_camera_scene(
    name: str = "street/a.jpg",
    *,
    longitude: float = 13.4,
    sequence: str = "street",
    heading: float | None = 90.0,
) -> Scene:
    """Return a picture of 4096 x 4096 pixels that a camera took on the equator."""
    scene = make_scene(name, None, (1, 0, 0, 0, 1, 0))
    camera = Camera(longitude, 0.0, 12.0, heading, sequence)
    return dataclasses.replace(scene, camera=camera, time="2024-02-29T23:59:58-03:00")


def make_detections(
    *boxes: tuple[float, float, float, float], score: float = 0.9, kind: int = 0
) -> Detections:
    """Return horizontal boxes x0 y0 x1 y1 as detections of one class with one score."""
    return Detections(
        xyxy_to_corners(np.array(boxes, np.float32)),
        np.full(len(boxes), score, np.float32),
        np.full(len(boxes), kind, np.int32),
    )


def join_detections(*parts: Detections) -> Detections:
    """Return the detections of all parts, in their order."""
    return Detections(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def make_truth(
    *boxes: tuple[float, float, float, float], kinds: tuple[int, ...] = (), ignored=()
) -> Labels:
    """Return labels of horizontal boxes, of class 0 unless said; `ignored` holds indices."""
    known = Labels.plain(
        xyxy_to_corners(np.array(boxes, np.float32)),
        np.array(kinds or [0] * len(boxes), np.int32),
    )
    out = np.isin(known.numbers, ignored)
    return Labels(known.corners, known.classes, out, known.crowd, known.numbers)


def make_ruler(*, iou: float = 0.5, distances: tuple[float, ...] = (0.5, 1.0)) -> Ruler:
    """Return a ruler with COCO's ten overlaps, `iou` the operating one."""
    others = tuple(other for other in COCO_IOUS if other != iou)
    return Ruler(NAMES, THRESHOLD, (iou, *others), distances)


def make_reporter(
    config: MeasureConfig | None = None,
    *,
    ruler: Ruler | None = None,
    by: str = "block",
    partial: frozenset[Arm] = frozenset(),
) -> Reporter:
    """Return what summarises the rows made here; clusters are tiles of 512 px or scenes."""
    measure = config or MeasureConfig()
    clusters = Clusters(by, 512, 1, 1)
    stratifier = Stratifier.of(ruler or make_ruler(), measure, clusters, partial)
    return Reporter(stratifier, measure)


def make_sightings(
    detections: Detections,
    labels: Labels | None,
    *,
    ruler: Ruler | None = None,
    metres: tuple[float, float] | None = METRES,
) -> Sightings:
    """Return detections that the core claims, matched to the labels as a tile's are."""
    ruler, k = ruler or make_ruler(), len(detections)
    if labels is None:
        nothing = np.zeros((0, k))
        return Sightings(
            detections, np.ones(k, bool), nothing.astype(np.int32), nothing.astype(bool)
        )
    overlap = match_boxes(detections, labels, ious=ruler.ious)
    taken, ignored = [overlap.labels], [overlap.ignored]
    if metres is None:
        size = (len(ruler.distances), k)
        taken, ignored = [*taken, np.full(size, -1)], [*ignored, np.ones(size, bool)]
    elif ruler.distances:
        near = match_centres(detections, labels, distances=ruler.distances, metres_per_pixel=metres)
        taken, ignored = [*taken, near.labels], [*ignored, near.ignored]
    return Sightings(
        detections,
        np.ones(k, bool),
        np.concatenate(taken).astype(np.int32),
        np.concatenate(ignored),
    )


def make_objects(before: Detections, after: Detections) -> Objects:
    """Return the objects of two arms; those gained pass the re-blur check."""
    pairs = Pairs.of(before, after, iou=0.5, oriented=False, threshold=THRESHOLD)
    gained = pairs.before < 0
    return Objects(
        before=pairs.before.astype(np.int32),
        after=pairs.after.astype(np.int32),
        evidence=np.where(gained, 1, np.nan).astype(np.float32),
        residual=np.where(gained, 0.5, np.nan).astype(np.float32),
        verdict=tuple(np.where(gained, "consistent", "").tolist()),
    )


def make_tile_row(
    scene: Scene | None = None,
    detections: Detections | None = None,
    *,
    core: tuple[int, int, int, int] = (0, 512, 512, 512),
    truth: Truth = "none",
    blur: Blur | None = None,
    arms: Mapping[Arm, Detections] | None = None,
    labels: Labels | None = None,
    ruler: Ruler | None = None,
    metres: tuple[float, float] | None = METRES,
) -> TileRow:
    """Return a measured row with the arms `before` and `after`, which found the same.

    `arms` are other arms, or other detections. Everything is claimed. With a truth but without
    labels, nothing is there.
    """
    rectangle = Rectangle(*core)
    found = Detections.empty() if detections is None else detections
    known = {"before": found, "after": found} if arms is None else arms
    true = make_truth() if labels is None and truth != "none" else labels
    quality = (
        Quality(Mean(Fraction(100), 50), Mean(Fraction(1, 2), 1)) if truth == "reference" else None
    )
    return TileRow(
        window=Window(scene or make_scene(), rectangle, rectangle, blur),
        status="measured",
        truth=truth,
        valid_pixels=rectangle.area,
        judged_pixels=rectangle.area,
        blur=BlurEstimate(7.0, 30.0, 0.5, 0.125),
        skipped=False,
        metres=metres,
        labels=true,
        owned=np.ones(0 if true is None else len(true), bool),
        arms=tuple(
            ArmRow(
                arm,
                quality,
                Mean.of(0.125, 1),
                Mean(),
                make_sightings(each, true, ruler=ruler, metres=metres),
            )
            for arm, each in known.items()
        ),
        objects=make_objects(known["before"], known["after"]),
    )


def make_tile_rows(scene: Scene, count: int, *, seed: int = 0) -> list[TileRow]:
    """Return neighbouring tiles of a scene, each with a few cars at random places."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        col, row = 512 * (index % 8), 512 * (index // 8)
        corner = generator.integers(0, 480, (4, 2)) + np.array([col, row])
        boxes = [(float(x), float(y), float(x + 30), float(y + 12)) for x, y in corner]
        found = make_detections(*boxes, score=float(generator.integers(30, 100)) / 100)
        rows.append(make_tile_row(scene, found, core=(col, row, 512, 512)))
    return rows
