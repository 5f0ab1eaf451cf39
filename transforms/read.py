"""PlanWindows and ReadTiles: scenes are cut into windows, and each is read into a tile."""

import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from rasterio.errors import RasterioError

from configs.schema import BlurConfig, ReadConfig, RunConfig
from transforms.ahead import map_ahead
from transforms.aoi import open_aoi
from transforms.counters import PIXELS
from transforms.functional.blur import motion_kernel
from transforms.functional.camera import decode_srgb, encode_srgb
from transforms.functional.sensor import add_noise, erode_valid, noise_field, smear
from transforms.ground import Ground, open_ground
from transforms.isolated import open_reader
from transforms.logs import about
from transforms.network import NetworkMeter
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
from transforms.scene_reader import Reader
from transforms.scenes import plan_groups
from transforms.stopwatch import Stopwatch

GROUP = 64
"""Windows that a worker knows of at once: at the end of a group nothing is read ahead."""
REMEDY = ". Copy the file again if it is damaged; run again if a disk or a server failed"
"""What to do about a file that GDAL cannot read; all other errors say so themselves."""


def read_tile(
    window: Window, reader: Reader, ground: Ground | None, config: ReadConfig
) -> Tile | TileRow | Rejected:
    """Read a window, blurred if it says so, with the labels around it and where they are complete.

    A fault of the file becomes `Rejected`; a window without a valid pixel in its core is settled
    here as an empty row. A fault of the labels is one of the run, and raises.
    """
    try:
        tile = _read_pixels(window, reader, config.blur)
    except (RasterioError, OSError, ValueError, IndexError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        remedy = REMEDY if isinstance(error, RasterioError | OSError) else ""
        message = f"{error}{cause}{remedy}"
        return Rejected(window.key, window.scene.name, "read", type(error).__name__, message)
    before, reference, valid = tile
    labels, judged = (ground or Ground()).around(window)
    if not valid[window.core.within(window.read)].any():
        return TileRow.empty(window, truth_of(labels, reference))
    return Tile(window, before, reference, valid, labels, judged)


def _read_pixels(
    window: Window, reader: Reader, config: BlurConfig
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


class _PlanGroups(beam.DoFn):
    """Holds the area of interest on a worker; the work is in `plan_groups`."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config

    def setup(self) -> None:
        self._aoi = open_aoi(self._config.input.aoi)

    def process(self, scene: Scene) -> Iterator[tuple[Window, ...]]:
        yield from plan_groups(scene, self._config.read, self._aoi)


class _ReadGroup(beam.DoFn):
    """Holds what reading needs on a worker; the work is in `read_tile`.

    With a decoder beside this process, the next tiles are decoded while it computes on others.
    """

    def __init__(self, config: RunConfig, names: tuple[str, ...]) -> None:
        self._config = config
        self._names = names
        isolated = config.engine.read_seconds is not None
        self._depth = config.engine.batch if isolated else 0
        self._stopwatch = Stopwatch("read")
        self._meter = NetworkMeter()

    def setup(self) -> None:
        self._reader = open_reader(self._config.input, self._config.engine.read_seconds)
        self._ground = open_ground(self._config.input, self._names)

    def process(self, group: list[Window]) -> Iterator[Tile | TileRow | Rejected]:
        with closing(map_ahead(self._read, group, depth=self._depth)) as tiles:
            for window in group:
                with self._stopwatch.running(), about([window]):
                    tile = next(tiles)
                self._meter.count()
                Metrics.counter(PIXELS, "read").inc(window.read.area)
                yield tile

    def _read(self, window: Window) -> Tile | TileRow | Rejected:
        with about([window]):
            return read_tile(window, self._reader, self._ground, self._config.read)

    def teardown(self) -> None:
        self._reader.close()


def windows_of(group: tuple[Window, ...]) -> tuple[Window, ...]:
    """Return the windows of a group, in order."""
    return group


@dataclass
class PlanWindows(beam.PTransform):
    """Cut scenes into windows and spread them; those that are read best together stay together."""

    config: RunConfig

    def expand(self, scenes: beam.PCollection) -> beam.PCollection:
        """Turn Scene into Window."""
        return (
            scenes
            | "PlanGroups" >> beam.ParDo(_PlanGroups(self.config))
            | "Spread" >> beam.Reshuffle()
            | "Windows" >> beam.FlatMap(windows_of)
        )


@dataclass
class ReadTiles(beam.PTransform):
    """Read each window into a tile; `names` are the detector's classes.

    Windows that end here come out beside the tiles, as `TileRow` (empty) or `Rejected`.
    """

    config: RunConfig
    names: tuple[str, ...]

    def expand(self, windows: beam.PCollection) -> beam.PCollection:
        """Turn Window into Tile, TileRow or Rejected."""
        return (
            windows
            | "Group" >> beam.BatchElements(min_batch_size=GROUP, max_batch_size=GROUP)
            | "ReadGroup" >> beam.ParDo(_ReadGroup(self.config, self.names))
        )
