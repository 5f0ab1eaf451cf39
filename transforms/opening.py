"""Opening what a scene names: a file or URL, a VRT that may be trusted, a folder of map tiles."""

import os
from pathlib import Path

from rasterio import DatasetReader
from rasterio.errors import RasterioError

from configs.schema import InputConfig
from transforms.gdal import open_dataset
from transforms.map_tiles import is_map_tiles, map_tiles_vrt
from transforms.vetting import check_name, check_sidecars, check_vrt

_VRT_STARTS = 1024
"""So many bytes GDAL looks at for the mark of a VRT."""

FileStamp = tuple[int | None, str | None]
"""Size in bytes and time of change of a local file; None for everything else."""


def open_source(path: str, config: InputConfig) -> DatasetReader:
    """Open what `Source.path` names; the caller has entered GDAL's settings and closes it.

    Only the drivers of the config may open it. A VRT, whatever its name, is looked through before
    GDAL sees it, and what lies beside a local picture must be TIFF. Raises UntrustedError for what
    must not be opened, RasterioError for what cannot be.
    """
    check_source_name(path)
    if is_map_tiles(path):
        return open_dataset(map_tiles_vrt(path), ("VRT",))
    if is_local_file(path):
        check_sidecars(path)
    others = [driver for driver in config.drivers if driver != "VRT"]
    may_be_vrt = len(others) < len(config.drivers)
    # GDAL would take an empty list for all of its drivers.
    if others:
        try:
            return open_dataset(path, others)
        except RasterioError:
            if not (may_be_vrt and _looks_like_vrt(path)):
                raise
    check_vrt(path, roots=config.roots)
    return open_dataset(path, ("VRT",))


def check_source_name(path: str) -> None:
    """Raise UntrustedError for a name that makes GDAL do more than open a file or URL."""
    if not is_map_tiles(path):
        check_name(path)


def _looks_like_vrt(path: str) -> bool:
    if path.lower().endswith(".vrt"):
        return True
    if not is_local_file(path):
        return False
    with open(path, "rb") as file:
        return b"<VRTDataset" in file.read(_VRT_STARTS)


def is_local_file(path: str) -> bool:
    """Say whether there is a file of that name in the file system."""
    return "://" not in path and os.path.isfile(path)


def stamp_file(path: str) -> FileStamp:
    """Return what tells whether a local file changes; raises OSError if it has vanished."""
    if "://" in path or is_map_tiles(path):
        return None, None
    status = os.stat(path)
    return status.st_size, str(status.st_mtime_ns)


def why_unreadable(path: str, error: Exception) -> str:
    """Say for people why a file cannot be opened, and what to do."""
    if "://" in path or is_map_tiles(path):
        return f"{path} cannot be opened: {error}"
    if not os.path.exists(path):
        return f"{path} does not exist: correct its name in input.scenes or its list"
    if os.path.isdir(path):
        return f"{path} is a folder: name its pictures, such as {Path(path, '*.tif')}"
    if os.path.getsize(path) == 0:
        return f"{path} is empty (0 bytes): copy it again"
    return (
        f"{path} is no raster that GDAL can open, or its header is cut off ({error}): copy it "
        "again, convert it to GeoTIFF, or add its driver to input.drivers"
    )
