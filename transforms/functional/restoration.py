"""Non-blind deconvolution: what can be had back where the blur kernel is known.

Two classics, in linear light (sRGB decoded, each band on its own, encoded again), because light is
what the kernel mixed. They are the upper anchor of a comparison, the `oracle`: no network is told
the kernel.

Wiener, N.: Extrapolation, interpolation, and smoothing of stationary time series. MIT Press, 1949.
Richardson, W. H.: Bayesian-based iterative method of image restoration. JOSA 62(1), 1972.
Lucy, L. B.: An iterative technique for the rectification of observed distributions. Astron. J.
79(6), 1974.
Biggs, D. S. C., Andrews, M.: Acceleration of iterative image restoration algorithms. Applied Optics
36(8), 1997.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms.functional.blur import Kernel
from transforms.functional.camera import Image, Linear, decode_srgb, encode_srgb

Spectrum = NDArray[np.complex64]
Power = NDArray[np.float32]

_SHORTEST_MARGIN = 16
# Scenes are alike below this frequency (cycles per px), so their power stops growing there.
_LOWEST_FREQUENCY = 1 / 128
# A tenth of the darkest level that 8 bits can hold: keeps the ratios of Richardson-Lucy finite.
_DARKEST = np.float32(3e-5)


def restore_wiener(
    image: Image, kernel: Kernel, *, read_noise: float, shot_noise: float, regularisation: float
) -> Image:
    """Deconvolve a uint8 image (h, w, 3) with the kernel by Wiener's filter.

    The filter is conj(H) / (|H|^2 + r N / S(f)): H the spectrum of the kernel, N the variance of
    the noise (see `noise_variance`; the two noises are those of `sensor.add_noise`), S the power
    expected of the sharp picture, which falls as 1 / f^2 (see `signal_power`), and r the
    `regularisation`: 1 trusts both, more restores less.
    """
    light = decode_srgb(image)
    noise = noise_variance(image, read_noise=read_noise, shot_noise=shot_noise)
    mean = light.mean(axis=(0, 1))
    wide, inside = extend(light - mean, kernel)
    expected = signal_power(wide.shape[:2])[..., None] * light.var(axis=(0, 1))
    ratio = np.divide(
        np.float32(regularisation * noise),
        expected,
        out=np.full(expected.shape, np.inf, np.float32),
        where=expected > 0,
    )
    return encode_srgb(wiener_filter(wide, kernel, ratio)[inside] + mean)


def restore_richardson_lucy(image: Image, kernel: Kernel, *, iterations: int) -> Image:
    """Deconvolve a uint8 image (h, w, 3) with the kernel by so many steps of Richardson and Lucy.

    Light stays positive. The number of steps is the regularisation: few leave blur, many turn noise
    into grain.
    """
    wide, inside = extend(decode_srgb(image), kernel)
    return encode_srgb(richardson_lucy(wide, kernel, iterations=iterations)[inside])


def wiener_filter(light: Linear, kernel: Kernel, noise_to_signal: Power | float) -> Linear:
    """Return light (h, w, 3), taken as periodic, times conj(H) / (|H|^2 + noise_to_signal).

    `noise_to_signal` is a number or float32 (h, w // 2 + 1, 1 or 3), in the layout of `rfft2`.
    """
    blur = kernel_spectrum(kernel, light.shape[:2])[..., None]
    transfer = np.conj(blur) / (np.abs(blur) ** 2 + noise_to_signal)
    return _from_spectrum(transfer * _spectrum(light), light.shape[:2])


def richardson_lucy(
    light: Linear, kernel: Kernel, *, iterations: int, accelerate: bool = True
) -> Linear:
    """Return the sharp light (h, w, 3), taken as periodic, after so many steps from flat light.

    Accelerated, every step starts from where the last two point to (Biggs & Andrews 1997): a dozen
    steps are worth thirty to forty plain ones.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be >= 1, got iterations={iterations}")
    size = light.shape[:2]
    blur = kernel_spectrum(kernel, size)[..., None]
    sharp = start = np.full_like(light, 0.5)
    change = np.zeros_like(light)
    for _ in range(iterations):
        seen = _from_spectrum(_spectrum(start) * blur, size)
        ratio = np.asarray(light / np.maximum(seen, _DARKEST), dtype=np.float32)
        share = _from_spectrum(_spectrum(ratio) * np.conj(blur), size)
        before, sharp = sharp, start * np.maximum(share, 0)
        change, last = sharp - start, change
        speed = _speed(change, last) if accelerate else 0.0
        start = np.maximum(sharp + np.float32(speed) * (sharp - before), 0)
    return sharp


def _speed(change: Linear, last: Linear) -> float:
    """Return how far to go on in the direction of the last step, in [0, 1]."""
    # Not `vdot`: the order of its sum, and so its last bits, depends on the number of threads.
    length = float(np.sum(last * last, dtype=np.float64))
    along = float(np.sum(change * last, dtype=np.float64))
    return min(1.0, max(0.0, along / length)) if length > 0 else 0.0


def noise_variance(image: Image, *, read_noise: float, shot_noise: float) -> float:
    """Return the mean variance of the noise of a uint8 picture, in linear light, full scale 1.

    read_noise^2 + shot_noise^2 * light, as `sensor.add_noise` makes it, and what rounding to 8 bits
    adds: 1/12 of the square of the light between two neighbouring levels.
    """
    levels = decode_srgb(np.arange(256, dtype=np.uint8)).astype(np.float64)
    variance = read_noise**2 + shot_noise**2 * levels + np.gradient(levels) ** 2 / 12
    return float(variance[image].mean())


def signal_power(size: tuple[int, int]) -> Power:
    """Return the power expected of a natural picture of variance 1, float32 (h, w // 2 + 1).

    It falls as 1 / f^2 (Field 1987, JOSA A 4(12)) from a lowest frequency on, and is scaled so that
    its mean over all frequencies is 1, the power of white noise of variance 1.
    """
    height, width = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    power = 1 / (rows**2 + columns**2 + _LOWEST_FREQUENCY**2)
    return (power / power.mean())[:, : width // 2 + 1].astype(np.float32)


def kernel_spectrum(kernel: Kernel, size: tuple[int, int]) -> Spectrum:
    """Return the spectrum of a kernel centred on the origin, complex64 (h, w // 2 + 1)."""
    height, width = kernel.shape
    if height > size[0] or width > size[1]:
        raise ValueError(f"a kernel of {kernel.shape} px does not fit into a picture of {size} px")
    placed = np.zeros(size, np.float32)
    placed[:height, :width] = kernel
    centred = np.roll(placed, (-(height // 2), -(width // 2)), axis=(0, 1))
    return np.fft.rfft2(centred).astype(np.complex64)


def extend(light: Linear, kernel: Kernel) -> tuple[Linear, tuple[slice, slice]]:
    """Return light (h, w, 3) with a margin that hides its border, and where the picture lies in it.

    Mirrored by twice the kernel's size or more (to a size that Fourier transforms like), and
    tapered: towards the outer edge the margin becomes its own periodic blur, so that opposite edges
    meet softly and nothing rings from there.
    """
    height, width = light.shape[:2]
    margin = max(_SHORTEST_MARGIN, 2 * max(kernel.shape))
    size = (cv2.getOptimalDFTSize(height + 2 * margin), cv2.getOptimalDFTSize(width + 2 * margin))
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    bottom, right = size[0] - height - top, size[1] - width - left
    wide = np.pad(light, ((top, bottom), (left, right), (0, 0)), mode="reflect")
    blurred = _from_spectrum(_spectrum(wide) * kernel_spectrum(kernel, size)[..., None], size)
    share = np.outer(_taper(top, height, bottom), _taper(left, width, right))[..., None]
    inside = (slice(top, top + height), slice(left, left + width))
    return np.asarray(share * wide + (1 - share) * blurred, dtype=np.float32), inside


def _taper(before: int, inside: int, after: int) -> Power:
    """Return 1 over the picture, falling as half a cosine to 0 at both outer edges."""
    rising = 0.5 - 0.5 * np.cos(np.pi * (np.arange(before) + 0.5) / max(before, 1))
    falling = 0.5 + 0.5 * np.cos(np.pi * (np.arange(after) + 0.5) / max(after, 1))
    return np.concatenate([rising, np.ones(inside), falling]).astype(np.float32)


def _spectrum(light: Linear) -> Spectrum:
    return np.fft.rfft2(light, axes=(0, 1)).astype(np.complex64)


def _from_spectrum(spectrum: Spectrum, size: tuple[int, int]) -> Linear:
    return np.fft.irfft2(spectrum, s=size, axes=(0, 1)).astype(np.float32)
