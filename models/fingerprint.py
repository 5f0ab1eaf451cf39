"""The fingerprint of a deblurrer: its answer to one small chart, short enough for a model card.

It is compared when weights are loaded, so that a worker whose software or arithmetic differs from
the one that measured the card stops instead of writing other results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Blocks = tuple[tuple[float, ...], ...]

SIDE, BLOCKS = 128, 8


@dataclass(frozen=True)
class Fingerprint:
    """Two maps of 8 x 8 blocks in DN, rounded to 0.01, of a network run with one normalisation.

    `means` are the means of the answer, each in one band, the bands taking turns from block to
    block, so that swapped bands show. `changes` are the means over all bands of the absolute
    difference to the chart: what the network did. `numbers` are measured on larger charts
    (`models/probe.py`) and only told, not compared.
    """

    normalisation: str
    means: Blocks
    changes: Blocks
    numbers: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` takes, as plain lists and numbers."""
        return {
            "normalisation": self.normalisation,
            "numbers": dict(self.numbers),
            "means": [list(row) for row in self.means],
            "changes": [list(row) for row in self.changes],
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Fingerprint":
        """Return the fingerprint of a card; ValueError for other keys or another grid."""
        wanted = {"normalisation", "numbers", "means", "changes"}
        if set(values) != wanted:
            raise ValueError(f"a fingerprint has {sorted(wanted)}, got {sorted(values)}")
        means, changes = (_to_blocks(np.array(values[key], float)) for key in ("means", "changes"))
        numbers = {name: float(number) for name, number in values["numbers"].items()}
        return Fingerprint(values["normalisation"], means, changes, numbers)

    def distance(self, other: "Fingerprint") -> float:
        """Return the largest difference of any block of either map, in DN."""
        pairs = ((self.means, other.means), (self.changes, other.changes))
        return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def take_fingerprint(
    network: Callable[[Images], Images],
    *,
    normalisation: str,
    numbers: Mapping[str, float] | None = None,
) -> Fingerprint:
    """Run a network, uint8 (n, h, w, 3) to the same, over the small chart."""
    chart = fingerprint_chart()
    answer = network(chart[None])[0].astype(np.int64)
    block = SIDE // BLOCKS
    grid = (BLOCKS, block, BLOCKS, block, 3)
    means = answer.reshape(grid).mean(axis=(1, 3))
    rows, columns = np.indices((BLOCKS, BLOCKS))
    own = means[rows, columns, (rows + columns) % 3]
    changes = np.abs(answer - chart).reshape(grid).mean(axis=(1, 3, 4))
    return Fingerprint(normalisation, _to_blocks(own), _to_blocks(changes), numbers or {})


def fingerprint_chart() -> NDArray[np.uint8]:
    """Return the small chart, uint8 (128, 128, 3): fine and coarse blocks, an edge and a ramp.

    Blocks of random levels, in soft colours, smeared over 7 px along the rows: a motion that a
    deblurrer takes for one and answers. Made of integers alone, so that it is the same everywhere.
    """
    rows, columns = np.indices((SIDE, SIDE))
    half = SIDE // 2
    edge = np.where(12 * (columns - 3 * half // 2) > rows - half // 2, 200, 60)
    ramp = (rows + 3 * columns) % 256
    top = np.where(columns < half, _random_blocks(4), edge)
    bottom = np.where(columns < half, ramp, _random_blocks(8))
    level = _smear(np.where(rows < half, top, bottom))
    return np.stack([level, (3 * level + 60) // 4, level // 2 + 52], axis=2).astype(np.uint8)


def _random_blocks(side: int) -> NDArray[np.int64]:
    """Return levels (128, 128) that change from block to block: a hash of the block's place.

    Not drawn from NumPy's generator, whose stream may change between versions.
    """
    rows, columns = np.indices((SIDE, SIDE)) // side
    return np.asarray(((rows * 7919 + columns * 104729) * 2654435761 >> 13) % 256)


def _smear(levels: NDArray[np.int64], length: int = 7) -> NDArray[np.int64]:
    """Return the mean of `length` neighbours in the row, whole numbers, repeating at the ends."""
    padded = np.pad(levels, ((0, 0), (length // 2, length // 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, length, axis=1)
    return np.asarray(windows.sum(axis=2) // length)


def _to_blocks(values: NDArray[np.float64]) -> Blocks:
    if values.shape != (BLOCKS, BLOCKS):
        raise ValueError(f"a map of {BLOCKS} x {BLOCKS} blocks is wanted, got {values.shape}")
    return tuple(tuple(round(float(value), 2) for value in row) for row in values)
