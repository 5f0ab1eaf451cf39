"""Deblur: every tile gets its `after` arm, and the arms that this is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from configs.schema import ArmsConfig, BlurConfig, DeblurConfig
from models.deblurrer import SMALLEST, Deblurrer
from models.probe import check_fingerprint
from models.shipped import resolve_weights
from transforms.arms import MakeArms, make_arms
from transforms.functional.pixels import crop_to, pad_to
from transforms.inference import map_by_shape, map_pending, use_one_thread
from transforms.records import DeblurredTile, Settled, Tile
from transforms.stopwatch import Stopwatch

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]


def load_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Load the configured generator; raises if weights, digest or device are not as promised.

    Nor does it load where it answers otherwise than the card beside the weights says.
    """
    use_one_thread()
    deblurrer = Deblurrer.load(
        resolve_weights(config.weights),
        sha256=config.sha256,
        normalisation=config.normalisation,
        device=config.device,
        dtype=config.dtype,
    )
    check_fingerprint(deblurrer)
    return deblurrer


def deblur_tiles(
    outcomes: Sequence[Tile | Settled], network: Network, make: MakeArms
) -> list[DeblurredTile | Settled]:
    """Deblur the tiles of a micro-batch, and make the other arms of each.

    `network` maps uint8 (n, h, w, 3) to the same; `make` maps a tile to its other arms.
    """

    def deblur(tiles: Sequence[Tile]) -> list[DeblurredTile]:
        restored: list[Images] = map_by_shape([_pad(tile.before) for tile in tiles], network)
        return [
            DeblurredTile(tile, {**make(tile), "after": crop_to(image, *tile.before.shape[:2])})
            for tile, image in zip(tiles, restored, strict=True)
        ]

    return map_pending(outcomes, deblur, stage="deblur", tile_of=_tile)


@dataclass
class Deblur(beam.PTransform):
    """Deblur micro-batches of tiles; `sensor` tells the noise of pictures blurred by us."""

    config: DeblurConfig
    arms: ArmsConfig
    sensor: BlurConfig

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches of `Tile` to batches of `DeblurredTile`; what is settled passes through."""
        make = partial(make_arms, config=self.arms, sensor=self.sensor)
        return batches | "Deblur batch" >> beam.ParDo(_DeblurBatch(self.config, make))


class _DeblurBatch(beam.DoFn):
    def __init__(self, config: DeblurConfig, make: MakeArms) -> None:
        self._config = config
        self._make = make
        self._shared = Shared()
        self._stopwatch = Stopwatch("deblur")

    def setup(self) -> None:
        self._network = self._shared.acquire(lambda: load_deblurrer(self._config))

    def process(self, batch: list[Tile | Settled]) -> list[list[DeblurredTile | Settled]]:
        with self._stopwatch.running():
            return [deblur_tiles(batch, self._network, self._make)]


def _pad(image: Images) -> Images:
    height, width = image.shape[:2]
    return pad_to(image, max(height, SMALLEST), max(width, SMALLEST))


def _tile(tile: Tile) -> Tile:
    return tile
