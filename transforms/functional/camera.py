"""What a camera does to light: its tone curve, its noise and its JPEG file.

Blur and noise happen to light, before the camera's curve, so both are computed in linear light.
The curve is sRGB (IEC 61966-2-1), which nearly every picture follows closely enough and whose
straight toe keeps dark noise finite.
"""

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Linear = npt.NDArray[np.float32]

# The noise of a camera is quoted at this level of linear light (18 % grey).
MID_GREY = 0.18


def _srgb_decoding() -> Linear:
    encoded = np.arange(256, dtype=np.float64) / 255.0
    toe = encoded / 12.92
    curve = ((encoded + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, toe, curve).astype(np.float32)


_DECODED = _srgb_decoding()


def decode_srgb(image: Image) -> Linear:
    """Linear light in [0, 1], float32, of a uint8 sRGB image of the same shape."""
    return np.take(_DECODED, image)


def encode_srgb(linear: Linear) -> Image:
    """The uint8 sRGB image of linear light; light outside [0, 1] is clipped, as a sensor does.

    Rounded, then clipped, then cast; `encode_srgb(decode_srgb(x)) == x` for every uint8 x.
    """
    light = np.clip(linear, 0.0, 1.0)
    curve = np.float32(1.055) * np.power(light, np.float32(1 / 2.4)) - np.float32(0.055)
    encoded = np.where(light <= np.float32(0.0031308), light * np.float32(12.92), curve)
    return np.clip(np.rint(encoded * np.float32(255.0)), 0, 255).astype(np.uint8)


def add_sensor_noise(linear: Linear, noise: float, rng: np.random.Generator) -> Linear:
    """Linear light with shot and read noise.

    `noise` is the standard deviation of linear light at 18 % grey (0.002 is about half a grey
    level there); its variance grows with the light (photon counting) over a floor of a tenth of it
    (reading out). 0 adds nothing.
    """
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got noise={noise}")
    if noise == 0:
        return linear
    variance = np.clip(linear, 0.0, 1.0) / np.float32(MID_GREY) + np.float32(0.01)
    grain = rng.standard_normal(linear.shape, dtype=np.float32)
    return np.asarray(linear + np.float32(noise) * np.sqrt(variance) * grain, dtype=np.float32)


def through_jpeg(image: Image, quality: int) -> Image:
    """The RGB image (h, w, 3) after JPEG compression at `quality` (1-100)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    written, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert written, "OpenCV could not encode a JPEG"
    return cv2.cvtColor(cv2.imdecode(file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8)
