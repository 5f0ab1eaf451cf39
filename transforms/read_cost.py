"""What it costs to read a scene whose rows have to be read in order."""

import numpy as np

from configs.schema import ReadConfig
from transforms.functional.orientation import is_swapped
from transforms.records import Scene, Window
from transforms.row_bands import BAND_BYTES
from transforms.scenes import plan_groups

WORTH_A_NOTE = 128 * 2**20
"""Bytes of a decoded scene below which reading it is quick in any way."""


def cost_notes(scene: Scene, config: ReadConfig) -> list[str]:
    """Return warnings for people about a scene that is slow to read, with the estimated cost.

    Costs are pixels decoded per pixel of the scene. They are those of a file in strips. Of a JPEG
    or PNG that is too large to be kept as a whole more are decoded, for each read starts at its
    first row.
    """
    pixel = len(scene.bands) * np.dtype(scene.dtype).itemsize + 1
    total = scene.height * scene.width
    if not scene.sequential or total * pixel < WORTH_A_NOTE:
        return []
    groups = list(plan_groups(scene, config))
    windows = [window for group in groups for window in group]
    alone = sum(map(_decoded, windows)) / total
    banded = sum(max(map(_decoded, group)) for group in groups) / total
    tiled = sum(window.read.area for window in windows) / total
    band = max(map(_decoded, windows)) * pixel
    how = (
        f"in bands of rows, of up to {band / 2**20:.0f} MiB in each worker, {banded:.1f} times"
        if band <= BAND_BYTES
        else f"a band of rows would take {band / 2**20:.0f} MiB, more than {BAND_BYTES >> 20}, so "
        "that it is read window by window"
    )
    return [
        f"{scene.name} has no blocks to jump to (strips, or a picture such as JPEG): read window "
        f"by window {alone:.1f} times its pixels are decoded; {how}. Of a tiled copy "
        f"(gdal_translate -of COG) it would be {tiled:.1f} times"
    ]


def _decoded(window: Window) -> int:
    """Return the pixels of the rows of the file that a window needs."""
    scene, read = window.scene, window.read
    if is_swapped(scene.orientation):
        return read.width * scene.height
    return read.height * scene.width
