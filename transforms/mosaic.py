"""Writing rasters: cloud-optimised GeoTIFFs with overviews, internal tiles and compression."""

import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

from transforms.gdal import open_dataset
from transforms.records import Affine6

BLOCK = 512
_LAYOUT: dict[str, Any] = {"blocksize": BLOCK, "bigtiff": "IF_SAFER"}

_KEPT = {
    "shape": "size",
    "dtypes": "types",
    "crs": "CRS",
    "transform": "transform",
    "gcps": "ground control points",
    "rpcs": "RPCs",
    "nodatavals": "nodata of each band",
    "colorinterp": "colour interpretation",
    "mask_flag_enums": "kinds of masks",
    "descriptions": "descriptions",
    "scales": "scales",
    "offsets": "offsets",
    "units": "units",
}
"""What a copy of a raster has to keep: its name in rasterio, and in words."""
_STAC_TYPES = {"complex_int16": "cint16", "complex64": "cfloat32", "complex128": "cfloat64"}


def write_cog(
    path: Path, image: NDArray[np.uint8], *, crs: str, transform: Affine6, quality: int = 95
) -> None:
    """Write uint8 (h, w, 3) RGB as a COG: 512-pixel JPEG blocks, average overviews.

    `transform` maps (col, row) to (x, y) in `crs`. The file appears whole or not at all.
    """
    height, width, bands = image.shape
    temporary = path.with_name(f".{uuid.uuid4().hex}.tif")
    profile = {
        "driver": "COG",
        "height": height,
        "width": width,
        "count": bands,
        "dtype": "uint8",
        "crs": crs,
        "transform": rasterio.Affine(*transform),
        "compress": "JPEG",
        "quality": quality,
        "overview_resampling": "average",
    }
    try:
        options = profile | _LAYOUT
        with rasterio.Env(GDAL_NUM_THREADS=1), rasterio.open(temporary, "w", **options) as file:
            file.write(np.moveaxis(image, -1, 0))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def copy_to_cog(
    source: Path, target: Path, *, compress: str, overviews: Literal["average", "nearest"]
) -> None:
    """Copy a VRT into a COG without loss, block by block; the caller has entered the Env.

    Memory does not grow with the raster. Whatever no GeoTIFF can hold, GDAL would write into a file
    beside: that is removed, and `lost_in_copy` tells. Raises OSError if the copy fails.
    """
    with open_dataset(str(source), ("VRT",)) as dataset:
        real = not any(kind.startswith("complex") for kind in dataset.dtypes)
    options = {
        "compress": compress,
        "predictor": "YES" if real else "NO",
        "overviews": "IGNORE_EXISTING",
        "overview_resampling": overviews,
        "statistics": "AUTO",  # those of the source
        "num_threads": 1,
    }
    sidecar = Path(f"{target}.aux.xml")
    try:
        rasterio.shutil.copy(source, target, driver="COG", **_LAYOUT | options)
    except Exception as error:  # the classes of GDAL's errors have no public name
        raise OSError(f"{target} cannot be written: {error}. Is the disk full?") from error
    finally:
        sidecar.unlink(missing_ok=True)


def lost_in_copy(source: rasterio.DatasetReader, copy: rasterio.DatasetReader) -> list[str]:
    """Return what of the source the copy does not keep, in words; pixels aside."""
    return [words for name, words in _KEPT.items() if _told(source, name) != _told(copy, name)]


def describe_bands(dataset: rasterio.DatasetReader) -> tuple[Mapping[str, Any], ...]:
    """Return the bands of a raster in the words of STAC: name, data_type and nodata."""
    return tuple(
        {"name": name or f"{colour.name} {band}", "data_type": _STAC_TYPES.get(kind, kind)}
        | ({} if nodata is None else {"nodata": _to_json(nodata)})
        for band, name, colour, kind, nodata in zip(
            dataset.indexes,
            dataset.descriptions,
            dataset.colorinterp,
            dataset.dtypes,
            dataset.nodatavals,
            strict=True,
        )
    )


def _to_json(number: float) -> float | str:
    if math.isfinite(number):
        return int(number) if number == int(number) else number
    return "nan" if math.isnan(number) else ("inf" if number > 0 else "-inf")


def _told(dataset: rasterio.DatasetReader, name: str) -> str:
    """Return a property as text: nan equals nan there."""
    value = getattr(dataset, name)
    if name == "gcps":
        points, crs = value
        value = points and (points, crs)  # a CRS of no points means nothing
    if name == "colorinterp":
        # The first band of a GeoTIFF cannot be of unknown meaning.
        value = [each.name.replace("undefined", "gray") for each in value]
    return str(value)
