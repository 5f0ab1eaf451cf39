"""What a network changed, brought from the 8-bit rendering back to the native pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Native = NDArray[Any]
Picture = NDArray[np.uint8] | NDArray[np.float64]
Real = NDArray[np.float64]
Ends = tuple[float, float]

_EIGHT_BIT: Ends = (0.0, 255.0)
# Readers take a float within some units in the last place for nodata, so the very next number would
# be lost; a 256th of a grey level is nothing to the eye.
_LEVEL_SHARE = 1 / 256
_SPACINGS = 16


def add_residual(
    native: Native,
    before: Picture,
    after: Picture,
    *,
    stretch: Sequence[Ends] | None,
    valid: Mask,
    nodata: float | None,
) -> Native:
    """Return native + (after - before) * (high - low) / 255, of the dtype and shape of `native`.

    native: (b, h, w), the bands that were rendered, integer or floating. before, after: (h, w, c),
    grey levels 0 to 255; a channel per band, or three for one band, which takes their mean.
    `stretch` are the ends (low, high) of each band; without it pixels are uint8 already, and become
    `after` exactly.

    A pixel stays bit for bit where it is not `valid` (h, w), where the network changed nothing, and
    where it lies outside [low, high] or is NaN: there the rendering was clipped. Results are
    clipped to [low, high], and rounded for integers. None becomes `nodata`: it stops beside it, on
    the side that it comes from.
    """
    ends = _ends(native, stretch)
    _check(native, before, after, valid)
    change = np.subtract(after, before, dtype=np.float64).transpose(2, 0, 1)
    if len(native) == 1:
        change = change.mean(axis=0, keepdims=True)
    result = native.copy()
    for band, delta, (low, high) in zip(result, change, ends, strict=True):
        at = valid & (delta != 0) & (band >= low) & (band <= high)
        was = band[at].astype(np.float64)
        wanted = np.clip(was + delta[at] * ((high - low) / 255), low, high)
        band[at] = _representable(wanted, was, band.dtype, (low, high), nodata)
    return result


def per_band(image: NDArray[np.uint8], bands: Sequence[int]) -> Real:
    """Return the channels (h, w, c) of an RGB image, one per distinct band, in order of appearance.

    `bands` are the one or three that the image shows; a band shown more than once takes the mean.
    """
    shown = tuple(bands) * (3 if len(bands) == 1 else 1)
    places = {band: [index for index in range(3) if shown[index] == band] for band in shown}
    return np.stack([image[..., at].mean(axis=2) for at in places.values()], axis=2)


def _representable(
    wanted: Real, was: Real, dtype: np.dtype[Any], ends: Ends, nodata: float | None
) -> Native:
    """Return `wanted` (n,) as the dtype: rounded if need be, within the ends, beside nodata."""
    low, high = ends
    if dtype.kind == "f":
        spacing = float(np.finfo(dtype).eps) * abs(nodata or 0.0)
        step = max((high - low) / 255 * _LEVEL_SHARE, _SPACINGS * spacing)
    else:
        limits = np.iinfo(dtype)
        low, high = max(np.ceil(low), limits.min), min(np.floor(high), limits.max)
        wanted, step = np.clip(np.rint(wanted), low, high), 1.0
    if nodata is not None and np.isfinite(nodata):
        wanted = _beside(wanted, was, nodata=nodata, step=step, ends=(low, high))
    return wanted.astype(dtype)


def _beside(wanted: Real, was: Real, *, nodata: float, step: float, ends: Ends) -> Real:
    """Return `wanted` (n,) with a step between it and nodata, unless it was nodata and stays it."""
    hits = (np.abs(wanted - nodata) < step) & (wanted != was)
    comes_from_above = np.where(was == nodata, wanted >= nodata, was > nodata)
    above = np.where(comes_from_above, nodata + step <= ends[1], nodata - step < ends[0])
    return np.where(hits, np.where(above, nodata + step, nodata - step), wanted)


def _ends(native: Native, stretch: Sequence[Ends] | None) -> Sequence[Ends]:
    if native.dtype.kind not in "iuf":
        raise ValueError(f"native pixels must be integer or floating, got {native.dtype}")
    if stretch is None and native.dtype != np.uint8:
        raise ValueError(
            f"pixels of {native.dtype} have no 8-bit rendering without a stretch: set read.stretch"
        )
    ends = [_EIGHT_BIT] * len(native) if stretch is None else stretch
    if len(ends) != len(native):
        raise ValueError(f"a stretch per band is wanted, got {len(ends)} for {len(native)} bands")
    return ends


def _check(native: Native, before: Picture, after: Picture, valid: Mask) -> None:
    shape = (*native.shape[1:], before.shape[2])
    if before.shape != shape or after.shape != shape or valid.shape != shape[:2]:
        raise ValueError(
            "native (b, h, w), before and after (h, w, c) and valid (h, w) must be of one size, "
            f"got {native.shape}, {before.shape}, {after.shape}, {valid.shape}"
        )
    if len(native) not in (1, shape[2]):
        raise ValueError(
            f"a channel per band is wanted, got {shape[2]} channels for {len(native)} bands: "
            "per_band averages those of a band that is shown twice"
        )
