"""Small files of every kind that scenes come in, and what a run must see in each."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import rasterio.shutil
from input_locations import LOCATIONS
from input_words import ALPHA, BANDS, DTYPES, HEIGHT, HOLE, PLACES, RGB, TILE, WIDTH, Row
from PIL import Image as Picture
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine
from scenes import textured, write_scene


@dataclass(frozen=True)
class Truth:
    """What a run must see: uint8 (h, w, 3), bool (h, w), and where it lies.

    `loss` is the greatest mean difference in levels, 0 where the file keeps every value.
    """

    image: np.ndarray
    valid: np.ndarray
    crs: str | None
    transform: Affine
    loss: float


@dataclass(frozen=True)
class Format:
    """A driver, its suffix and its options."""

    driver: str
    suffix: str
    options: Mapping[str, Any] = field(default_factory=dict)
    loss: float = 0.0


TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
FORMATS = {
    "GTiff, tiled": Format("GTiff", "tif", TILED),
    "GTiff, strips": Format("GTiff", "tif", {"tiled": False, "blockysize": 7}),
    "GTiff, BigTIFF": Format("GTiff", "tif", {**TILED, "BIGTIFF": "YES"}),
    "GTiff, band by band": Format("GTiff", "tif", {**TILED, "interleave": "band"}),
    "COG": Format("COG", "tif", {"BLOCKSIZE": 128, "COMPRESS": "DEFLATE"}),
    "COG, JPEG": Format("COG", "tif", {"BLOCKSIZE": 128, "COMPRESS": "JPEG", "QUALITY": 95}, 2),
    "JP2OpenJPEG": Format("JP2OpenJPEG", "jp2", {"QUALITY": 100, "REVERSIBLE": "YES"}),
    "JPEG": Format("JPEG", "jpg", {"QUALITY": 95}, 2),
    "PNG": Format("PNG", "png"),
    "WEBP": Format("WEBP", "webp", {"LOSSLESS": "YES"}),
    "MBTiles": Format("MBTiles", "mbtiles", {"TILE_FORMAT": "PNG"}),
    "VRT of two files": Format("VRT", "vrt"),
    "map tiles, XYZ": Format("", ""),
    "map tiles, TMS": Format("", ""),
}


def make_row(row: Row, folder: Path, server: Any) -> tuple[dict[str, Any], Truth]:
    """Write the files of a row; return what `input` of a config says of them, and the truth.

    `server` is a Store where the location is one, and the address of a server of `folder/in` where
    it is the web.
    """
    side = (256, 512) if row.driver.startswith("map tiles") else (HEIGHT, WIDTH)
    bands, dtype, place = BANDS[row.bands], DTYPES[row.dtype], PLACES[row.crs]
    levels = np.concatenate([textured(*side, seed=seed) for seed in (1, 2)], axis=2)
    levels = cv2.GaussianBlur(levels, (0, 0), 3)  # JPEG keeps what is smooth
    valid = np.ones(side, np.bool_)
    if row.mask != "none":
        valid[HOLE] = False
    native = dtype.native(levels.transpose(2, 0, 1)[: len(bands.meaning)].astype(np.float64))
    if row.mask in ("nodata", "NaN"):
        native[:, ~valid] = np.nan if row.mask == "NaN" else dtype.nodata
    if ALPHA in bands.meaning:
        native[-1] = np.where(valid, np.iinfo(native.dtype).max, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        files = _write(row, folder / "in", native, valid)
    shown = np.ascontiguousarray(levels[..., list(bands.shown)])
    loss = FORMATS[row.driver].loss
    truth = Truth(shown, valid, place.crs, Affine(*place.transform), loss)
    return LOCATIONS[row.location](files, place, server), truth


def _write(row: Row, folder: Path, native: np.ndarray, valid: np.ndarray) -> list[Path]:
    """Write the scene of a row, and return its files, the scene itself first."""
    folder.mkdir(exist_ok=True)
    if row.driver.startswith("map tiles"):
        return [_write_tiles(folder / "maps", native, tms=row.driver.endswith("TMS"))]
    if row.driver == "VRT of two files":
        return _write_vrt(row, folder, native, valid)
    kind, place = FORMATS[row.driver], PLACES[row.crs]
    path = folder / f"scene.{kind.suffix}"
    if kind.driver == "GTiff":
        _write_tiff(path, row, native, valid, kind.options)
    else:
        draft = _write_tiff(folder.parent / "draft.tif", row, native, valid, {})
        rasterio.shutil.copy(str(draft), str(path), driver=kind.driver, **kind.options)
    if place.where == "world":
        Path(f"{path}.aux.xml").unlink(missing_ok=True)
        a, b, c, d, e, f = place.transform
        numbers = (a, d, b, e, c + a / 2 + b / 2, f + d / 2 + e / 2)
        path.with_suffix(".wld").write_text("\n".join(map(repr, numbers)))
    assert Path(f"{path}.aux.xml").is_file() or place.where != "aux"
    return [path, *(other for other in sorted(folder.iterdir()) if other != path)]


def _write_tiff(
    path: Path, row: Row, native: np.ndarray, valid: np.ndarray, options: Mapping[str, Any]
) -> Path:
    bands, place = BANDS[row.bands], PLACES[row.crs]
    count, height, width = native.shape
    profile = {"count": count, "height": height, "width": width, "dtype": native.dtype}
    if place.crs is not None and place.where != "world":
        profile |= {"crs": place.crs, "transform": Affine(*place.transform)}
    if row.mask == "nodata":
        profile["nodata"] = DTYPES[row.dtype].nodata
    if bands.meaning[:3] == RGB:
        profile["photometric"] = "rgb"
    inside = row.mask == "internal"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside),
        rasterio.open(path, "w", driver="GTiff", **profile, **options) as dataset,
    ):
        dataset.colorinterp = bands.meaning
        for band, name in enumerate(bands.names, start=1):
            dataset.set_band_description(band, name)
        dataset.write(native)
        if row.mask in ("internal", ".msk"):
            dataset.write_mask(np.where(valid, 255, 0).astype(np.uint8))
    assert path.with_name(f"{path.name}.msk").is_file() == (row.mask == ".msk")
    return path


def _write_vrt(row: Row, folder: Path, native: np.ndarray, valid: np.ndarray) -> list[Path]:
    """Write the left and the right part as files, and a VRT that puts them together."""
    place, cut = PLACES[row.crs], 90
    parts = [folder / "left.tif", folder / "right.tif"]
    for path, pixels in zip(parts, np.split(native, [cut], axis=2), strict=True):
        write_scene(path, np.ascontiguousarray(pixels), crs=None)
    a, b, c, d, e, f = place.transform
    nodata = DTYPES[row.dtype].nodata if row.mask == "nodata" else None
    said = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
    kind = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}[row.dtype]
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{band}">{said}'
        f"<ColorInterp>{meaning.name.capitalize()}</ColorInterp>"
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{path.name}</SourceFilename>'
            f"<SourceBand>{band}</SourceBand>"
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{HEIGHT}"/>'
            f'<DstRect xOff="{left}" yOff="0" xSize="{width}" ySize="{HEIGHT}"/></SimpleSource>'
            for path, left, width in zip(parts, (0, cut), (cut, WIDTH - cut), strict=True)
        )
        + "</VRTRasterBand>"
        for band, meaning in enumerate(BANDS[row.bands].meaning, start=1)
    )
    vrt = folder / "scene.vrt"
    vrt.write_text(
        f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT}"><SRS>{place.crs}</SRS>'
        f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>{bands}</VRTDataset>"
    )
    return [vrt, *parts]


def _write_tiles(folder: Path, native: np.ndarray, *, tms: bool) -> Path:
    """Cut a picture into PNG tiles of 256 px."""
    for top in range(0, native.shape[1], 256):
        for left in range(0, native.shape[2], 256):
            x, y = TILE[0] + left // 256, TILE[1] + top // 256
            path = folder / "17" / str(x) / f"{2**17 - 1 - y if tms else y}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            tile = native[:, top : top + 256, left : left + 256].transpose(1, 2, 0)
            Picture.fromarray(np.ascontiguousarray(tile)).save(path)
    return folder
