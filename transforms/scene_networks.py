"""Networks whose norms are frozen once per scene, from some of its tiles."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from configs.schema import RunConfig
from models.deblurrer import SMALLEST, Deblurrer
from transforms.decoder import DecoderCrash, DecoderError, DecoderTimeout
from transforms.functional.pixels import pad_to
from transforms.functional.windows import Rectangle, plan_cores
from transforms.isolated import open_reader
from transforms.read import read_tile
from transforms.reconcile import picture_key
from transforms.records import Image, Rejected, Tile, Window

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]

SAMPLE = 512
"""Sides of a sample in px: enough for stable statistics, and few enough for a batch of them."""
NEARLY_ALL = 0.9
"""Share of valid pixels from which a sample is taken at once."""
TRIES = 4
"""So many times the wanted samples are read at most, looking for such ones."""
KEPT = 4
"""Networks of so many scenes stay in memory."""
_PASSING = tuple(kind.__name__ for kind in (DecoderError, DecoderCrash, DecoderTimeout))
"""Faults that another worker, or the same one later, need not see."""


class SceneNetworks:
    """Gives the network for a tile: the same for all tiles of one picture.

    It reads samples of each scene by itself, so that its answer depends on the scene alone: not on
    the tile that asks, on the worker or on what was asked before.
    """

    def __init__(self, deblurrer: Deblurrer, config: RunConfig) -> None:
        """Remember weights, loaded `per_image`, and how scenes are read."""
        self._deblurrer = deblurrer
        self._config = config
        self._reader = open_reader(config.input, config.engine.read_seconds)
        self._networks: OrderedDict[str, Deblurrer] = OrderedDict()

    def __call__(self, tile: Tile) -> Network:
        """Return the network for a tile; estimates it for the first tile of a picture."""
        key = picture_key(tile.window)
        if key not in self._networks:
            while len(self._networks) >= KEPT:
                self._networks.popitem(last=False)
            stack = _stack(self.samples(tile.window), self._deblurrer.stride)
            from models.scene_statistics import freeze_to_scene  # With torch.

            self._networks[key] = freeze_to_scene(self._deblurrer, stack)
        self._networks.move_to_end(key)
        return self._networks[key]

    def samples(self, window: Window) -> list[Image]:
        """Return pictures uint8 (h, w, 3) of one size from the scene of a window, under its blur.

        Cells of the scene in an order that only its name decides: the first that have (nearly) all
        of their pixels; where there are too few, those with the most. Raises ValueError if none
        can be read, or one costs the decoder: without it the answer would be another.
        """
        wanted = self._config.deblur.scene_samples
        whole: list[Tile] = []
        partial: list[Tile] = []
        for number, cell in enumerate(_shuffled_cells(window)):
            if len(whole) == wanted or (number >= TRIES * wanted and (whole or partial)):
                break
            sample = Window(window.scene, cell, cell, window.blur)
            tile = read_tile(sample, self._reader, None, self._config.read)
            if isinstance(tile, Rejected) and tile.exception in _PASSING:
                raise ValueError(f"statistics of {window.scene.name}: {tile.message}")
            if isinstance(tile, Tile):
                (whole if tile.valid.mean() >= NEARLY_ALL else partial).append(tile)
        if not whole and not partial:
            raise ValueError(
                f"no tile of {window.scene.name} can be read to estimate statistics from: choose "
                "deblur.normalisation per_image"
            )
        partial.sort(key=lambda tile: -tile.valid.mean())
        images = [tile.before for tile in [*whole, *partial]]
        return [image for image in images if image.shape == images[0].shape][:wanted]

    def close(self) -> None:
        """Close the files of the scenes."""
        self._reader.close()


def _shuffled_cells(window: Window) -> list[Rectangle]:
    """Return the cells of a scene in an order that depends on its name alone, whole ones first."""
    scene, key = window.scene, picture_key(window)
    full = min(SAMPLE, scene.height) * min(SAMPLE, scene.width)

    def rank(cell: Rectangle) -> tuple[bool, bytes]:
        text = f"{key}:{cell.col_off},{cell.row_off}"
        return cell.area < full, hashlib.blake2b(text.encode(), digest_size=8).digest()

    return sorted(plan_cores(height=scene.height, width=scene.width, core=SAMPLE), key=rank)


def _stack(samples: list[Image], stride: int) -> Images:
    """Return the samples as (n, h, w, 3), cut to multiples of the stride, mirrored where small."""
    height, width = (max(side // stride * stride, SMALLEST) for side in samples[0].shape[:2])
    return np.stack([pad_to(each, height, width)[:height, :width] for each in samples])
