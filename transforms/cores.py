"""WriteCores: deblurred cores on storage, in the pixels of their scene, until a mosaic is made.

DeblurredTile -> native pixels of its core + what the network changed -> a file for each core
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from configs.schema import InputConfig
from transforms.functional.residual import add_residual, per_band
from transforms.gdal import gdal_settings
from transforms.isolated import open_reader
from transforms.native_pixels import distinct_bands
from transforms.records import DeblurredTile, Rejected, Scene, Settled, Tile
from transforms.stopwatch import Stopwatch
from transforms.storage import write_bytes_whole
from transforms.unit_files import seal
from transforms.workplace import Workplace

BLOCK = 256


class CoreReader:
    """Reads cores as they are stored, and which value has no data.

    It belongs to the thread and the process that made it: build it in `setup`, close it in
    `teardown`.
    """

    def __init__(self, config: InputConfig, seconds: float | None = None) -> None:
        """Remember what may be opened, and for how long (see `open_reader`)."""
        self._reader = open_reader(config, seconds)
        self._nodata: dict[str, float | None] = {}

    def read(self, tile: Tile) -> NDArray[Any]:
        """Return the pixels (b, h, w) of a tile's core, a band per rendered one.

        Raises RasterioError, OSError or ValueError as `SceneReader.read_native` does.
        """
        window = tile.window
        scene, core = window.scene, window.core
        if scene.dtype == "uint8" and scene.stretch is None:
            # The rendering holds the very pixels of the file: they need not be read again.
            shown = per_band(tile.before[core.within(window.read)], scene.bands)
            return np.ascontiguousarray(shown.transpose(2, 0, 1), dtype=np.uint8)
        pixels, _ = self._reader.read_native(scene, core)
        return pixels[[scene.bands.index(band) for band in distinct_bands(scene)]]

    def nodata(self, scene: Scene) -> float | None:
        """Return the value that stands for no data in the first rendered band.

        A scene whose bands differ in it has no mosaic. Raises what `read` does.
        """
        if scene.path not in self._nodata:
            self._nodata[scene.path] = self._reader.nodata(scene)
        return self._nodata[scene.path]

    def close(self) -> None:
        """Close every file."""
        self._reader.close()


def core_pixels(tile: DeblurredTile, reader: CoreReader) -> NDArray[Any]:
    """Return the deblurred core (b, h, w) in the dtype of the scene, a band per rendered one.

    Pixels without data, and those that the network did not change, are bit for bit the file's.
    """
    window = tile.tile.window
    scene, inner = window.scene, window.core.within(window.read)
    stretch = scene.stretch
    if stretch is not None:
        ends = dict(zip(scene.bands, stretch, strict=True))
        stretch = tuple(ends[band] for band in distinct_bands(scene))
    return add_residual(
        reader.read(tile.tile),
        per_band(tile.tile.before[inner], scene.bands),
        per_band(tile.made["after"][inner], scene.bands),
        stretch=stretch,
        valid=tile.tile.valid[inner],
        nodata=reader.nodata(scene),
    )


def write_cores(
    outcomes: Sequence[DeblurredTile | Settled], reader: CoreReader, place: Workplace
) -> list[DeblurredTile | Settled]:
    """Write the cores of the deblurred tiles of a batch, and return the batch.

    Tiles that were skipped, or whose input was kept, need no file. A fault of the scene becomes
    `Rejected`; one of the storage concerns the run, and raises.
    """
    return [
        _write_core(outcome, reader, place)
        if isinstance(outcome, DeblurredTile) and not (outcome.skipped or outcome.fallback)
        else outcome
        for outcome in outcomes
    ]


def _write_core(
    tile: DeblurredTile, reader: CoreReader, place: Workplace
) -> DeblurredTile | Rejected:
    window = tile.tile.window
    try:
        pixels = core_pixels(tile, reader)
    except (RasterioError, OSError, ValueError, IndexError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        message = f"{error}{cause}"
        return Rejected(window.key, window.scene.name, "mosaic", type(error).__name__, message)
    write_bytes_whole(place.core_path(window.scene, window.core), seal(encode_core(pixels)))
    return tile


def encode_core(pixels: NDArray[Any]) -> bytes:
    """Return bands (b, h, w) as a GeoTIFF, compressed fast and without loss.

    It is made in memory, so that a full disk is an error of Python's, which nobody overlooks.
    """
    count, height, width = pixels.shape
    profile = {
        "driver": "GTiff",
        "dtype": pixels.dtype,
        "count": count,
        "height": height,
        "width": width,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",  # a mosaic is read band by band
        "compress": "zstd",
        "zstd_level": 1,
        "predictor": 3 if pixels.dtype.kind == "f" else 2,
        # Only so that nobody is warned of a raster without a place.
        "transform": rasterio.Affine.scale(2),
    }
    with rasterio.Env(**gdal_settings()), MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(pixels)
        return bytes(memory.getbuffer())


class _WriteCores(beam.DoFn):
    """Holds the open scenes of a worker; the work is in `write_cores`."""

    def __init__(self, config: InputConfig, place: Workplace, seconds: float | None) -> None:
        self._config = config
        self._seconds = seconds
        self._place = place
        self._stopwatch = Stopwatch("cores")

    def setup(self) -> None:
        self._reader = CoreReader(self._config, self._seconds)

    def process(self, batch: list[DeblurredTile | Settled]) -> list[list[DeblurredTile | Settled]]:
        with self._stopwatch.running():
            return [write_cores(batch, self._reader, self._place)]

    def teardown(self) -> None:
        self._reader.close()


@dataclass
class WriteCores(beam.PTransform):
    """Write the deblurred core of every tile of every micro-batch; the batches pass through."""

    config: InputConfig
    place: Workplace
    read_seconds: float | None = None

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches to the same; a tile whose core cannot be made becomes `Rejected`."""
        doer = _WriteCores(self.config, self.place, self.read_seconds)
        return batches | "Write cores" >> beam.ParDo(doer)
