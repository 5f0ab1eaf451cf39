"""A picture of one tile before and after deblurring, with the vehicles that were found.

    aerial-deblur demo
    python examples/before_after.py out/demo/run docs/images/demo.png

Takes a finished run with a blur or without, picks the tile in which deblurring brought back most,
processes it again, and draws the part that gained most, `before` and `after` side by side.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.load import validate
from configs.schema import RunConfig
from pipeline import manifest
from pipeline.direct import Networks, detect_windows
from pipeline.planning import Plan, plan_run
from transforms.functional.boxes import Detections
from transforms.parquet import read_rows
from transforms.records import DetectedTile
from transforms.tables import TILES

Image = NDArray[np.uint8]

GREEN = (80, 255, 80)
GAP = 8
SIDE, STEP = 480, 64


def best_window(output: Path) -> str:
    """Return the key of the tile in which most objects were gained."""
    tiles = read_rows(output, TILES, ("key", "gained", "lost"))
    return str(max(tiles, key=lambda tile: (tile["gained"] - tile["lost"], tile["key"]))["key"])


def draw(tile: DetectedTile, threshold: float) -> Image:
    """Return the richest part of both arms side by side, with the detections above a threshold."""
    images = tile.deblurred.images
    found = {
        arm: tile.detections[arm].select(tile.detections[arm].scores >= threshold)
        for arm in ("before", "after")
    }
    part = richest_part(found["before"], found["after"], images["after"].shape[:2])
    panels = [_draw_boxes(images[arm], boxes)[part] for arm, boxes in found.items()]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([panels[0], gap, panels[1]], axis=1)


def richest_part(
    before: Detections, after: Detections, shape: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of the square in which `after` has most more than `before`."""
    height, width = shape
    corners = [
        (row, col)
        for row in range(0, max(1, height - SIDE + 1), STEP)
        for col in range(0, max(1, width - SIDE + 1), STEP)
    ]

    def gained(corner: tuple[int, int]) -> int:
        low = np.array([corner[1], corner[0]])
        counts = [
            int(((low <= found.centres) & (found.centres < low + SIDE)).all(axis=1).sum())
            for found in (before, after)
        ]
        return counts[1] - counts[0]

    row, col = max(corners, key=gained)
    return slice(row, row + SIDE), slice(col, col + SIDE)


def _draw_boxes(image: Image, found: Detections) -> Image:
    panel = image.copy()
    for corners in found.corners:
        cv2.polylines(panel, [np.rint(corners).astype(np.int32)], True, GREEN, 1, cv2.LINE_AA)
    return panel


def detect_again(plan: Plan, key: str) -> DetectedTile:
    """Process one window of a run again, up to its detections."""
    windows = [window for window in plan.windows if window.key == key]
    [tile] = detect_windows(plan, windows, Networks.of(plan))
    if not isinstance(tile, DetectedTile):
        raise ValueError(f"the window {key} gave no detections: {tile}")
    return tile


def main(arguments: Sequence[str] | None = None) -> None:
    """Read a run, draw its best tile, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args(arguments)
    config = validate(RunConfig, manifest.read(options.run)["config"], source=str(options.run))
    tile = detect_again(plan_run(config), best_window(options.run))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    drawn = draw(tile, config.detect.score_threshold)
    cv2.imwrite(str(options.picture), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
