"""Pixels on their way to 8-bit RGB, and to the size that a network wants."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def stretch_to_uint8(array: NDArray[Any], low: float, high: float) -> Image:
    """Map [low, high] linearly to [0, 255]: rounded, clipped, then cast; NaN becomes 0.

    Any real dtype, any shape.

    >>> stretch_to_uint8(np.array([-1.0, 0.0, 2.0, 9.0]), 0, 4).tolist()
    [0, 0, 128, 255]
    """
    if not low < high:
        raise ValueError(f"a stretch needs low < high, got low={low}, high={high}")
    scaled = (array.astype(np.float64) - low) * (255.0 / (high - low))
    filled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(np.rint(filled), 0, 255).astype(np.uint8)


def stretch_bands(bands: NDArray[Any], stretch: Sequence[tuple[float, float]]) -> Image:
    """Map every band of (b, h, w) from its own (low, high) to [0, 255], as `stretch_to_uint8`."""
    if len(bands) != len(stretch):
        raise ValueError(f"a stretch for each band is wanted: {len(bands)}, got {len(stretch)}")
    mapped = np.empty(bands.shape, np.uint8)
    for band, (low, high), target in zip(bands, stretch, mapped, strict=True):
        target[...] = stretch_to_uint8(band, low, high)
    return mapped


def bands_to_rgb(bands: Image) -> Image:
    """Turn uint8 bands (1 or 3, h, w) into a contiguous RGB image (h, w, 3)."""
    if bands.ndim != 3 or bands.shape[0] not in (1, 3):
        raise ValueError(f"one or three bands (b, h, w) are wanted, got shape {bands.shape}")
    return np.asarray(cv2.merge([*np.broadcast_to(bands, (3, *bands.shape[1:]))]), np.uint8)


def first_equals(images: Sequence[Image]) -> list[int]:
    """Return for every picture the place of the first one that has its pixels.

    >>> zero, one = np.zeros((1, 1, 3), np.uint8), np.ones((1, 1, 3), np.uint8)
    >>> first_equals([zero, one, zero.copy()])
    [0, 1, 0]
    """
    firsts: list[int] = []
    for index, image in enumerate(images):
        known = (first for first in dict.fromkeys(firsts) if _are_equal(images[first], image))
        firsts.append(next(known, index))
    return firsts


def _are_equal(one: Image, two: Image) -> bool:
    """Say whether two pictures have the same pixels: most that do not differ in the first rows."""
    return one is two or (np.array_equal(one[:8], two[:8]) and np.array_equal(one, two))


def pad_to(image: Image, height: int, width: int) -> Image:
    """Pad (h, w, 3) at the bottom and the right to at least (height, width), by mirroring.

    The mirror repeats where the padding exceeds the image. `crop_to` is the inverse.
    """
    if min(image.shape[:2]) < 1:
        raise ValueError(f"an image without pixels cannot be padded, got shape {image.shape}")
    down, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    return np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric")


def crop_to(image: Image, height: int, width: int) -> Image:
    """Return the top left (height, width) of an image (h, w, 3)."""
    if height > image.shape[0] or width > image.shape[1]:
        raise ValueError(f"cannot crop {image.shape[:2]} to ({height}, {width})")
    return image[:height, :width]


def shift(image: Image, pixels: int) -> Image:
    """Move an image (h, w, 3) right and down by so many pixels; what enters mirrors the border."""
    height, width = image.shape[:2]
    moved = np.pad(image, ((pixels, 0), (pixels, 0), (0, 0)), mode="symmetric")
    return np.ascontiguousarray(moved[:height, :width])
