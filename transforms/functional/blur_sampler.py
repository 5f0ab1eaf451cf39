"""Random degradations of sharp pictures: what moving cameras do, in the shares we expect."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.blur import (
    Kernel,
    convolve,
    gaussian_kernel,
    motion_path,
    path_kernel,
    shake_path,
)
from transforms.functional.camera import (
    Image,
    add_sensor_noise,
    decode_srgb,
    encode_srgb,
    through_jpeg,
)


@dataclass(frozen=True)
class BlurModel:
    """How often each degradation occurs and how strong it is.

    Lengths in px, shares in [0, 1], ranges inclusive.
    """

    length: tuple[float, float]
    vibration: tuple[float, float]
    defocus: tuple[float, float]
    noise: tuple[float, float]
    jpeg_quality: tuple[int, int]
    sharp_share: float
    shake_share: float
    vibration_share: float
    defocus_share: float
    jpeg_share: float

    @property
    def reach(self) -> int:
        """Pixels that a kernel may reach beyond its centre."""
        return math.ceil(self.length[1] / 2 + self.vibration[1] + 3 * self.defocus[1]) + 2


@dataclass(frozen=True, eq=False)
class Degradation:
    """One drawn degradation; without a kernel the picture stays sharp and untouched."""

    kernel: Kernel | None
    noise: float
    jpeg_quality: int | None


def sample_degradation(model: BlurModel, rng: np.random.Generator) -> Degradation:
    """Draw a degradation: log-uniform length, any angle, and the rest in its share."""
    if rng.random() < model.sharp_share:
        return Degradation(kernel=None, noise=0.0, jpeg_quality=None)
    kernel = _sample_motion(model, rng)
    if rng.random() < model.defocus_share:
        kernel = _combined(kernel, gaussian_kernel(float(rng.uniform(*model.defocus))))
    low, high = model.jpeg_quality
    quality = int(rng.integers(low, high + 1)) if rng.random() < model.jpeg_share else None
    return Degradation(kernel=kernel, noise=float(rng.uniform(*model.noise)), jpeg_quality=quality)


def degrade(image: Image, degradation: Degradation, rng: np.random.Generator) -> Image:
    """The sharp image (h, w, 3) degraded: blur and noise in linear light, then JPEG."""
    if degradation.kernel is None:
        return image
    light = convolve(decode_srgb(image), degradation.kernel)
    taken = encode_srgb(add_sensor_noise(light, degradation.noise, rng))
    if degradation.jpeg_quality is None:
        return taken
    return through_jpeg(taken, degradation.jpeg_quality)


def _sample_motion(model: BlurModel, rng: np.random.Generator) -> Kernel:
    length = math.exp(rng.uniform(math.log(model.length[0]), math.log(model.length[1])))
    if rng.random() < model.shake_share:
        path = shake_path(rng, extent=2.0 * length)
        return path_kernel(np.clip(path, -model.length[1] / 2, model.length[1] / 2))
    amplitude = 0.0
    if rng.random() < model.vibration_share:
        amplitude = min(float(rng.uniform(*model.vibration)), length)
    path = motion_path(
        length,
        float(rng.uniform(0.0, 180.0)),
        amplitude=amplitude,
        periods=float(rng.uniform(0.3, 3.0)),
        phase=float(rng.uniform(0.0, 2.0 * math.pi)),
    )
    return path_kernel(path)


def _combined(first: Kernel, second: Kernel) -> Kernel:
    """The kernel of two blurs in a row."""
    margin = second.shape[0] // 2
    wide = np.pad(first, margin)
    return np.asarray(
        cv2.filter2D(wide, cv2.CV_32F, second, borderType=cv2.BORDER_CONSTANT), dtype=np.float32
    )
