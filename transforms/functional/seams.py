"""Seams: whether deblurred tiles jump more across the borders of their cores than inside.

A jump is the difference of two neighbouring pixels. Across a border it has one pixel in either
core, so each core hands on its outermost pixels, in few places, and what it has counted inside;
where the edges of two cores meet, the jumps are taken, and summed along each line of borders.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from transforms.functional.windows import Rectangle

STEP = 8
"""Every so many pixels along a border, counted from the scene's corner, there is a place to look.

Both cores of a border so look at the same places.
"""
LINES = (8, 16, 24, 32)
"""How many pixels inside a border the lines run that it is compared with.

Borders lie on multiples of 32 px, where the blocks of JPEG and the grid of the network begin, so
the lines have to as well: else what these do to every eighth line would pass for a seam.
"""
STRONG = 8
"""Grey levels: greater jumps count as this, for they are edges of the scene, and a few of them
would decide."""
FLOOR = 1
"""Grey levels added to every jump, so that jumps too small to be seen make no great ratio."""
LEAST_LINES = 4
"""With fewer lines of borders there is no interval: one may run along a road by chance."""

BANDS = 3
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Border = tuple[int, int, int, int]
"""Axis, position, start and stop, in pixels of the scene.

Axis 0 lies between the rows position - 1 and position and runs over columns, axis 1 the other way.
"""


@dataclass(frozen=True)
class Jumps:
    """Jumps in `before` and in `after`: across borders, and on the `LINES` inside.

    Sums over pairs of pixels and three bands of `FLOOR` + min(|difference|, `STRONG`), in whole
    grey levels.
    """

    across: tuple[int, int] = (0, 0)
    inside: tuple[int, int] = (0, 0)
    across_pairs: int = 0
    inside_pairs: int = 0

    def __add__(self, other: "Jumps") -> "Jumps":
        return Jumps(
            (self.across[0] + other.across[0], self.across[1] + other.across[1]),
            (self.inside[0] + other.inside[0], self.inside[1] + other.inside[1]),
            self.across_pairs + other.across_pairs,
            self.inside_pairs + other.inside_pairs,
        )

    @property
    def ratios(self) -> tuple[float, float]:
        """Return the mean jump across / the mean jump inside of `before` and of `after`.

        nan without pairs; 1 without a seam; 1 + x with a seam of x <= `STRONG` levels in a picture
        without content.
        """
        if not self.across_pairs:
            return math.nan, math.nan
        share = self.inside_pairs / self.across_pairs
        (old, new), (old_inside, new_inside) = self.across, self.inside
        return share * old / old_inside, share * new / new_inside


@dataclass(frozen=True, eq=False)
class Edge:
    """One edge of a core, looked at in k places: its pixels in `before` and `after`.

    `outer` uint8 (2, k, 3) are the outermost pixels, `valid` bool (k,) says which hold data, and
    `inside` are the jumps on the `LINES`, none across.
    """

    outer: Image
    valid: Mask
    inside: Jumps


@dataclass(frozen=True, eq=False)
class Seams:
    """Jumps summed over lines of borders: what is on one line may have one cause.

    `moments` int64 (4, 4) is the sum over the lines of the outer product of (across, inside).
    Adding is exact, so the order does not matter.
    """

    jumps: Jumps
    moments: NDArray[np.int64]
    lines: int

    def __add__(self, other: "Seams") -> "Seams":
        moments = self.moments + other.moments
        return Seams(self.jumps + other.jumps, moments, self.lines + other.lines)

    @staticmethod
    def none() -> "Seams":
        """Return the sum over no lines."""
        return Seams(Jumps(), np.zeros((4, 4), np.int64), 0)

    @staticmethod
    def of(line: Jumps) -> "Seams":
        """Return what one line adds: nothing if it has no pairs."""
        if not line.across_pairs:
            return Seams.none()
        sums = np.array(line.across + line.inside, np.int64)
        return Seams(line, np.outer(sums, sums), 1)

    @property
    def excess(self) -> float:
        """Return how many times the ratio of `before` that of `after` is; nan without pairs."""
        before, after = self.jumps.ratios
        return after / before

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the excess, or None for fewer than `LEAST_LINES` lines.

        By linearisation of its logarithm over the lines (Woodruff 1971), with Student's t.
        """
        if self.lines < LEAST_LINES:
            return None
        weights = np.array([-1, 1, 1, -1]) / np.array(self.jumps.across + self.jumps.inside)
        variance = float(weights @ self.moments @ weights) * self.lines / (self.lines - 1)
        # Equal lines have no variance, and rounding may leave a little less than none.
        error = math.sqrt(max(variance, 0.0))
        factor = math.exp(float(stdtrit(self.lines - 1, 0.975)) * error)
        return self.excess / factor, self.excess * factor


def sample_edges(
    before: Image, after: Image, valid: Mask, *, core: Rectangle, read: Rectangle
) -> Iterator[tuple[Border, Edge]]:
    """Yield the four edges of a core: uint8 (h, w, 3) and bool (h, w) cover `read`."""
    owned = core.within(read)
    images, known = (before[owned], after[owned]), valid[owned]
    yield from _two_edges(images, known, 0, core)
    turned = (images[0].transpose(1, 0, 2), images[1].transpose(1, 0, 2))
    beside = Rectangle(core.row_off, core.col_off, core.height, core.width)
    yield from _two_edges(turned, known.T, 1, beside)


def jumps_between(first: Edge, second: Edge) -> Jumps:
    """Return the jumps where two edges meet, in either order; none if no pair holds data."""
    both = first.valid & second.valid
    inside = first.inside + second.inside
    if not both.any() or not inside.inside_pairs:
        return Jumps()
    old, new = (
        _sum_jumps(a[both], b[both]) for a, b in zip(first.outer, second.outer, strict=True)
    )
    return inside + Jumps(across=(old, new), across_pairs=int(both.sum()))


def _two_edges(
    images: tuple[Image, Image], valid: Mask, axis: int, core: Rectangle
) -> Iterator[tuple[Border, Edge]]:
    """Yield the upper and the lower edge of both pictures of a core."""
    start, stop = core.col_off, core.col_off + core.width
    places = slice(-start % STEP, None, STEP)
    for position, order in ((core.row_off, 1), (core.row_off + core.height, -1)):
        ordered = [image[::order, places] for image in images]
        yield (axis, position, start, stop), _upper_edge(ordered, valid[::order, places])


def _upper_edge(images: list[Image], valid: Mask) -> Edge:
    lines = np.array([line for line in LINES if line < len(valid)], np.intp)
    pairs = valid[lines - 1] & valid[lines]
    old, new = (_sum_jumps(image[lines - 1][pairs], image[lines][pairs]) for image in images)
    inside = Jumps(inside=(old, new), inside_pairs=int(pairs.sum()))
    return Edge(np.stack([image[0] for image in images]), valid[0].copy(), inside)


def _sum_jumps(a: Image, b: Image) -> int:
    """Sum the jumps between pixels uint8 (n, 3)."""
    jumps = np.minimum(np.abs(a.astype(np.int16) - b), STRONG) + FLOOR
    return int(jumps.sum(dtype=np.int64))
