"""How a single picture was blurred: straight motion read off its spectrum, and a sharpness score.

Motions of every length and angle of a grid are fitted to the logarithmic spectrum (see
`motion_spectrum`), and the one with the least squared error wins; a picture whose stripes are too
faint is called sharp.

Angles are degrees counter-clockwise from +x as seen on the screen, as in `blur`.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.camera import Image
from transforms.functional.motion_spectrum import PATCH, Spectrum, compare, measure_spectrum

Mask = NDArray[np.bool_]

SHORTEST = 3.0
"""Pixels: shorter motion is not told from the softness of a lens, and is called sharp."""

LEVELS = ((3.0, "sharp"), (6.0, "3-6"), (10.0, "6-10"), (15.0, "10-15"), (21.0, "15-21"))
"""Upper borders in px (exclusive) and names of the strata; beyond the last is ">=21"."""

_LONGEST = 40.0
_STEP = PATCH // 2
_MOST_PATCHES = 48
# Grey levels: below it noise and rounding are all that a patch shows.
_LEAST_CONTRAST = 2.0
# Fainter stripes than these occur in sharp pictures: rows of houses, video compression. Fixed on
# Munich, Minsk (without DJI_0762), `sharp_texture`, street and rendered pictures.
_LEAST_DECLINE = 0.4
_LEAST_DEPTH = 0.2
_LEAST_SHARE = 0.05
# Squared differences are compared at this distance: longer than any blur of interest.
_FAR = 32


@dataclass(frozen=True)
class BlurEstimate:
    """Straight motion blur as estimated from one picture.

    length: px, 0 if sharp or nothing can be said. angle: degrees in [0, 180), 0 if length is 0.
    confidence: in [0, 1]. Of a blur: the share that its dark stripes explain of what a smooth
    decline of the spectrum leaves. Of "sharp": 1 less that share of the best blur, times the share
    of signal in the spectrum. 0 if the picture is too small or shows nothing.
    sharpness: see `measure_sharpness`.
    """

    length: float
    angle: float
    confidence: float
    sharpness: float


def estimate_blur(image: Image, valid: Mask) -> BlurEstimate:
    """Estimate the straight motion that blurred an image uint8 (h, w, 3); valid is bool (h, w).

    Only patches of 128 px whose pixels are all valid are looked at, those with most contrast. No
    such patch, or none with contrast, gives length 0 at confidence 0. Lengths up to 40 px are
    searched.
    """
    _check(image, valid)
    green = _green(image)
    sharpness = _sharpness(green, valid)
    patches = _choose_patches(green, valid)
    if len(patches) == 0:
        return BlurEstimate(0.0, 0.0, 0.0, sharpness)
    length, angle, confidence = fit_motion(measure_spectrum(patches))
    return BlurEstimate(length, angle, confidence, sharpness)


def measure_sharpness(image: Image, valid: Mask) -> float:
    """Return how much of the contrast 32 px apart exists between neighbours already.

    The sum of squared differences of the green band between pixels 1 px apart, over that between
    pixels 32 px apart, each divided by its number of pairs; pairs along rows and columns, both
    pixels valid. About 0.01 for a soft picture, 1 for white noise; the lower, the blurrier, on the
    same scene. Brightness does not matter, nor contrast, up to rounding. NaN if nothing differs.
    """
    _check(image, valid)
    return _sharpness(_green(image), valid)


def _sharpness(green: Image, valid: Mask) -> float:
    near, near_pairs = _squared_differences(green, valid, 1)
    far, far_pairs = _squared_differences(green, valid, _FAR)
    if far == 0 or near_pairs == 0:
        return math.nan
    return (near * far_pairs) / (far * near_pairs)


def blur_level(length: float) -> str:
    """Return the stratum of a length in px: sharp, 3-6, 6-10, 10-15, 15-21 or >=21, half-open."""
    if not length >= 0:
        raise ValueError(f"length must be >= 0 px, got length={length}")
    return next((name for border, name in LEVELS if length < border), ">=21")


def fit_motion(spectrum: Spectrum) -> tuple[float, float, float]:
    """Return the (length, angle, confidence) of `BlurEstimate` that explain a spectrum best."""
    lengths = np.concatenate([np.arange(2.0, 12.0, 0.5), np.arange(12.0, _LONGEST + 1)])
    # Closer than half a stripe's width at the end of the band for 25 px of blur.
    angles = np.arange(0.0, 180.0, 2.5)
    coarse = compare(spectrum, lengths, angles)
    row, col = coarse.best
    step = 0.5 if lengths[row] < 12 else 1.0
    lengths = lengths[row] + step * np.linspace(-0.8, 0.8, 9)
    angles = angles[col] + np.linspace(-2.0, 2.0, 9)
    fine = compare(spectrum, lengths, angles)
    row, col = fine.best
    share = float(fine.by_stripes[row, col])
    blurred = (
        lengths[row] >= SHORTEST
        and fine.decline[row, col] >= _LEAST_DECLINE
        and fine.depth[row, col] >= _LEAST_DEPTH
        and share >= _LEAST_SHARE
    )
    if blurred:
        return float(lengths[row]), float(angles[col]) % 180.0, share
    counts = np.bincount(spectrum.ring)
    seen = float(np.sum(counts * spectrum.signal) / np.sum(counts))
    return 0.0, 0.0, seen * (1 - max(0.0, share) if lengths[row] >= SHORTEST else 1.0)


def _choose_patches(green: Image, valid: Mask) -> Image:
    """Return the valid patches with most contrast of a band (h, w), uint8 (n, PATCH, PATCH)."""
    places = [
        (slice(row, row + PATCH), slice(col, col + PATCH))
        for row in _offsets(green.shape[0])
        for col in _offsets(green.shape[1])
    ]
    if not valid.all():
        places = [place for place in places if valid[place].all()]
    contrasts = [_contrast(green[place]) for place in places]
    order = sorted(range(len(places)), key=lambda index: (-contrasts[index], index))
    chosen = [places[i] for i in order[:_MOST_PATCHES] if contrasts[i] >= _LEAST_CONTRAST]
    return np.stack([green[place] for place in chosen]) if chosen else np.empty((0, 0, 0), np.uint8)


def _offsets(size: int) -> list[int]:
    """Return where patches begin: from edge to edge, evenly, at most half a patch apart."""
    if size < PATCH:
        return []
    steps = -(-(size - PATCH) // _STEP)
    return [index * (size - PATCH) // max(steps, 1) for index in range(steps + 1)]


def _contrast(patch: Image) -> float:
    """Return the standard deviation in grey levels."""
    _, deviation = cv2.meanStdDev(patch)
    return float(deviation[0, 0])


def _green(image: Image) -> Image:
    """Return the green band as an array of its own, which OpenCV need not copy."""
    return np.asarray(cv2.extractChannel(image, 1), np.uint8)


def _squared_differences(band: Image, valid: Mask, distance: int) -> tuple[int, int]:
    """Return the sum of squared differences of valid pixels so far apart, and their number."""
    total, pairs, whole = 0.0, 0, bool(valid.all())
    for near, far in (
        (np.s_[:-distance], np.s_[distance:]),
        (np.s_[:, :-distance], np.s_[:, distance:]),
    ):
        both = valid[near] & valid[far]
        if both.size:
            mask = None if whole else both.view(np.uint8)
            total += cv2.norm(band[near], band[far], cv2.NORM_L2SQR, mask)
            pairs += int(np.count_nonzero(both))
    return round(total), pairs


def _check(image: Image, valid: Mask) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an image uint8 (h, w, 3) is wanted, got {image.dtype} of shape {image.shape}"
        )
    if valid.shape != image.shape[:2]:
        raise ValueError(f"valid must be {image.shape[:2]}, got {valid.shape}")
