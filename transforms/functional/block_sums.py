"""Sums over the blocks of 32 px of a picture, exact because they are sums of whole numbers."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]
Sums = NDArray[np.float64]

BLOCK = 32
"""Side of a block in px."""


def block_sums(image: Image, factor: Image | None = None) -> Sums:
    """Return the sums of a picture uint8 (h, w, b), or of its products with another: (R, C, b).

    Blocks count from the top left corner; those at the right and the bottom may hold less.
    """
    height, width, bands = image.shape
    rows, cols = -(-height // BLOCK), -(-width // BLOCK)
    # Added row by row of all blocks at once. float32 holds whole numbers up to 2^24, which 32
    # products of two bytes stay below.
    tall = np.zeros((rows, cols * BLOCK, bands), np.float32)
    for row in range(min(BLOCK, height)):
        lines = image[row::BLOCK]
        total = tall[: len(lines), :width]
        if factor is None:
            cv2.accumulate(lines, total)
        elif factor is image:
            cv2.accumulateSquare(lines, total)
        else:
            cv2.accumulateProduct(lines, factor[row::BLOCK], total)
    return sum_columns(tall)


def sum_columns(tall: Field) -> Sums:
    """Return the sums float64 (R, C, b) over 32 columns each of float32 (R, 32 C, b)."""
    rows, width, bands = tall.shape
    # As a matrix product, because numpy adds short rows slowly. Its order matters to no sum that
    # float64 holds exactly.
    chosen = np.tile(np.eye(bands), (BLOCK, 1))
    flat = tall.reshape(-1, BLOCK * bands).astype(np.float64)
    return (flat @ chosen).reshape(rows, width // BLOCK, bands)


def blacken(image: Image, valid: Mask) -> Image:
    """Return a picture (h, w, b) that is 0 where it is not valid (h, w)."""
    if valid.all():
        return image
    return np.asarray(cv2.bitwise_and(image, image, mask=valid.view(np.uint8)), np.uint8)
