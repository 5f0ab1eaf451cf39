"""Histograms of a picture's levels and gradients, and its power spectrum, as sums over tiles.

All sums are whole numbers, so that they add up to the same in any order.
"""

from dataclasses import dataclass, field
from functools import cache, partial

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.spectrum import RINGS, Counts, Image, sum_power

Mask = NDArray[np.bool_]

BANDS = ("red", "green", "blue")
LEVELS = 256
GRADIENT_BINS = 64
STEEP = 24
"""DN per px: from here up, an edge of `gradient_edges`, a gradient belongs to the heavy tail."""


def _zeros(size: int) -> Counts:
    return np.zeros((len(BANDS), size), np.int64)


@dataclass(frozen=True, eq=False)
class Histograms:
    """What is counted in the three bands of one arm; `Histograms()` is the zero.

    `levels` is int64 (3, 256). `gradients` is int64 (3, 64), over the bins of `gradient_edges`.
    `power` is int64 (3, RINGS), summed over `patches` patches as `transforms.functional.spectrum`
    says.
    """

    levels: Counts = field(default_factory=partial(_zeros, LEVELS))
    gradients: Counts = field(default_factory=partial(_zeros, GRADIENT_BINS))
    power: Counts = field(default_factory=partial(_zeros, RINGS))
    patches: int = 0

    def __add__(self, other: "Histograms") -> "Histograms":
        return Histograms(
            self.levels + other.levels,
            self.gradients + other.gradients,
            self.power + other.power,
            self.patches + other.patches,
        )


def measure_histograms(image: Image, valid: Mask, owned: tuple[slice, slice]) -> Histograms:
    """Count the owned pixels of a tile: `image` uint8 (h, w, 3), `valid` bool (h, w).

    A valid owned pixel counts by its level; by its gradient only where its four neighbours lie in
    the tile and are valid too, so that tiles with a halo of at least 1 px add up to the scene. The
    spectrum is that of whole valid patches of the core, from its top left corner on.
    """
    power, patches = sum_power(image[owned], valid[owned])
    return Histograms(
        _count_per_band(image[owned], valid[owned], LEVELS),
        _count_gradients(image, valid, owned),
        power,
        patches,
    )


def gradient_edges() -> NDArray[np.float64]:
    """Return the edges of the bins of the gradient, in DN per px: float64 (65,), half-open bins.

    Bins are 1 wide to 32, 2 to 64, 4 to 96 and 12 to 192; the steepest gradient is 180.3.
    """
    parts = [np.arange(0, 32), np.arange(32, 64, 2), np.arange(64, 96, 4), np.arange(96, 193, 12)]
    return np.concatenate(parts).astype(np.float64)


def _count_gradients(image: Image, valid: Mask, owned: tuple[slice, slice]) -> Counts:
    """Count |gradient| by central differences: half of what lies two pixels apart, in DN per px."""
    rows, columns = (_inside(part, size) for part, size in zip(owned, valid.shape, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return _zeros(GRADIENT_BINS)
    up, down = (_shift(rows, -1), columns), (_shift(rows, 1), columns)
    left, right = (rows, _shift(columns, -1)), (rows, _shift(columns, 1))
    counted = valid[rows, columns] & valid[up] & valid[down] & valid[left] & valid[right]
    across, along = cv2.absdiff(image[right], image[left]), cv2.absdiff(image[down], image[up])
    # The two bytes of 256 * across + along, side by side.
    pairs = cv2.merge([each.reshape(len(each), -1) for each in (along, across)])
    bins = np.take(_gradient_bins(), pairs.view("<u2").reshape(across.shape))
    return _count_per_band(bins, counted, GRADIENT_BINS)


def _inside(part: slice, size: int) -> slice:
    """Return the part of an axis of `size` pixels that has a neighbour on either side."""
    start, stop, _ = part.indices(size)
    return slice(max(start, 1), min(stop, size - 1))


def _shift(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


@cache
def _gradient_bins() -> NDArray[np.uint8]:
    """Return the bin of 256 * |across| + |down|, differences two pixels apart: uint8 (65536,)."""
    squares = np.arange(LEVELS) ** 2
    # Compared as whole numbers, so that no root decides about an edge.
    limits = (2 * gradient_edges()).astype(np.int64) ** 2
    return (np.searchsorted(limits, np.add.outer(squares, squares).ravel(), "right") - 1).astype(
        np.uint8
    )


def _count_per_band(values: NDArray[np.uint8], counted: Mask, size: int) -> Counts:
    """Count each value below `size` where `counted`: uint8 (h, w, 3) to int64 (3, size)."""
    counts = _zeros(size)
    mask = None if counted.all() else counted.astype(np.uint8)
    # OpenCV counts in float32, which is exact up to 2^24.
    rows = max(1, 2**24 // max(1, values.shape[1]))
    for top in range(0, len(values), rows):
        strip = slice(top, top + rows)
        for band in range(len(BANDS)):
            seen = None if mask is None else mask[strip]
            found = cv2.calcHist([values[strip]], [band], seen, [size], [0, size])
            counts[band] += found.ravel().astype(np.int64)
    return counts
