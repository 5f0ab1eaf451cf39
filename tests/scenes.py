"""Synthetic scenes with known content, written as GeoTIFF, and labels that fit them."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyproj
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

CRS = "EPSG:32632"
GSD = 0.15
ORIGIN = (600_000.0, 5_800_000.0)
"""Easting and northing of the top left corner."""

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
"""Real pictures beside the project; tests that want them skip without."""


def transform_of(gsd: float = GSD) -> Affine:
    """Return the transform of a north-up scene with its corner at ORIGIN."""
    return Affine(gsd, 0, ORIGIN[0], 0, -gsd, ORIGIN[1])


def textured(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """Return a picture uint8 (h, w, 3) with edges and texture at several scales, no value 0."""
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 110, np.float32)
    for scale in (64, 16, 4, 1):
        coarse = rng.normal(0, 18, (-(-height // scale) + 1, -(-width // scale) + 1, 3))
        size = (coarse.shape[1] * scale, coarse.shape[0] * scale)
        wide = cv2.resize(coarse.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
        image += wide[:height, :width]
    for _ in range(max(1, height * width // 4000)):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        box = cv2.boxPoints(((x, y), (24, 11), float(rng.uniform(0, 180)))).astype(np.int32)
        cv2.fillPoly(image, [box], [float(v) for v in rng.uniform(30, 230, 3)])
    return np.clip(np.rint(image), 1, 254).astype(np.uint8)


def write_scene(
    path: Path,
    array: NDArray[Any],
    *,
    crs: str | None = CRS,
    gsd: float = GSD,
    nodata: float | None = None,
    compress: str | None = "deflate",
    tiled: bool = True,
    **profile: Any,
) -> Path:
    """Write bands (bands, h, w) of any dtype as a GeoTIFF and return its path.

    Without a CRS the file has no transform either, unless `transform` is given.
    """
    place = {} if crs is None else {"crs": crs, "transform": transform_of(gsd)}
    layout = {"tiled": True, "blockxsize": 128, "blockysize": 128} if tiled else {}
    count, height, width = array.shape
    options = {"driver": "GTiff", "nodata": nodata, "compress": compress} | place | layout | profile
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", count=count, height=height, width=width, dtype=array.dtype, **options
        ) as dataset:
            dataset.write(array)
    return path


def write_picture(path: Path, image: NDArray[np.uint8], **profile: Any) -> Path:
    """Write an RGB picture (h, w, 3) as a GeoTIFF and return its path."""
    return write_scene(path, image.transpose(2, 0, 1), **{"photometric": "rgb"} | profile)


def write_labels(
    path: Path,
    corners: NDArray[Any],
    classes: Sequence[str],
    *,
    transform: Affine | None = None,
    crs: str = CRS,
    written_in: str | None = None,
    field: str = "class",
) -> Path:
    """Write boxes as GeoJSON and return its path.

    corners (k, 4, 2) in pixels of a scene with that transform and CRS. They are written in the CRS
    `written_in`, named by a `crs` member; without it in longitude and latitude.
    """
    change = pyproj.Transformer.from_crs(crs, written_in or "OGC:CRS84", always_xy=True)
    columns, rows = np.moveaxis(np.asarray(corners, np.float64), -1, 0)
    a, b, c, d, e, f = tuple(transform or transform_of())[:6]
    x, y = change.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    rings = np.stack([x, y], axis=-1)
    features = [
        {
            "type": "Feature",
            "properties": {field: name},
            "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]},
        }
        for ring, name in zip(rings, classes, strict=True)
    ]
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if written_in is not None:
        content["crs"] = {"type": "name", "properties": {"name": written_in}}
    path.write_text(json.dumps(content))
    return path
