"""Bands of rows: what is read at once of files whose rows must be read in order.

A JPEG, or a TIFF in strips, has no blocks to jump to: reading a window decodes all columns of its
rows. So a band of rows is read in its full width, once, and the windows are cut out of it.
"""

import numpy as np
from rasterio import DatasetReader
from rasterio.errors import RasterioError

from transforms.functional.windows import Rectangle
from transforms.native_pixels import Native, read_native
from transforms.records import Mask, Scene

BAND_BYTES = 640 * 2**20
"""The budget of a reader: 1344 rows of 100,000 RGB pixels. What needs more is read by windows."""
PICTURES = frozenset({"JPEG", "PNG", "WEBP"})
"""Drivers that decode from the first row on: these pictures are kept whole if they fit."""

_CHUNK_BYTES = 16 * 2**20
"""So much is read at once: the mask is then read from blocks that GDAL still holds."""


def band_around(place: Rectangle, size: tuple[int, int], *, whole: bool, pixel: int) -> Rectangle:
    """Return what is kept in order to cut out a rectangle of a picture of (height, width).

    `pixel` are the bytes of a pixel. The whole picture, if it is wanted and fits the budget, else
    the rows of the rectangle, else the rectangle itself.

    >>> band_around(Rectangle(9, 2, 3, 4), (600, 800), whole=False, pixel=4)
    Rectangle(col_off=0, row_off=2, width=800, height=4)
    """
    height, width = size
    if whole and height * width * pixel <= BAND_BYTES:
        return Rectangle(0, 0, width, height)
    if place.height * width * pixel <= BAND_BYTES:
        return Rectangle(0, place.row_off, width, place.height)
    return place


class RowBands:
    """Keeps the band of rows that was read last, of one file."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._path = ""
        self._place = Rectangle(0, 0, 0, 0)
        self._pixels: tuple[Native, Mask] | None = None
        self._broken: set[str] = set()

    def read(
        self, dataset: DatasetReader, scene: Scene, place: Rectangle, *, whole: bool
    ) -> tuple[Native, Mask]:
        """Return what `read_native` does of a rectangle of the file of a scene.

        `whole`: the picture is kept as a whole if it fits. Raises what `read_native` does.
        """
        if self._pixels is None or self._path != scene.path or not _holds(self._place, place):
            self.forget()
            pixel = len(scene.bands) * np.dtype(scene.dtype).itemsize + 1
            kept = band_around(place, dataset.shape, whole=whole, pixel=pixel)
            if kept == place or scene.path in self._broken:
                return read_native(dataset, scene.bands, place)
            try:
                self._pixels = _read_in_chunks(dataset, scene, kept)
            except RasterioError:
                # It is broken somewhere: the window alone may be whole.
                self._broken.add(scene.path)
                return read_native(dataset, scene.bands, place)
            self._path, self._place = scene.path, kept
        values, valid = self._pixels
        rows, cols = place.within(self._place)
        return values[:, rows, cols].copy(), valid[rows, cols].copy()

    def forget(self) -> None:
        """Keep nothing."""
        self._path, self._pixels = "", None


def _holds(outer: Rectangle, inner: Rectangle) -> bool:
    try:
        inner.within(outer)
    except ValueError:
        return False
    return True


def _read_in_chunks(dataset: DatasetReader, scene: Scene, place: Rectangle) -> tuple[Native, Mask]:
    dtype = np.dtype(scene.dtype)
    values = np.empty((len(scene.bands), place.height, place.width), dtype)
    valid = np.empty((place.height, place.width), np.bool_)
    block = dataset.block_shapes[scene.bands[0] - 1][0]
    row_bytes = place.width * dataset.count * dtype.itemsize
    rows = max(1, _CHUNK_BYTES // row_bytes // block) * block
    end = place.row_off + place.height
    for row in range(place.row_off // rows * rows, end, rows):
        top, bottom = max(row, place.row_off), min(row + rows, end)
        chunk = Rectangle(place.col_off, top, place.width, bottom - top)
        at = slice(top - place.row_off, bottom - place.row_off)
        values[:, at], valid[at] = read_native(dataset, scene.bands, chunk)
    return values, valid
