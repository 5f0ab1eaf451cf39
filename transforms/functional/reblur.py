"""Telling invented objects: blur them again and look for them in the picture before.

A real object that deblurring brought out gives the picture `before` back when it is blurred again;
an invented one gives a signal there that `before` does not hold. The object's own signal is what
`after` shows in its box beyond a background drawn over the box from its four sides. Everything is
blurred in linear light and compared in grey levels, in which the rounding to 8 bits is even.

What the kernel wipes out cannot be told: an object of the right light in the right place whose
details were invented passes. The matched filter is that of Turin 1960 (IRE Trans. IT 6(3)).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import Kernel, convolve
from transforms.functional.camera import Image, Linear, decode_srgb

Float = NDArray[np.float32]
Verdict = Literal["consistent", "inconsistent", "undecided"]
Region = tuple[slice, slice]

CONSISTENT_FROM = 0.75
INCONSISTENT_BELOW = 0.6
"""Evidence; chosen on scenes that are in no reported number (docs/metrics.md)."""

LEAST_SIGNAL = 3.0
"""Times the tile's usual misfit."""

# Two pictures of 8 bits differ by this many grey levels even where nothing else is wrong.
_ROUNDING = 0.5
_NORMAL_PER_MEDIAN = 1.4826  # standard deviation over median absolute value, of normal noise
_SIDE = 2  # pixels beside a box that stand for its background
_GROWTH = 1  # a box cuts the soft edge of its object
_MIDDLE = 512  # px: enough of a tile to know its usual misfit


@dataclass(frozen=True, eq=False)
class ReblurCheck:
    """What blurring `after` again says of k objects; all three arrays are float32 (k,).

    evidence: the share of the object's predicted signal that is in `before`: 1 if all of it, 0 if
    nothing, beyond these by chance; nan where nothing can be compared. residual: rms of `before`
    less the re-blurred `after` in the object's box, and signal: rms of the predicted signal over
    the area of the box, both times the tile's usual misfit; 0 where nothing can be compared.
    """

    evidence: Float
    residual: Float
    signal: Float


def check_reblur(before: Image, after: Image, boxes: Float, kernel: Kernel) -> ReblurCheck:
    """Compare objects of `after` with `before` through the blur between the two pictures.

    Both pictures are uint8 (h, w, 3), boxes float32 (k, 4) xyxy pixels, and the kernel (n, n), n
    odd, is that of `motion_kernel`, known or estimated; (1, 1) compares the pictures as they are.
    Objects do not see each other's boxes. Pixels nearer to the tile's border than the kernel
    reaches are left out, for their light came from beyond.

        evidence = 1 + sum(signal * misfit) / sum(signal^2)

    is the least-squares share of the signal in `before` once the background's is taken off.
    """
    _check_arguments(before, after, boxes, kernel)
    if len(boxes) == 0:
        return ReblurCheck(*np.zeros((3, 0), np.float32))
    usual = _usual_misfit(before, after, kernel)
    rows = [_check_object(before, after, box, kernel) for box in boxes]
    evidence, residual, signal = np.array(rows, np.float32).T
    return ReblurCheck(evidence, residual / usual, signal / usual)


def judge_reblur(check: ReblurCheck) -> tuple[Verdict, ...]:
    """Return a verdict per object, on whether `before` holds its light.

    `undecided` where the predicted signal is below `LEAST_SIGNAL`, or the evidence lies between
    `INCONSISTENT_BELOW` and `CONSISTENT_FROM`, or there is none.
    """
    return tuple(
        _judge(float(evidence), float(signal))
        for evidence, signal in zip(check.evidence, check.signal, strict=True)
    )


def _judge(evidence: float, signal: float) -> Verdict:
    if signal < LEAST_SIGNAL:
        return "undecided"
    if evidence >= CONSISTENT_FROM:
        return "consistent"
    return "inconsistent" if evidence < INCONSISTENT_BELOW else "undecided"


def _usual_misfit(before: Image, after: Image, kernel: Kernel) -> np.float32:
    """Return the misfit of an ordinary pixel in the middle of the tile, in grey levels."""
    size = before.shape[:2]
    middle = tuple(
        slice(max(0, side // 2 - _MIDDLE // 2), min(side, side // 2 + _MIDDLE // 2))
        for side in size
    )
    levels = (decode_srgb(before[middle]) - convolve(decode_srgb(after[middle]), kernel)) * (
        _levels_per_light()[before[middle]]
    )
    seen = np.abs(levels[_inside(levels.shape, kernel)])
    usual = _NORMAL_PER_MEDIAN * float(np.median(seen)) if seen.size else 0.0
    return np.float32(max(usual, _ROUNDING))


def _inside(size: tuple[int, ...], kernel: Kernel) -> Region:
    """Return the pixels of a picture whose light all came from within it."""
    rows, cols = (
        slice(reach, max(reach, side - reach))
        for reach, side in zip(_reach(kernel), size, strict=False)
    )
    return rows, cols


def _levels_per_light() -> Float:
    """Return the slope of the camera's curve at each grey level, float32 (256,)."""
    return (1 / np.gradient(decode_srgb(np.arange(256, dtype=np.uint8)))).astype(np.float32)


def _check_object(
    before: Image, after: Image, box: Float, kernel: Kernel
) -> tuple[float, float, float]:
    """Return evidence, and residual and signal in grey levels, of the object in a box."""
    size, reach = (before.shape[0], before.shape[1]), _reach(kernel)
    wide = _pixels_of(box, size)
    # Beside the object: what its light reaches, what reaches there, and its background.
    around = _grown(wide, (2 * reach[0] + _SIDE, 2 * reach[1] + _SIDE), size)
    region = _relative(wide, around)
    light, shown = decode_srgb(after[around]), before[around]
    background = estimate_background(light, region)
    if background is None:
        return np.nan, 0.0, 0.0
    tone = _levels_per_light()[shown]
    misfit = (decode_srgb(shown) - convolve(light, kernel)) * tone
    inside = _relative(_overlap(around, _inside(size, kernel)), around)
    crop = _grown(region, reach, (light.shape[0], light.shape[1]))
    own = np.zeros((*_shape(crop), 3), np.float32)
    own[_relative(region, crop)] = light[region] - background
    compared = _overlap(crop, inside)
    signal = (convolve(own, kernel) * tone[crop])[_relative(compared, crop)]
    power = float(np.sum(signal * signal, dtype=np.float64))
    if power == 0:
        return np.nan, 0.0, 0.0
    evidence = 1 + float(np.sum(signal * misfit[compared], dtype=np.float64)) / power
    samples = 3 * float(np.prod(_shape(region)))
    inner = misfit[_overlap(region, inside)]
    squared = float(np.sum(inner * inner, dtype=np.float64)) / max(inner.size, 1)
    return evidence, np.sqrt(squared), np.sqrt(power / samples)


def estimate_background(light: Linear, region: Region) -> Linear | None:
    """Return what would be seen in a region if it held no object: (rows, columns, 3).

    Each pixel is the mean of the pixels straight to its left, right, top and bottom just outside
    the region, weighted by the inverse of their distance (px): edges that cross the region go on.
    Sides beyond the picture are left out. None where no side is left, or the region is empty.
    """
    rows, cols = region
    height, width = _shape(region)
    if height == 0 or width == 0:
        return None
    y = np.arange(1, height + 1, dtype=np.float32)[:, None, None]
    x = np.arange(1, width + 1, dtype=np.float32)[None, :, None]
    left, right = max(0, cols.start - _SIDE), cols.stop + _SIDE
    top, bottom = max(0, rows.start - _SIDE), rows.stop + _SIDE
    sides = (
        (light[rows, left : cols.start], 1, 1 / x),
        (light[rows, cols.stop : right], 1, 1 / (width + 1 - x)),
        (light[top : rows.start, cols], 0, 1 / y),
        (light[rows.stop : bottom, cols], 0, 1 / (height + 1 - y)),
    )
    seen = [(side.mean(axis, keepdims=True), share) for side, axis, share in sides if side.size]
    if not seen:
        return None
    total = sum((share for _, share in seen), start=np.zeros((height, width, 1), np.float32))
    drawn = sum((mean * share for mean, share in seen), start=np.zeros((height, width, 3)))
    return np.asarray(drawn / total, dtype=np.float32)


def _pixels_of(box: Float, size: tuple[int, int]) -> Region:
    """Return the pixels that a box xyxy touches and `_GROWTH` around them, inside the picture."""
    low = np.floor(box[:2]).astype(int) - _GROWTH
    high = np.ceil(box[2:]).astype(int) + _GROWTH
    (left, top), (right, bottom) = low.clip(0, size[::-1]), high.clip(0, size[::-1])
    return slice(int(top), int(max(top, bottom))), slice(int(left), int(max(left, right)))


def _reach(kernel: Kernel) -> tuple[int, int]:
    """Return how many rows and columns away from its centre a kernel takes light."""
    rows, cols = np.nonzero(kernel)
    centre_row, centre_col = kernel.shape[0] // 2, kernel.shape[1] // 2
    return int(np.abs(rows - centre_row).max()), int(np.abs(cols - centre_col).max())


def _grown(region: Region, margin: tuple[int, int], size: tuple[int, int]) -> Region:
    rows, cols = (
        slice(max(0, part.start - more), min(limit, part.stop + more))
        for part, more, limit in zip(region, margin, size, strict=True)
    )
    return rows, cols


def _overlap(one: Region, other: Region) -> Region:
    """Return the pixels in both regions; empty at the first's start where they do not meet."""
    starts = [max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(one, other, strict=True)]
    rows, cols = (
        slice(start, stop) if start < stop else slice(a.start, a.start)
        for start, stop, a in zip(starts, stops, one, strict=True)
    )
    return rows, cols


def _relative(region: Region, outer: Region) -> Region:
    """Return a region that lies in `outer` in the pixels of `outer`."""
    rows, cols = (
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(region, outer, strict=True)
    )
    return rows, cols


def _shape(region: Region) -> tuple[int, int]:
    return region[0].stop - region[0].start, region[1].stop - region[1].start


def _check_arguments(before: Image, after: Image, boxes: Float, kernel: Kernel) -> None:
    if before.ndim != 3 or before.shape != after.shape or before.shape[2] != 3:
        raise ValueError(
            f"before and after must both be (h, w, 3), got {before.shape} and {after.shape}"
        )
    if before.dtype != np.uint8 or after.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8, got {before.dtype} and {after.dtype}")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f"boxes must be finite xyxy (k, 4), got {boxes.shape}")
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise ValueError(f"a kernel has odd sides, got {kernel.shape}")
