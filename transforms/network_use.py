"""What GDAL reads over the network: in this process, and in its decoders."""

import ctypes
import json
from dataclasses import dataclass
from functools import cache
from threading import Lock

import rasterio._env


@dataclass(frozen=True)
class NetworkUse:
    """Requests to servers, and bytes of their answers; zeros where nobody knows them.

    GDAL counts the ranges that it fetches at the same time for one read as one request.
    """

    requests: int = 0
    bytes: int = 0
    known: bool = True

    def __add__(self, other: "NetworkUse") -> "NetworkUse":
        """Return both together, which are known if both are."""
        return NetworkUse(
            self.requests + other.requests, self.bytes + other.bytes, self.known and other.known
        )


class _Elsewhere:
    """What decoders of this process read; as GDAL's own counts, it is the process's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._use = NetworkUse()

    def add(self, use: NetworkUse) -> None:
        with self._lock:
            self._use += use

    def take(self) -> NetworkUse:
        with self._lock:
            use, self._use = self._use, NetworkUse()
        return use


_elsewhere = _Elsewhere()


def add_network_use(use: NetworkUse) -> None:
    """Count what another process read for this one."""
    _elsewhere.add(use)


def take_network_use() -> NetworkUse:
    """Return what GDAL read in and for this process since the last call, in any thread.

    Settings must have said so before its first request: `transforms.gdal.GDAL` does. Whoever asks
    in two threads shares the counts between them.
    """
    library = _gdal()
    if library is None:
        return NetworkUse(known=False)
    text = library.VSINetworkStatsGetAsSerializedJSON(None)
    library.VSINetworkStatsReset()
    try:
        return _to_use(ctypes.string_at(text)) + _elsewhere.take()
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
