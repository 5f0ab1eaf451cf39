"""Tiles with objects that are found or not in two arms, drawn from a world whose truth is known.

Everything varies between tiles: how many objects there are, how easy they are, how much the second
arm helps, how often something false is found. So objects of one tile are not independent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from transforms.functional.binned_curves import average_precision

BINS = 1000
THRESHOLD = 0.5
PIXELS = 3 * 256 * 256
TILE_AXES = {
    "labels": 0,
    "found": 1,
    "false": 1,
    "found_bins": 1,
    "false_bins": 1,
    "squared": 1,
    "gained": 0,
    "lost": 0,
}
"""Which axis of each field of `Tiles` counts the tiles."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """What tiles are like; strengths are standard normal quantiles of the score.

    `objects` is the mean number of objects of a tile; beyond the first they are negative binomial
    of shape `evenness`. `gain` is what the second arm adds to the strength of an object, on average
    over tiles, and `gain_spread` the standard deviation of that between tiles. With no gain the
    arms can change places, so the gain of every metric is exactly 0.
    """

    gain: float = 0.0
    gain_spread: float = 0.6
    objects: float = 20
    evenness: float = 2
    strength: float = 0.4
    tile_spread: float = 0.5
    object_spread: float = 0.8
    shared: float = 0.6
    false: float = 6


@dataclass(frozen=True, eq=False)
class Tiles:
    """Sums of c tiles in two arms (before, after).

    `labels` (c,), `found`, `false` and `squared` (2, c): the squared error in grey levels squared,
    over `PIXELS` samples each. `found_bins` and `false_bins` (2, c, BINS) count by score. `gained`
    and `lost` (c,) count the labels found in one arm only.
    """

    labels: Counts
    found: Counts
    false: Counts
    found_bins: Counts
    false_bins: Counts
    squared: Counts
    gained: Counts
    lost: Counts


def draw_tiles(world: World, clusters: int, rng: np.random.Generator) -> Tiles:
    """Draw tiles, each a cluster of its own."""
    ease, crowd, noise = rng.standard_normal((3, clusters))
    gain = rng.normal(world.gain, world.gain_spread, clusters)
    sides = np.array([-0.5, 0.5])[:, None] * gain
    rate = world.evenness / (world.evenness + world.objects - 1)
    labels = 1 + rng.negative_binomial(world.evenness, rate, clusters)
    tile = np.repeat(np.arange(clusters), labels)
    strengths = world.strength + (world.tile_spread * ease + sides)[:, tile]
    scores = ndtr(strengths + world.object_spread * _paired(world.shared, len(tile), rng))
    false = rng.poisson(world.false * np.exp(0.5 * crowd - 0.5 * sides))
    found = scores >= THRESHOLD
    false_bins = np.stack([_false_bins(each, rng) for each in false])
    return Tiles(
        labels=labels,
        found=np.stack([np.bincount(tile[each], minlength=clusters) for each in found]),
        false=false_bins[:, :, int(THRESHOLD * BINS) :].sum(axis=2),
        found_bins=np.stack([_bins(tile, each, clusters) for each in scores]),
        false_bins=false_bins,
        squared=np.rint(PIXELS * np.exp(4 + 0.6 * noise - sides)).astype(np.int64),
        gained=np.bincount(tile[found[1] & ~found[0]], minlength=clusters),
        lost=np.bincount(tile[found[0] & ~found[1]], minlength=clusters),
    )


def _paired(shared: float, size: int, rng: np.random.Generator) -> Floats:
    """Return standard normals (2, size) of which the two of a pair correlate by `shared`."""
    both, own = rng.standard_normal(size), rng.standard_normal((2, size))
    return np.sqrt(shared) * both + np.sqrt(1 - shared) * own


def _false_bins(false: Counts, rng: np.random.Generator) -> Counts:
    tile = np.repeat(np.arange(len(false)), false)
    return _bins(tile, ndtr(rng.normal(-0.8, 0.8, len(tile))), len(false))


def _bins(tile: Counts, scores: Floats, clusters: int) -> Counts:
    """Return how many scores each tile has in each bin: (clusters, BINS)."""
    cell = tile * BINS + np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    return np.bincount(cell, minlength=clusters * BINS).reshape(clusters, BINS)


def sum_tiles(parts: Sequence[Tiles]) -> Tiles:
    """Add up the tiles of each part: a tile for every part."""
    sums = {
        name: np.stack([getattr(part, name).sum(axis=axis) for part in parts], axis=axis)
        for name, axis in TILE_AXES.items()
    }
    return Tiles(**sums)


def metrics(tiles: Tiles, weights: Floats, *, with_ap: bool) -> dict[str, Floats]:
    """Return every metric under each weighting of the tiles: float64 (r,) for weights (r, c).

    Without labels, or detections, it is nan. AP50 takes longest, and comes `with_ap` only.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        labels = weights @ tiles.labels
        found, false = (each @ weights.T for each in (tiles.found, tiles.false))
        recall = found / labels
        precision = found / (found + false)
        psnr = np.diff(-10 * np.log10(tiles.squared @ weights.T), axis=0)[0]
    gains = {
        "recall gain": recall[1] - recall[0],
        "precision gain": precision[1] - precision[0],
        "PSNR gain (dB)": psnr,
        "recall": recall[0],
    }
    if with_ap:
        before, after = (_ap50(tiles, weights, arm) for arm in (0, 1))
        gains["AP50 gain"] = after - before
    return gains


def _ap50(tiles: Tiles, weights: Floats, arm: int) -> Floats:
    found, false = merge_bins(tiles.found_bins[arm], tiles.false_bins[arm])
    return average_precision(weights @ found, weights @ false, weights @ tiles.labels)


def merge_bins(found: Counts, false: Counts) -> tuple[Floats, Floats]:
    """Return both (c, b) with neighbouring bins added up where no average precision can change.

    While the threshold falls through bins without false detections precision rises, and through
    bins without true ones recall stands still: only the end of such a stretch can be the best.
    """
    occupied = found.any(axis=0) | false.any(axis=0)
    found, false = found[:, occupied], false[:, occupied]
    true, wrong = found.any(axis=0), false.any(axis=0)
    alike = (true[1:] == true[:-1]) & (wrong[1:] == wrong[:-1]) & (true != wrong)[1:]
    first = np.flatnonzero(np.append(True, ~alike)[: len(true)])
    return tuple(np.add.reduceat(each, first, axis=1).astype(float) for each in (found, false))
