"""The radiometry lock: what a network changes keeps the low frequencies of its input.

The change d = after - before loses its mean over every block of 32 x 32 px, per band. What is taken
away is smooth: between the corners of the blocks, whose value is the mean of d over the four blocks
that meet there, it is bilinear; a bump in each block, zero at its border, repairs the mean. The
blocks lie on the grid of the scene, so that overlapping tiles agree.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from transforms.functional.block_sums import (
    BLOCK,
    Field,
    Image,
    Mask,
    Sums,
    blacken,
    block_sums,
    sum_columns,
)

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
    old, new = (blacken(frame.pad(image), frame.valid) for image in (before, after))
    locked = frame.crop(_lock(frame, old, new))
    if not valid.all():
        locked[~valid] = before[~valid]
    return np.ascontiguousarray(locked)


@dataclass(frozen=True, eq=False)
class _Frame:
    """The blocks around an array: its padding up to whole blocks, and what of them is valid.

    `valid` is bool over the padded array (H, W), `counts` float64 (R, C, 1) its block sums. The
    bump of a block is u (1 - u) v (1 - v), times 36 for a mean of 1; `bumps` (R, C, 1) are its sums
    over valid pixels.
    """

    pads: tuple[int, int, int, int]
    valid: Mask
    counts: Sums
    bumps: Sums

    @staticmethod
    def of(valid: Mask, origin: tuple[int, int]) -> "_Frame":
        left, top = (start % BLOCK for start in origin)
        height, width = valid.shape
        pads = (top, -(height + top) % BLOCK, left, -(width + left) % BLOCK)
        padded = _pad(valid.view(np.uint8), pads)
        counts = block_sums(padded[..., None])
        rows, cols, _ = counts.shape
        if padded.all():
            bumps = np.full_like(counts, _bump().sum())
        else:
            blocks = padded.reshape(rows, BLOCK, cols, BLOCK)
            bumps = np.einsum("rycx,yx->rc", blocks, _bump())[..., None]
        return _Frame(pads, padded > 0, counts, bumps)

    def pad(self, image: Image) -> Image:
        """Fill an array (h, w, 3) up to whole blocks, (H, W, 3)."""
        return _pad(image, self.pads)

    def crop(self, padded: Image) -> Image:
        """Return the part of the padded array (H, W, 3) that is the array."""
        top, bottom, left, right = self.pads
        return padded[top : padded.shape[0] - bottom, left : padded.shape[1] - right]

    @property
    def steep(self) -> Mask:
        """Return the blocks (R, C, 1) that take a bump; the others take a constant."""
        return np.asarray(self.bumps >= _LEAST_BUMP * self.counts)


@dataclass(frozen=True, eq=False)
class _Correction:
    """What is taken away from a change (H, W, 3), row of blocks by row of blocks.

    `lines` float32 (R + 1, W, 3) run through the corners, between which the field is bilinear.
    `heights` float32 (R, C, 3) are those of the bumps.
    """

    frame: _Frame
    lines: Field
    heights: Field

    @staticmethod
    def of(frame: _Frame, change: Sums) -> "_Correction":
        """Return what takes away the block sums (R, C, 3) of a change over valid pixels."""
        corners = _corner_means(change, frame.counts)
        lines = _to_pixels(change.shape[1]) @ corners
        rest = change - _field_sums(frame, corners, lines)
        behind = np.where(frame.steep, frame.bumps, frame.counts)
        heights = np.divide(rest, behind, out=np.zeros_like(rest), where=behind > 0)
        return _Correction(frame, lines, heights.astype(np.float32))

    def strip(self, row: int) -> Field:
        """Return it in one row of blocks, float32 (32, W, 3)."""
        field = _between(self.lines[row : row + 2])
        field += self._bumps(row) * np.repeat(self.heights[row], BLOCK, axis=0)
        return field

    def _bumps(self, row: int) -> Field:
        steep = self.frame.steep[row, :, 0]
        bumps = _bump_strip(len(steep))
        if steep.all():
            return bumps
        bumps = bumps.copy()
        bumps.reshape(BLOCK, len(steep), -1)[:, ~steep] = 1
        return bumps


def _lock(frame: _Frame, old: Image, new: Image) -> Image:
    """Lock a picture (H, W, 3) that is 0 where it is not valid; there it can become anything."""
    before = block_sums(old)
    correction = _Correction.of(frame, block_sums(new) - before)
    levels = np.empty_like(new)
    # Row of blocks by row of blocks: what is computed on stays in the cache.
    for row in range(len(before)):
        wanted = _wanted(new[_rows(row)], correction.strip(row))
        cv2.threshold(wanted, 0, 0, cv2.THRESH_TOZERO, dst=wanted)
        # Rounds half to even, and clips at 255.
        cv2.convertScaleAbs(wanted, dst=levels[_rows(row)])
    moved = block_sums(blacken(levels, frame.valid)) - before
    _repair(levels, np.abs(moved) > DRIFT * frame.counts, correction, old, new)
    return levels


def _repair(levels: Image, drifting: Mask, correction: _Correction, old: Image, new: Image) -> None:
    """Shift the valid pixels of blocks (R, C, 3) that rounding or clipping moved too far."""
    for row in np.flatnonzero(drifting.any(axis=(1, 2))).tolist():
        at, valid = _rows(row), correction.frame.valid[_rows(row)]
        wanted = _wanted(new[at], correction.strip(row))
        for col, band in np.argwhere(drifting[row]):
            place = np.s_[:, col * BLOCK : (col + 1) * BLOCK]
            inside = valid[place]
            total = int(old[at][place][inside, band].sum(dtype=np.int64))
            levels[at][place][inside, band] = _with_sum(wanted[place][inside, band], total)


def _wanted(new: Image, correction: Field) -> Field:
    return np.asarray(cv2.subtract(new, correction, dtype=cv2.CV_32F), np.float32)


def _rows(row: int) -> slice:
    return slice(row * BLOCK, (row + 1) * BLOCK)


def _corner_means(change: Sums, counts: Sums) -> Field:
    """Return the mean over the blocks (R, C, 3) that meet at each corner, (R + 1, C + 1, 3)."""
    total, pixels = _around_corners(change), _around_corners(counts)
    means = np.divide(total, pixels, out=np.zeros_like(total), where=pixels > 0)
    return (np.rint(means * _CORNER_STEPS) / _CORNER_STEPS).astype(np.float32)


def _around_corners(sums: Sums) -> Sums:
    """Add up the one to four blocks (R, C, b) that meet at each corner (R + 1, C + 1, b)."""
    wide = np.pad(sums, ((1, 1), (1, 1), (0, 0)))
    return np.asarray(wide[:-1, :-1] + wide[:-1, 1:] + wide[1:, :-1] + wide[1:, 1:])


def _field_sums(frame: _Frame, corners: Field, lines: Field) -> Sums:
    """Return the block sums (R, C, 3) of the bilinear field over valid pixels."""
    wide = corners.astype(np.float64)
    sums = wide[:-1, :-1] + wide[:-1, 1:] + wide[1:, :-1] + wide[1:, 1:]
    sums *= BLOCK**2 / 4
    partly = (frame.counts < BLOCK**2).any(axis=(1, 2))
    for row in np.flatnonzero(partly).tolist():
        field = _between(lines[row : row + 2]) * frame.valid[_rows(row), :, None]
        sums[row] = sum_columns(field.sum(axis=0, dtype=np.float64)[None])[0]
    return np.asarray(sums)


def _between(lines: Field) -> Field:
    """Return the field float32 (32, W, 3) between two lines (2, W, 3)."""
    down = _to_pixels(1) @ lines.reshape(2, -1)
    return np.asarray(down.reshape(BLOCK, *lines.shape[1:]))


@lru_cache(8)
def _to_pixels(blocks: int) -> Field:
    """Return what interpolates between the ends of blocks: float32 (32 blocks, blocks + 1)."""
    share = ((np.arange(BLOCK) + 0.5) / BLOCK).astype(np.float32)
    weights = np.zeros((blocks, BLOCK, blocks + 1), np.float32)
    for block in range(blocks):
        weights[block, :, block], weights[block, :, block + 1] = 1 - share, share
    return weights.reshape(blocks * BLOCK, blocks + 1)


def _bump() -> Sums:
    """Return the bump of a block, float64 (32, 32) as float32 holds it."""
    across = (np.arange(BLOCK) + 0.5) / BLOCK
    profile = 6 * across * (1 - across)
    return np.outer(profile, profile).astype(np.float32).astype(np.float64)


@lru_cache(8)
def _bump_strip(blocks: int) -> Field:
    """Return the bumps of a row of blocks, the same in every band: float32 (32, W, 3)."""
    strip = np.tile(_bump().astype(np.float32), (1, blocks))
    return np.repeat(strip[..., None], 3, axis=2)


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


def _pad(array: Image, pads: tuple[int, int, int, int]) -> Image:
    if not any(pads):
        return array
    return np.asarray(cv2.copyMakeBorder(array, *pads, cv2.BORDER_CONSTANT, value=0), np.uint8)
