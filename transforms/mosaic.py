"""Writing rasters: cloud-optimised GeoTIFFs with overviews, internal tiles and compression."""

import os
import uuid
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from transforms.records import Affine6


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
        "blocksize": 512,
        "overview_resampling": "average",
        "bigtiff": "IF_SAFER",
    }
    try:
        with rasterio.Env(GDAL_NUM_THREADS=1), rasterio.open(temporary, "w", **profile) as file:
            file.write(np.moveaxis(image, -1, 0))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
