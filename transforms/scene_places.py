"""Where a scene lies: CRS and transform, from the file or a catalogue, and what contradicts them.

GDAL takes the place from `.aux.xml` before the file itself, and from a world file where neither has
one. A sidecar that says something else than the file is an error here: nobody knows which is right.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyproj
import rasterio
from rasterio import Affine, DatasetReader
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError

from configs.schema import InputConfig
from transforms.functional.windows import Rectangle
from transforms.georeference import Points, pixels_to_map, rectangle_to_corners, reproject
from transforms.opening import is_local_file, open_source
from transforms.records import Affine6, Source
from transforms.scene_checks import SceneError

IN_PIXELS: Affine6 = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of a scene that lies nowhere."""
NO_CRS = "pixels"
"""The `input.crs` of scenes of whose place nothing is to be known."""

_WANTED = "a CRS must be a code such as EPSG:32632, WKT, a .wkt or .prj file, or pixels"
_CRS_TEXT = re.compile(r"\w+(:[\w.+-]*)*|(\w+\s*\[|\{|\+proj=).*", re.DOTALL | re.ASCII)
"""A code, or the beginning of WKT, PROJJSON or a string of PROJ's."""
_TINY = 1e-4
"""A pixel smaller than this, in units of a map that are no degrees, is one in degrees."""


def locate(
    dataset: DatasetReader, source: Source, config: InputConfig
) -> tuple[str | None, Affine6]:
    """Return CRS and transform of a scene; without a transform it has no CRS, and lies in pixels.

    A file without a CRS takes that of its catalogue, else `input.crs`. Ground control points and
    RPCs are not used. Raises SceneError, with the remedy, if a transform has no CRS, if the CRS
    cannot be that of the coordinates, or if a sidecar contradicts the file.
    """
    transform: Affine6 = tuple(dataset.transform)[:6]
    if dataset.transform.is_degenerate:
        raise SceneError(
            f"the transform cannot be inverted, {transform}: correct it with gdal_edit -a_ullr"
        )
    if dataset.transform.is_identity:
        _check_world_file_is_read(dataset, source.path, config)
        return None, IN_PIXELS
    crs = name_crs(dataset.crs) or _crs_of_catalogue(source) or read_crs(config.crs)
    if crs is None:
        raise SceneError(
            "the file has coordinates but no CRS: declare it as input.crs (a code such as "
            "EPSG:32632, WKT, or a .wkt or .prj file), or input.crs: pixels to do without a map"
        )
    if crs == NO_CRS:
        return None, IN_PIXELS
    check_place(crs, transform, dataset.shape)
    if is_local_file(source.path) and dataset.driver != "VRT":
        _check_world_file(source.path, transform, dataset.shape)
        _check_aux_file(dataset, source.path, config)
    return crs, transform


def _crs_of_catalogue(source: Source) -> str | None:
    try:
        return source.crs if source.crs in (None, NO_CRS) else _parse_crs(source.crs)
    except ValueError as error:
        raise SceneError(f"its catalogue gives no usable CRS: {error}") from error


@lru_cache(maxsize=64)
def read_crs(crs: str | None) -> str | None:
    """Return a CRS that is given as code, WKT, or `.wkt` or `.prj` file, by its code or as WKT.

    `pixels` and None stay as they are. Raises ValueError for what is none of these.
    """
    if crs is None or crs == NO_CRS:
        return crs
    if not crs.lower().endswith((".wkt", ".prj")):
        return _parse_crs(crs)
    try:
        return _parse_crs(Path(crs).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{_WANTED}, got {crs!r}: {error}") from error


def _parse_crs(text: str) -> str | None:
    """Return a CRS by its code, or as WKT. Names of files and URLs are none: GDAL would open them.

    Raises ValueError for what is no code, WKT, PROJJSON or string of PROJ's.
    """
    plain = text.strip()
    try:
        if not _CRS_TEXT.fullmatch(plain):
            raise CRSError("it is neither")
        return name_crs(CRS.from_user_input(plain))
    except CRSError as error:
        raise ValueError(f"{_WANTED}, got {text!r}: {error}") from error


def name_crs(crs: CRS | None) -> str | None:
    """Return `EPSG:n` where the CRS is exactly that one, else WKT, else None."""
    if not crs:
        return None
    code = crs.to_epsg(confidence_threshold=90)
    if code is not None and CRS.from_epsg(code) == crs:
        return f"EPSG:{code}"
    return str(crs.to_wkt())


def check_place(crs: str, transform: Affine6, size: tuple[int, int]) -> None:
    """Raise SceneError if the coordinates of a scene of (height, width) cannot be of its CRS."""
    known = pyproj.CRS.from_user_input(crs)
    corners = _corners(transform, size)
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    where = f"x {left:g} to {right:g}, y {bottom:g} to {top:g}"
    remedy = "correct the file, such as with gdal_edit -a_srs EPSG:32632"
    like_degrees = min(left + 360, 360 - right, bottom + 90, 90 - top) >= 0
    if known.is_geographic:
        if known.axis_info[0].unit_name == "degree" and not like_degrees:
            raise SceneError(f"{known.name} is in degrees, and the scene lies at {where}: {remedy}")
        return
    if known.geodetic_crs is None:
        return
    if like_degrees and max(np.abs([transform[:2], transform[3:5]]).ravel()) < _TINY:
        raise SceneError(f"{known.name} is not in degrees, and the scene lies at {where}: {remedy}")
    if not np.isfinite(reproject(corners.mean(axis=0), crs, known.geodetic_crs.to_wkt())).all():
        raise SceneError(f"{known.name} has no place on earth at {where}: {remedy}")


def _corners(transform: Affine6, size: tuple[int, int]) -> Points:
    height, width = size
    return pixels_to_map(rectangle_to_corners(Rectangle(0, 0, width, height)), transform)


def _check_world_file(path: str, transform: Affine6, size: tuple[int, int]) -> None:
    for sidecar in _world_files(path):
        said = _read_world_file(sidecar)
        if said is not None and not _agree(said, transform, size):
            raise SceneError(
                f"{sidecar} gives the transform {said}, and the file {transform}: delete the one "
                "that is wrong"
            )


def _check_world_file_is_read(dataset: DatasetReader, path: str, config: InputConfig) -> None:
    """Raise SceneError if a world file lies beside a picture of a kind whose GDAL driver has none.

    Without a word such a picture (WebP) would lie nowhere.
    """
    if config.crs == NO_CRS or not is_local_file(path):
        return
    for sidecar in _world_files(path):
        if _read_world_file(sidecar) not in (None, IN_PIXELS):
            raise SceneError(
                f"GDAL reads no world file of {dataset.driver}, and {sidecar} is one: convert the "
                "picture to GeoTIFF, or set input.crs: pixels to do without a map"
            )


def _world_files(path: str) -> Iterator[str]:
    """Yield the world files of a picture: of `a.tif` those called tfw, tifw and wld."""
    stem, dotted = os.path.splitext(path)
    kind = dotted.lstrip(".").lower()
    names = {"wld", f"{kind}w", f"{kind[:1]}{kind[-1:]}w"}
    for name in sorted(names | {name.upper() for name in names}):
        if os.path.isfile(f"{stem}.{name}"):
            yield f"{stem}.{name}"


def _read_world_file(path: str) -> Affine6 | None:
    """Return the transform of a world file, which is that of the centres of pixels, or None."""
    try:
        a, d, b, e, x, y = (float(word) for word in Path(path).read_text("latin-1").split())
    except (ValueError, OSError):
        return None
    return a, b, x - (a + b) / 2, d, e, y - (d + e) / 2


def _check_aux_file(dataset: DatasetReader, path: str, config: InputConfig) -> None:
    sidecar = f"{path}.aux.xml"
    if not os.path.isfile(sidecar) or not _places(sidecar):
        return
    with rasterio.Env(GDAL_GEOREF_SOURCES="INTERNAL"):
        try:
            file = open_source(path, config)
        except RasterioError as error:
            raise SceneError(f"{path} cannot be opened without {sidecar}: {error}") from error
        with file:
            inner, crs = tuple(file.transform)[:6], file.crs
    outer = tuple(dataset.transform)[:6]
    moved = inner != IN_PIXELS and not _agree(inner, outer, dataset.shape)
    if moved or (crs and crs != dataset.crs):
        raise SceneError(
            f"{sidecar} gives another {'transform' if moved else 'CRS'} than the file itself: "
            "delete the sidecar, or write what it says into the file with gdal_translate"
        )


def _places(sidecar: str) -> bool:
    text = Path(sidecar).read_text("utf-8", errors="replace")
    return re.search(r"<(SRS|GeoTransform)\b", text) is not None


def _agree(one: Affine6, other: Affine6, size: tuple[int, int]) -> bool:
    """Say whether two transforms put the corners of a scene within a pixel of each other.

    Whether coordinates are those of the centre or the corner of a pixel is often confused; that is
    half a pixel, and no other place.
    """
    moved = pixels_to_map(_corners(one, size), tuple(~Affine(*other))[:6])
    return bool(np.abs(moved - _corners(IN_PIXELS, size)).max() <= 1)
