"""Synthetic charts, and what an answer to each of them says about a network.

A chart is uint8 (h, w, 3) in RGB and the same on every call; an answer is what a network made of
it, of the same shape. Differences are in DN, the grey levels of 8 bits. A network that changes
nothing has bias, shift, spread and seam 0, and every gain and ratio 1. For edges see
`slanted_edge.py`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import blur_tile
from transforms.functional.camera import Image

PATCH = 64
GREY, POINT = 100, 80
"""The level around a single pixel, and how much the pixel is brighter or darker."""
SPOKES, STAR_CONTRAST = 36, 80
NOISE_SIGMA = 5.0
SEAM_CORE, SEAM_HEIGHT = 512, 128
"""Size of each of the two tiles in px, without their halo."""


@dataclass(frozen=True)
class Radiometry:
    """What becomes of grey levels.

    `bias_dn` is the mean of answer minus chart, `worst_bias_dn` the largest of any level's mean;
    `falls` counts levels that come back darker than the level below them, `levels` how many of 256
    are still apart, `clipped_share` is the share of samples inside the range that left it.
    """

    bias_dn: float
    worst_bias_dn: float
    falls: int
    levels: int
    clipped_share: float


@dataclass(frozen=True)
class Noise:
    """What becomes of white noise: its standard deviation after over before, and its mean in DN."""

    gain: float
    bias_dn: float


@dataclass(frozen=True)
class Point:
    """What becomes of one pixel that differs from its surroundings.

    `response` is the share of its height that is left, `spread` the squared deviation found
    elsewhere over its height squared, `reach_px` how far away (rows or columns) a sample changes.
    """

    response: float
    spread: float
    reach_px: int


@dataclass(frozen=True)
class Seam:
    """How two tiles differ from the one picture: in DN, and in the step across their border.

    `jump` is the mean absolute step over the border in the joined tiles over that in the picture.
    """

    worst_dn: int
    jump: float


def grey_ramp() -> Image:
    """Return all levels from 0 to 255, one a column: (64, 256, 3)."""
    levels = np.arange(256, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(levels[None, :, None], (64, 256, 3)))


def measure_ramp(chart: Image, answer: Image) -> Radiometry:
    """Compare the answer to `grey_ramp` with it."""
    means = answer.mean(axis=(0, 2))
    bias = means - chart.mean(axis=(0, 2))
    inner = (chart > 0) & (chart < 255)
    left = inner & ((answer == 0) | (answer == 255))
    return Radiometry(
        float(bias.mean()),
        float(np.abs(bias).max()),
        int((np.diff(means) < 0).sum()),
        len(np.unique(np.rint(means))),
        float(left.sum() / inner.sum()),
    )


def colour_patches() -> Image:
    """Return sixteen uniform patches of 64 px: the corners of a colour cube, and eight greys."""
    corners = [(r, g, b) for r in (60, 200) for g in (60, 200) for b in (60, 200)]
    greys = [(level, level, level) for level in range(16, 256, 32)]
    colours = np.array(corners + greys, np.uint8).reshape(4, 4, 3)
    return np.repeat(np.repeat(colours, PATCH, axis=0), PATCH, axis=1)


def measure_colour_shift(chart: Image, answer: Image) -> float:
    """Return the largest change of a patch's hue in DN, from the middle half of each patch.

    That is the span of the changes of its three bands: growing brighter alone is no shift of hue.
    """
    change = (answer.astype(np.float64) - chart).reshape(4, PATCH, 4, PATCH, 3)
    middle = slice(PATCH // 4, -PATCH // 4)
    bands = change[:, middle, :, middle].mean(axis=(1, 3))
    return float((bands.max(axis=2) - bands.min(axis=2)).max())


def siemens_star(side: int = 192) -> Image:
    """Return a star of 36 sinusoidal spokes around a grey disc that hides what no pixel resolves.

    At radius r the chart has 36 / (2 pi r) cycles per px.
    """
    radius, angle = _polar(side)
    wave = np.where(radius >= SPOKES / np.pi, np.cos(SPOKES * angle), 0.0)
    grey = np.rint(128 + STAR_CONTRAST * wave).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def measure_star(answer: Image, frequency: float) -> float:
    """Return the contrast left of `siemens_star` at a frequency in cycles per px, 1 for all of it.

    The mean over all directions on a ring two pixels wide. Negative where dark and bright have
    changed places (spurious resolution). Raises ValueError where the chart has no such frequency.
    """
    radius, angle = _polar(answer.shape[0])
    wanted = SPOKES / (2 * math.pi * frequency)
    if not SPOKES / math.pi < wanted < answer.shape[0] / 2 - 1:
        raise ValueError(f"the star has no ring of {frequency} cycles per px")
    ring = np.abs(radius - wanted) <= 1.0
    wave = np.cos(SPOKES * angle[ring])
    levels = answer.mean(axis=2)[ring]
    return float(((levels - levels.mean()) * wave).sum() / (wave * wave).sum() / STAR_CONTRAST)


def white_noise(side: int = 128, seed: int = 0) -> Image:
    """Return Gaussian noise of sigma 5 DN around 128, independent in every sample."""
    draws = np.random.default_rng(seed).normal(128.0, NOISE_SIGMA, (side, side, 3))
    return np.clip(np.rint(draws), 0, 255).astype(np.uint8)


def measure_noise(chart: Image, answer: Image) -> Noise:
    """Compare the answer to `white_noise` with it."""
    gain = float(answer.std() / chart.std())
    return Noise(gain, float(answer.mean() - chart.mean()))


def single_pixel(height: int, side: int = 256) -> Image:
    """Return grey of level 100 with one pixel in the middle that is `height` DN brighter.

    256 px wide, so 128 px is the farthest that its effect can be seen.
    """
    chart = np.full((side, side, 3), GREY, np.uint8)
    chart[side // 2, side // 2] = GREY + height
    return chart


def measure_point(height: int, answer: Image, flat: Image) -> Point:
    """Compare the answer to `single_pixel(height)` with the one to `single_pixel(0)`.

    So neither a shift of grey nor what happens at the picture's border counts.
    """
    middle = answer.shape[0] // 2
    deviation = answer.astype(np.float64) - flat
    response = float(deviation[middle, middle].mean() / height)
    deviation[middle, middle] = 0.0
    changed = np.argwhere((np.abs(deviation) >= 1.0).any(axis=2)) - middle
    reach = int(np.abs(changed).max()) if len(changed) else 0
    return Point(response, float((deviation**2).sum() / (3 * height**2)), reach)


def seam_chart(seed: int = 0) -> Image:
    """Return a busy tile beside a flat one, blurred by motion over 11 px: (128, 1024, 3)."""
    draws = np.random.default_rng(seed).integers(20, 236, (SEAM_HEIGHT // 4, SEAM_CORE // 4, 3))
    busy = np.repeat(np.repeat(draws, 4, axis=0), 4, axis=1)
    sharp = np.full((SEAM_HEIGHT, 2 * SEAM_CORE, 3), 128, np.uint8)
    sharp[:, :SEAM_CORE] = busy
    return blur_tile(sharp, length=11.0, angle=20.0, noise=0.0)


def cut_tiles(chart: Image, halo: int) -> NDArray[np.uint8]:
    """Return the left and the right half of `seam_chart`, each with `halo` px of the other.

    uint8 (2, h, w / 2 + halo, 3). Raises ValueError for a halo larger than the half.
    """
    half = chart.shape[1] // 2
    if not 0 <= halo <= half:
        raise ValueError(f"halo must be 0 to {half} px, got {halo}")
    return np.stack([chart[:, : half + halo], chart[:, half - halo :]])


def join_tiles(tiles: NDArray[np.uint8], halo: int) -> Image:
    """Return the picture made of the two tiles of `cut_tiles`, without their halos."""
    half = tiles.shape[2] - halo
    return np.concatenate([tiles[0, :, :half], tiles[1, :, halo:]], axis=1)


def measure_seam(joined: Image, whole: Image) -> Seam:
    """Compare two tiles, joined, with the same picture processed whole."""
    border = whole.shape[1] // 2
    pair = slice(border - 1, border + 1)
    steps = [
        float(np.abs(np.diff(image[:, pair].astype(np.float64), axis=1)).mean())
        for image in (joined, whole)
    ]
    difference = np.abs(joined.astype(np.int64) - whole)
    jump = steps[0] / steps[1] if steps[1] else (1.0 if not steps[0] else math.inf)
    return Seam(int(difference.max()), jump)


def _polar(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    offsets = np.arange(side) - (side - 1) / 2
    return np.hypot(offsets[:, None], offsets), np.arctan2(offsets[:, None], offsets)
