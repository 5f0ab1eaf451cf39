"""Blur kernels, and blurring in linear light.

A kernel is float32 (k, k), k odd, non-negative, and sums to 1, so the mean brightness stays.
Angles are degrees counter-clockwise from +x as seen on the screen (rows grow downwards): 0 smears
along a row, 90 along a column.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt

from transforms.functional.camera import (
    Image,
    Linear,
    add_sensor_noise,
    decode_srgb,
    encode_srgb,
)

Kernel = npt.NDArray[np.float32]
Path = npt.NDArray[np.float64]

# Points per pixel of travel: enough for a path of straight pieces to look continuous after
# bilinear splatting.
_POINTS_PER_PIXEL = 16


def motion_kernel(length: float, angle: float) -> Kernel:
    """The kernel of a uniform linear motion over `length` px along `angle`.

    Sub-pixel exact by bilinear splatting: length 0 is the identity, below 1 px nearly so.
    """
    return path_kernel(motion_path(length, angle))


def motion_path(
    length: float, angle: float, *, amplitude: float = 0.0, periods: float = 1.0, phase: float = 0.0
) -> Path:
    """The path of a point during the exposure: float64 (n, 2) of (x, y) px, y downwards, centred.

    A straight line of `length` px along `angle`, and across it a vibration: a sine of `amplitude`
    px that runs through `periods` periods from `phase` (radians). Less than one period gives an
    arc, several a broader smear.
    """
    if length < 0 or amplitude < 0:
        raise ValueError(
            f"length and amplitude must be >= 0 px, got length={length}, amplitude={amplitude}"
        )
    travel = length + 4.0 * amplitude * max(periods, 1.0)
    count = math.ceil(_POINTS_PER_PIXEL * travel) + 1
    time = (np.arange(count) + 0.5) / count
    along = length * (time - 0.5)
    across = amplitude * np.sin(2.0 * math.pi * periods * time + phase)
    across -= across.mean()
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.stack((along * cos - across * sin, -along * sin - across * cos), axis=1)


def shake_path(rng: np.random.Generator, *, extent: float, steps: int = 2000) -> Path:
    """A random hand-shake path after Boracchi & Foi (2012): float64 (n, 2) px, centred.

    As in the data of DeblurGAN: a particle with inertia, Gaussian kicks, a pull to the centre, and
    rare abrupt turns; `extent` (px) is the length of the whole walk. As in the paper the exposure
    may end early: a tenth, a half or all of the walk is used. Unlike the published code nothing is
    stretched afterwards: kernels made of it sum to 1.

    Boracchi, G., Foi, A.: Modeling the performance of image restoration from motion blur. IEEE TIP
    21(8), 2012.
    """
    pull, jerk = 0.7 * rng.random(), 0.2 * rng.random()
    kick = 10.0 * rng.random()
    restless = float(rng.choice([0.01, 0.009, 0.008, 0.007, 0.005, 0.003]))
    kicks = rng.standard_normal((steps, 2)) @ np.array([1.0, 1.0j])
    turns = rng.random(steps) < jerk * restless
    swings = np.exp(1j * (math.pi + rng.random(steps) - 0.5))
    stride = extent / (steps - 1)
    velocity = np.exp(2j * math.pi * rng.random()) * stride
    position, path = 0j, np.zeros(steps, dtype=np.complex128)
    for step in range(1, steps):
        change = 2.0 * velocity * swings[step] if turns[step] else 0j
        change += restless * (kick * kicks[step] - pull * position) * stride
        velocity += change
        velocity *= stride / abs(velocity)
        position += velocity
        path[step] = position
    used = path[: int(steps * rng.choice([0.1, 0.5, 1.0]))]
    points = np.stack((used.real, used.imag), axis=1)
    return np.asarray(points - points.mean(axis=0))


def path_kernel(path: Path) -> Kernel:
    """The kernel of a path (n, 2) of (x, y) px around its centre, each point exposed equally."""
    radius = math.ceil(float(np.abs(path).max()) - 1e-9)
    size = 2 * radius + 1
    x, y = path[:, 0] + radius, path[:, 1] + radius
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right_share, bottom_share = x - left, y - top
    kernel = np.zeros((size + 1, size + 1))
    np.add.at(kernel, (top, left), (1 - bottom_share) * (1 - right_share))
    np.add.at(kernel, (top, left + 1), (1 - bottom_share) * right_share)
    np.add.at(kernel, (top + 1, left), bottom_share * (1 - right_share))
    np.add.at(kernel, (top + 1, left + 1), bottom_share * right_share)
    return _normalised(kernel[:size, :size])


def gaussian_kernel(sigma: float) -> Kernel:
    """The kernel of a slight defocus: a Gaussian of `sigma` px, cut at 3 sigma."""
    if sigma <= 0:
        raise ValueError(f"sigma must be > 0 px, got sigma={sigma}")
    radius = max(1, math.ceil(3.0 * sigma))
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    profile = np.exp(-0.5 * (offsets / sigma) ** 2)
    return _normalised(np.outer(profile, profile))


def disc_kernel(radius: float) -> Kernel:
    """The kernel of a strong defocus: a uniform disc of `radius` px, its rim one pixel soft."""
    if radius <= 0:
        raise ValueError(f"radius must be > 0 px, got radius={radius}")
    reach = math.ceil(radius)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    distance = np.hypot(offsets[:, None], offsets[None, :])
    return _normalised(np.clip(radius + 0.5 - distance, 0.0, 1.0))


def apply_kernel(image: Image, kernel: Kernel) -> Image:
    """The image (h, w, 3) convolved with the kernel in linear light, mirrored at its border."""
    return encode_srgb(convolve(decode_srgb(image), kernel))


def convolve(linear: Linear, kernel: Kernel) -> Linear:
    """Linear light (h, w, 3) convolved with a kernel, mirrored at its border."""
    if kernel.shape == (1, 1):
        return linear
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    return np.asarray(
        cv2.filter2D(linear, cv2.CV_32F, flipped, borderType=cv2.BORDER_REFLECT_101),
        dtype=np.float32,
    )


def blur_tile(
    image: Image, *, length: float, angle: float, noise: float = 0.002, seed: int = 0
) -> Image:
    """The sharp tile (h, w, 3) as a moving camera would have taken it.

    The same arguments give the same pixels. Motion over `length` px along `angle` (degrees) and
    the sensor's noise (standard deviation of linear light at 18 % grey), both in linear light.
    Give each tile its own `seed`, so that its noise depends on that tile alone.
    """
    moved = convolve(decode_srgb(image), motion_kernel(length, angle))
    return encode_srgb(add_sensor_noise(moved, noise, np.random.default_rng(seed)))


def _normalised(kernel: npt.NDArray[np.float64]) -> Kernel:
    return (kernel / kernel.sum()).astype(np.float32)
