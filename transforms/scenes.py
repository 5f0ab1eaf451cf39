"""Scenes: which files are read, what their headers say, and the windows they are cut into."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError

from configs.schema import BlurConfig, ReadConfig, RunConfig
from configs.severity import LADDERS
from transforms.functional.windows import plan_cores
from transforms.gdal import GDAL, open_dataset
from transforms.records import Affine6, Blur, Rejected, Scene, Window

_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_NOT_LIGHT = {ColorInterp.palette, ColorInterp.cyan, ColorInterp.hue, ColorInterp.Y}


class SceneError(ValueError):
    """A file that cannot be read as a scene; the message says what to do about it."""


def expand_inputs(patterns: Sequence[str]) -> list[str]:
    """Return the paths that globs and plain paths stand for, sorted, each once.

    A plain path stays even if nothing is there: it is rejected when it is opened. A glob matches
    files only, and one that matches none raises ValueError.
    """
    paths: set[str] = set()
    for pattern in patterns:
        plain = not glob.has_magic(pattern) or os.path.exists(pattern) or "://" in pattern
        found = [pattern] if plain else _files(pattern)
        if not found:
            raise ValueError(f"input.scenes: no file matches {pattern!r}")
        paths.update(path if "://" in path else os.path.normpath(path) for path in found)
    return sorted(paths)


def _files(pattern: str) -> list[str]:
    return [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]


def name_scenes(paths: Sequence[str]) -> list[str]:
    """Return a unique, readable name for each path.

    The file name where no other input has it, else the path below the folder that all inputs share.
    Names hold no colon, so that `Window.key` can be taken apart.

    >>> name_scenes(["day/1/a.tif", "day/2/a.tif", "day/2/b.tif"])
    ['1/a.tif', '2/a.tif', 'b.tif']
    """
    parts = [path.replace(os.sep, "/").replace(":", "_").split("/") for path in paths]
    folders = zip(*(folder[:-1] for folder in parts), strict=False)
    shared = sum(1 for _ in takewhile(_all_equal, folders))
    times = Counter(folder[-1] for folder in parts)
    names: dict[str, None] = {}
    for folder in parts:
        name = folder[-1] if times[folder[-1]] == 1 else "/".join(folder[shared:])
        copies = (f"{name}~{number}" for number in range(2, len(paths) + 2))
        names[name if name not in names else next(copy for copy in copies if copy not in names)] = (
            None
        )
    return list(names)


def _all_equal(values: tuple[str, ...]) -> bool:
    return len(set(values)) == 1


def open_scene(name: str, path: str, config: ReadConfig) -> Scene:
    """Return the scene that a file's header describes; no pixel is read.

    Bands: those of the config; else red, green, blue by colour interpretation; else of the bands
    that are not alpha the first three of three or four, and the first of one or two. Without both
    a CRS and a transform (ground control points and RPCs are not used) the scene has no CRS; a
    world file without a CRS keeps its transform.

    Raises SceneError, with the remedy, for a file that is not a raster or cannot be rendered.
    """
    with rasterio.Env(**GDAL):
        try:
            dataset = open_dataset(path)
        except RasterioError as error:
            raise SceneError(_why_unreadable(path, error)) from error
        with dataset:
            bands = _choose_bands(dataset, config.bands)
            _check_rendering(dataset, bands, config)
            transform: Affine6 = tuple(dataset.transform)[:6]
            return Scene(
                name=name,
                path=path,
                height=dataset.height,
                width=dataset.width,
                bands=bands,
                dtype=dataset.dtypes[bands[0] - 1],
                crs=None if dataset.transform.is_identity else _name_crs(dataset.crs),
                transform=transform,
            )


def _why_unreadable(path: str, error: RasterioError) -> str:
    if "://" in path or path.startswith("/vsi"):
        return f"{path} cannot be opened: {error}"
    if not os.path.exists(path):
        return f"{path} does not exist"
    if os.path.isdir(path):
        return f"{path} is a folder: name its pictures, such as {Path(path, '*.tif')}"
    if os.path.getsize(path) == 0:
        return f"{path} is empty (0 bytes): copy it again"
    return f"{path} is no raster that GDAL can open, or its header is cut off: {error}"


def _choose_bands(
    dataset: rasterio.DatasetReader, wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    count, meaning = dataset.count, dataset.colorinterp
    if wanted is not None:
        if max(wanted) > count:
            raise SceneError(f"read.bands wants {list(wanted)}, but the file has {count} bands")
        return wanted
    if all(colour in meaning for colour in _RGB):
        return tuple(meaning.index(colour) + 1 for colour in _RGB)
    light = [band for band in dataset.indexes if meaning[band - 1] is not ColorInterp.alpha]
    if not 1 <= len(light) <= 4:
        raise SceneError(
            f"{count} bands, and none is marked red, green and blue: declare which to render, "
            "such as read.bands: [5, 3, 2]"
        )
    return tuple(light[:3] if len(light) >= 3 else light[:1])


def _check_rendering(
    dataset: rasterio.DatasetReader, bands: tuple[int, ...], config: ReadConfig
) -> None:
    if min(dataset.height, dataset.width) < 1:
        raise SceneError(f"the picture has no pixels: {dataset.height} x {dataset.width}")
    if dataset.transform.is_degenerate:
        raise SceneError(f"the transform cannot be inverted: {tuple(dataset.transform)[:6]}")
    odd = [dataset.colorinterp[band - 1] for band in bands]
    if config.bands is None and _NOT_LIGHT.intersection(odd):
        raise SceneError(
            f"band {bands[0]} holds {odd[0].name}, not light: convert the file to RGB, such as "
            "with gdal_translate -expand rgb"
        )
    dtypes = {dataset.dtypes[band - 1] for band in bands}
    if len(dtypes) > 1:
        raise SceneError(f"bands {list(bands)} differ in type: {sorted(dtypes)}")
    dtype = dtypes.pop()
    if dtype.startswith("complex"):
        raise SceneError(f"the pixels are {dtype}: only real numbers can be rendered")
    if dtype != "uint8" and config.stretch is None:
        low, high = _suggest_stretch(dataset, bands, dtype)
        raise SceneError(
            f"the pixels are {dtype}, and 8 bits are wanted: declare how to render them, such as "
            f"read.stretch: {{low: {low:g}, high: {high:g}}}"
        )


def _suggest_stretch(
    dataset: rasterio.DatasetReader, bands: tuple[int, ...], dtype: str
) -> tuple[float, float]:
    """Return (low, high) from the statistics in the header, else a usual range of that type."""
    tags = [dataset.tags(band) for band in bands]
    try:
        low = min(float(tag["STATISTICS_MINIMUM"]) for tag in tags)
        high = max(float(tag["STATISTICS_MAXIMUM"]) for tag in tags)
    except (KeyError, ValueError):
        return (0, 1) if dtype.startswith("float") else (0, 4095)
    return low, high


def _name_crs(crs: rasterio.crs.CRS | None) -> str | None:
    """Return `EPSG:n` where the CRS is exactly that one, else WKT, else None."""
    if not crs:
        return None
    code = crs.to_epsg(confidence_threshold=90)
    if code is not None and rasterio.crs.CRS.from_epsg(code) == crs:
        return f"EPSG:{code}"
    return str(crs.to_wkt())


def plan_scenes(config: RunConfig) -> tuple[list[Scene], list[Rejected]]:
    """Open every scene of a run: those that can be read, and one reject for each that cannot.

    Raises ValueError if the config names no scene, or a pattern that matches nothing.
    """
    paths = expand_inputs(config.input.scenes)
    if not paths:
        raise ValueError("input.scenes is empty: name at least one picture or pattern")
    scenes, rejected = [], []
    for name, path in zip(name_scenes(paths), paths, strict=True):
        try:
            scenes.append(open_scene(name, path, config.read))
        except SceneError as error:
            rejected.append(Rejected(name, name, "open", type(error).__name__, str(error)))
    return scenes, rejected


def plan_windows(scene: Scene, config: ReadConfig) -> Iterator[Window]:
    """Yield a scene's windows: every core, under every synthetic blur if there are any."""
    blurs = plan_blurs(config.blur)
    size = {"height": scene.height, "width": scene.width}
    for core in plan_cores(**size, core=config.core, origin=config.origin):
        read = core.grow(config.halo, **size)
        for blur in blurs:
            yield Window(scene, core, read, blur)


def plan_blurs(config: BlurConfig) -> tuple[Blur | None, ...]:
    """Return every length or severity with every angle, each pair once; without any only None."""
    lengths = LADDERS[config.ladder].lengths
    rungs = [(lengths[severity - 1], severity) for severity in config.severities]
    chosen = [*rungs, *((length, None) for length in config.lengths)]
    pairs = (Blur(length, angle, rung) for length, rung in chosen for angle in config.angles)
    return tuple(dict.fromkeys(pairs)) or (None,)
