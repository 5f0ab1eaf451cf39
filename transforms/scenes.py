"""Scenes: which files are read, what their headers say, and the windows they are cut into."""

import posixpath
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

import rasterio
from pyproj.exceptions import ProjError
from rasterio import DatasetReader
from rasterio.errors import CRSError, RasterioError

from configs.schema import BlurConfig, ReadConfig, RunConfig
from configs.severity import LADDERS
from transforms.aoi import AreaOfInterest, open_aoi
from transforms.exif import read_exif
from transforms.functional.orientation import is_swapped, upright_size
from transforms.functional.windows import Rectangle, plan_cores
from transforms.gdal import gdal_settings
from transforms.opening import (
    FileStamp,
    check_source_name,
    open_source,
    stamp_file,
    why_unreadable,
)
from transforms.records import Blur, Rejected, Scene, Source, Window
from transforms.resampling import resample
from transforms.row_bands import PICTURES
from transforms.scene_bands import choose_bands
from transforms.scene_checks import SceneError, check_pixels, check_size
from transforms.scene_places import IN_PIXELS, locate, read_crs
from transforms.sources import list_sources
from transforms.stretches import find_stretch


def open_scene(source: Source, config: RunConfig) -> Scene:
    """Return the scene that a file's header describes; pixels are read for percentiles alone.

    Raises SceneError, with the remedy, for a file that must not or cannot be opened, that cannot be
    rendered, or whose place is missing or contradictory.
    """
    path = source.path
    with rasterio.Env(**gdal_settings()):
        try:
            check_source_name(path)
            stamp = stamp_file(path)
            dataset = open_source(path, config.input)
        except (RasterioError, OSError) as error:
            raise SceneError(why_unreadable(path, error)) from error
        except ValueError as error:
            raise SceneError(str(error)) from error
        with dataset:
            return _describe(dataset, source, config, stamp)


def _describe(dataset: DatasetReader, source: Source, config: RunConfig, stamp: FileStamp) -> Scene:
    check_size(dataset, config.input)
    bands = choose_bands(dataset, config.read.bands)
    check_pixels(dataset, bands, config.read)
    size, version = stamp
    scene = Scene(
        name=source.name,
        path=source.path,
        height=dataset.height,
        width=dataset.width,
        bands=bands,
        dtype=dataset.dtypes[bands[0] - 1],
        crs=None,
        transform=IN_PIXELS,
        size=size,
        version=version,
        time=source.time,
        item=source.item,
    )
    if config.input.geometry == "camera":
        scene = _from_camera(scene)
    else:
        scene = _on_grid(dataset, scene, source, config)
    try:
        stretch = find_stretch(dataset, bands, config.read.stretch)
    except RasterioError as error:
        raise SceneError(
            f"its percentiles cannot be read: {error}; copy the file again, or declare fixed ends "
            "such as read.stretch: {low: 0, high: 4095}"
        ) from error
    return replace(scene, stretch=stretch, sequential=_is_sequential(dataset, scene, config.read))


def _on_grid(dataset: DatasetReader, scene: Scene, source: Source, config: RunConfig) -> Scene:
    """Return the scene where it lies, at the wanted ground sampling distance."""
    try:
        crs, transform = locate(dataset, source, config.input)
        return resample(replace(scene, crs=crs, transform=transform), config)
    except (CRSError, ProjError) as error:
        raise SceneError(
            f"its CRS cannot be understood: {error}; declare another, such as with gdal_edit -a_srs"
        ) from error


def _from_camera(scene: Scene) -> Scene:
    """Return the upright picture of a camera; raises SceneError if nobody knows where it stood."""
    try:
        exif = read_exif(scene.path)
        camera = exif.camera(posixpath.dirname(scene.path) or ".")
    except ValueError as error:
        raise SceneError(str(error)) from error
    height, width = upright_size(scene.height, scene.width, exif.orientation)
    return replace(
        scene,
        height=height,
        width=width,
        orientation=exif.orientation,
        camera=camera,
        time=scene.time or exif.time,
    )


def _is_sequential(dataset: DatasetReader, scene: Scene, config: ReadConfig) -> bool:
    """Say whether a window costs much more than its pixels, as blocks are as wide as the file.

    A picture (JPEG, PNG, WebP) is decoded from its first row on, whatever is read of it.
    """
    window = config.core + 2 * config.halo
    width = scene.height if is_swapped(scene.orientation) else scene.width
    side = max(scene.height, scene.width) if dataset.driver in PICTURES else width
    blocks = [dataset.block_shapes[band - 1][1] for band in scene.bands]
    return min(blocks) >= dataset.width and side > window


def plan_scenes(config: RunConfig) -> tuple[list[Scene], list[Rejected]]:
    """Open every scene of a run: those that can be read, and one reject for each that cannot.

    A scene that the area of interest does not touch is a reject, too. Raises ValueError if the
    config names no scene, or something that is wrong for all of them.
    """
    if config.input.geometry == "camera" and config.read.gsd is not None:
        raise ValueError(
            "read.gsd is metres on the ground, and pictures of a camera (input.geometry) show no "
            "map: leave one of the two out"
        )
    read_crs(config.input.crs)
    aoi = open_aoi(config.input.aoi)
    sources, rejected = list_sources(config.input)
    scenes = []
    for source in sources:
        try:
            scene = open_scene(source, config)
            _check_overlap(scene, aoi)
            scenes.append(scene)
        except SceneError as error:
            kind, name = type(error).__name__, source.name
            rejected.append(Rejected(name, name, "open", kind, str(error)))
    return scenes, rejected


def _check_overlap(scene: Scene, aoi: AreaOfInterest | None) -> None:
    if aoi is None:
        return
    try:
        overlaps = aoi.overlaps(scene)
    except ValueError as error:
        raise SceneError(str(error)) from error
    if not overlaps:
        raise SceneError(
            "it lies outside of input.aoi: leave it out of input.scenes, or correct the area or "
            "the CRS of the scene"
        )


def plan_windows(
    scene: Scene, config: ReadConfig, aoi: AreaOfInterest | None = None
) -> Iterator[Window]:
    """Yield a scene's windows: every core, under every synthetic blur if there are any.

    Cores that an area of interest does not touch are left out.
    """
    return chain.from_iterable(plan_groups(scene, config, aoi))


def plan_groups(
    scene: Scene, config: ReadConfig, aoi: AreaOfInterest | None = None
) -> Iterator[tuple[Window, ...]]:
    """Yield the windows of `plan_windows` in groups that one worker reads best together.

    Of a sequential scene these are the cores in the same rows of the file, under the same blur;
    elsewhere every window is a group.
    """
    blurs = plan_blurs(config.blur)
    for row in _plan_rows(scene, config):
        cores = [
            core
            for core in row
            if aoi is None or aoi.touches(_window(scene, core, config, blur=None))
        ]
        if not scene.sequential:
            yield from ((_window(scene, core, config, blur),) for core in cores for blur in blurs)
        elif cores:
            for blur in blurs:
                yield tuple(_window(scene, core, config, blur) for core in cores)


def _plan_rows(scene: Scene, config: ReadConfig) -> Iterator[list[Rectangle]]:
    """Yield the cores of a scene, those together that lie in the same rows of the file."""
    rows: dict[int, list[Rectangle]] = {}
    swapped = is_swapped(scene.orientation)
    size = {"height": scene.height, "width": scene.width}
    for core in plan_cores(**size, core=config.core, origin=config.origin):
        rows.setdefault(core.col_off if swapped else core.row_off, []).append(core)
    return iter(rows.values())


def _window(scene: Scene, core: Rectangle, config: ReadConfig, blur: Blur | None) -> Window:
    read = core.grow(config.halo, height=scene.height, width=scene.width)
    return Window(scene, core, read, blur)


def plan_blurs(config: BlurConfig) -> tuple[Blur | None, ...]:
    """Return every length or severity with every angle, each pair once; without any only None."""
    lengths = LADDERS[config.ladder].lengths
    rungs = [(lengths[severity - 1], severity) for severity in config.severities]
    chosen = [*rungs, *((length, None) for length in config.lengths)]
    pairs = (Blur(length, angle, rung) for length, rung in chosen for angle in config.angles)
    return tuple(dict.fromkeys(pairs)) or (None,)
