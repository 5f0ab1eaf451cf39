"""Runs whose networks are small rules, on scenes of bright blobs: everything in them is known.

A blob is seen in `before` as its red rectangle and in `after` as its green one, with the level as
its score, so that each can be kept, gained or lost. What lies in another place looks the same.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from rasterio.transform import Affine
from scenes import GSD, ORIGIN, write_labels, write_picture

from configs.load import validate
from configs.schema import RunConfig
from pipeline.direct import FindObjects, Networks, measure_windows
from pipeline.planning import Plan, Weights
from transforms.functional.boxes import Detections, xyxy_to_corners
from transforms.measure import settled_of
from transforms.reconcile import reconcile
from transforms.records import Arm, TileRow
from transforms.scenes import plan_scenes

NAMES = ("car", "bus")
THRESHOLD, FLOOR = 0.5, 0.1
GROUND, LEAST = 10, 40
"""Level of the ground, and from which on a pixel belongs to a blob."""


@dataclass(frozen=True)
class Blob:
    """An object with its top left corner at (x, y) in `before`; in `after` it lies `moved` right.

    Scores are levels / 255, below `LEAST` it is not there. `labelled` says whether it is true.
    """

    x: int
    y: int
    width: int
    height: int
    before: int
    after: int
    moved: int = 0
    kind: int = 0
    labelled: bool = True

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return x0 y0 x1 y1 in `before`."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def score(self, arm: Arm) -> float:
        """Return its score in an arm, 0 where it is not there."""
        level = {"before": self.before, "after": self.after}[arm]
        return level / 255 if level >= LEAST else 0.0


def draw_blobs(blobs: Sequence[Blob], side: int, pad: int = 0) -> np.ndarray:
    """Return a square picture of blobs, moved right and down by `pad` px: the class is blue."""
    image = np.full((side + pad, side + pad, 3), GROUND, np.uint8)
    for blob in blobs:
        rows = slice(blob.y + pad, blob.y + pad + blob.height)
        for band, level, shift in ((0, blob.before, 0), (1, blob.after, blob.moved)):
            columns = slice(blob.x + pad + shift, blob.x + pad + shift + blob.width)
            image[rows, columns, band] = level
            image[rows, columns, 2] = 200 * blob.kind
    return image


def show_green(images: np.ndarray) -> np.ndarray:
    """Return the pictures with green in place of red: the network of these runs."""
    shown = images.copy()
    shown[..., 0] = images[..., 1]
    return shown


def find_blobs(images: np.ndarray) -> list[Detections]:
    """Return the red blobs of every picture."""
    return [_find(image) for image in images]


def find_blobs_unsteadily(images: np.ndarray) -> list[Detections]:
    """Return the blobs as a network would: box and score depend a little on the surroundings.

    Boxes move by up to 1 px and scores by up to 0.02, by chance that depends on all the pixels.
    """
    return [_disturb(_find(image), zlib.crc32(image.tobytes())) for image in images]


def _find(image: np.ndarray) -> Detections:
    bright = (image[..., 0] >= LEAST).astype(np.uint8)
    _, components, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    x, y, width, height = stats[1:, :4].astype(np.float32).T
    levels, kinds = (
        np.array([image[components == n, band].max() for n in range(1, len(stats))], np.int32)
        for band in (0, 2)
    )
    boxes = np.stack([x, y, x + width, y + height], axis=1)
    return Detections(xyxy_to_corners(boxes), np.float32(levels / 255), np.int32(kinds >= 100))


def _disturb(found: Detections, seed: int) -> Detections:
    rng = np.random.default_rng(seed)
    moved = found.corners + rng.uniform(-1, 1, (len(found), 1, 2)).astype(np.float32)
    scores = found.scores + rng.uniform(-0.02, 0.02, len(found)).astype(np.float32)
    return replace(found, corners=moved, scores=np.clip(scores, 0, 1))


def plan_blobs(
    folder: Path, blobs: Sequence[Blob], *, side: int, pad: int = 0, labels: bool = True, **sections
) -> Plan:
    """Write a scene of blobs, `pad` px wider at the top and left, and plan a run over it."""
    folder.mkdir(exist_ok=True)
    corner = (ORIGIN[0] - pad * GSD, ORIGIN[1] + pad * GSD)
    place = Affine(GSD, 0, corner[0], 0, -GSD, corner[1])
    scene = write_picture(folder / "blobs.tif", draw_blobs(blobs, side, pad), transform=place)
    source = {"scenes": [str(scene)]}
    if labels:
        true = [blob for blob in blobs if blob.labelled]
        corners = xyxy_to_corners(np.array([blob.box for blob in true], np.float32))
        kinds = [NAMES[blob.kind] for blob in true]
        source["labels"] = write_labels(folder / "labels.geojson", corners, kinds)
    content = {
        "input": source,
        "detect": {"score_threshold": THRESHOLD, "score_floor": FLOOR, "weights": "blobs"},
        "deblur": {"weights": "green", "lock": False, "sanity": {"check": False}},
        "arms": {"controls": ["null"]},
        "output": str(folder / "run"),
    } | sections
    config = validate(RunConfig, content, source="test")
    scenes, rejected = plan_scenes(config)
    nothing = Weights("blobs", folder, "0", None)
    return Plan(config, tuple(scenes), tuple(rejected), nothing, nothing, NAMES, 0)


def settle(plan: Plan, find: FindObjects = find_blobs) -> list[TileRow]:
    """Return the rows of a run, reconciled."""
    measured = measure_windows(plan, plan.windows, Networks(show_green, find))
    rows = reconcile([settled_of(tile) for tile in measured], plan.ruler.border)
    assert all(isinstance(row, TileRow) for row in rows)
    return rows
