"""What makes a file no scene: decompression bombs, and pixels that are no light."""

import math
from collections.abc import Sequence

import numpy as np
from rasterio import DatasetReader
from rasterio.enums import ColorInterp, Interleaving

from configs.schema import InputConfig, ReadConfig

WHOLE_PICTURE = frozenset({"WEBP"})
"""Drivers that decode nothing less than the whole picture, whatever blocks they speak of."""
_NOT_LIGHT = {ColorInterp.palette, ColorInterp.cyan, ColorInterp.hue, ColorInterp.Y}


class SceneError(ValueError):
    """A file that cannot be read as a scene; the message says what to do about it."""


def check_size(dataset: DatasetReader, config: InputConfig) -> None:
    """Raise SceneError if a picture has no pixels, or could be a decompression bomb."""
    height, width = dataset.shape
    if min(height, width, dataset.count) < 1:
        raise SceneError(f"the picture has no pixels: {height} x {width}, {dataset.count} bands")
    if height * width > config.max_pixels:
        raise SceneError(
            f"the picture claims {height} x {width} pixels, more than input.max_pixels="
            f"{config.max_pixels}: if you trust the file, raise that"
        )
    unit = smallest_unit(dataset)
    if unit > config.max_block:
        raise SceneError(
            f"the smallest unit that can be decompressed is {unit} bytes, more than "
            f"input.max_block={config.max_block}: if you trust the file, raise that or write it "
            "with smaller blocks, such as with gdal_translate -of COG"
        )


def smallest_unit(dataset: DatasetReader) -> int:
    """Return how many bytes must be decompressed at once to see one pixel of one band."""
    sizes = [np.dtype(dtype).itemsize for dtype in map(_real_dtype, dataset.dtypes)]
    if dataset.driver in WHOLE_PICTURE:
        return int(dataset.height * dataset.width * sum(sizes))
    blocks = [math.prod(shape) for shape in dataset.block_shapes]
    each = [block * size for block, size in zip(blocks, sizes, strict=True)]
    together = dataset.driver != "VRT" and dataset.interleaving is Interleaving.pixel
    return sum(each) if together else max(each)


def _real_dtype(dtype: str) -> str:
    """Return numpy's name of a type: rasterio has one for complex integers, which numpy lacks."""
    return "complex64" if dtype == "complex_int16" else dtype


def check_pixels(dataset: DatasetReader, bands: Sequence[int], config: ReadConfig) -> None:
    """Raise SceneError, with the remedy, if bands of a file cannot be rendered to 8-bit RGB."""
    meaning = [dataset.colorinterp[band - 1] for band in bands]
    if config.bands is None and _NOT_LIGHT.intersection(meaning):
        raise SceneError(
            f"band {bands[0]} holds {meaning[0].name}, not light: convert the file to RGB, such as "
            "with gdal_translate -expand rgb"
        )
    dtypes = [dataset.dtypes[band - 1] for band in bands]
    if len(set(dtypes)) > 1:
        raise SceneError(
            f"bands {list(bands)} differ in type, {dtypes}: choose others by read.bands, or write "
            "all in one type, such as with gdal_translate -ot Float32"
        )
    dtype = dtypes[0]
    if dtype.startswith("complex"):
        raise SceneError(
            f"the pixels are {dtype}: only real numbers can be rendered; write their magnitude"
        )
    if dtype != "uint8" and config.stretch is None:
        low, high = _suggest_stretch(dataset, bands, dtype)
        raise SceneError(
            f"the pixels are {dtype}, and 8 bits are wanted: declare how to render them, by fixed "
            f"ends such as read.stretch: {{low: {low:g}, high: {high:g}}}, or by those of each "
            "scene, such as read.stretch: {percentiles: [2, 98]}"
        )


def _suggest_stretch(
    dataset: DatasetReader, bands: Sequence[int], dtype: str
) -> tuple[float, float]:
    """Return (low, high) from the statistics in the header, else a usual range of that type."""
    tags = [dataset.tags(band) for band in bands]
    try:
        low = min(float(tag["STATISTICS_MINIMUM"]) for tag in tags)
        high = max(float(tag["STATISTICS_MAXIMUM"]) for tag in tags)
    except (KeyError, ValueError):
        return (0, 1) if dtype.startswith("float") else (0, 4095)
    return low, high
