"""PSNR and SSIM of a tile against its reference, as sums that add up over tiles.

PSNR is 10 log10(255^2 / mean squared error) over all samples of all bands. SSIM is that of Wang et
al. 2004 (IEEE TIP 13(4), eq. 13), Gaussian window 11 x 11 with sigma 1.5, K1 .01, K2 .03, range
255, per band, then the mean over the bands.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

RANGE = 255.0
SSIM_RADIUS = 5
SSIM_SIGMA = 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03

_STRIP = 128  # rows


@dataclass(frozen=True)
class Mean:
    """A sum and the number of samples behind it; the mean of nothing is nan.

    The sum is kept exactly, so that it does not depend on the order of the additions.
    """

    total: Fraction = Fraction(0)
    count: int = 0

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)

    @staticmethod
    def of(total: float, count: int) -> "Mean":
        """Return a sum given as a number, which is kept to its last bit."""
        return Mean(Fraction(total), count)

    @property
    def value(self) -> float:
        """Return the mean."""
        return float(self.total / self.count) if self.count else math.nan


@dataclass(frozen=True)
class Quality:
    """Squared error in grey levels squared, and SSIM, against a reference."""

    squared_error: Mean = Mean()
    ssim: Mean = Mean()

    def __add__(self, other: "Quality") -> "Quality":
        return Quality(self.squared_error + other.squared_error, self.ssim + other.ssim)

    @property
    def psnr(self) -> float:
        """Return the peak signal-to-noise ratio in dB: inf for equal pictures, nan for none."""
        mse = self.squared_error.value
        return math.inf if mse == 0 else 10 * math.log10(RANGE**2 / mse)


def ssim_map(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the SSIM at every pixel, mean over the bands: float64 (h, w) for uint8 (h, w, 3).

    Values within `SSIM_RADIUS` of the border use a reflected neighbourhood.
    """
    height, width, bands = a.shape
    similarity = np.zeros((height, width))
    # Strip by strip and band by band: what is computed on stays in the cache, eight times faster.
    for top in range(0, height, _STRIP):
        bottom = min(height, top + _STRIP)
        rows = slice(max(0, top - SSIM_RADIUS), min(height, bottom + SSIM_RADIUS))
        inner = slice(top - rows.start, bottom - rows.start)
        for band in range(bands):
            strip = _ssim_of_band(a[rows, :, band], b[rows, :, band])
            similarity[top:bottom] += strip[inner]
    similarity /= bands
    return similarity


def measure_quality(
    image: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    owned: tuple[slice, slice],
) -> Quality:
    """Sum the quality of the owned pixels of a tile; both pictures uint8 (h, w, 3), valid (h, w).

    The squared error counts valid owned pixels; SSIM counts those whose whole 11 x 11 window is
    valid and inside the tile, so that tiles with a halo of at least 5 px add up to the scene's.
    """
    counted = valid[owned]
    error = cv2.absdiff(image[owned], reference[owned]).astype(np.uint16)
    samples = image.shape[2] * int(np.count_nonzero(counted))
    seen, inner = _with_margin(owned, valid.shape)
    whole = _whole_window(valid)[owned]
    similarity = ssim_map(image[seen], reference[seen])[inner][whole]
    return Quality(
        Mean.of(int(np.sum(error * error, where=counted[..., None], dtype=np.int64)), samples),
        Mean.of(math.fsum(similarity.tolist()), similarity.size),
    )


def _with_margin(
    owned: tuple[slice, slice], size: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the owned pixels with the margin that SSIM needs, and where they lie in that."""
    seen, inner = [], []
    for side, length in zip(owned, size, strict=True):
        start, stop, _ = side.indices(length)
        first = max(0, start - SSIM_RADIUS)
        seen.append(slice(first, min(length, stop + SSIM_RADIUS)))
        inner.append(slice(start - first, stop - first))
    return (seen[0], seen[1]), (inner[0], inner[1])


def _ssim_of_band(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the SSIM of one band (h, w); the two variances are only needed as their sum."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    c1, c2 = (SSIM_K1 * RANGE) ** 2, (SSIM_K2 * RANGE) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = _blur(x * y) - product
    variances = _blur(x * x + y * y) - squares
    similarity: NDArray[np.float64] = (2 * product + c1) * (2 * covariance + c2)
    similarity /= (squares + c1) * (variances + c2)
    return similarity


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    size = 2 * SSIM_RADIUS + 1
    blurred = cv2.GaussianBlur(
        x, (size, size), SSIM_SIGMA, sigmaY=SSIM_SIGMA, borderType=cv2.BORDER_REFLECT
    )
    return np.asarray(blurred)


def _whole_window(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    size = 2 * SSIM_RADIUS + 1
    kernel = np.ones((size, size), np.uint8)
    eroded = cv2.erode(
        valid.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(eroded, bool)
