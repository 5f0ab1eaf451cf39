"""The pixels of a raster as they are stored, and which of them are data."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import DatasetReader
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NodataShadowWarning
from rasterio.windows import Window as RasterWindow

from transforms.functional.windows import Rectangle
from transforms.records import Mask, Scene

Native = NDArray[Any]


def read_native(
    dataset: DatasetReader,
    bands: Sequence[int],
    place: Rectangle,
    shape: tuple[int, int] | None = None,
) -> tuple[Native, Mask]:
    """Return the pixels (b, h, w) of a rectangle and bool (h, w), False where there is no data.

    A pixel has data if its alpha or mask band says so, if not all of its bands are nodata, and if
    its values are finite. With a `shape` (h, w) smaller than the rectangle the nearest pixels are
    taken, from an overview where there is one.

    Raises RasterioError if the file cannot be read there.
    """
    window = RasterWindow(place.col_off, place.row_off, place.width, place.height)
    wanted: dict[str, Any] = {"window": window}
    # Without a wanted shape what lies outside of the picture is cut off, not squeezed in.
    if shape is not None:
        wanted["out_shape"] = (len(bands), *shape)
    values = dataset.read(list(bands), **wanted)
    valid = _read_masks(dataset, bands, values.shape[1:], wanted)
    if ColorInterp.alpha in dataset.colorinterp and not _asks_alpha(dataset, bands):
        # GDAL asks alpha only as the last of two or four bands, and not where there is nodata.
        alpha = dataset.colorinterp.index(ColorInterp.alpha) + 1
        valid &= dataset.read([alpha], window=window, out_shape=(1, *valid.shape))[0] > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=0)
    return values, np.asarray(valid, dtype=np.bool_)


def _read_masks(
    dataset: DatasetReader, bands: Sequence[int], size: tuple[int, ...], wanted: dict[str, Any]
) -> Mask:
    """Return where GDAL's masks of the bands say that one of them has data: bool `size`."""
    flags = [dataset.mask_flag_enums[band - 1] for band in bands]
    if all(each == [MaskFlags.all_valid] for each in flags):
        return np.ones(size, np.bool_)  # so would GDAL say, of every pixel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NodataShadowWarning)
        masks = dataset.read_masks(list(bands), **wanted)
    return np.asarray((masks > 0).any(axis=0))


def _asks_alpha(dataset: DatasetReader, bands: Sequence[int]) -> bool:
    """Say whether GDAL's own masks of the bands come from the alpha band."""
    return all(MaskFlags.alpha in dataset.mask_flag_enums[band - 1] for band in bands)


def distinct_bands(scene: Scene) -> tuple[int, ...]:
    """Return the bands of the file that are rendered, each once, in the order of a core's file."""
    return tuple(dict.fromkeys(scene.bands))
