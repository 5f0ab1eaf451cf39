"""SceneReader: rectangles of scenes, as 8-bit RGB or as they are stored."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import rasterio
from rasterio import DatasetReader

from configs.schema import InputConfig
from transforms.functional.orientation import to_file_rectangle, turn_upright, upright_size
from transforms.functional.pixels import bands_to_rgb, stretch_bands
from transforms.functional.windows import Rectangle
from transforms.gdal import gdal_settings
from transforms.native_pixels import Native, read_native
from transforms.opening import open_source, stamp_file
from transforms.records import Image, Mask, Scene, Window
from transforms.resampling import view
from transforms.row_bands import PICTURES, RowBands

OPEN_DATASETS = 4


@dataclass(frozen=True)
class _OpenScene:
    """A file, and its view on the grid of the scene, which may be the file itself."""

    file: DatasetReader
    view: DatasetReader

    def close(self) -> None:
        self.view.close()
        self.file.close()


class Reader(Protocol):
    """Reads rectangles of scenes: a SceneReader, here or in a process of its own."""

    def read_window(self, window: Window) -> tuple[Image, Mask]:
        """See SceneReader."""

    def read(self, scene: Scene, rectangle: Rectangle) -> tuple[Image, Mask]:
        """See SceneReader."""

    def read_native(self, scene: Scene, rectangle: Rectangle) -> tuple[Native, Mask]:
        """See SceneReader."""

    def nodata(self, scene: Scene) -> float | None:
        """See SceneReader."""

    def close(self) -> None:
        """See SceneReader."""


class SceneReader:
    """Reads rectangles of scenes, and keeps the files used last open.

    Of files whose rows must be read in order it keeps a band of them, at most `BAND_BYTES` large.
    It belongs to the thread and the process that made it: build it in `setup`, close it in
    `teardown`.
    """

    def __init__(self, config: InputConfig) -> None:
        """Remember what may be opened; nothing is opened yet."""
        self._config = config
        self._open: OrderedDict[str, _OpenScene] = OrderedDict()
        self._rows = RowBands()

    def read_window(self, window: Window) -> tuple[Image, Mask]:
        """Return the sharp pixels of a window's read rectangle, as `read` does."""
        return self.read(window.scene, window.read)

    def read(self, scene: Scene, rectangle: Rectangle) -> tuple[Image, Mask]:
        """Return uint8 (h, w, 3) RGB and bool (h, w), False where the scene has no data.

        Raises what `read_native` does.
        """
        values, valid = self.read_native(scene, rectangle)
        if scene.stretch is not None:
            values = stretch_bands(values, scene.stretch)
        if values.dtype != np.uint8:
            raise ValueError(f"{scene.path} holds {values.dtype} and no read.stretch is declared")
        return bands_to_rgb(values), valid

    def read_native(self, scene: Scene, rectangle: Rectangle) -> tuple[Native, Mask]:
        """Return the bands to render as they are stored, (b, h, w), and which pixels are data.

        Raises RasterioError or OSError if the file cannot be read there, ValueError if it is not
        the file that was planned. Either way it is closed, so that the next read opens it anew.
        """
        with self._faults_close(scene):
            return self._read(scene, rectangle)

    def nodata(self, scene: Scene) -> float | None:
        """Return the value that stands for no data in the first rendered band.

        Raises what `read_native` does.
        """
        with self._faults_close(scene):
            value: float | None = self._dataset(scene).file.nodatavals[scene.bands[0] - 1]
        return value

    def close(self) -> None:
        """Close every file."""
        with rasterio.Env(**gdal_settings()):
            for path in list(self._open):
                self._drop(path)
        self._rows.forget()

    @contextmanager
    def _faults_close(self, scene: Scene) -> Iterator[None]:
        """Apply GDAL's settings; a file with a fault is closed."""
        with rasterio.Env(**gdal_settings()):
            try:
                yield
            except Exception:
                self._drop(scene.path)
                self._rows.forget()
                raise

    def _read(self, scene: Scene, rectangle: Rectangle) -> tuple[Native, Mask]:
        opened = self._dataset(scene)
        size = {"height": scene.height, "width": scene.width}
        place = to_file_rectangle(rectangle, scene.orientation, **size)
        if scene.sequential:
            whole = opened.file.driver in PICTURES
            values, valid = self._rows.read(opened.view, scene, place, whole=whole)
        else:
            values, valid = read_native(opened.view, scene.bands, place)
        check_unchanged(scene)
        if valid.shape != (place.height, place.width):
            raise ValueError(f"{scene.path} gave {valid.shape} (height, width) at {rectangle}")
        if scene.orientation == 1:
            return values, valid
        return turn_upright(values, scene.orientation), turn_upright(valid, scene.orientation)

    def _dataset(self, scene: Scene) -> _OpenScene:
        if scene.path not in self._open:
            while len(self._open) >= OPEN_DATASETS:
                self._drop(next(iter(self._open)))
            check_unchanged(scene)
            file = open_source(scene.path, self._config)
            try:
                _check_size(file, scene)
                self._open[scene.path] = _OpenScene(file, view(file, scene))
            except Exception:
                file.close()
                raise
        self._open.move_to_end(scene.path)
        return self._open[scene.path]

    def _drop(self, path: str) -> None:
        opened = self._open.pop(path, None)
        if opened is not None:
            opened.close()


def check_unchanged(scene: Scene) -> None:
    """Raise ValueError if a local file is not the one that was planned, OSError if it is gone."""
    planned, found = (scene.size, scene.version), stamp_file(scene.path)
    if (None, None) not in (planned, found) and found != planned:
        how = "" if found[0] == scene.size else f": it had {scene.size} bytes and has {found[0]}"
        raise ValueError(
            f"{scene.path} has changed since it was planned{how}. It is still being written: wait "
            "until it is complete and run again"
        )


def _check_size(file: DatasetReader, scene: Scene) -> None:
    grid = scene.file_grid or scene
    planned = upright_size(grid.height, grid.width, scene.orientation)
    if file.shape != planned:
        raise ValueError(
            f"{scene.path} was planned as {planned[0]} x {planned[1]} pixels and is now "
            f"{file.height} x {file.width}"
        )
