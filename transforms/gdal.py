"""GDAL: its settings, its names for files and URLs, and opening a raster."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rasterio import DatasetReader
from rasterio.errors import NotGeoreferencedWarning

from configs.schema import DRIVERS

GDAL: Mapping[str, Any] = {
    # Look for each sidecar by its name: EMPTY_DIR would hide .aux.xml and world files, and listing
    # a folder of 100,000 pictures at every open is slow.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_CACHEMAX": 64 * 2**20,  # bytes; GDAL's own default is 5 % of the memory, per process
    "GDAL_NUM_THREADS": "1",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "VSI_CACHE": "TRUE",
}
"""Settings for `with rasterio.Env(**GDAL)` around every call: an Env belongs to one thread."""

STORES = {"s3://": "/vsis3/", "gs://": "/vsigs/", "az://": "/vsiaz/"}


def gdal_name(path: str) -> str:
    """Return GDAL's name of a file or URL.

    >>> gdal_name("s3://bucket/a.tif"), gdal_name("https://host/a.tif"), gdal_name("a.tif")
    ('/vsis3/bucket/a.tif', '/vsicurl/https://host/a.tif', 'a.tif')
    """
    for scheme, prefix in STORES.items():
        if path.startswith(scheme):
            return prefix + path.removeprefix(scheme)
    return f"/vsicurl/{path}" if path.startswith(("https://", "http://")) else path


def open_dataset(path: str, drivers: Sequence[str] = DRIVERS) -> DatasetReader:
    """Open a raster; the caller has entered `rasterio.Env(**GDAL)` and closes the dataset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return DatasetReader(gdal_name(path), driver=list(drivers), sharing=False)
