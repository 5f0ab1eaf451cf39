"""Edges: what a tile hands on of its core's borders, to be compared with its neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass

from transforms.functional.seams import Border, Edge, sample_edges
from transforms.reconcile import picture_key
from transforms.records import DeblurredTile, Truth, truth_of

Picture = tuple[str, Truth, str]
"""Scene, truth, and scene and blur (`picture_key`): borders lie between tiles of one picture."""


@dataclass(frozen=True, eq=False)
class TileEdges:
    """The four edges of a tile's core in `before` and `after`: a few bytes for every `STEP` px."""

    picture: Picture
    edges: Mapping[Border, Edge]

    @staticmethod
    def of(deblurred: DeblurredTile) -> "TileEdges":
        """Look at the edges of a deblurred tile."""
        tile, window = deblurred.tile, deblurred.tile.window
        picture = (window.scene.name, truth_of(tile.labels, tile.reference), picture_key(window))
        edges = sample_edges(
            tile.before, deblurred.made["after"], tile.valid, core=window.core, read=window.read
        )
        return TileEdges(picture, dict(edges))
