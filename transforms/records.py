"""What travels through the pipeline: one frozen type per stage, complete at birth.

    Scene -> Window -> Tile -> DeblurredTile -> DetectedTile -> TileRow -> SummaryRow

Any stage can end a window's life early: with `Rejected` (a fault) or with an empty `TileRow`
(no valid pixel). Both then pass through the later stages untouched. Histograms leave a tile beside
its row, as `SceneHistograms`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur_estimate import BlurEstimate
from transforms.functional.boxes import Detections, Labels
from transforms.functional.quality import Mean, Quality
from transforms.functional.windows import Rectangle
from transforms.packing import Packed

Arm = Literal["reference", "before", "null", "unsharp", "after", "unskipped", "oracle"]
ARMS: tuple[Arm, ...] = ("reference", "before", "null", "unsharp", "after", "unskipped", "oracle")
CONTROLS: tuple[Arm, ...] = ("null", "unsharp")
"""The arms that `after` has to beat."""
Truth = Literal["labels", "reference", "none"]
Affine6 = tuple[float, float, float, float, float, float]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """Where a scene is to be found, before anyone opened it.

    `path` is a file, a URL, or a folder of map tiles with its zoom level (see `map_tiles`). `crs`
    and `time` (RFC 3339) are what a catalogue says of it, `item` is the STAC item that it belongs
    to (a file or URL).
    """

    name: str
    path: str
    crs: str | None = None
    time: str | None = None
    item: str | None = None


@dataclass(frozen=True)
class Camera:
    """Where a picture without a grid was taken: degrees of WGS 84, metres above the sea.

    `heading` is in degrees clockwise from true north. Pictures of one folder are a `sequence`.
    """

    longitude: float
    latitude: float
    altitude: float | None
    heading: float | None
    sequence: str


@dataclass(frozen=True)
class Grid:
    """The pixels of a file and where they lie: size, and (col, row) to (x, y)."""

    height: int
    width: int
    transform: Affine6


@dataclass(frozen=True)
class Scene:
    """One raster file, as its header describes it.

    `name` is unique in a run. `crs` is an authority code such as `EPSG:32632` where there is one,
    else WKT, else None: then coordinates are pixels. `transform` maps (col, row) to (x, y), in the
    order a b c d e f of rasterio's Affine. `bands` are the one or three bands to render, from 1,
    each through its `stretch` (low, high); without one they are 8-bit already.

    `size` (bytes) and `version` (time of change in ns, or an etag) identify the file, and are None
    where nobody knows them. `beside` is a digest of names, sizes and times of the local files that
    belong to it: sidecars, and what a VRT names; None without any. `file_grid` is that of the file
    where height, width and transform are those of a resampled picture. `orientation` is EXIF's, 1
    to 8: height and width are those of the upright picture. A `sequential` file has no blocks to
    jump to: its rows are read in order. `time` is when it was taken (RFC 3339), `item` the STAC
    item that it belongs to.
    """

    name: str
    path: str
    height: int
    width: int
    bands: tuple[int, ...]
    dtype: str
    crs: str | None
    transform: Affine6
    stretch: tuple[tuple[float, float], ...] | None = None
    size: int | None = None
    version: str | None = None
    beside: str | None = None
    file_grid: Grid | None = None
    orientation: int = 1
    sequential: bool = False
    camera: Camera | None = None
    time: str | None = None
    item: str | None = None

    @property
    def file_pixels(self) -> tuple[float, float]:
        """Return how many columns and rows of the file a column and a row of the scene are."""
        if self.file_grid is None:
            return 1.0, 1.0
        return self.file_grid.width / self.width, self.file_grid.height / self.height


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
    """A tile and the arms made of its `before`: `after`, and what the run compares it with.

    `blur` is estimated from `before` alone. A tile that the skip rule left alone is `skipped`: its
    `after` is its `before`. So it is where the network's output was not believed: `fallback` says
    why, and is empty elsewhere. `shifted` holds `before` and `after` of the tile moved by `SHIFT`
    pixels right and down, where the run looks at stability, and is empty elsewhere.
    """

    tile: Tile
    made: Mapping[Arm, Image]
    blur: BlurEstimate
    skipped: bool
    shifted: Mapping[Arm, Image]
    fallback: str = ""

    @property
    def images(self) -> dict[Arm, Image]:
        """Return the picture of every arm that exists, in the order of `ARMS`."""
        sharp = self.tile.reference
        known: dict[Arm, Image] = {"before": self.tile.before, **self.made}
        known |= {} if sharp is None else {"reference": sharp}
        return {arm: known[arm] for arm in ARMS if arm in known}


@dataclass(frozen=True, eq=False)
class DetectedTile:
    """A deblurred tile with the detections of every arm, in pixels of the read rectangle.

    `shifted` are those on the shifted pictures, moved back.
    """

    deblurred: DeblurredTile
    detections: Mapping[Arm, Detections]
    shifted: Mapping[Arm, Detections]


@dataclass(frozen=True, eq=False)
class Sightings:
    """The k detections of one arm that a core claims, or that lie near its border.

    `detections` are in scene pixels, from the score floor up. `claimed` bool (k,): they count here;
    the others let neighbouring windows settle whose they are. Under each of c criteria `taken`
    int32 (c, k) is the label that a detection took, an index into the row's `labels`, or -1;
    `ignored` bool (c, k) says that it is not judged. Without truth c is 0.
    """

    detections: Detections
    claimed: NDArray[np.bool_]
    taken: NDArray[np.int32]
    ignored: NDArray[np.bool_]

    @property
    def found(self) -> NDArray[np.bool_]:
        """Say which found a label that counts: bool (c, k)."""
        return (self.taken >= 0) & ~self.ignored

    @property
    def false(self) -> NDArray[np.bool_]:
        """Say which are judged and match no label: bool (c, k)."""
        return (self.taken < 0) & ~self.ignored


@dataclass(frozen=True, eq=False)
class ArmRow:
    """What was measured on one arm of one tile.

    `quality` is None without a reference. `sharpness` is summed over tiles. `stability` counts the
    detections at the operating point and how many of them are found again in the picture shifted
    by a pixel; it counts none where the run did not look.
    """

    arm: Arm
    quality: Quality | None
    sharpness: Mean
    stability: Mean
    sightings: Sightings


@dataclass(frozen=True, eq=False)
class Objects:
    """The n objects at the operating point in `before`, in `after` or in both.

    `before` and `after` are int32 (n,), indices into the sightings of these arms, or -1: kept has
    both, gained only `after`, lost only `before`. For the gained, `evidence` and `residual` float32
    (n,) and `verdict` are those of the re-blur check; the others have nan and an empty text.
    """

    before: NDArray[np.int32]
    after: NDArray[np.int32]
    evidence: NDArray[np.float32]
    residual: NDArray[np.float32]
    verdict: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.before)

    @staticmethod
    def none() -> "Objects":
        """Return no objects."""
        index, number = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return Objects(index, index, number, number, ())


@dataclass(frozen=True, eq=False)
class TileRow(Packed):
    """One planned window, measured or empty: a row of the table `tiles`.

    `labels` are those seen in the window, in scene pixels, and `owned` bool (k,) says which of them
    the core owns; None without truth. `metres` are the width and height of a pixel on the ground,
    None where nobody knows them. `judged_pixels` are the valid ones where labels are complete.
    `fallback` says why the input was kept instead of the network's output, if it was.
    """

    window: Window
    status: Literal["measured", "empty"]
    truth: Truth
    valid_pixels: int
    judged_pixels: int
    blur: BlurEstimate | None
    skipped: bool
    metres: tuple[float, float] | None
    labels: Labels | None
    owned: NDArray[np.bool_]
    arms: tuple[ArmRow, ...]
    objects: Objects
    fallback: str = ""

    @staticmethod
    def empty(window: Window, truth: Truth) -> "TileRow":
        """Return the row of a window whose core holds no valid pixel."""
        return TileRow(
            window=window,
            status="empty",
            truth=truth,
            valid_pixels=0,
            judged_pixels=0,
            blur=None,
            skipped=False,
            metres=None,
            labels=None,
            owned=np.zeros(0, np.bool_),
            arms=(),
            objects=Objects.none(),
        )

    @property
    def judged_km2(self) -> Fraction:
        """Return the ground that is judged, in square kilometres, exactly; 0 if nobody knows."""
        across, along = self.metres or (0.0, 0.0)
        return Fraction(across) * Fraction(along) * self.judged_pixels / 10**6

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Say which of the labels the core owns and counts: bool (k,), of none without truth."""
        return self.owned if self.labels is None else self.owned & ~self.labels.ignored

    def arm(self, name: Arm) -> ArmRow:
        """Return one arm; raises StopIteration where it did not run."""
        return next(row for row in self.arms if row.arm == name)


@dataclass(frozen=True)
class Rejected:
    """A planned window, or a whole scene that could not be opened, which gave no result."""

    key: str
    scene: str
    stage: Literal["open", "read", "deblur", "mosaic", "detect", "measure"]
    exception: str
    message: str


@dataclass(frozen=True)
class SummaryRow:
    """One number of a run: a row of the table `summary`.

    `n` is what stands behind it: labels, detections, objects, samples or tiles, in `clusters`
    independent groups of tiles. `low`, `high` (95 % interval) are None where there is none. For a
    difference `p` tests that it is zero, `p_holm` the same for all strata together, and
    `minimum_detectable` is the least difference that would show. `status` is `ok` or says why the
    number must not be relied on.
    """

    stratum: str
    truth: Truth
    arm: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    minimum_detectable: float | None
    p: float | None
    p_holm: float | None
    status: str


Settled = TileRow | Rejected
"""How a planned window ends."""

SHIFT = 1
"""Pixels by which a tile is moved, right and down, where the run looks at stability."""


def truth_of(labels: Labels | None, reference: Image | None) -> Truth:
    """Return what a tile is judged by: labels before a sharp reference before nothing."""
    if labels is not None:
        return "labels"
    return "none" if reference is None else "reference"
