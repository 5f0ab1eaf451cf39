"""Stretches: from which (low, high) of each band a scene is rendered to 8 bits."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import DatasetReader

from configs.schema import PercentileStretch, Stretch
from transforms.functional.windows import Rectangle
from transforms.native_pixels import Native, read_native

Ends = tuple[float, float]

SIDE = 1024
"""At most so many pixels a side, or as many in all, are looked at."""
PATCHES = 16
"""Blocks that are looked at each way where a file has no overview; of each PATCH pixels a side."""
PATCH = SIDE // PATCHES


def find_stretch(
    dataset: DatasetReader, bands: Sequence[int], config: Stretch | PercentileStretch | None
) -> tuple[Ends, ...] | None:
    """Return (low, high) for each band, low < high, or None if the pixels are 8-bit already.

    Percentiles are those of the valid pixels of a sample. Where two coincide, the least and the
    greatest value of the sample are taken; where these do, the value is rendered mid-grey; where
    no pixel of the sample is valid, it is the range of the type (floats: 0 to 1).

    Raises RasterioError if the sample cannot be read.
    """
    if config is None:
        return None
    if isinstance(config, Stretch):
        return ((config.low, config.high),) * len(bands)
    values = sample_pixels(dataset, bands)
    if config.joint:
        return (_ends(values.reshape(-1), config.percentiles),) * len(bands)
    return tuple(_ends(band, config.percentiles) for band in values)


def sample_pixels(dataset: DatasetReader, bands: Sequence[int]) -> Native:
    """Return the valid pixels (b, n) of a sample that depends on the file alone.

    The whole scene, thinned, where there is an overview or the rows have to be read in order; else
    pixels of at most 256 blocks that are spread evenly, so that little is read of a large file.
    """
    parts = [
        values[:, valid]
        for place, shape in _plan_sample(dataset, bands)
        for values, valid in [read_native(dataset, bands, place, shape)]
    ]
    return np.concatenate(parts, axis=1)


def _plan_sample(
    dataset: DatasetReader, bands: Sequence[int]
) -> Iterator[tuple[Rectangle, tuple[int, int]]]:
    """Yield rectangles, and the (height, width) that each is thinned to."""
    height, width = dataset.shape
    thinning = max(height, width) / SIDE
    block_height, block_width = dataset.block_shapes[bands[0] - 1]
    # Four times finer than wanted is fine enough: at most 16 million pixels are read then.
    overview = any(factor >= thinning / 4 for factor in dataset.overviews(bands[0]))
    if thinning <= 4 or overview or block_width >= width:
        shape = tuple(math.ceil(side / max(thinning, 1)) for side in (height, width))
        yield Rectangle(0, 0, width, height), (shape[0], shape[1])
        return
    for row in _spread(math.ceil(height / block_height)):
        for col in _spread(math.ceil(width / block_width)):
            left, top = col * block_width, row * block_height
            wide, high = min(block_width, width - left), min(block_height, height - top)
            yield Rectangle(left, top, wide, high), (min(high, PATCH), min(wide, PATCH))


def _spread(count: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, PATCHES)})


def _ends(values: NDArray[Any], percentiles: tuple[float, float]) -> Ends:
    """Return the percentiles of values (n,), or what `find_stretch` says instead."""
    if not values.size:
        limits = None if values.dtype.kind == "f" else np.iinfo(values.dtype)
        return (0.0, 1.0) if limits is None else (float(limits.min), float(limits.max))
    low, high = (float(end) for end in np.percentile(values.astype(np.float64), percentiles))
    if low < high:
        return low, high
    least, greatest = float(values.min()), float(values.max())
    if least < greatest:
        return least, greatest
    half = max(abs(least), 1.0) / 2
    return least - half, least + half
