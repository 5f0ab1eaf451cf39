"""One mosaic: a deblurred scene on the grid of its input, and beside it the status.

    receipts of a scene, cores on storage -> virtual raster of scene and cores -> COG

A scene is never held in memory: GDAL copies it block by block.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree.ElementTree import Element, tostring

import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window
from upath import UPath

from configs.schema import RunConfig
from transforms.band_statistics import BandStatistics, measure_bands, plan_reading
from transforms.functional.windows import Rectangle, plan_cores
from transforms.gdal import gdal_settings, open_dataset
from transforms.mosaic import copy_to_cog, describe_bands, lost_in_copy
from transforms.mosaic_items import Asset
from transforms.mosaic_status import Receipt, Status, count_statuses
from transforms.native_pixels import distinct_bands
from transforms.opening import open_source
from transforms.overlay import (
    BAND,
    Piece,
    Source,
    add_crs,
    add_tags,
    describe,
    overlay,
    overlay_status,
    write_values,
)
from transforms.records import Rejected, Scene
from transforms.scene_reader import check_unchanged
from transforms.storage import is_local, reaching, written_whole
from transforms.workplace import FOLDER, Workplace, safe_name

MOSAICS = "mosaics"
DATA, STATUS = ".deblurred.tif", ".status.tif"
TEMPORARY = "_tmp"
"""Where a mosaic is written in a file system before it gets its name."""
SETTINGS: dict[str, Any] = {
    # Files of cores that are open at once: each holds buffers of a megabyte or so.
    "GDAL_MAX_DATASET_POOL_SIZE": "16",
}
PREFIX = "aerial-deblur-"
"""Of temporary folders."""
_NOT_WHOLE = "a mosaic was not written whole: is the disk full?"


@dataclass(frozen=True)
class Mosaic:
    """A deblurred scene: its file, that of its status, and how many cores have each status.

    `name` is the part of the file names that stands for the scene. Paths are relative to the
    folder that the run publishes.
    """

    name: str
    scene: Scene
    data: Asset
    status: Asset
    counts: Mapping[Status, int]


class MosaicError(ValueError):
    """A scene of which no mosaic can be made; the message says why, and what to do."""


def assemble_mosaic(
    scene: Scene,
    receipts: Iterable[Receipt],
    config: RunConfig,
    tags: Mapping[str, str],
    place: Workplace,
    scratch: Path | None = None,
) -> Mosaic | Rejected:
    """Write the mosaic of one scene, and its status, and return what they are.

    Pixels of cores that were deblurred come from their files, all others from the scene. The same
    inputs give the same bytes. A fault of the scene becomes `Rejected`, under the scene's name, and
    no mosaic of it is left; one of the storage raises. What is needed meanwhile lies in `scratch`,
    the system's folder for such files unless given.
    """
    known = {receipt.place: receipt.status for receipt in receipts}
    statuses = [
        (core, known.get((core.col_off, core.row_off), "empty"))
        for core in plan_cores(
            height=scene.height,
            width=scene.width,
            core=config.read.core,
            origin=config.read.origin,
        )
    ]
    settings = gdal_settings() | SETTINGS
    temporary = tempfile.TemporaryDirectory(prefix=PREFIX, dir=scratch)
    with temporary as folder, rasterio.Env(**settings):
        try:
            return _Assembly(scene, statuses, config, place, Path(folder)).run(tags)
        except MosaicError as error:
            return reject_scene(scene, type(error.__cause__ or error).__name__, str(error), place)


def reject_scene(scene: Scene, kind: str, message: str, place: Workplace) -> Rejected:
    """Return the reject of a scene without a mosaic, of which no file is left."""
    for ending in (DATA, STATUS):
        _mosaic_path(place, scene, ending).unlink(missing_ok=True)
    return Rejected(scene.name, scene.name, "mosaic", kind, message)


@dataclass(frozen=True)
class _Assembly:
    """One scene, the status of its cores, row by row, and a folder for what is needed meanwhile."""

    scene: Scene
    statuses: Sequence[tuple[Rectangle, Status]]
    config: RunConfig
    place: Workplace
    folder: Path

    def run(self, tags: Mapping[str, str]) -> Mosaic:
        pieces = [
            Piece(core, self._fetch(core) if status == "deblurred" else None)
            for core, status in self.statuses
        ]
        with self._scene_faults(), open_source(self.scene.path, self.config.input) as dataset:
            self._check(dataset)
            status = self._virtual_status(dataset)
            data = self._virtual_data(dataset, pieces, tags)
        return Mosaic(
            safe_name(self.scene.name),
            self.scene,
            self._publish(data, DATA, "average"),
            self._publish(status, STATUS, "nearest"),
            count_statuses(status for _, status in self.statuses),
        )

    def _fetch(self, core: Rectangle) -> Path:
        """Return a local file of a deblurred core."""
        path = self.place.core_path(self.scene, core)
        if isinstance(path, Path):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is gone: run again, and leave {FOLDER} alone")
            return path.absolute()
        local = self.folder / path.name
        with reaching(path):
            path.fs.get_file(path.path, str(local))
        return local

    @contextmanager
    def _scene_faults(self) -> Iterator[None]:
        try:
            yield
        except MosaicError:
            raise
        except (RasterioError, OSError, ValueError) as error:
            cause = f" ({error.__cause__})" if error.__cause__ else ""
            raise MosaicError(f"{error}{cause}") from error

    def _check(self, dataset: rasterio.DatasetReader) -> None:
        scene = self.scene
        check_unchanged(scene)
        if dataset.shape != (scene.height, scene.width):
            raise ValueError(
                f"{scene.path} was planned as {scene.height} x {scene.width} pixels and is now "
                f"{dataset.height} x {dataset.width}"
            )
        if len(set(dataset.dtypes)) > 1:
            raise ValueError(
                f"the bands of {scene.path} are of several types, {sorted(set(dataset.dtypes))}, "
                "and those of a GeoTIFF are of one: leave mosaic.write out, or give the bands to "
                "files of their own"
            )

    def _virtual_status(self, dataset: rasterio.DatasetReader) -> "_Virtual":
        values = write_values(self.folder / "values.tif")
        root = overlay_status(describe(dataset), values, self.statuses)
        return _Virtual.of(root, self.folder / "status.vrt")

    def _virtual_data(
        self, dataset: rasterio.DatasetReader, pieces: Sequence[Piece], tags: Mapping[str, str]
    ) -> "_Virtual":
        root = describe(dataset)
        overlay(root, Source.of(dataset), distinct_bands(self.scene), pieces)
        add_tags(root, tags)
        virtual = _Virtual.of(root, self.folder / "data.vrt")
        with virtual.opened() as kept:
            _check_kept(dataset, kept, self.scene)
        for band, statistics in zip(root.findall(BAND), virtual.statistics, strict=True):
            add_tags(band, statistics.to_tags())
        if self.scene.crs is not None:
            add_crs(root, self.scene.crs)
        virtual.path.write_bytes(tostring(root))
        return virtual

    def _publish(
        self, virtual: "_Virtual", ending: str, overviews: Literal["average", "nearest"]
    ) -> Asset:
        target = _mosaic_path(self.place, self.scene, ending)
        compress = self.config.mosaic.compress
        with written_whole(target, self.place.attempts / TEMPORARY) as local:
            try:
                copy_to_cog(virtual.path, local, compress=compress, overviews=overviews)
                bands = virtual.check_copy(local, self.scene)
            except OSError:
                with self._scene_faults():
                    check_unchanged(self.scene)
                    virtual.check_again(self.scene)
                raise
            with local.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = local.stat().st_size
        return Asset(f"{MOSAICS}/{target.name}", digest, size, bands)


@dataclass(frozen=True)
class _Virtual:
    """A virtual raster that was read once, whole."""

    path: Path
    windows: Sequence[Window]
    statistics: Sequence[BandStatistics]

    @staticmethod
    def of(root: Element, path: Path) -> "_Virtual":
        """Write a virtual raster, and read it so that faults of the scene show."""
        path.write_bytes(tostring(root))
        with open_dataset(str(path), ("VRT",)) as dataset:
            windows = list(plan_reading(dataset))
            return _Virtual(path, windows, measure_bands(dataset, windows))

    def opened(self) -> rasterio.DatasetReader:
        return open_dataset(str(self.path), ("VRT",))

    def check_again(self, scene: Scene) -> None:
        """Raise RasterioError or ValueError if the scene cannot be read again as it was."""
        with self.opened() as dataset:
            if measure_bands(dataset, self.windows) != self.statistics:
                raise ValueError(f"{scene.path} has changed while its mosaic was written")

    def check_copy(self, path: Path, scene: Scene) -> tuple[Mapping[str, Any], ...]:
        """Return the bands of a copy, in words of STAC, that keeps everything.

        Raises MosaicError if its header does not, OSError if its pixels cannot be read or are of
        other statistics: where a disk is full, GDAL may leave out the end of a file without a word.
        """
        try:
            with self.opened() as wanted, open_dataset(str(path), ("GTiff",)) as copy:
                _check_kept(wanted, copy, scene)
                whole = measure_bands(copy, self.windows) == self.statistics
                bands = describe_bands(copy)
        except RasterioError as error:
            raise OSError(f"{_NOT_WHOLE} ({error})") from error
        if not whole:
            raise OSError(_NOT_WHOLE)
        return bands


def _check_kept(wanted: rasterio.DatasetReader, got: rasterio.DatasetReader, scene: Scene) -> None:
    lost = lost_in_copy(wanted, got)
    if lost:
        raise MosaicError(
            f"a cloud-optimised GeoTIFF cannot keep of {scene.path}: {', '.join(lost)}. Leave "
            "mosaic.write out, or convert the scene with gdal_translate first"
        )


def _mosaic_path(place: Workplace, scene: Scene, ending: str) -> UPath:
    folder = place.staged / MOSAICS
    if is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{safe_name(scene.name)}{ending}"
