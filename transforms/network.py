"""Counting what GDAL reads over the network."""

import ctypes
import json
from dataclasses import dataclass
from functools import cache

import rasterio._env
from apache_beam.metrics import Metrics

NAMESPACE = "network"
"""Of the counters `requests`, `bytes` and `reads` (of tiles), which the engine sums."""


@dataclass(frozen=True)
class NetworkUse:
    """Requests to servers, and bytes of their answers; zeros where nobody knows them.

    GDAL counts the ranges that it fetches at the same time for one read as one request.
    """

    requests: int = 0
    bytes: int = 0
    known: bool = True


class NetworkMeter:
    """Adds what this process has read over the network to counters.

    `purpose` goes before their names: what is read for tiles is counted under `requests`, `bytes`
    and `reads`.
    """

    def __init__(self, purpose: str = "") -> None:
        self._requests = Metrics.counter(NAMESPACE, f"{purpose}requests")
        self._bytes = Metrics.counter(NAMESPACE, f"{purpose}bytes")
        self._reads = Metrics.counter(NAMESPACE, f"{purpose}reads")

    def count(self) -> None:
        """Count one read, with what was asked since the last count in this process."""
        use = take_network_use()
        self._reads.inc()
        self._requests.inc(use.requests)
        self._bytes.inc(use.bytes)


def take_network_use() -> NetworkUse:
    """Return what GDAL read in this process since the last call, in any thread.

    Settings must have said so before its first request: `transforms.gdal.GDAL` does. Whoever asks
    in two threads shares the counts between them.
    """
    library = _gdal()
    if library is None:
        return NetworkUse(known=False)
    text = library.VSINetworkStatsGetAsSerializedJSON(None)
    library.VSINetworkStatsReset()
    try:
        return _to_use(ctypes.string_at(text))
    finally:
        library.VSIFree(text)


def _to_use(report: bytes) -> NetworkUse:
    """Add up GDAL's report, which has no `methods` before the first request.

    >>> _to_use(b'{"methods": {"GET": {"count": 2, "downloaded_bytes": 9}, "HEAD": {"count": 1}}}')
    NetworkUse(requests=3, bytes=9, known=True)
    """
    methods = json.loads(report).get("methods", {}).values()
    return NetworkUse(
        sum(method["count"] for method in methods),
        sum(method.get("downloaded_bytes", 0) for method in methods),
    )


@cache
def _gdal() -> ctypes.CDLL | None:
    """Return the GDAL that rasterio is linked with, if it has what we call."""
    try:
        # A symbol is looked up in the libraries of an extension module too; rasterio's wheels have
        # no GDAL of a name that could be known beforehand.
        library = ctypes.CDLL(rasterio._env.__file__)
        library.VSINetworkStatsGetAsSerializedJSON.restype = ctypes.c_void_p
        library.VSINetworkStatsGetAsSerializedJSON.argtypes = [ctypes.c_void_p]
        library.VSINetworkStatsReset.restype = None
        library.VSIFree.restype = None
        library.VSIFree.argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library
