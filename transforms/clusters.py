"""Clusters: the groups of tiles that an interval takes for independent of one another."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from configs.schema import IntervalConfig
from transforms.records import Scene, Window

ENOUGH = 20
"""So many scenes are taken as clusters; with fewer, blocks of neighbouring tiles are."""
MOST = 2048
"""More clusters than that are thrown together at random into this many, to bound the memory."""


@dataclass(frozen=True)
class Clusters:
    """How tiles are grouped: by `scene`, `sequence`, or square blocks of `block` cores a side.

    A `block` is of one scene, a `place` of all scenes together. `planned` is the number of groups.
    Blurs of one place are in one group.
    """

    by: Literal["scene", "block", "place", "sequence"]
    core: int
    block: int
    planned: int

    @staticmethod
    def of(scenes: Sequence[Scene], *, core: int, config: IntervalConfig) -> "Clusters":
        """Choose the groups for a run; `auto` takes scenes where there are `ENOUGH` of them.

        Of the pictures of cameras it takes the sequences, however few: the frames of one street
        show the same cars again, and as groups of their own would make intervals too narrow. Blocks
        are as large as leaves `ENOUGH` of them, at most 8 x 8 cores, at least one. Raises
        ValueError if sequences are wanted of scenes that belong to none.
        """
        sequences = {scene.camera.sequence for scene in scenes if scene.camera is not None}
        if config.clusters == "sequence" or (config.clusters == "auto" and sequences):
            _check_cameras(scenes)
            return Clusters("sequence", core, 1, len(sequences))
        if config.clusters == "scene" or (config.clusters == "auto" and len(scenes) >= ENOUGH):
            return Clusters("scene", core, 1, len(scenes))
        sides = [config.block] if config.block is not None else [8, 4, 2, 1]
        by: Literal["block", "place"] = "place" if config.clusters == "place" else "block"
        counts = {side: _count_blocks(scenes, core * side, by) for side in sides}
        side = next((side for side in sides if counts[side] >= ENOUGH), sides[-1])
        return Clusters(by, core, side, counts[side])

    def name(self, window: Window) -> str:
        """Return the group of a window."""
        name = window.scene.name
        if self.by == "sequence" and window.scene.camera is not None:
            name = window.scene.camera.sequence
        elif self.by in ("block", "place"):
            side = self.core * self.block
            place = f"{window.core.col_off // side},{window.core.row_off // side}"
            name = f"{name}:{place}" if self.by == "block" else place
        return name if self.planned <= MOST else str(zlib.crc32(name.encode()) % MOST)


def _check_cameras(scenes: Sequence[Scene]) -> None:
    without = [scene.name for scene in scenes if scene.camera is None]
    if without:
        raise ValueError(
            "measure.interval.clusters: sequences are those of cameras (input.geometry: camera), "
            f"got {len(without)} scenes without one, such as {without[0]}: take scene or block"
        )


def _count_blocks(scenes: Sequence[Scene], side: int, by: Literal["block", "place"]) -> int:
    counts = [-(-scene.width // side) * -(-scene.height // side) for scene in scenes]
    return sum(counts) if by == "block" else max(counts, default=0)
