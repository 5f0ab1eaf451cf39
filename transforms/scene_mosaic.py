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
from xml.etree.ElementTree import tostring

import rasterio
from rasterio.errors import RasterioError
from upath import UPath

from configs.schema import RunConfig
from transforms.band_statistics import measure_bands
from transforms.cores import FOLDER, core_path, distinct_bands, mosaic_name
from transforms.functional.windows import Rectangle, plan_cores
from transforms.gdal import gdal_settings, open_dataset
from transforms.mosaic import copy_to_cog, describe_bands, lost_in_copy
from transforms.mosaic_items import Asset
from transforms.mosaic_status import Receipt, Status, count_statuses
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

MOSAICS = "mosaics"
DATA, STATUS = ".deblurred.tif", ".status.tif"
SETTINGS: dict[str, Any] = {
    # Files of cores that are open at once: each holds buffers of a megabyte or so.
    "GDAL_MAX_DATASET_POOL_SIZE": "16",
    # A warped VRT would have other pixels for each window that is asked for.
    "GDAL_VRT_WARP_USE_DATASET_RASTERIO": "NO",
}


@dataclass(frozen=True)
class Mosaic:
    """A deblurred scene: its file, that of its status, and how many cores have each status.

    `name` is the part of the file names that stands for the scene. Paths are relative to the
    output.
    """

    name: str
    scene: Scene
    data: Asset
    status: Asset
    counts: Mapping[Status, int]


class MosaicError(ValueError):
    """A scene of which no mosaic can be made; the message says why, and what to do."""


def assemble_mosaic(
    scene: Scene, receipts: Iterable[Receipt], config: RunConfig, tags: Mapping[str, str]
) -> Mosaic | Rejected:
    """Write the mosaic of one scene, and its status, and return what they are.

    Pixels of cores that were deblurred come from their files, all others from the scene. The same
    inputs give the same bytes. A fault of the scene becomes `Rejected`, under the scene's name, and
    no mosaic of it is left; one of the storage raises.
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
    with tempfile.TemporaryDirectory(prefix="aerial-deblur-") as folder, rasterio.Env(**settings):
        try:
            return _Assembly(scene, statuses, config, Path(folder)).run(tags)
        except MosaicError as error:
            for ending in (DATA, STATUS):
                _mosaic_path(config.output, scene, ending).unlink(missing_ok=True)
            kind = type(error.__cause__ or error).__name__
            return Rejected(scene.name, scene.name, "mosaic", kind, str(error))


@dataclass(frozen=True)
class _Assembly:
    """One scene, the status of its cores, row by row, and a folder for what is needed meanwhile."""

    scene: Scene
    statuses: Sequence[tuple[Rectangle, Status]]
    config: RunConfig
    folder: Path

    def run(self, tags: Mapping[str, str]) -> Mosaic:
        pieces = [
            Piece(core, self._fetch(core) if status == "deblurred" else None)
            for core, status in self.statuses
        ]
        data, status = self.folder / "data.vrt", self.folder / "status.vrt"
        with self._scene_faults(), open_source(self.scene.path, self.config.input) as dataset:
            self._check(dataset)
            self._write_status(status, dataset)
            self._write_data(data, dataset, pieces, tags)
        return Mosaic(
            mosaic_name(self.scene.name),
            self.scene,
            self._publish(data, DATA, "average"),
            self._publish(status, STATUS, "nearest"),
            count_statuses(status for _, status in self.statuses),
        )

    def _fetch(self, core: Rectangle) -> Path:
        """Return a local file of a deblurred core."""
        path = core_path(self.config.output, self.scene, core)
        if isinstance(path, Path):
            return path
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
            raise MosaicError(str(error)) from error

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

    def _write_status(self, path: Path, dataset: rasterio.DatasetReader) -> None:
        values = write_values(self.folder / "values.tif")
        path.write_bytes(tostring(overlay_status(describe(dataset), values, self.statuses)))

    def _write_data(
        self,
        path: Path,
        dataset: rasterio.DatasetReader,
        pieces: Sequence[Piece],
        tags: Mapping[str, str],
    ) -> None:
        """Write the virtual raster, with statistics: every pixel is read, so that faults show."""
        root = describe(dataset)
        overlay(root, Source.of(dataset), distinct_bands(self.scene), pieces)
        add_tags(root, tags)
        path.write_bytes(tostring(root))
        with open_dataset(str(path), ("VRT",)) as virtual:
            _check_kept(dataset, virtual, self.scene)
            statistics = measure_bands(virtual)
        for band, measured in zip(root.findall(BAND), statistics, strict=True):
            add_tags(band, measured.to_tags())
        if self.scene.crs is not None:
            add_crs(root, self.scene.crs)
        path.write_bytes(tostring(root))

    def _publish(
        self, source: Path, ending: str, overviews: Literal["average", "nearest"]
    ) -> Asset:
        target = _mosaic_path(self.config.output, self.scene, ending)
        scratch = self.config.output / FOLDER
        with written_whole(target, scratch) as local:
            copy_to_cog(source, local, compress=self.config.mosaic.compress, overviews=overviews)
            with open_dataset(str(source), ("VRT",)) as wanted, open_dataset(str(local)) as got:
                _check_kept(wanted, got, self.scene)
                bands = describe_bands(got)
            with local.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = local.stat().st_size
        return Asset(f"{MOSAICS}/{target.name}", digest, size, bands)


def _check_kept(wanted: rasterio.DatasetReader, got: rasterio.DatasetReader, scene: Scene) -> None:
    lost = lost_in_copy(wanted, got)
    if lost:
        raise MosaicError(
            f"a cloud-optimised GeoTIFF cannot keep of {scene.path}: {', '.join(lost)}. Leave "
            "mosaic.write out, or convert the scene with gdal_translate first"
        )


def _mosaic_path(output: UPath, scene: Scene, ending: str) -> UPath:
    folder = output / MOSAICS
    if is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{mosaic_name(scene.name)}{ending}"
