"""Deblur: every tile gets its `after` arm and the `null` control."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from configs.schema import DeblurConfig
from models.deblurrer import SMALLEST, Deblurrer
from models.shipped import resolve_weights
from transforms.functional.pixels import crop_to, pad_to
from transforms.inference import map_by_shape, map_pending, use_one_thread
from transforms.records import DeblurredTile, Settled, Tile
from transforms.stopwatch import Stopwatch

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]


def load_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Load the configured generator; raises if weights, digest or device are not as promised."""
    use_one_thread()
    return Deblurrer.load(
        resolve_weights(config.weights),
        sha256=config.sha256,
        normalisation=config.normalisation,
        device=config.device,
        dtype=config.dtype,
    )


def deblur_tiles(
    outcomes: Sequence[Tile | Settled], network: Network
) -> list[DeblurredTile | Settled]:
    """Deblur the tiles of a micro-batch; `network` maps uint8 (n, h, w, 3) to the same."""

    def deblur(tiles: Sequence[Tile]) -> list[DeblurredTile]:
        padded = [_pad(tile.before) for tile in tiles]
        after: list[Images] = map_by_shape(padded, network)
        null: list[Images] = map_by_shape(padded, keep)
        return [
            DeblurredTile(tile, *(crop_to(image, *tile.before.shape[:2]) for image in arms))
            for tile, *arms in zip(tiles, after, null, strict=True)
        ]

    return map_pending(outcomes, deblur, stage="deblur", tile_of=_tile)


def keep(images: Images) -> Images:
    """Return the pictures through the path of the network, without it: the null control."""
    unit = images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    levels = (unit + np.float32(1)) * np.float32(127.5)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


@dataclass
class Deblur(beam.PTransform):
    """Deblur micro-batches of tiles."""

    config: DeblurConfig

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches of `Tile` to batches of `DeblurredTile`; what is settled passes through."""
        return batches | "Deblur batch" >> beam.ParDo(_DeblurBatch(self.config))


class _DeblurBatch(beam.DoFn):
    def __init__(self, config: DeblurConfig) -> None:
        self._config = config
        self._shared = Shared()
        self._stopwatch = Stopwatch("deblur")

    def setup(self) -> None:
        self._network = self._shared.acquire(lambda: load_deblurrer(self._config))

    def process(self, batch: list[Tile | Settled]) -> list[list[DeblurredTile | Settled]]:
        with self._stopwatch.running():
            return [deblur_tiles(batch, self._network)]


def _pad(image: Images) -> Images:
    height, width = image.shape[:2]
    return pad_to(image, max(height, SMALLEST), max(width, SMALLEST))


def _tile(tile: Tile) -> Tile:
    return tile
