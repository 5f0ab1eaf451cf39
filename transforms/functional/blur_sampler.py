"""Random degradations of sharp pictures: what moving cameras do, in the shares we expect."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from transforms.functional.blur import (
    Kernel,
    Path,
    convolve,
    gaussian_kernel,
    motion_path,
    path_kernel,
    shake_path,
)
from transforms.functional.camera import (
    Image,
    Linear,
    add_sensor_noise,
    decode_srgb,
    encode_srgb,
    through_jpeg,
)
from transforms.functional.varying_blur import CameraMotion, convolve_varying, grid_kernels

# Kernels are blended over this many px: a quarter of a training patch.
_GRID_SPACING = 32


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
    varying_share: float = 0.0

    @property
    def reach(self) -> int:
        """Pixels that a kernel may reach beyond its centre."""
        return math.ceil(self.path_reach + 3 * self.defocus[1]) + 2

    @property
    def path_reach(self) -> float:
        """Pixels that motion and vibration may reach to either side."""
        return self.length[1] / 2 + self.vibration[1]


@dataclass(frozen=True, eq=False)
class Turn:
    """How a camera turns while it moves along `path`, so that blur varies over the picture.

    `swing` (px): how far the turn alone smears half the picture's longer side away from `pivot`,
    which is a place in shares of width and height. No path leaves `reach` px.
    """

    path: Path
    swing: float
    pivot: tuple[float, float]
    reach: float

    def motion(self, height: int, width: int) -> CameraMotion:
        """Return the motion over a picture of that size: a steady turn."""
        time = (np.arange(len(self.path)) + 0.5) / len(self.path) - 0.5
        return CameraMotion(self.path, time * (2.0 * self.swing / max(height, width)), self.pivot)


@dataclass(frozen=True, eq=False)
class Degradation:
    """One drawn degradation; without a kernel the picture stays sharp and untouched.

    With a turn the kernel is that of the pivot, and the blur varies around it.
    """

    kernel: Kernel | None
    noise: float
    jpeg_quality: int | None
    turn: Turn | None = None
    defocus: Kernel | None = None


def sample_degradation(model: BlurModel, rng: np.random.Generator) -> Degradation:
    """Draw a degradation: log-uniform length, any angle, and the rest in its share.

    A `varying_share` of 0 draws nothing, so that it leaves the stream of `rng` as it was without.
    """
    if rng.random() < model.sharp_share:
        return Degradation(kernel=None, noise=0.0, jpeg_quality=None)
    path = _sample_path(model, rng)
    kernel, defocus = path_kernel(path), None
    if rng.random() < model.defocus_share:
        defocus = gaussian_kernel(float(rng.uniform(*model.defocus)))
        kernel = _combined(kernel, defocus)
    low, high = model.jpeg_quality
    quality = int(rng.integers(low, high + 1)) if rng.random() < model.jpeg_share else None
    noise = float(rng.uniform(*model.noise))
    turns = model.varying_share > 0 and rng.random() < model.varying_share
    turn = _sample_turn(model, path, rng) if turns else None
    return Degradation(kernel, noise, quality, turn, defocus)


def degrade(image: Image, degradation: Degradation, rng: np.random.Generator) -> Image:
    """The sharp image (h, w, 3) degraded: blur and noise in linear light, then JPEG."""
    if degradation.kernel is None:
        return image
    light = decode_srgb(image)
    if degradation.turn is None:
        light = convolve(light, degradation.kernel)
    else:
        light = _convolve_turning(light, degradation.turn, degradation.defocus)
    taken = encode_srgb(add_sensor_noise(light, degradation.noise, rng))
    if degradation.jpeg_quality is None:
        return taken
    return through_jpeg(taken, degradation.jpeg_quality)


def _convolve_turning(light: Linear, turn: Turn, defocus: Kernel | None) -> Linear:
    height, width = light.shape[:2]
    kernels = grid_kernels(
        turn.motion(height, width),
        height=height,
        width=width,
        spacing=_GRID_SPACING,
        reach=turn.reach,
    )
    smeared = convolve_varying(light, kernels)
    return smeared if defocus is None else convolve(smeared, defocus)


def _sample_turn(model: BlurModel, path: Path, rng: np.random.Generator) -> Turn:
    """Draw a turn that smears up to as much as the path does, about a point of the picture."""
    extent = float(np.ptp(path, axis=0).max())
    swing = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0)) * extent
    return Turn(path, swing, (float(rng.random()), float(rng.random())), model.path_reach)


def _sample_path(model: BlurModel, rng: np.random.Generator) -> Path:
    length = math.exp(rng.uniform(math.log(model.length[0]), math.log(model.length[1])))
    if rng.random() < model.shake_share:
        path = shake_path(rng, extent=2.0 * length)
        return np.clip(path, -model.length[1] / 2, model.length[1] / 2)
    amplitude = 0.0
    if rng.random() < model.vibration_share:
        amplitude = min(float(rng.uniform(*model.vibration)), length)
    return motion_path(
        length,
        float(rng.uniform(0.0, 180.0)),
        amplitude=amplitude,
        periods=float(rng.uniform(0.3, 3.0)),
        phase=float(rng.uniform(0.0, 2.0 * math.pi)),
    )


def _combined(first: Kernel, second: Kernel) -> Kernel:
    """The kernel of two blurs in a row."""
    margin = second.shape[0] // 2
    wide = np.pad(first, margin)
    return np.asarray(
        cv2.filter2D(wide, cv2.CV_32F, second, borderType=cv2.BORDER_CONSTANT), dtype=np.float32
    )
