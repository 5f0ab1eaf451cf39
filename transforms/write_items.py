"""WriteItems: a STAC item beside every mosaic; when all are there, a collection and a table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pystac
from upath import UPath

from transforms.mosaic_items import (
    COLLECTION,
    ITEM,
    Provenance,
    mosaic_collection,
    mosaic_item,
    to_json,
)
from transforms.records import Rejected
from transforms.scene_mosaic import MOSAICS, Mosaic
from transforms.storage import find_files, write_bytes_whole, written_whole
from transforms.workplace import safe_name

TABLE = "items.parquet"


@dataclass
class WriteItems(beam.PTransform):
    """Write the item of every mosaic; mosaics and rejects pass through."""

    output: UPath
    provenance: Provenance

    def expand(self, mosaics: beam.PCollection) -> beam.PCollection:
        """Map Mosaic or Rejected to the same."""
        return mosaics | "WriteItem" >> beam.Map(write_item, self.output, self.provenance)


def write_item(
    mosaic: Mosaic | Rejected, output: UPath, provenance: Provenance
) -> Mosaic | Rejected:
    """Write the item of a mosaic as `mosaics/NAME.item.json`, and return the mosaic.

    A scene without a mosaic has no item: that of an earlier run goes.
    """
    if isinstance(mosaic, Rejected):
        _item_path(output, safe_name(mosaic.scene)).unlink(missing_ok=True)
    else:
        item = mosaic_item(
            mosaic.name,
            mosaic.scene,
            data=mosaic.data,
            status=mosaic.status,
            counts={str(status): count for status, count in mosaic.counts.items()},
            provenance=provenance,
        )
        write_bytes_whole(_item_path(output, mosaic.name), to_json(item))
    return mosaic


def _item_path(output: UPath, name: str) -> UPath:
    return output / MOSAICS / f"{name}{ITEM}"


def publish_items(output: UPath, names: Sequence[str], provenance: Provenance) -> list[pystac.Item]:
    """Make the folder's collection and table those of the items of a run, and return these.

    `names` are those of the mosaics that the run could have made. Items of other scenes go; without
    any item there is no collection and no table.
    """
    folder = output / MOSAICS
    items = []
    for path in find_files(folder, f"*{ITEM}"):
        if path.name.removesuffix(ITEM) in names:
            items.append(pystac.Item.from_dict(json.loads(path.read_bytes())))
        else:
            path.unlink()
    if items:
        write_bytes_whole(folder / COLLECTION, to_json(mosaic_collection(items, provenance)))
    else:
        (folder / COLLECTION).unlink(missing_ok=True)
    _write_table(folder / TABLE, items)
    return items


def _write_table(path: UPath, items: Sequence[pystac.Item]) -> None:
    """Write the items that have a place on earth as stac-geoparquet; without any there is none."""
    placed: list[dict[str, Any]] = [
        json.loads(to_json(item)) for item in items if item.geometry is not None
    ]
    if not placed:
        path.unlink(missing_ok=True)
        return
    # It takes long to import, and few runs write items.
    import stac_geoparquet.arrow

    rows = stac_geoparquet.arrow.parse_stac_items_to_arrow(placed)
    with written_whole(path) as local:
        stac_geoparquet.arrow.to_parquet(rows, local)
