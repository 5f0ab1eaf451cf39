"""Tile rows with known contents, made without reading a picture."""

from fractions import Fraction

import numpy as np

from transforms.functional.boxes import Detections
from transforms.functional.gain import DetectionCounts
from transforms.functional.quality import Mean, Quality
from transforms.functional.windows import Rectangle
from transforms.records import Affine6, ArmRow, Blur, Changes, Scene, TileRow, Truth, Window

NAMES = ("car", "bus")
UTM: Affine6 = (0.15, 0, 500_000, 0, -0.15, 5_300_000)
DEGREES: Affine6 = (2e-6, 0, 85.5, 0, -2e-6, 27.6)
TURNED: Affine6 = (0.12, 0.09, 690_000, 0.09, -0.12, 5_330_000)
SOUTH_UP: Affine6 = (0.15, 0, 500_000, 0, 0.15, 5_300_000)


def make_scene(
    name: str = "a.tif", crs: str | None = "EPSG:32632", transform: Affine6 = UTM
) -> Scene:
    """Return a scene of 4096 x 4096 pixels, as a header would describe it."""
    return Scene(name, f"in/{name}", 4096, 4096, (1, 2, 3), "uint8", crs, transform)


def make_detections(*boxes: tuple[float, float, float, float], score: float = 0.9) -> Detections:
    """Return horizontal boxes x0 y0 x1 y1 as detections of class 0 with one score."""
    corners = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, y0, x1, y1 in boxes]
    return Detections(
        np.array(corners, np.float32).reshape(-1, 4, 2),
        np.full(len(boxes), score, np.float32),
        np.zeros(len(boxes), np.int32),
    )


def make_tile_row(
    scene: Scene | None = None,
    detections: Detections | None = None,
    *,
    core: tuple[int, int, int, int] = (0, 512, 512, 512),
    truth: Truth = "none",
    blur: Blur | None = None,
) -> TileRow:
    """Return a measured row with the arms `before` and `after`, which found the same."""
    rectangle = Rectangle(*core)
    found = Detections.empty() if detections is None else detections
    quality = (
        Quality(Mean(Fraction(100), 50), Mean(Fraction(1, 2), 1)) if truth == "reference" else None
    )
    counts = {} if truth == "none" else {name: DetectionCounts(3, 2, 1) for name in NAMES}
    return TileRow(
        window=Window(scene or make_scene(), rectangle, rectangle, blur),
        status="measured",
        truth=truth,
        valid_pixels=rectangle.area,
        arms=(ArmRow("before", quality, counts, found), ArmRow("after", quality, counts, found)),
        changes=Changes(kept=len(found)),
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
