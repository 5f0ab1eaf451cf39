"""What a moving sensor records, as a function of the scene's pixels and not of the tile's.

Two tiles that overlap must agree pixel for pixel, so motion is computed in integers (floating sums
depend on where a tile begins) and noise is drawn per fixed block of the scene.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.windows import Rectangle

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

BLOCK = 256
_LIGHT = 2**16 - 1
_TAPS = 2**20


def noise_field(rectangle: Rectangle, *, seed: int) -> Float:
    """Return standard normal noise float32 (h, w, 3) for a rectangle of a scene.

    Each block of 256 x 256 scene pixels has its own Philox stream of (seed, block row, block
    column): the noise of a scene pixel is the same in every rectangle that holds it.
    """
    row, col = rectangle.row_off, rectangle.col_off
    rows = range(row // BLOCK, -(-(row + rectangle.height) // BLOCK))
    cols = range(col // BLOCK, -(-(col + rectangle.width) // BLOCK))
    field = np.concatenate(
        [np.concatenate([_noise_block(seed, i, j) for j in cols], axis=1) for i in rows]
    )
    covered = Rectangle(
        cols.start * BLOCK, rows.start * BLOCK, len(cols) * BLOCK, len(rows) * BLOCK
    )
    return np.ascontiguousarray(field[rectangle.within(covered)])


def _noise_block(seed: int, row: int, col: int) -> Float:
    stream = np.random.Philox(np.random.SeedSequence([seed, row, col]))
    return np.random.Generator(stream).standard_normal((BLOCK, BLOCK, 3), dtype=np.float32)


def add_noise(linear: Float, field: Float, *, read_noise: float, shot_noise: float) -> Float:
    """Add a sensor's noise to linear light (h, w, 3), full scale 1.

    `field` is standard normal. The variance is read_noise^2 + shot_noise^2 * light: `shot_noise` is
    the deviation at full scale.
    """
    light = np.clip(linear, 0, 1)
    variance = np.float32(read_noise**2) + np.float32(shot_noise**2) * light
    noisy: Float = linear + field * np.sqrt(variance)
    return noisy


def smear(linear: Float, kernel: Float) -> Float:
    """Convolve linear light (h, w, 3) in [0, 1] with a kernel (k, k), k odd, that sums to 1.

    The border is mirrored. The result is a function of the pixels under the kernel alone, to the
    last bit: light in steps of 1/65535 and taps in steps of 2^-20 make every sum an integer below
    2^53, and what a Fourier transform rounds is rounded back.
    """
    taps = np.rint(kernel[::-1, ::-1].astype(np.float64) * _TAPS)
    taps.flat[taps.argmax()] += _TAPS - taps.sum()
    light = np.rint(linear.astype(np.float64) * _LIGHT)
    sums = cv2.filter2D(light, cv2.CV_64F, taps, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.rint(sums) / (_LIGHT * _TAPS), dtype=np.float32)


def erode_valid(valid: Mask, kernel: Float) -> Mask:
    """Keep the pixels whose whole light under the kernel came from valid pixels: bool (h, w)."""
    reach = np.ascontiguousarray(kernel[::-1, ::-1] > 0).astype(np.uint8)
    eroded = cv2.erode(valid.astype(np.uint8), reach, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(eroded, dtype=np.bool_)
