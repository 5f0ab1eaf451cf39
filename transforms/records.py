"""What travels through the pipeline: one frozen type per stage, complete at birth.

    Scene -> Window -> Tile -> DeblurredTile -> DetectedTile -> TileRow -> SummaryRow

Any stage can end a window's life early: with `Rejected` (a fault) or with an empty `TileRow`
(no valid pixel). Both then pass through the later stages untouched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import Detections, Labels
from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Quality
from transforms.functional.windows import Rectangle

Arm = Literal["reference", "before", "null", "unsharp", "after", "oracle"]
ARMS: tuple[Arm, ...] = ("reference", "before", "null", "unsharp", "after", "oracle")
CONTROLS: tuple[Arm, ...] = ("null", "unsharp")
"""The arms that `after` has to beat."""
Truth = Literal["labels", "reference", "none"]
Affine6 = tuple[float, float, float, float, float, float]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """One raster file, as its header describes it.

    `name` is unique in a run. `crs` is an authority code such as `EPSG:32632` where there is one,
    else WKT, else None: then coordinates are pixels. `transform` maps (col, row) to (x, y), in the
    order a b c d e f of rasterio's Affine. `bands` are the one or three bands to render, from 1.
    """

    name: str
    path: str
    height: int
    width: int
    bands: tuple[int, ...]
    dtype: str
    crs: str | None
    transform: Affine6


@dataclass(frozen=True)
class Blur:
    """A synthetic motion blur: length in pixels, angle in degrees counter-clockwise from +col.

    `severity` is its rung on the run's ladder, None for a length that the user chose.
    """

    length: float
    angle: float
    severity: int | None = None


@dataclass(frozen=True)
class Window:
    """The unit of planned work: one core of one scene, under at most one synthetic blur."""

    scene: Scene
    core: Rectangle
    read: Rectangle
    blur: Blur | None

    @property
    def key(self) -> str:
        """Return the window's name in a run: `scene:col,row` and `:length@angle` if blurred."""
        place = f"{self.scene.name}:{self.core.col_off},{self.core.row_off}"
        return f"{place}:{self.blur.length:g}@{self.blur.angle:g}" if self.blur else place


@dataclass(frozen=True, eq=False)
class Tile:
    """A window's pixels: uint8 (h, w, 3) RGB over the read rectangle.

    `reference` is the sharp picture where `before` was blurred by us. `valid` is bool (h, w), False
    where the scene has no data. `labels` is None where the run has none, else in pixels of the read
    rectangle. `judged` is bool (h, w), False where labels are not complete: outside the area of
    interest and in ignore regions.
    """

    window: Window
    before: Image
    reference: Image | None
    valid: Mask
    labels: Labels | None
    judged: Mask


@dataclass(frozen=True, eq=False)
class DeblurredTile:
    """A tile and the arms made of its `before`: `after`, and what the run compares it with."""

    tile: Tile
    made: Mapping[Arm, Image]

    @property
    def images(self) -> dict[Arm, Image]:
        """Return the picture of every arm that exists, in the order of `ARMS`."""
        sharp = self.tile.reference
        known: dict[Arm, Image] = {"before": self.tile.before, **self.made}
        known |= {} if sharp is None else {"reference": sharp}
        return {arm: known[arm] for arm in ARMS if arm in known}


@dataclass(frozen=True, eq=False)
class DetectedTile:
    """A deblurred tile with the detections of every arm, in pixels of the read rectangle."""

    deblurred: DeblurredTile
    detections: Mapping[Arm, Detections]


@dataclass(frozen=True, eq=False)
class ArmRow:
    """What was measured on one arm of one tile: sums, and the detections the core owns.

    `quality` is None without a reference; `counts` holds one entry per class of the detector and
    is empty without a truth. `detections` are in scene pixels, from the score floor up.
    """

    arm: Arm
    quality: Quality | None
    counts: Mapping[str, DetectionCounts]
    detections: Detections


@dataclass(frozen=True)
class Changes:
    """Objects at the operating point: in both arms, only in `after`, only in `before`."""

    kept: int = 0
    gained: int = 0
    lost: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(self.kept + other.kept, self.gained + other.gained, self.lost + other.lost)


@dataclass(frozen=True, eq=False)
class TileRow:
    """One planned window, measured or empty: a row of the table `tiles`."""

    window: Window
    status: Literal["measured", "empty"]
    truth: Truth
    valid_pixels: int
    arms: tuple[ArmRow, ...]
    changes: Changes


@dataclass(frozen=True)
class Rejected:
    """A planned window, or a whole scene that could not be opened, which gave no result."""

    key: str
    scene: str
    stage: Literal["open", "read", "deblur", "detect", "measure"]
    exception: str
    message: str


@dataclass(frozen=True)
class SummaryRow:
    """One number of a run: a row of the table `summary`.

    `n` is what stands behind it: labels, detections or samples. `low`, `high` (95 % interval) and
    `minimum_detectable` are None where no interval is computed.
    """

    stratum: str
    truth: Truth
    arm: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    minimum_detectable: float | None


Settled = TileRow | Rejected
"""How a planned window ends."""


def truth_of(labels: Labels | None, reference: Image | None) -> Truth:
    """Return what a tile is judged by: labels before a sharp reference before nothing."""
    if labels is not None:
        return "labels"
    return "none" if reference is None else "reference"
