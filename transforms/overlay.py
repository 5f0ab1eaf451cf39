"""Overlay: a scene with cores in place of its pixels, as a virtual raster that GDAL reads by block.

GDAL describes the scene itself, as a VRT; of that all is kept that says what the pixels mean. The
pixels come from the scene or from the files of cores, each from one file.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring

import numpy as np
import rasterio
import rasterio.shutil

from transforms.functional.windows import Rectangle
from transforms.mosaic_status import CLASSES, COLOURS, VALUES, Status

BAND, METADATA, ITEM = "VRTRasterBand", "Metadata", "MDI"
_OF_RASTER = {"GCPList", "GeoTransform", "MaskBand", METADATA, "SRS", BAND}
_OF_BAND = {
    "CategoryNames",
    "ColorInterp",
    "ColorTable",
    "Description",
    "GDALRasterAttributeTable",
    METADATA,
    "NoDataValue",
    "Offset",
    "Scale",
    "UnitType",
}
_OF_STORAGE = "IMAGE_STRUCTURE"
_STATISTICS = "STATISTICS_"
_ON_THE_GROUND = {"AREA_OR_POINT", "RPC"}


@dataclass(frozen=True)
class Source:
    """A raster file as GDAL opens it from anywhere, and its size."""

    path: str
    width: int
    height: int

    @staticmethod
    def of(dataset: rasterio.DatasetReader) -> "Source":
        """Return the file of an open dataset, whatever the working folder will be."""
        name = os.path.abspath(dataset.name) if os.path.exists(dataset.name) else dataset.name
        return Source(name, dataset.width, dataset.height)

    def show(self, band: Element, number: str, *, cut: Rectangle, place: Rectangle) -> None:
        """Let a band of a VRT show, at a place, a cut of the band of that number of the file."""
        source = SubElement(band, "SimpleSource")
        SubElement(source, "SourceFilename", relativeToVRT="0").text = self.path
        SubElement(source, "SourceBand").text = number
        # With these GDAL opens no file before it reads from it.
        size = {"RasterXSize": str(self.width), "RasterYSize": str(self.height)}
        kind = {"DataType": band.get("dataType", "Byte"), "BlockXSize": "256", "BlockYSize": "256"}
        SubElement(source, "SourceProperties", size | kind)
        SubElement(source, "SrcRect", _to_attributes(cut))
        SubElement(source, "DstRect", _to_attributes(place))


@dataclass(frozen=True)
class Piece:
    """A rectangle of a scene, and the file whose pixels it has: `path` None is the scene itself."""

    place: Rectangle
    path: Path | None = None


def describe(dataset: rasterio.DatasetReader) -> Element:
    """Return a VRT of an open scene without pixels, statistics, and how the file is stored.

    Raises ValueError where GDAL's own description of the scene cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-") as folder:
        path = Path(folder, "scene.vrt")
        rasterio.shutil.copy(dataset, path, driver="VRT")
        text = path.read_text(encoding="utf-8", errors="replace")
    try:
        root = fromstring(text)
    except ParseError as error:
        raise ValueError(f"the metadata of {dataset.name} cannot be read: {error}") from error
    # A warped or a derived raster is taken for one of plain pixels: GDAL computes them.
    _keep(root, _OF_RASTER)
    root.attrib.pop("subClass", None)
    for band in root.iter(BAND):
        _keep(band, _OF_BAND)
        band.attrib.pop("subClass", None)
        for metadata in band.findall(METADATA):
            for item in metadata.findall(ITEM):
                if item.get("key", "").startswith(_STATISTICS):
                    metadata.remove(item)
    return root


def overlay(root: Element, scene: Source, bands: Sequence[int], pieces: Sequence[Piece]) -> None:
    """Fill the description of a scene: `bands` are made of pieces, which cover it once, row by row.

    Band i of a piece's file is band `bands[i]` of the scene. The other bands, and the mask, are
    those of the scene.
    """
    whole = [Piece(Rectangle(0, 0, scene.width, scene.height))]
    parts = list(_merge(pieces))
    for number, band in enumerate(root.findall(BAND), start=1):
        if number in bands:
            _fill(band, str(number), parts, scene, str(bands.index(number) + 1))
        else:
            _fill(band, str(number), whole, scene, "")
    for mask in root.iterfind(f"MaskBand/{BAND}"):
        _fill(mask, "mask,1", whole, scene, "")


def overlay_status(
    root: Element, values: Source, statuses: Sequence[tuple[Rectangle, Status]]
) -> Element:
    """Return the VRT of the status of a described scene: uint8, nodata 0, with its legend.

    Band 1 + v of `values`, a file of one pixel, holds v.
    """
    status = Element(root.tag, root.attrib)
    status.extend(child for child in root if child.tag in _OF_RASTER - {BAND, "MaskBand", METADATA})
    for metadata in root.findall(METADATA):
        about = metadata.get("domain", "")
        kept = [item for item in metadata if about == "RPC" or item.get("key") in _ON_THE_GROUND]
        SubElement(status, METADATA, metadata.attrib).extend(kept)
    band = SubElement(status, BAND, dataType="Byte", band="1")
    add_tags(band, {f"STATUS_{value}": text for value, (_, text) in CLASSES.items()})
    SubElement(band, "NoDataValue").text = str(VALUES["empty"])
    SubElement(band, "ColorInterp").text = "Palette"
    table = SubElement(band, "ColorTable")
    for colour in COLOURS:
        channels = zip(("c1", "c2", "c3", "c4"), map(str, (*colour, 255)), strict=True)
        SubElement(table, "Entry", dict(channels))
    one = Rectangle(0, 0, 1, 1)
    for place, name in statuses:
        values.show(band, str(VALUES[name] + 1), cut=one, place=place)
    return status


def write_values(path: Path) -> Source:
    """Write the values of `overlay_status`, and return the file."""
    values = np.array(sorted(VALUES.values()), np.uint8).reshape(-1, 1, 1)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": len(values), "height": 1, "width": 1}
    # A place is given only so that nobody is warned of a raster without one.
    with rasterio.open(path, "w", transform=rasterio.Affine.scale(2), **profile) as dataset:
        dataset.write(values)
    return Source(str(path), 1, 1)


def add_crs(root: Element, crs: str) -> None:
    """Give a VRT that has none a CRS: an authority code or WKT."""
    if root.find("SRS") is None and root.find("GCPList") is None:
        SubElement(root, "SRS").text = crs


def add_tags(element: Element, tags: Mapping[str, str]) -> None:
    """Add items to the metadata of a VRT or of a band, in place of those of the same name."""
    metadata = next((each for each in element.findall(METADATA) if not each.get("domain")), None)
    if metadata is None:
        metadata = Element(METADATA)
        element.insert(0, metadata)
    for item in list(metadata):
        if item.get("key") in tags:
            metadata.remove(item)
    for key, value in tags.items():
        SubElement(metadata, ITEM, key=key).text = value


def _fill(
    band: Element, number: str, pieces: Sequence[Piece], scene: Source, number_in_piece: str
) -> None:
    for piece in pieces:
        place = piece.place
        if piece.path is None:
            scene.show(band, number, cut=place, place=place)
        else:
            core = Source(str(piece.path), place.width, place.height)
            whole = Rectangle(0, 0, place.width, place.height)
            core.show(band, number_in_piece, cut=whole, place=place)


def _merge(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield the pieces, neighbours in a row that both show the scene as one."""
    for (_, plain), group in groupby(pieces, lambda each: (each.place.row_off, each.path is None)):
        run = list(group)
        if not plain:
            yield from run
            continue
        first, last = run[0].place, run[-1].place
        width = last.col_off + last.width - first.col_off
        yield Piece(Rectangle(first.col_off, first.row_off, width, first.height))


def _keep(element: Element, tags: set[str]) -> None:
    for child in list(element):
        if child.tag not in tags or child.get("domain") == _OF_STORAGE:
            element.remove(child)


def _to_attributes(rectangle: Rectangle) -> dict[str, str]:
    sizes = (rectangle.col_off, rectangle.row_off, rectangle.width, rectangle.height)
    return dict(zip(("xOff", "yOff", "xSize", "ySize"), map(str, sizes), strict=True))
