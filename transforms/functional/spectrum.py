"""The radially averaged power spectrum of a picture, as sums that add up over tiles exactly.

Per band, after Welch 1967 (IEEE Trans. Audio Electroacoust. 15(2)) in two dimensions and without
overlap: patches of `PATCH` x `PATCH` px, their mean removed, times a periodic Hann window w; the
power of a patch is |DFT|^2 / sum(w^2), in DN^2 px^2 (white noise of variance s^2 has power s^2 at
every frequency). Frequencies are gathered in rings: ring r holds those whose radius rounds to
r / `PATCH` cycles per px, r = 1 ... `RINGS`, the last one at Nyquist's 0.5. Corners beyond are left
out, and so is the mean.

Power is rounded to whole `POWER_UNIT`s sample by sample, and summed as integers.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Image = NDArray[np.uint8]
Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]

PATCH = 64
RINGS = PATCH // 2
POWER_UNIT = 2.0**-10
"""DN^2 px^2: 1/85 of the power of rounding to 8 bits, which is 1/12."""


def sum_power(image: Image, valid: NDArray[np.bool_]) -> tuple[Counts, int]:
    """Sum the power of the patches of a core: int64 (bands, RINGS) in `POWER_UNIT`s, and patches.

    `image` is uint8 (h, w, bands), `valid` bool (h, w). Patches are the squares of one colour of a
    chess board from the top left corner on, to halve the work. One with an invalid pixel does not
    count, nor do the rows and columns left over.
    """
    total, count = np.zeros((image.shape[2], PATCH, RINGS + 1)), 0
    for index in range(image.shape[0] // PATCH):
        rows = slice(index * PATCH, (index + 1) * PATCH)
        mine = slice(index % 2, None, 2)
        patches, known = _cut(image[rows])[:, mine], _cut(valid[rows, :, None])[0, mine]
        whole = np.asarray(known.all(axis=(1, 2)))
        total += _strip_power(patches[:, whole])
        count += int(whole.sum())
    return _gather(total.astype(np.int64)), count


def ring_frequencies() -> Numbers:
    """Return the middle of every ring, in cycles per px: float64 (RINGS,)."""
    return np.arange(1, RINGS + 1) / PATCH


def mean_power(power: Counts, patches: int) -> Numbers:
    """Return the mean power in each ring, in DN^2 px^2: float64 (..., RINGS); nan of no patches."""
    if not patches:
        return np.full(power.shape, np.nan)
    samples = _gather(np.ones((PATCH, RINGS + 1), np.int64))
    return np.asarray(power * POWER_UNIT / (patches * samples))


def spectrum_ratio(power: Numbers, base: Numbers) -> Numbers:
    """Return sqrt(power / base) in each ring; nan where `base` has no power.

    Of a picture and the same picture filtered by H it is the root mean square of |H| in the ring,
    weighted by the power there (power behind a filter is |H|^2 times that before it: Bendat &
    Piersol, Random Data, chapter 6), aside from noise: what is added raises the ratio like detail.
    """
    known = base > 0
    ratio = np.divide(power, base, out=np.full(np.shape(base), np.nan), where=known)
    return np.asarray(np.sqrt(ratio))


def _cut(strip: NDArray[Any]) -> NDArray[Any]:
    """Return the whole patches of a strip (PATCH, w, bands) as (bands, patches, PATCH, PATCH)."""
    count, bands = strip.shape[1] // PATCH, strip.shape[2]
    whole = strip[:, : count * PATCH].reshape(PATCH, count, PATCH, bands)
    return whole.transpose(3, 1, 0, 2)


def _strip_power(patches: Image) -> Numbers:
    """Sum the power of uint8 (bands, k, PATCH, PATCH), in whole units: (bands, PATCH, RINGS + 1).

    Exact but for the DFT: 4096 levels add up to less than 2^24, so float32 holds their mean, and a
    core's whole units to less than 2^53.
    """
    window = _hann()
    flat = patches.astype(np.float32, order="C")
    flat -= flat.mean(axis=(2, 3), keepdims=True)
    spectrum = fft.rfft2(flat * window.astype(np.float32))
    power = spectrum.real**2 + spectrum.imag**2
    power /= np.float32((window**2).sum() * POWER_UNIT)
    units = np.rint(power, out=power)
    return np.asarray(units.sum(axis=1, dtype=np.float64))


@cache
def _hann() -> Numbers:
    """Return the periodic Hann window: float64 (PATCH, PATCH)."""
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(PATCH) / PATCH)
    return np.outer(wave, wave)


def _gather(half: Counts) -> Counts:
    """Sum (..., PATCH, RINGS + 1), a spectrum without its mirrored half, into (..., RINGS)."""
    order, starts, twice = _rings()
    flat = half.reshape(*half.shape[:-2], -1)[..., order] * twice
    return np.asarray(np.add.reduceat(flat, starts, axis=-1))


@cache
def _rings() -> tuple[Counts, Counts, Counts]:
    """Return the frequencies of (PATCH, RINGS + 1) in the order of the rings 1 to `RINGS`.

    Their indices in the flat array, where in that order each ring begins, and how often they count.
    """
    across, along = np.arange(RINGS + 1), fft.fftfreq(PATCH, 1 / PATCH)
    ring = np.rint(np.hypot(along[:, None], across[None, :])).astype(int).ravel()
    twice = np.broadcast_to(np.where((across > 0) & (across < RINGS), 2, 1), (PATCH, RINGS + 1))
    order = np.argsort(ring, kind="stable")
    order = order[(ring[order] >= 1) & (ring[order] <= RINGS)]
    return order, np.searchsorted(ring[order], np.arange(1, RINGS + 1)), twice.ravel()[order]
