"""Windows: cores that partition a scene, and the halo that is read around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, order=True)
class Rectangle:
    """A half-open pixel rectangle of a scene: columns [col_off, col_off + width), rows likewise."""

    col_off: int
    row_off: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return self.width * self.height

    def grow(self, margin: int, *, height: int, width: int) -> "Rectangle":
        """Return the rectangle with a margin on every side, clipped to a scene of that size.

        >>> Rectangle(0, 512, 512, 512).grow(64, height=4096, width=4096)
        Rectangle(col_off=0, row_off=448, width=576, height=640)
        """
        left, top = max(0, self.col_off - margin), max(0, self.row_off - margin)
        right = min(width, self.col_off + self.width + margin)
        bottom = min(height, self.row_off + self.height + margin)
        return Rectangle(left, top, right - left, bottom - top)

    def within(self, outer: "Rectangle") -> tuple[slice, slice]:
        """Return the (rows, columns) slices that cut this rectangle out of an array of `outer`.

        Raises ValueError if it does not lie inside `outer`.
        """
        row, col = self.row_off - outer.row_off, self.col_off - outer.col_off
        if row < 0 or col < 0 or row + self.height > outer.height or col + self.width > outer.width:
            raise ValueError(f"rectangle must lie inside {outer}, got {self}")
        return slice(row, row + self.height), slice(col, col + self.width)

    def owns(self, x: float, y: float) -> bool:
        """Say whether a point in scene pixels belongs to this rectangle (half-open)."""
        inside_x = self.col_off <= x < self.col_off + self.width
        return inside_x and self.row_off <= y < self.row_off + self.height


def plan_cores(
    *, height: int, width: int, core: int, origin: tuple[int, int] = (0, 0)
) -> Iterator[Rectangle]:
    """Yield the cores of a scene, row by row: they cover every pixel exactly once.

    `origin` is the column and row of a corner of the grid, less than `core`. Cores at the edges are
    as small as what is left there. All sizes in pixels.
    """
    if min(height, width, core) < 1:
        raise ValueError(
            f"height, width and core must be positive, got {height}, {width} and {core}"
        )
    left, top = origin
    if not (0 <= left < core and 0 <= top < core):
        raise ValueError(f"origin must lie in [0, core={core}) both ways, got {origin}")
    rows, cols = _cuts(height, core, top), _cuts(width, core, left)
    for row, below in pairwise(rows):
        for col, right in pairwise(cols):
            yield Rectangle(col, row, right - col, below - row)


def _cuts(side: int, core: int, first: int) -> list[int]:
    """Return where a side is cut, with both of its ends."""
    return sorted({0, *range(first, side, core), side})


def pixels_read(*, height: int, width: int, core: int, halo: int) -> int:
    """Return how many pixels all cores of a scene and their halos read together."""
    sides = 1
    for side in (height, width):
        cuts = pairwise(_cuts(side, core, 0))
        sides *= sum(min(stop + halo, side) - max(start - halo, 0) for start, stop in cuts)
    return sides
