"""Tiles at the edges of a scene, made as large as those inside, so that networks meet one shape.

A tile is mirrored where its halo ends inside the scene: what lies beyond a halo hardly changes the
core. It is never mirrored at the scene's own edge, beside the core, where that would change it by
tens of levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle

Image = NDArray[np.uint8]
Ends = tuple[int, int]

MOST = 2
"""A tile grows to so many times its pixels at most: beyond that a shape of its own costs less."""


@dataclass(frozen=True)
class Margins:
    """What is added to a tile at (top, bottom) and (left, right), in px."""

    rows: Ends = (0, 0)
    columns: Ends = (0, 0)

    def pad(self, image: Image) -> Image:
        """Add the margins to (h, w, 3) by mirroring; returns it as it is where there are none."""
        if not any((*self.rows, *self.columns)):
            return image
        return np.pad(image, (self.rows, self.columns, (0, 0)), mode="symmetric")

    def crop(self, image: Image) -> Image:
        """Take the margins away again."""
        height, width = image.shape[:2]
        (top, bottom), (left, right) = self.rows, self.columns
        return image[top : height - bottom, left : width - right]


def find_margins(read: Rectangle, core: Rectangle, *, side: int, halo: int, stride: int) -> Margins:
    """Return what makes a tile (side, side), or as much of that as its halos allow, in px.

    Rows and columns are for themselves: margins lie where the tile has its whole halo, behind it
    rather than before it. Those before it are multiples of `stride`, on whose grid tiles begin.

    >>> inside, edge = Rectangle(480, 0, 544, 576), Rectangle(512, 0, 512, 512)
    >>> find_margins(inside, edge, side=576, halo=32, stride=32)
    Margins(rows=(0, 0), columns=(32, 0))
    """
    rows = _ends(
        side - read.height,
        core.row_off - read.row_off,
        read.row_off + read.height - core.row_off - core.height,
        halo,
        stride,
    )
    columns = _ends(
        side - read.width,
        core.col_off - read.col_off,
        read.col_off + read.width - core.col_off - core.width,
        halo,
        stride,
    )
    height, width = read.height + sum(rows), read.width + sum(columns)
    return Margins(rows, columns) if height * width <= MOST * read.area else Margins()


def _ends(missing: int, before: int, behind: int, halo: int, stride: int) -> Ends:
    """Return the margins before and behind along one axis, given the halos there."""
    if missing <= 0 or halo == 0:
        return 0, 0
    if behind >= halo:
        return 0, missing
    return (missing // stride * stride, 0) if before >= halo else (0, 0)
