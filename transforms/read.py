"""ReadTiles: scenes are cut into windows, and each window is read into a tile."""

import warnings
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NodataShadowWarning, RasterioError
from rasterio.windows import Window as RasterWindow

from configs.schema import BlurConfig, ReadConfig, RunConfig
from transforms.functional.blur import motion_kernel
from transforms.functional.camera import decode_srgb, encode_srgb
from transforms.functional.pixels import bands_to_rgb, stretch_to_uint8
from transforms.functional.sensor import add_noise, erode_valid, noise_field, smear
from transforms.functional.windows import Rectangle
from transforms.gdal import GDAL, open_dataset
from transforms.ground import Ground, open_ground
from transforms.records import (
    Image,
    Mask,
    Rejected,
    Scene,
    Tile,
    TileRow,
    Window,
    truth_of,
)
from transforms.scenes import plan_windows
from transforms.stopwatch import Stopwatch

OPEN_DATASETS = 4


class SceneReader:
    """Reads rectangles of scenes as 8-bit RGB, and keeps the datasets used last open.

    It belongs to the thread and the process that made it: build it in `setup`, close it in
    `teardown`.
    """

    def __init__(self, config: ReadConfig) -> None:
        """Remember how to render; nothing is opened yet."""
        self._stretch = config.stretch
        self._open: OrderedDict[str, rasterio.DatasetReader] = OrderedDict()

    def read_window(self, window: Window) -> tuple[Image, Mask]:
        """Return the sharp pixels of a window's read rectangle, as `read` does."""
        return self.read(window.scene, window.read)

    def read(self, scene: Scene, rectangle: Rectangle) -> tuple[Image, Mask]:
        """Return uint8 (h, w, 3) RGB and bool (h, w), False where the scene has no data.

        A pixel has data if its alpha or mask band says so, if not all of its bands are nodata, and
        if its values are finite.

        Raises RasterioError if the file cannot be read there, ValueError if it is not the file that
        was planned. Either way the dataset is closed, so that the next read opens it anew.
        """
        with rasterio.Env(**GDAL):
            try:
                return self._read(self._dataset(scene), scene, rectangle)
            except Exception:
                self._drop(scene.path)
                raise

    def close(self) -> None:
        """Close every dataset."""
        with rasterio.Env(**GDAL):
            for path in list(self._open):
                self._drop(path)

    def _dataset(self, scene: Scene) -> rasterio.DatasetReader:
        if scene.path not in self._open:
            while len(self._open) >= OPEN_DATASETS:
                self._drop(next(iter(self._open)))
            self._open[scene.path] = open_dataset(scene.path)
        self._open.move_to_end(scene.path)
        return self._open[scene.path]

    def _drop(self, path: str) -> None:
        dataset = self._open.pop(path, None)
        if dataset is not None:
            dataset.close()

    def _read(
        self, dataset: rasterio.DatasetReader, scene: Scene, rectangle: Rectangle
    ) -> tuple[Image, Mask]:
        if dataset.shape != (scene.height, scene.width):
            raise ValueError(
                f"{scene.path} was planned as {scene.height} x {scene.width} pixels and is now "
                f"{dataset.height} x {dataset.width}"
            )
        place = RasterWindow(
            rectangle.col_off, rectangle.row_off, rectangle.width, rectangle.height
        )
        values = dataset.read(list(scene.bands), window=place)
        if values.shape != (len(scene.bands), rectangle.height, rectangle.width):
            raise ValueError(
                f"{scene.path} gave {values.shape} (bands, height, width) at {rectangle}"
            )
        valid = _read_mask(dataset, scene.bands, place) & np.isfinite(values).all(axis=0)
        if self._stretch is not None:
            values = stretch_to_uint8(values, self._stretch.low, self._stretch.high)
        if values.dtype != np.uint8:
            raise ValueError(f"{scene.path} holds {values.dtype} and no read.stretch is declared")
        return bands_to_rgb(values), valid


def _read_mask(
    dataset: rasterio.DatasetReader, bands: tuple[int, ...], place: RasterWindow
) -> Mask:
    """Return bool (h, w): where nodata, mask bands and alpha all say that there is data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NodataShadowWarning)
        valid = (dataset.read_masks(list(bands), window=place) > 0).any(axis=0)
    if dataset.nodata is not None and ColorInterp.alpha in dataset.colorinterp:
        # GDAL asks nodata alone where a file has both.
        alpha = dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1, window=place)
        valid &= alpha > 0
    return np.asarray(valid, dtype=np.bool_)


def read_tile(
    window: Window, reader: SceneReader, ground: Ground | None, config: ReadConfig
) -> Tile | TileRow | Rejected:
    """Read a window, blurred if it says so, with the labels around it and where they are complete.

    A fault of the file becomes `Rejected`; a window without a valid pixel in its core is settled
    here as an empty row. A fault of the labels is one of the run, and raises.
    """
    try:
        tile = _read_pixels(window, reader, config.blur)
    except (RasterioError, OSError, ValueError, IndexError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        message = f"{error}{cause}"
        return Rejected(window.key, window.scene.name, "read", type(error).__name__, message)
    before, reference, valid = tile
    labels, judged = (ground or Ground()).around(window)
    if not valid[window.core.within(window.read)].any():
        return TileRow.empty(window, truth_of(labels, reference))
    return Tile(window, before, reference, valid, labels, judged)


def _read_pixels(
    window: Window, reader: SceneReader, config: BlurConfig
) -> tuple[Image, Image | None, Mask]:
    """Return `before`, `reference` and `valid` over the read rectangle."""
    if window.blur is None:
        image, valid = reader.read_window(window)
        return image, None, valid
    scene, kernel = window.scene, motion_kernel(window.blur.length, window.blur.angle)
    wide = window.read.grow(len(kernel) // 2, height=scene.height, width=scene.width)
    sharp, valid = reader.read(scene, wide)
    inner = window.read.within(wide)
    light = np.ascontiguousarray(smear(decode_srgb(sharp), kernel)[inner])
    if config.read_noise or config.shot_noise:
        light = add_noise(
            light,
            noise_field(window.read, seed=noise_seed(scene, config)),
            read_noise=config.read_noise,
            shot_noise=config.shot_noise,
        )
    return encode_srgb(light), np.ascontiguousarray(sharp[inner]), erode_valid(valid, kernel)[inner]


def noise_seed(scene: Scene, config: BlurConfig) -> int:
    """Return the seed of a scene's noise: of its name and the config, not of where it lies."""
    return zlib.crc32(scene.name.encode()) + config.seed


class _ReadTile(beam.DoFn):
    """Holds what reading needs on a worker; the work is in `read_tile`."""

    def __init__(self, config: RunConfig, names: tuple[str, ...]) -> None:
        self._config = config
        self._names = names
        self._stopwatch = Stopwatch("read")

    def setup(self) -> None:
        self._reader = SceneReader(self._config.read)
        self._ground = open_ground(self._config.input, self._names)

    def process(self, window: Window) -> list[Tile | TileRow | Rejected]:
        with self._stopwatch.running():
            return [read_tile(window, self._reader, self._ground, self._config.read)]

    def teardown(self) -> None:
        self._reader.close()


@dataclass
class ReadTiles(beam.PTransform):
    """Cut scenes into windows, spread them over the workers, and read each into a tile.

    Windows that end here come out beside the tiles, as `TileRow` (empty) or `Rejected`. `names` are
    the detector's classes.
    """

    config: RunConfig
    names: tuple[str, ...]

    def expand(self, scenes: beam.PCollection) -> beam.PCollection:
        """Turn Scene into Tile, TileRow or Rejected."""
        return (
            scenes
            | "PlanWindows" >> beam.FlatMap(plan_windows, self.config.read)
            | "Spread" >> beam.Reshuffle()
            | "ReadTile" >> beam.ParDo(_ReadTile(self.config, self.names))
        )
