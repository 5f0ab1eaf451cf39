"""The spectrum of a picture, and how straight motions explain it.

Uniform motion over L px along a direction multiplies the power spectrum of light by
sinc^2(L u), u the frequency along the motion: dark stripes across it, 1 / L apart (Cannon, M.:
Blind deconvolution of spatially invariant image blurs with phase. IEEE TASSP 24(1), 1976). The
spectrum is estimated as there, as the mean of the logarithms of overlapping windowed patches. What
the scene adds is taken as isotropic, each ring of equal frequency being free in its mean, up to a
smooth decline along the motion.

Angles are degrees counter-clockwise from +x as seen on the screen, as in `blur`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.camera import Image, decode_srgb

Float = NDArray[np.float64]

PATCH = 128
"""Side in px of the patches, some three times the longest blur of interest."""

# Cycles per px. Below, a patch resolves no stripe; above, JPEG and noise cover what blur left.
_BAND = (0.04, 0.3)
# The depth to which noise and the patches' window fill a stripe.
_FLOOR = 0.005
_BINS_PER_CYCLE = 8 * PATCH


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The logarithmic power of a picture less the mean of its ring, at n frequencies.

    x, y: float64 (n,), cycles per px to the right and upwards, one of every pair of opposites.
    ring: int (n,), |frequency| in 1 / PATCH. power: float64 (n,), natural logarithm. signal:
    float64 (rings,), the share of a ring's power that is not noise, in [0, 1].
    """

    x: Float
    y: Float
    ring: NDArray[np.intp]
    power: Float
    signal: Float


@dataclass(frozen=True, eq=False)
class Comparison:
    """How motions of k lengths and a angles explain a spectrum: float64 (k, a) each.

    explained: share of the weighted sum of squares. decline, depth: the amplitudes of the smooth
    decline and of the stripes, 1 as predicted. by_stripes: the share that stripes explain of what
    the decline alone leaves.
    """

    explained: Float
    decline: Float
    depth: Float
    by_stripes: Float

    @property
    def best(self) -> tuple[int, int]:
        """Return the row and column of the motion that explains most."""
        row, col = divmod(int(np.argmax(self.explained)), self.explained.shape[1])
        return row, col


def measure_spectrum(patches: Image) -> Spectrum:
    """Return the mean logarithmic spectrum of patches uint8 (n, PATCH, PATCH), n >= 1.

    In linear light, because light is what motion mixed. Windowed with Hann's window; a spectrum's
    logarithm is averaged, so that no bright patch outweighs the others. The corners beyond half a
    cycle per px tell the noise.
    """
    light = decode_srgb(patches)
    edge = np.sin(np.pi * np.arange(PATCH) / PATCH) ** 2
    window = np.outer(edge, edge).astype(np.float32)
    means = np.sum(light * window, axis=(1, 2), keepdims=True) / np.sum(window)
    power = np.abs(np.fft.rfft2((light - means) * window)) ** 2
    logs = np.log(np.maximum(power, np.float32(1e-12)))
    mean: Float = np.asarray(np.sum(logs, axis=0, dtype=np.float64)) / len(patches)
    down, right = np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None, :]
    radius = np.hypot(down, right)
    kept = (radius >= _BAND[0]) & (radius <= _BAND[1]) & ((right > 0) | (down > 0))
    x, y = np.broadcast_to(right, kept.shape)[kept], -np.broadcast_to(down, kept.shape)[kept]
    ring = np.rint(radius[kept] * PATCH).astype(np.intp)
    counts = np.bincount(ring)
    rings = np.bincount(ring, weights=mean[kept]) / np.maximum(counts, 1)
    signal = np.where(counts > 0, -np.expm1(np.mean(mean[radius > 0.5]) - rings), 0.0)
    return Spectrum(x, y, ring, mean[kept] - rings[ring], np.maximum(signal, 0.0))


def compare(spectrum: Spectrum, lengths: Float, angles: Float) -> Comparison:
    """Fit motions of lengths (k,) > 0 in px and angles (a,) in degrees to a spectrum.

    The prediction log sinc^2(L u) is the sum of a smooth decline, log(1 / (1 + 2 (pi L u)^2)), and
    stripes. Both amplitudes are free in [0, 1.3], by weighted least squares, because scenes too
    decline in some directions faster than in others, and noise fills stripes. A prediction depends
    on u alone, so that the spectrum is summed along the stripes once per angle.
    """
    u = np.arange(round(_BAND[1] * _BINS_PER_CYCLE) + 2) / _BINS_PER_CYCLE
    profiles = np.stack([_profile(spectrum, angle, len(u)) for angle in angles])
    # Not `@`: the order of its sums, and so their last bits, depends on the number of threads.
    smooth = np.einsum("ku,au->ka", _decline(lengths[:, None] * u), profiles)
    striped = np.einsum("ku,au->ka", _stripes(lengths[:, None] * u), profiles)
    energies = _energies(spectrum, lengths)
    dd, ds, ss = (energy[:, None] for energy in energies)
    total = max(float(np.sum(spectrum.signal[spectrum.ring] * spectrum.power**2)), 1e-12)
    decline = np.clip((ss * smooth - ds * striped) / np.maximum(dd * ss - ds**2, 1e-12), 0, 1.3)
    depth = np.clip((striped - decline * ds) / np.maximum(ss, 1e-12), 0, 1.3)
    cost = decline**2 * dd + depth**2 * ss + 2 * decline * depth * ds
    explained = (2 * decline * smooth + 2 * depth * striped - cost) / total
    alone = np.clip(smooth / np.maximum(dd, 1e-12), 0, 1.3)
    smoothly = (2 * alone * smooth - alone**2 * dd) / total
    by_stripes = (explained - smoothly) / np.maximum(1 - smoothly, 1e-12)
    return Comparison(explained, decline, depth, by_stripes)


def _decline(travel: Float) -> Float:
    """Return the logarithm of sinc^2 without its stripes, by length times frequency."""
    return np.log((1 - _FLOOR) / (1 + 2 * (np.pi * travel) ** 2) + _FLOOR)


def _stripes(travel: Float) -> Float:
    """Return what `_decline` lacks of the logarithm of sinc^2."""
    return np.log(np.sinc(travel) ** 2 * (1 - _FLOOR) + _FLOOR) - _decline(travel)


def _profile(spectrum: Spectrum, angle: float, bins: int) -> Float:
    """Return the weighted spectrum summed over equal |u| along an angle in degrees, (bins,)."""
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    u = np.rint(np.abs(spectrum.x * cos + spectrum.y * sin) * _BINS_PER_CYCLE).astype(np.intp)
    weighted = spectrum.power * spectrum.signal[spectrum.ring]
    return np.bincount(u, weights=weighted, minlength=bins).astype(np.float64)


def _energies(spectrum: Spectrum, lengths: Float) -> tuple[Float, Float, Float]:
    """Return the weighted sums of decline^2, decline x stripes and stripes^2, each (k,).

    Both less the means of their rings, as the spectrum is; over directions, not frequencies, so
    that one sum serves every angle.
    """
    counts = np.bincount(spectrum.ring)
    radii = np.flatnonzero(counts)
    weights = counts[radii] * spectrum.signal[radii]
    cosines = np.cos(np.pi / 2 * (np.arange(64) + 0.5) / 64)
    travel = lengths[:, None, None] * (radii[:, None] / PATCH) * cosines
    decline, stripes = _decline(travel), _stripes(travel)
    decline -= np.mean(decline, axis=2, keepdims=True)
    stripes -= np.mean(stripes, axis=2, keepdims=True)
    products = (decline * decline, decline * stripes, stripes * stripes)
    dd, ds, ss = (np.sum(weights * np.mean(product, axis=2), axis=1) for product in products)
    return dd, ds, ss
