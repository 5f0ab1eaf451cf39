"""GDAL: its settings, its names for files and URLs, and opening a raster."""

import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio import DatasetReader
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning

from configs.schema import DRIVERS
from transforms.vrt_names import UntrustedError

STORES = {"s3://": "/vsis3/", "gs://": "/vsigs/", "az://": "/vsiaz/"}

GDAL: Mapping[str, Any] = {
    # Look for each sidecar by its name: EMPTY_DIR would hide .aux.xml, .msk and world files, and
    # listing a folder of 100,000 pictures at every open is slow. `open_dataset` lists on stores.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_CACHEMAX": 64 * 2**20,  # bytes; GDAL's own default is 5 % of the memory, per process
    "GDAL_NUM_THREADS": "1",
    # 429, 500, 502, 503, 504 and lost connections are tried again after 1, 2, 4 and 8 s or so.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
    # Seconds; without these a server that falls silent would stop a worker for ever. A request is
    # for a few MB at most, so that a minute is enough over 1 Mbit/s.
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    "GDAL_HTTP_TIMEOUT": "60",
    # Blocks that lie side by side are one request.
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    # A file's header is asked for whenever it is opened: one that is replaced during the run would
    # otherwise be read by its old header.
    "CPL_VSIL_CURL_NON_CACHED": ":".join((*STORES.values(), "/vsicurl/")),
    # Count requests and bytes (transforms.network); read once, at the first request.
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
    # An error of a block is an error, not a black block.
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    # A VRT is data: it runs no code. What it may name is vetted before (transforms.vetting).
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    # A warped VRT would have other pixels for each window that is asked for.
    "GDAL_VRT_WARP_USE_DATASET_RASTERIO": "NO",
}
"""The settings that are the same everywhere; `gdal_settings` adds those of the environment."""

_LISTED = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE"}
"""On a store one list of up to 1000 names replaces 9 requests for sidecars that are not there."""


def gdal_settings(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what `with rasterio.Env(**gdal_settings())` needs around every call of a thread.

    GDAL reads credentials from the usual variables itself. The endpoint of an S3 server other than
    Amazon's has another name there than in botocore, whose `AWS_ENDPOINT_URL_S3` and
    `AWS_ENDPOINT_URL` are translated unless GDAL's own `AWS_S3_ENDPOINT` is set. Of our settings
    the environment can change those of `GDAL_HTTP_...`: retries and timeouts.

    >>> known = set(GDAL)
    >>> found = gdal_settings({"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"})
    >>> {name: found[name] for name in found if name not in known}
    {'AWS_S3_ENDPOINT': '127.0.0.1:9000', 'AWS_HTTPS': 'NO', 'AWS_VIRTUAL_HOSTING': 'FALSE'}
    """
    tuned = {name: environment[name] for name in GDAL if name in environment and _is_tunable(name)}
    settings = {**GDAL, **tuned}
    url = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if not url or environment.get("AWS_S3_ENDPOINT"):
        return settings
    parts = urlsplit(url if "://" in url else f"https://{url}")
    return {
        **settings,
        "AWS_S3_ENDPOINT": f"{parts.netloc}{parts.path.rstrip('/')}",
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        # Servers of one's own seldom have a host name for every bucket.
        "AWS_VIRTUAL_HOSTING": environment.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }


def _is_tunable(name: str) -> bool:
    return name.startswith("GDAL_HTTP_")


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
    """Open a raster; the caller has entered `Env(**gdal_settings())` and closes the dataset.

    Raises UntrustedError for a picture that says that its overviews are another file.
    """
    listed = _LISTED if path.startswith(tuple(STORES)) else {}
    with warnings.catch_warnings(), rasterio.Env(**gdal_settings() | listed):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = DatasetReader(gdal_name(path), driver=list(drivers), sharing=False)
    # An error that GDAL could live with while opening would be raised by the next call of any kind.
    with suppress(CPLE_BaseError):
        dataset.colorinterp  # noqa: B018
    # GDAL would open it, with any driver, when it is first asked for overviews. What a VRT says is
    # vetted (transforms.vetting).
    if dataset.driver != "VRT" and "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):
        dataset.close()
        raise UntrustedError(
            f"{path} names another file as its overviews: write it again with gdal_translate"
        )
    return dataset
