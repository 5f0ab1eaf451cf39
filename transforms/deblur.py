"""Deblur: every tile gets its `after` arm, and the arms that this is compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from numpy.typing import NDArray

from configs.schema import STRIDE, DeblurConfig, ReadConfig, RunConfig
from models.deblurrer import SMALLEST, Deblurrer
from models.probe import check_fingerprint
from models.shipped import resolve_weights
from transforms.arms import MakeArms, make_arms
from transforms.backends import find_deblur_backend
from transforms.counters import count_batch, count_devices
from transforms.functional.blur_estimate import BlurEstimate, estimate_blur
from transforms.functional.one_shape import Margins, find_margins
from transforms.functional.pixels import crop_to, pad_to, shift
from transforms.functional.radiometry import lock_low_frequencies
from transforms.functional.sampling import in_sample
from transforms.functional.sanity import find_symptoms
from transforms.inference import map_by_shape, map_pending, pending_windows, use_one_thread
from transforms.logs import about
from transforms.records import SHIFT, Arm, DeblurredTile, Image, Mask, Settled, Tile, Window
from transforms.scene_networks import SceneNetworks
from transforms.stopwatch import Stopwatch

Images = NDArray[np.uint8]
Network = Callable[[Images], Images]


class NetworkOf(Protocol):
    """Gives the network for a tile: one and the same for all tiles of a picture."""

    def __call__(self, tile: Tile) -> Network:
        """Return what maps uint8 (n, h, w, 3) to the same."""

    def close(self) -> None:
        """Let go of what was opened."""


@dataclass(frozen=True)
class SameNetwork:
    """One network for every tile."""

    network: Network

    def __call__(self, tile: Tile) -> Network:
        """Return it."""
        return self.network

    def close(self) -> None:
        """Do nothing: whoever loaded the network owns it."""


def open_networks(network: Network, config: RunConfig) -> NetworkOf:
    """Return what gives each tile its network: this one, or one made of it for every scene.

    With `deblur.normalisation: scene` the network must be what `load_deblurrer` returns.
    """
    if config.deblur.normalisation != "scene":
        return SameNetwork(network)
    if not isinstance(network, Deblurrer):
        raise TypeError(f"statistics of scenes need a Deblurrer, got {type(network).__name__}")
    return SceneNetworks(network, config)


def open_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Load the configured generator; raises if weights, digest or device are not as promised.

    For `normalisation: scene` it is loaded `per_image`, its norms ready to be frozen.
    """
    use_one_thread()
    return Deblurrer.load(
        resolve_weights(config.weights),
        sha256=config.sha256,
        normalisation="per_image" if config.normalisation == "scene" else config.normalisation,
        device=config.device,
        backend=find_deblur_backend(config),
        dtype=config.dtype,
        gpu=config.gpu,
    )


def load_deblurrer(config: DeblurConfig) -> Deblurrer:
    """Do what `open_deblurrer` does, and raise if it answers otherwise than its card says."""
    deblurrer = open_deblurrer(config)
    check_fingerprint(deblurrer)
    return deblurrer


@dataclass(frozen=True)
class DeblurPolicy:
    """Which tiles are left alone, which are looked at twice, and which outputs are believed.

    `stability` is the share of tiles that are deblurred again shifted by `SHIFT` px. `read` is how
    tiles are cut.
    """

    config: DeblurConfig = DeblurConfig()  # noqa: RUF009 - frozen, so safe to share
    stability: float = 0.0
    read: ReadConfig = ReadConfig()  # noqa: RUF009 - frozen, so safe to share

    @staticmethod
    def of(config: RunConfig) -> "DeblurPolicy":
        """Return the policy of a run."""
        return DeblurPolicy(config.deblur, config.measure.stability, config.read)

    def skips(self, blur: BlurEstimate) -> bool:
        """Say whether a tile is taken for sharp: a tile that nobody could judge is not."""
        return blur.confidence > 0 and blur.length < self.config.skip.below

    def margins(self, window: Window) -> Margins:
        """Return what is added to the pictures of a window before the network restores them.

        On a GPU tiles at the edges of a scene become as large as the others, so that they go
        together and calls are recorded for one shape. On a CPU it would only cost time.
        """
        if self.config.device == "cpu" or self.config.normalisation == "per_image":
            return Margins()
        halo = self.read.halo
        side = self.read.core + 2 * halo
        return find_margins(window.read, window.core, side=side, halo=halo, stride=STRIDE)

    def wanted(self, tile: Tile, blur: BlurEstimate) -> dict[str, Image]:
        """Return the pictures that the network must restore, by what they are for."""
        key, wanted = tile.window.key, {}
        skipped = self.skips(blur)
        if not skipped:
            wanted["after"] = tile.before
        elif in_sample(key, rate=self.config.skip.audit, purpose="skip"):
            wanted["unskipped"] = tile.before
        if self.looks_twice(tile) and not skipped:
            wanted["shifted"] = shift(tile.before, SHIFT)
        return wanted

    def looks_twice(self, tile: Tile) -> bool:
        """Say whether a tile is in the sample of the stability check."""
        return in_sample(tile.window.key, rate=self.stability, purpose="stability")

    def accept(
        self, before: Image, restored: Image, valid: Mask, origin: tuple[int, int]
    ) -> tuple[Image, str]:
        """Return the picture that stands for a network's output, and why it is not the output.

        The output with the low frequencies of `before`, or `before` itself where the output is not
        believed: then the reason is not empty. The output is judged as the network gave it, because
        the lock would hide what is wrong with it. `origin` is the (col, row) of the pictures in
        their scene.
        """
        limits = self.config.sanity
        if limits.check:
            reason = find_symptoms(before, restored, valid).reason(
                saturated=limits.saturated, flat=limits.flat, energy=limits.energy
            )
            if reason:
                return before, reason
        if not self.config.lock:
            return restored, ""
        return lock_low_frequencies(before, restored, valid, origin), ""


def deblur_tiles(
    outcomes: Sequence[Tile | Settled],
    network_of: Callable[[Tile], Network],
    make: MakeArms,
    policy: DeblurPolicy = DeblurPolicy(),
) -> list[DeblurredTile | Settled]:
    """Deblur the tiles of a micro-batch, and make the other arms of each.

    `network_of` gives a tile's network, which maps uint8 (n, h, w, 3) to the same; `make` maps a
    tile to its other arms.
    """

    def deblur(tiles: Sequence[Tile]) -> list[DeblurredTile]:
        blurs = [estimate_blur(tile.before, tile.valid) for tile in tiles]
        wanted = [policy.wanted(tile, blur) for tile, blur in zip(tiles, blurs, strict=True)]
        orders = [
            _Order(network_of(tile), image, policy.margins(tile.window))
            for tile, each in zip(tiles, wanted, strict=True)
            for image in each.values()
        ]
        restored = iter(_restore(orders))
        return [
            _collect(tile, blur, {name: next(restored) for name in each}, make(tile), policy)
            for tile, blur, each in zip(tiles, blurs, wanted, strict=True)
        ]

    return map_pending(outcomes, deblur, stage="deblur", tile_of=_tile)


@dataclass(frozen=True, eq=False)
class _Order:
    """A picture, the network that restores it, and what is added to it for that."""

    network: Network
    image: Image
    margins: Margins

    def given(self) -> Image:
        """Return what the network gets."""
        return _pad(self.margins.pad(self.image))

    def taken(self, restored: Image) -> Image:
        """Return the picture's part of what the network gave."""
        height, width = self.image.shape[:2]
        height, width = height + sum(self.margins.rows), width + sum(self.margins.columns)
        return self.margins.crop(crop_to(restored, height, width))


def _restore(orders: Sequence[_Order]) -> list[Image]:
    """Run every picture through its network; those of one network and shape go together."""
    networks = {id(order.network): order.network for order in orders}
    restored: dict[int, Image] = {}
    for network in networks.values():
        indices = [index for index, order in enumerate(orders) if order.network is network]
        done: list[Image] = map_by_shape([orders[index].given() for index in indices], network)
        restored.update(zip(indices, done, strict=True))
    return [order.taken(restored[index]) for index, order in enumerate(orders)]


def _collect(
    tile: Tile,
    blur: BlurEstimate,
    restored: Mapping[str, Image],
    others: Mapping[Arm, Image],
    policy: DeblurPolicy,
) -> DeblurredTile:
    origin = (tile.window.read.col_off, tile.window.read.row_off)
    made: dict[Arm, Image] = {**others, "after": tile.before}
    fallback = ""
    if "after" in restored:
        made["after"], fallback = policy.accept(tile.before, restored["after"], tile.valid, origin)
    if "unskipped" in restored:
        made["unskipped"], _ = policy.accept(tile.before, restored["unskipped"], tile.valid, origin)
    shifted: dict[Arm, Image] = {}
    if policy.looks_twice(tile):
        moved = shift(tile.before, SHIFT)
        shifted = {"before": moved, "after": moved}
    if "shifted" in restored:
        valid = shift(tile.valid.astype(np.uint8)[..., None], SHIFT)[..., 0] > 0
        shifted["after"], _ = policy.accept(moved, restored["shifted"], valid, origin)
    return DeblurredTile(tile, made, blur, policy.skips(blur), shifted, fallback)


@dataclass
class Deblur(beam.PTransform):
    """Deblur micro-batches of tiles, and make the arms that they are compared with."""

    config: RunConfig

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Map batches of `Tile` to batches of `DeblurredTile`; what is settled passes through."""
        return batches | "Deblur batch" >> beam.ParDo(_DeblurBatch(self.config))


class _DeblurBatch(beam.DoFn):
    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._make = partial(make_arms, config=config.arms, sensor=config.read.blur)
        self._policy = DeblurPolicy.of(config)
        self._shared = Shared()
        self._stopwatch = Stopwatch("deblur")

    def setup(self) -> None:
        with self._stopwatch.loading():
            network = self._shared.acquire(lambda: load_deblurrer(self._config.deblur))
        self._network_of = open_networks(network, self._config)

    def process(self, batch: list[Tile | Settled]) -> list[list[DeblurredTile | Settled]]:
        windows = pending_windows(batch, _tile)
        count_batch(windows)
        with self._stopwatch.running(len(windows)), about(windows):
            deblurred = deblur_tiles(batch, self._network_of, self._make, self._policy)
        count_devices()
        return [deblurred]

    def teardown(self) -> None:
        self._network_of.close()


def _pad(image: Images) -> Images:
    height, width = image.shape[:2]
    return pad_to(image, max(height, SMALLEST), max(width, SMALLEST))


def _tile(tile: Tile) -> Tile:
    return tile
