"""The radiometry lock: what a network changes keeps the low frequencies of its input.

The change d = after - before loses its mean over every block of 32 x 32 px, per band. What is taken
away is smooth: between the corners of the blocks, whose value is the mean of d over the four blocks
that meet there, it is bilinear; a bump in each block, zero at its border, repairs the mean. The
blocks lie on the grid of the scene, so that overlapping tiles agree.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]
Sums = NDArray[np.float64]

BLOCK = 32
"""Side of a block in px. Tile origins are multiples of it, so that tiles see whole blocks."""
REACH = 2 * BLOCK
"""A pixel depends on nothing farther away, in px: its own block and the eight around it."""
DRIFT = 0.4
"""A block whose mean drifts by more, after rounding and clipping, is repaired (grey levels)."""

# Corners are multiples of 1/8, and weights of 1/64 each way: 15 bits behind the point and 9 before
# it. So float32 holds the field exactly, and no order of the arithmetic can change a bit.
_CORNER_STEPS = 8.0
# A mask can leave only the rim of a block, where the bump is flat: then the block takes a constant.
_LEAST_BUMP = 0.25


def lock_low_frequencies(
    before: Image, after: Image, valid: Mask, origin: tuple[int, int]
) -> Image:
    """Return `after` (h, w, 3) with the block means of `before`; both RGB, 0 to 255.

    `origin` is the (col, row) of the arrays in the scene. Over the valid pixels of each block the
    mean of every band stays within 0.5 grey levels of that of `before`, also where levels saturate:
    what clipping takes is given back to the rest of the block. Pixels that are not `valid` (h, w)
    come from `before`. If `after` is `before`, or differs by a constant, `before` is returned.
    """
    if before.shape != after.shape or before.shape[:2] != valid.shape:
        raise ValueError(
            "before and after (h, w, 3) and valid (h, w) must be of one size, "
            f"got {before.shape}, {after.shape}, {valid.shape}"
        )
    if not valid.any():
        return before.copy()
    frame = _Frame.of(valid, origin)
    bands = zip(cv2.split(before), cv2.split(after), strict=True)
    locked = cv2.merge([_lock(frame, old, new) for old, new in bands]).reshape(before.shape)
    if not valid.all():
        locked[~valid] = before[~valid]
    return np.asarray(locked, np.uint8)


@dataclass(frozen=True, eq=False)
class _Frame:
    """The blocks around an array: its padding up to whole blocks, and what of them is valid.

    `mask` is float32 0 or 1 over the padded array (H, W), `counts` float64 (R, C) its block sums.
    `bump` (H, W) is u (1 - u) v (1 - v) in every block, times 36 for a mean of 1; `bumps` are its
    block sums over valid pixels.
    """

    pads: tuple[int, int, int, int]
    whole: bool
    mask: Field
    bump: Field
    counts: Sums
    bumps: Sums

    @staticmethod
    def of(valid: Mask, origin: tuple[int, int]) -> "_Frame":
        left, top = (start % BLOCK for start in origin)
        height, width = valid.shape
        pads = (top, -(height + top) % BLOCK, left, -(width + left) % BLOCK)
        mask = _pad(valid.astype(np.uint8), pads).astype(np.float32)
        counts = _block_sums(mask)
        across = (np.arange(BLOCK) + 0.5) / BLOCK
        profile = 6 * across * (1 - across)
        bump = np.tile(np.outer(profile, profile).astype(np.float32), counts.shape)
        return _Frame(pads, bool(mask.all()), mask, bump, counts, _block_sums(mask * bump))

    def blind(self, change: Field) -> Field:
        """Return a change (H, W) that is 0 where pixels are not valid."""
        return change if self.whole else change * self.mask

    def crop(self, padded: Image) -> Image:
        """Return the part of the padded array (H, W) that is the array."""
        top, bottom, left, right = self.pads
        return padded[top : padded.shape[0] - bottom, left : padded.shape[1] - right]


def _lock(frame: _Frame, before: Image, after: Image) -> Image:
    """Lock one band (h, w)."""
    old, new = _pad(before, frame.pads), _pad(after, frame.pads)
    change = frame.blind(_difference(new, old))
    field = _between_corners(change, frame)
    field += _bumps(_block_sums(frame.blind(change - field)), frame)
    wanted = new - field
    levels = cv2.convertScaleAbs(np.maximum(wanted, 0))  # rounds half to even, and clips at 255
    _repair(levels, wanted, old, frame)
    return np.ascontiguousarray(frame.crop(levels))


def _between_corners(change: Field, frame: _Frame) -> Field:
    """Return the bilinear field (H, W) between the means of the blocks that meet at each corner."""
    sums, counts = (_around_corners(each) for each in (_block_sums(change), frame.counts))
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    corners = (np.rint(means * _CORNER_STEPS) / _CORNER_STEPS).astype(np.float32)
    rows, cols = corners.shape
    fine = cv2.resize(corners, (cols * BLOCK, rows * BLOCK), interpolation=cv2.INTER_LINEAR)
    half = BLOCK // 2
    return np.ascontiguousarray(fine[half:-half, half:-half])


def _around_corners(sums: Sums) -> Sums:
    """Add up the one to four blocks (R, C) that meet at each corner (R + 1, C + 1)."""
    wide = np.pad(sums, 1)
    return np.asarray(wide[:-1, :-1] + wide[:-1, 1:] + wide[1:, :-1] + wide[1:, 1:])


def _bumps(rest: Sums, frame: _Frame) -> Field:
    """Return the field (H, W) that takes block sums `rest` (R, C) away over valid pixels."""
    steep = frame.bumps >= _LEAST_BUMP * frame.counts
    behind = np.where(steep, frame.bumps, frame.counts)
    heights = np.divide(rest, behind, out=np.zeros_like(rest), where=behind > 0)
    field = _enlarge(np.where(steep, heights, 0)) * frame.bump
    return field if steep.all() else field + _enlarge(np.where(steep, 0, heights))


def _repair(levels: Image, wanted: Field, old: Image, frame: _Frame) -> None:
    """Shift the valid pixels of blocks that rounding or clipping moved too far, in place (H, W)."""
    moved = _block_sums(frame.blind(_difference(levels, old)))
    for row, col in np.argwhere(np.abs(moved) > DRIFT * frame.counts):
        at = np.s_[row * BLOCK : (row + 1) * BLOCK, col * BLOCK : (col + 1) * BLOCK]
        valid = frame.mask[at] > 0
        levels[at][valid] = _with_sum(wanted[at][valid], int(old[at][valid].sum(dtype=np.int64)))


def _with_sum(wanted: Field, total: int) -> Image:
    """Return levels (n,) nearest to `wanted` plus a constant, between 0 and 255, that sum to total.

    What the rounding leaves goes to the pixels that it hurts least, one level each.
    """
    ideal = np.clip(wanted.astype(np.float64) + _constant(wanted, total), 0, 255)
    levels = np.floor(ideal)
    missing = max(total - int(levels.sum()), 0)
    levels[np.argsort(levels - ideal, kind="stable")[:missing]] += 1
    return np.clip(levels, 0, 255).astype(np.uint8)


def _constant(wanted: Field, total: int) -> float:
    """Find by bisection what to add to `wanted` (n,) for its levels, once clipped, to sum to total.

    Where nothing is clipped that is nothing: the mean is right already.
    """
    if wanted.min() >= 0 and wanted.max() <= 255:
        return 0.0
    low, high = -float(wanted.max()), 255.0 - float(wanted.min())
    for _ in range(24):
        middle = (low + high) / 2
        if np.clip(wanted + middle, 0, 255).sum(dtype=np.float64) < total:
            low = middle
        else:
            high = middle
    return high


def _difference(new: Image, old: Image) -> Field:
    return np.asarray(cv2.subtract(new, old, dtype=cv2.CV_32F), np.float32)


def _pad(band: Image, pads: tuple[int, int, int, int]) -> Image:
    return np.asarray(cv2.copyMakeBorder(band, *pads, cv2.BORDER_CONSTANT, value=0), np.uint8)


def _block_sums(array: Field) -> Sums:
    """Return the sums float64 (R, C) over the blocks of an array (H, W)."""
    height, width = array.shape
    tall = array.reshape(height // BLOCK, BLOCK, width).sum(axis=1, dtype=np.float64)
    return np.asarray(tall.reshape(-1, width // BLOCK, BLOCK).sum(axis=2))


def _enlarge(blocks: Sums) -> Field:
    rows, cols = blocks.shape
    size = (cols * BLOCK, rows * BLOCK)
    return np.asarray(
        cv2.resize(blocks.astype(np.float32), size, interpolation=cv2.INTER_NEAREST), np.float32
    )
