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
from functools import cache, lru_cache

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
    grid, light, window = _grid(), decode_srgb(patches), _hann()
    means = np.sum(light * window, axis=(1, 2), keepdims=True) / np.sum(window)
    power = np.abs(np.fft.rfft2((light - means) * window)) ** 2
    logs = np.log(np.maximum(power, np.float32(1e-12)))
    mean: Float = np.asarray(np.sum(logs, axis=0, dtype=np.float64)) / len(patches)
    kept, counts = mean[grid.kept], np.bincount(grid.ring)
    rings = np.bincount(grid.ring, weights=kept) / np.maximum(counts, 1)
    signal = np.where(counts > 0, -np.expm1(np.mean(mean[grid.corners]) - rings), 0.0)
    power = kept - rings[grid.ring]
    return Spectrum(grid.x, grid.y, grid.ring, power, np.maximum(signal, 0.0))


@dataclass(frozen=True, eq=False)
class _Grid:
    """The frequencies of half a spectrum (PATCH, PATCH / 2 + 1).

    `kept` are those n of the band, one of every pair of opposites, and `x`, `y`, `ring` theirs as
    in `Spectrum`; `corners` lie beyond half a cycle per px.
    """

    kept: NDArray[np.bool_]
    corners: NDArray[np.bool_]
    x: Float
    y: Float
    ring: NDArray[np.intp]


@cache
def _grid() -> _Grid:
    down, right = np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None, :]
    radius = np.hypot(down, right)
    kept = (radius >= _BAND[0]) & (radius <= _BAND[1]) & ((right > 0) | (down > 0))
    x, y = np.broadcast_to(right, kept.shape)[kept], -np.broadcast_to(down, kept.shape)[kept]
    return _Grid(kept, radius > 0.5, x, y, np.rint(radius[kept] * PATCH).astype(np.intp))


@cache
def _hann() -> NDArray[np.float32]:
    """Return Hann's window: float32 (PATCH, PATCH)."""
    edge = np.sin(np.pi * np.arange(PATCH) / PATCH) ** 2
    return np.outer(edge, edge).astype(np.float32)


def compare(spectrum: Spectrum, lengths: Float, angles: Float) -> Comparison:
    """Fit motions of lengths (k,) > 0 in px and angles (a,) in degrees to a spectrum.

    The prediction log sinc^2(L u) is the sum of a smooth decline, log(1 / (1 + 2 (pi L u)^2)), and
    stripes. Both amplitudes are free in [0, 1.3], by weighted least squares, because scenes too
    decline in some directions faster than in others, and noise fills stripes. A prediction depends
    on u alone, so that the spectrum is summed along the stripes once per angle.
    """
    motions = _predict(tuple(lengths.tolist()))
    profiles = _profiles(spectrum, tuple(angles.tolist()))
    # Not `@`: the order of its sums, and so their last bits, depends on the number of threads.
    smooth = np.einsum("ku,au->ka", motions.decline, profiles)
    striped = np.einsum("ku,au->ka", motions.stripes, profiles)
    dd, ds, ss = (energy[:, None] for energy in _energies(spectrum, motions))
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


# The coarse grid of angles is asked for every time, others seldom again.
@lru_cache(4)
def _bins_along(angles: tuple[float, ...]) -> list[NDArray[np.intp]]:
    """Return the bin of |u| of each frequency of the grid, (n,), along angles in degrees."""
    grid, bins = _grid(), []
    for angle in map(math.radians, angles):
        u = np.abs(grid.x * math.cos(angle) + grid.y * math.sin(angle))
        bins.append(np.rint(u * _BINS_PER_CYCLE).astype(np.intp))
    return bins


def _profiles(spectrum: Spectrum, angles: tuple[float, ...]) -> Float:
    """Return the weighted spectrum summed over equal |u| along angles in degrees, (a, bins)."""
    weighted, size = spectrum.power * spectrum.signal[spectrum.ring], len(_travelled())
    sums = [np.bincount(bins, weighted, minlength=size) for bins in _bins_along(angles)]
    return np.stack(sums).astype(np.float64)


@cache
def _travelled() -> Float:
    """Return the frequencies along a motion at which spectra are summed, in cycles per px."""
    return np.arange(round(_BAND[1] * _BINS_PER_CYCLE) + 2) / _BINS_PER_CYCLE


@dataclass(frozen=True, eq=False)
class _Motions:
    """What motions of k lengths do to any spectrum.

    decline, stripes: float64 (k, u), at the frequencies of `_travelled`. squares: decline^2,
    decline x stripes and stripes^2, the mean over each ring's directions, float64 (k, rings).
    """

    decline: Float
    stripes: Float
    squares: tuple[Float, Float, Float]


# The searches ask for the lengths of the coarse grid, and for those around each of them.
@lru_cache(64)
def _predict(lengths: tuple[float, ...]) -> _Motions:
    """Return what motions of these lengths do; over directions the means of rings are 0.

    Over directions, not frequencies, so that one sum serves every angle.
    """
    along = np.array(lengths)[:, None] * _travelled()
    cosines = np.cos(np.pi / 2 * (np.arange(64) + 0.5) / 64)
    travel = np.array(lengths)[:, None, None] * (_radii()[:, None] / PATCH) * cosines
    decline, stripes = _decline(travel), _stripes(travel)
    decline -= np.mean(decline, axis=2, keepdims=True)
    stripes -= np.mean(stripes, axis=2, keepdims=True)
    products = (decline * decline, decline * stripes, stripes * stripes)
    dd, ds, ss = (np.mean(product, axis=2) for product in products)
    return _Motions(_decline(along), _stripes(along), (dd, ds, ss))


@cache
def _radii() -> NDArray[np.intp]:
    """Return the rings that hold frequencies, in 1 / PATCH."""
    return np.unique(_grid().ring)


def _energies(spectrum: Spectrum, motions: _Motions) -> tuple[Float, Float, Float]:
    """Return the weighted sums of decline^2, decline x stripes and stripes^2, each (k,)."""
    radii = _radii()
    weights = np.bincount(spectrum.ring)[radii] * spectrum.signal[radii]
    dd, ds, ss = (np.sum(weights * square, axis=1) for square in motions.squares)
    return dd, ds, ss
