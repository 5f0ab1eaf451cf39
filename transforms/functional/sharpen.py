"""Unsharp masking: sharpening of equal intent, which knows nothing of blur."""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def unsharp_mask(image: Image, *, amount: float, sigma: float) -> Image:
    """Add `amount` times what a Gaussian of `sigma` px takes away: uint8 (h, w, 3) to the same.

    On the encoded levels, as photo editors do it; the border is mirrored. Rounded, then clipped,
    then cast; amount 0 returns the picture as it is.
    """
    if amount < 0 or sigma <= 0:
        raise ValueError(
            f"amount must be >= 0 and sigma > 0 px, got amount={amount}, sigma={sigma}"
        )
    levels = image.astype(np.float64)
    size = 2 * int(np.ceil(4 * sigma)) + 1
    smooth = cv2.GaussianBlur(
        levels, (size, size), sigma, sigmaY=sigma, borderType=cv2.BORDER_REFLECT
    )
    return np.clip(np.rint(levels + amount * (levels - smooth)), 0, 255).astype(np.uint8)
