"""Is an output believable? Four numbers that tell a restored picture from a broken one.

They look at what the network itself gave, before anything repairs its low frequencies: a constant
picture whose block means are put right looks like a soft one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.block_sums import BLOCK, Image, Mask, blacken, block_sums

Blocks = NDArray[np.float64]

FLATTEST = 0.1
"""The share of the blocks, those of least texture, in which what is added must be least."""
LEAST_DETAIL = 0.5
"""An output holds at least this share of the input's detail; a restored one holds more than all."""
FLOOR = 8.0
"""Grey levels of contrast that any picture is granted: mist has next to none of its own."""

_LEAST_VALID = BLOCK * BLOCK // 4
_NOTHING_TO_HOLD = 0.25  # variance in squared grey levels: rounding alone makes a twelfth


@dataclass(frozen=True)
class Symptoms:
    """What an output did to a picture, over its valid pixels and all bands.

    `saturated`: the share of samples that are 0 or 255 and were not. `flat`: the root mean square
    change in the blocks of least texture, less the standard deviation that these had (grey levels).
    `energy`: the root mean square change, relative to the standard deviation of the input and 8
    levels. `detail`: the slope of a regression of the output on the input within blocks; 1 where
    the input has no detail.
    """

    saturated: float
    flat: float
    energy: float
    detail: float

    def reason(self, *, saturated: float, flat: float, energy: float) -> str:
        """Return the first that is beyond its limit: saturation, energy, flat, detail; or ''."""
        signs = {
            "saturation": self.saturated > saturated,
            "energy": self.energy > energy,
            "flat": self.flat > flat,
            "detail": self.detail < LEAST_DETAIL,
        }
        return next((name for name, shows in signs.items() if shows), "")


NO_SYMPTOMS = Symptoms(saturated=0.0, flat=0.0, energy=0.0, detail=1.0)


def find_symptoms(before: Image, after: Image, valid: Mask) -> Symptoms:
    """Measure an output (h, w, 3) against its input over the pixels that are valid (h, w).

    Blocks with less than a quarter of their pixels are left out; without any other there are no
    symptoms.
    """
    weights = block_sums(valid.view(np.uint8)[..., None])[..., 0]
    used = weights >= _LEAST_VALID
    if not used.any():
        return NO_SYMPTOMS
    old, new = blacken(before, valid), blacken(after, valid)
    means = _moments(old, new)[:, used] / weights[used, None]
    level, shift, square, energy, product = means.swapaxes(1, 2)  # each (bands, blocks)
    variance = np.maximum(square - level**2, 0)
    return Symptoms(
        saturated=_newly_saturated(old, new) / (before.shape[2] * int(weights.sum())),
        flat=_change_where_flat(variance, energy),
        energy=_relative_energy(variance, level, energy, weights[used]),
        detail=_detail_held(variance, product - level * shift),
    )


def _moments(old: Image, new: Image) -> Blocks:
    """Return the block sums (5, R, C, bands) of a picture b and its change d: b, d, bb, dd, bd."""
    b, bb, nn, bn = (block_sums(*each) for each in ((old,), (old, old), (new, new), (old, new)))
    return np.stack([b, block_sums(new) - b, bb, nn - 2 * bn + bb, bn - bb])


def _newly_saturated(old: Image, new: Image) -> int:
    """Count the samples that are 0 or 255 and were not."""
    at_an_end = new + np.uint8(1) <= 1  # 255 + 1 is 0 in 8 bits
    return int(np.count_nonzero(at_an_end & (new != old)))


def _change_where_flat(variance: Blocks, energy: Blocks) -> float:
    texture = np.sqrt(variance.mean(axis=0))
    limit = np.quantile(texture, FLATTEST)
    return float(np.sqrt(energy[:, texture <= limit].mean()) - limit)


def _relative_energy(variance: Blocks, level: Blocks, energy: Blocks, weights: Blocks) -> float:
    mean = np.average(level, axis=1, weights=weights)
    squares = np.average(variance + level**2, axis=1, weights=weights)
    spread = np.sqrt(np.maximum(squares - mean**2, 0).mean())
    added = np.sqrt(np.average(energy, axis=1, weights=weights).mean())
    return float(added / (spread + FLOOR))


def _detail_held(variance: Blocks, covariance: Blocks) -> float:
    detail = float(variance.mean())
    return 1.0 if detail < _NOTHING_TO_HOLD else 1.0 + float(covariance.mean()) / detail
