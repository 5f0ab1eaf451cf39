"""EXIF's orientation: between the pixels of a file and those of the upright picture.

Orientations are 1 to 8, as in EXIF: 1 is upright; from 5 on rows and columns change places.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle

Scalar = TypeVar("Scalar", bound=np.generic)

_SWAPPED = frozenset({5, 6, 7, 8})
_FROM_BOTTOM = frozenset({3, 4, 7, 8})
"""Whose first row of the upright picture is the last row, or column, of the file's."""
_FROM_RIGHT = frozenset({2, 3, 6, 7})


def is_swapped(orientation: int) -> bool:
    """Say whether the rows of the upright picture are columns of the file.

    Raises ValueError for what is no orientation.
    """
    if orientation not in range(1, 9):
        raise ValueError(f"an orientation is 1 to 8, got {orientation}")
    return orientation in _SWAPPED


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) of the upright picture; of the file, given those of the upright."""
    return (width, height) if is_swapped(orientation) else (height, width)


def to_file_rectangle(
    rectangle: Rectangle, orientation: int, *, height: int, width: int
) -> Rectangle:
    """Return the rectangle of the file that shows a rectangle of the upright picture.

    `height` and `width` are those of the upright picture.

    >>> to_file_rectangle(Rectangle(0, 0, 2, 1), 6, height=4, width=3)
    Rectangle(col_off=0, row_off=1, width=1, height=2)
    """
    left, top = rectangle.col_off, rectangle.row_off
    if orientation in _FROM_RIGHT:
        left = width - left - rectangle.width
    if orientation in _FROM_BOTTOM:
        top = height - top - rectangle.height
    if is_swapped(orientation):
        return Rectangle(top, left, rectangle.height, rectangle.width)
    return Rectangle(left, top, rectangle.width, rectangle.height)


def turn_upright(array: NDArray[Scalar], orientation: int) -> NDArray[Scalar]:
    """Return pixels (..., h, w) of a file as those of the upright picture, contiguous."""
    turned = np.swapaxes(array, -1, -2) if is_swapped(orientation) else array
    if orientation in _FROM_BOTTOM:
        turned = turned[..., ::-1, :]
    if orientation in _FROM_RIGHT:
        turned = turned[..., ::-1]
    return np.ascontiguousarray(turned)
