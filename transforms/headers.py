"""Headers: what the file of a scene says before a pixel is read."""

import posixpath
from dataclasses import dataclass, replace

import rasterio
from pyproj.exceptions import ProjError
from rasterio import DatasetReader
from rasterio.errors import CRSError, RasterioError

from configs.schema import ReadConfig, RunConfig
from transforms.exif import read_exif
from transforms.functional.orientation import is_swapped, upright_size
from transforms.gdal import gdal_settings
from transforms.opening import check_source_name, open_source, why_unreadable
from transforms.records import Scene, Source
from transforms.resampling import resample
from transforms.row_bands import PICTURES
from transforms.scene_bands import choose_bands
from transforms.scene_checks import SceneError, check_pixels, check_size
from transforms.scene_places import IN_PIXELS, locate
from transforms.stamps import stamp, stamp_beside
from transforms.stretches import find_stretch


@dataclass(frozen=True)
class Headers:
    """Opens scenes as a config says."""

    config: RunConfig

    def open(self, source: Source) -> Scene:
        """Return the scene of a file; raises SceneError as `open_scene` does."""
        return open_scene(source, self.config)


def open_scene(source: Source, config: RunConfig) -> Scene:
    """Return the scene that a file's header describes; pixels are read for percentiles alone.

    Raises SceneError, with the remedy, for a file that must not or cannot be opened, that cannot be
    rendered, or whose place is missing or contradictory.
    """
    path = source.path
    with rasterio.Env(**gdal_settings()):
        try:
            check_source_name(path)
            _, size, version = stamp(path)
            dataset = open_source(path, config.input)
        except (RasterioError, OSError) as error:
            raise SceneError(why_unreadable(path, error)) from error
        except ValueError as error:
            raise SceneError(str(error)) from error
        with dataset:
            scene = _describe(dataset, source, config)
            beside = stamp_beside(path, dataset.files)
    known = None if version is None else str(version)
    return replace(scene, size=size, version=known, beside=beside)


def _describe(dataset: DatasetReader, source: Source, config: RunConfig) -> Scene:
    check_size(dataset, config.input)
    bands = choose_bands(dataset, config.read.bands)
    check_pixels(dataset, bands, config.read)
    scene = Scene(
        name=source.name,
        path=source.path,
        height=dataset.height,
        width=dataset.width,
        bands=bands,
        dtype=dataset.dtypes[bands[0] - 1],
        crs=None,
        transform=IN_PIXELS,
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
