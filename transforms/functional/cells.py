"""Cells: the class and the size of an object as one number, and the names of these numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.functional.boxes import Float, Int

SIZES_PX = (16, 32, 64, 128)
SIZES_M = (2, 4, 8, 16)

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Crossing:
    """A crossing of dimensions of objects: `class`, `size_px`, `size_m`, in the order of the names.

    `classes` are the detector's; `metres` are the width and height of a pixel on the ground, which
    only `size_m` needs.
    """

    dimensions: tuple[str, ...]
    classes: tuple[str, ...]
    metres: tuple[float, float] | None = None

    def encode(self, corners: Float, classes: Int) -> Codes:
        """Return the cell of each box (k, 4, 2) of a class: int64 (k,), -1 for any class."""
        codes = np.zeros(len(classes), np.int64)
        for name in self.dimensions:
            codes = codes * self._length(name) + self._level(name, corners, classes)
        return np.where(classes >= 0, codes, -1)

    def name(self, cell: int) -> str:
        """Return the name of a cell, such as `class=car,size_px=16-32`."""
        parts = []
        for name in reversed(self.dimensions):
            cell, level = divmod(cell, self._length(name))
            known = self.classes[level] if name == "class" else size_level(level, _edges(name))
            parts.append(f"{name}={known}")
        return ",".join(reversed(parts))

    def _length(self, name: str) -> int:
        return len(self.classes) if name == "class" else len(_edges(name)) + 1

    def _level(self, name: str, corners: Float, classes: Int) -> Codes:
        if name == "class":
            return classes.astype(np.int64)
        scale = self.metres if name == "size_m" else (1.0, 1.0)
        if scale is None:
            raise ValueError("sizes in metres need the size of a pixel on the ground")
        return np.searchsorted(_edges(name), box_sizes(corners, scale), side="right")


def box_sizes(corners: Float, scale: tuple[float, float]) -> NDArray[np.float64]:
    """Return the square root of the area of each box (k, 4, 2), a pixel being `scale` (x, y)."""
    sides = np.diff(corners.astype(np.float64)[:, :3], axis=1) * np.asarray(scale)
    lengths = np.hypot(sides[..., 0], sides[..., 1])
    sizes: NDArray[np.float64] = np.sqrt(lengths.prod(axis=1))
    return sizes


def size_level(level: int, edges: Sequence[int]) -> str:
    """Return the name of a size class: `<16`, `16-32` ... `>=128`."""
    if level == 0:
        return f"<{edges[0]}"
    return f">={edges[-1]}" if level == len(edges) else f"{edges[level - 1]}-{edges[level]}"


def _edges(name: str) -> tuple[int, ...]:
    return SIZES_PX if name == "size_px" else SIZES_M
