"""Statistics of the bands of a raster, exact, over the pixels that have data, a block at a time."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NodataShadowWarning
from rasterio.windows import Window

READ = 32 * 2**20
"""Bytes of pixels that are read at once, unless a single block is larger."""
SIDE = 1024
PART = 2**20
"""Pixels that become floating at once."""


@dataclass(frozen=True)
class BandStatistics:
    """Of `seen` pixels `count` have data; `squares` is the sum of squared differences to `mean`."""

    seen: int = 0
    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0

    @staticmethod
    def of(values: NDArray[Any], *, seen: int) -> "BandStatistics":
        """Return those of the values (n,) that have data, of `seen` pixels; only finite ones do."""
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if not values.size:
            return BandStatistics(seen)
        mean = float(values.mean(dtype=np.float64))
        away = np.subtract(values, mean, dtype=np.float64)
        squares = float(np.square(away, out=away).sum())  # a dot product depends on threads
        ends = float(values.min()), float(values.max())
        return BandStatistics(seen, values.size, *ends, mean, squares)

    def __add__(self, other: "BandStatistics") -> "BandStatistics":
        """Return those of both (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        share = other.count / count if count else 0.0
        away = other.mean - self.mean
        return BandStatistics(
            self.seen + other.seen,
            count,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
            self.mean + away * share,
            self.squares + other.squares + away * away * self.count * share,
        )

    def to_tags(self) -> Mapping[str, str]:
        """Return them under the names of GDAL; of no pixel there are none."""
        if not self.count:
            return {}
        numbers = {
            "MAXIMUM": f"{self.maximum:.16g}",
            "MEAN": f"{self.mean:.12g}",
            "MINIMUM": f"{self.minimum:.16g}",
            "STDDEV": f"{math.sqrt(self.squares / self.count):.12g}",
            "VALID_PERCENT": f"{100 * self.count / self.seen:.4g}",
        }
        return {f"STATISTICS_{name}": value for name, value in numbers.items()}


def measure_bands(
    dataset: rasterio.DatasetReader, windows: Iterable[Window]
) -> list[BandStatistics]:
    """Read a raster by windows and return the statistics of its bands.

    Raises RasterioError if a pixel cannot be read. Complex bands are read, and have none.
    """
    totals = [BandStatistics() for _ in dataset.indexes]
    for window in windows:
        for index, values in enumerate(dataset.read(window=window)):
            totals[index] += _measure(dataset, index + 1, values, window)
    return totals


def plan_reading(dataset: rasterio.DatasetReader) -> Iterator[Window]:
    """Yield windows that cover a raster row by row, of whole blocks and about `READ` bytes."""
    height, width = dataset.shape
    block_height, block_width = dataset.block_shapes[0]
    pixel = sum(np.dtype(kind).itemsize for kind in dataset.dtypes)
    across = width if block_width >= width else min(width, _whole(SIDE, block_width))
    along = max(block_height, READ // (across * pixel) // block_height * block_height)
    for row in range(0, height, along):
        for col in range(0, width, across):
            yield Window(col, row, min(across, width - col), min(along, height - row))


def _whole(length: int, block: int) -> int:
    return -(-length // block) * block


def _measure(
    dataset: rasterio.DatasetReader, band: int, values: NDArray[Any], window: Window
) -> BandStatistics:
    if values.dtype.kind == "c":
        return BandStatistics()
    flat = values.ravel()
    valid = np.ones(flat.shape, np.bool_)
    if MaskFlags.all_valid not in dataset.mask_flag_enums[band - 1]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NodataShadowWarning)
            valid = dataset.read_masks(band, window=window).ravel() > 0
    total = BandStatistics()
    for at in range(0, flat.size, PART):
        part, fine = flat[at : at + PART], valid[at : at + PART]
        total += BandStatistics.of(part if fine.all() else part[fine], seen=part.size)
    return total
