"""The Morton (Z-order) curve: a one-dimensional order in which neighbours on the map stay close."""

import numpy as np
from numpy.typing import NDArray

BITS = 16
"""Cells along one axis are 2 ** BITS."""

LAST = np.uint64(2 ** (2 * BITS))
"""The code of a point without a place: after every other."""


def morton_codes(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the place of each point on the Z-order curve over their common extent: uint64 (k,).

    `points` is float64 (k, 2), x y in any unit. The bits of the two cell numbers are interleaved, x
    in the even ones (Morton 1966). Points that are not finite get `LAST`.
    """
    placed = np.isfinite(points).all(axis=1)
    codes = np.full(len(points), LAST)
    if placed.any():
        cells = _cells(points[placed])
        codes[placed] = _spread(cells[:, 0]) | (_spread(cells[:, 1]) << np.uint64(1))
    return codes


def _cells(points: NDArray[np.float64]) -> NDArray[np.uint64]:
    low = points.min(axis=0)
    extent = points.max(axis=0) - low
    share = np.divide(points - low, extent, out=np.zeros_like(points), where=extent > 0)
    return np.asarray(np.minimum(share * 2**BITS, 2**BITS - 1), np.uint64)


def _spread(cells: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put a zero bit between the 16 bits of each number, by halving the groups four times."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        cells = (cells | (cells << np.uint64(shift))) & np.uint64(mask)
    return cells
