"""Deblur: every tile gets its `after` arm, and the arms that this is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from configs.schema import ArmsConfig, BlurConfig, DeblurConfig, SkipConfig
from models.deblurrer import SMALLEST, Deblurrer
from models.probe import check_fingerprint
from models.shipped import resolve_weights
from transforms.arms import MakeArms, make_arms
from transforms.functional.blur_estimate import BlurEstimate, estimate_blur
from transforms.functional.pixels import crop_to, pad_to, shift
from transforms.functional.sampling import in_sample
from transforms.inference import map_by_shape, map_pending, use_one_thread
from transforms.records import SHIFT, Arm, DeblurredTile, Image, Settled, Tile
from transforms.stopwatch import Stopwatch

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]


def open_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Load the configured generator; raises if weights, digest or device are not as promised."""
    use_one_thread()
    return Deblurrer.load(
        resolve_weights(config.weights),
        sha256=config.sha256,
        normalisation=config.normalisation,
        device=config.device,
        dtype=config.dtype,
    )


def load_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Do what `open_deblurrer` does, and raise if it answers otherwise than its card says."""
    deblurrer = open_deblurrer(config)
    check_fingerprint(deblurrer)
    return deblurrer


@dataclass(frozen=True)
class DeblurPolicy:
    """Which tiles are left alone, and which are looked at twice.

    `stability` is the share of tiles that are deblurred again shifted by `SHIFT` px.
    """

    skip: SkipConfig = SkipConfig()  # noqa: RUF009 - frozen, so safe to share
    stability: float = 0.0

    def skips(self, blur: BlurEstimate) -> bool:
        """Say whether a tile is taken for sharp: a tile that nobody could judge is not."""
        return blur.confidence > 0 and blur.length < self.skip.below

    def wanted(self, tile: Tile, blur: BlurEstimate) -> dict[str, Image]:
        """Return the pictures that the network must restore, by what they are for."""
        key, wanted = tile.window.key, {}
        skipped = self.skips(blur)
        if not skipped:
            wanted["after"] = tile.before
        elif in_sample(key, rate=self.skip.audit, purpose="skip"):
            wanted["unskipped"] = tile.before
        if self.looks_twice(tile) and not skipped:
            wanted["shifted"] = shift(tile.before, SHIFT)
        return wanted

    def looks_twice(self, tile: Tile) -> bool:
        """Say whether a tile is in the sample of the stability check."""
        return in_sample(tile.window.key, rate=self.stability, purpose="stability")


def deblur_tiles(
    outcomes: Sequence[Tile | Settled],
    network: Network,
    make: MakeArms,
    policy: DeblurPolicy = DeblurPolicy(),
) -> list[DeblurredTile | Settled]:
    """Deblur the tiles of a micro-batch, and make the other arms of each.

    `network` maps uint8 (n, h, w, 3) to the same; `make` maps a tile to its other arms.
    """

    def deblur(tiles: Sequence[Tile]) -> list[DeblurredTile]:
        blurs = [estimate_blur(tile.before, tile.valid) for tile in tiles]
        wanted = [policy.wanted(tile, blur) for tile, blur in zip(tiles, blurs, strict=True)]
        restored = iter(_restore([image for each in wanted for image in each.values()], network))
        return [
            _collect(tile, blur, {name: next(restored) for name in each}, make(tile), policy)
            for tile, blur, each in zip(tiles, blurs, wanted, strict=True)
        ]

    return map_pending(outcomes, deblur, stage="deblur", tile_of=_tile)


def _restore(images: Sequence[Image], network: Network) -> list[Image]:
    restored: list[Image] = map_by_shape([_pad(image) for image in images], network)
    return [crop_to(done, *image.shape[:2]) for done, image in zip(restored, images, strict=True)]


def _collect(
    tile: Tile,
    blur: BlurEstimate,
    restored: Mapping[str, Image],
    others: Mapping[Arm, Image],
    policy: DeblurPolicy,
) -> DeblurredTile:
    made: dict[Arm, Image] = {**others, "after": restored.get("after", tile.before)}
    if "unskipped" in restored:
        made["unskipped"] = restored["unskipped"]
    shifted: dict[Arm, Image] = {}
    if policy.looks_twice(tile):
        moved = shift(tile.before, SHIFT)
        shifted = {"before": moved, "after": restored.get("shifted", moved)}
    return DeblurredTile(tile, made, blur, policy.skips(blur), shifted)


@dataclass
class Deblur(beam.PTransform):
    """Deblur micro-batches of tiles; `sensor` tells the noise of pictures blurred by us."""

    config: DeblurConfig
    arms: ArmsConfig
    sensor: BlurConfig
    stability: float

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches of `Tile` to batches of `DeblurredTile`; what is settled passes through."""
        make = partial(make_arms, config=self.arms, sensor=self.sensor)
        policy = DeblurPolicy(self.config.skip, self.stability)
        return batches | "Deblur batch" >> beam.ParDo(_DeblurBatch(self.config, make, policy))


class _DeblurBatch(beam.DoFn):
    def __init__(self, config: DeblurConfig, make: MakeArms, policy: DeblurPolicy) -> None:
        self._config = config
        self._make = make
        self._policy = policy
        self._shared = Shared()
        self._stopwatch = Stopwatch("deblur")

    def setup(self) -> None:
        self._network = self._shared.acquire(lambda: load_deblurrer(self._config))

    def process(self, batch: list[Tile | Settled]) -> list[list[DeblurredTile | Settled]]:
        with self._stopwatch.running():
            return [deblur_tiles(batch, self._network, self._make, self._policy)]


def _pad(image: Images) -> Images:
    height, width = image.shape[:2]
    return pad_to(image, max(height, SMALLEST), max(width, SMALLEST))


def _tile(tile: Tile) -> Tile:
    return tile
