"""STAC items of the mosaics of a run: what they are, where they lie, and what was done to them.

STAC 1.1 with the extensions projection 2.0, processing 1.1, file 2.1 and classification 2.0.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

import antimeridian
import numpy as np
import pystac
import shapely
from shapely.geometry import mapping

from transforms.functional.windows import Rectangle
from transforms.georeference import (
    crs_to_projjson,
    pixels_to_map,
    rectangle_to_corners,
    reproject,
)
from transforms.map_tiles import is_map_tiles
from transforms.mosaic_status import CLASSES
from transforms.records import Scene
from transforms.redaction import redact

EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.1.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
SHA2_256 = "1220"
"""Multihash: the function, and the length of its digest in bytes, in hexadecimal."""
EARLIEST, LATEST = "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
"""STAC wants a time: where nobody knows when a scene was taken, it was between these."""
STEPS = 32
"""Points along each side of a footprint: straight lines of a CRS bend in degrees."""
WORLD = (-180.0, -90.0, 180.0, 90.0)
COLLECTION, ITEM = "collection.json", ".item.json"
CORES = "aerial_deblur:cores"
"""The property that counts the cores of a scene by what became of them."""


@dataclass(frozen=True)
class Asset:
    """A raster file of a mosaic: `path` relative to the output, SHA-256, size in bytes.

    `bands` are STAC's: name, data_type, nodata.
    """

    path: str
    sha256: str
    size: int
    bands: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Provenance:
    """What made the mosaics of a run: version of the software, and one sentence."""

    run_id: str
    version: str
    lineage: str


def mosaic_item(
    name: str,
    scene: Scene,
    *,
    data: Asset,
    status: Asset,
    counts: Mapping[str, int],
    provenance: Provenance,
) -> pystac.Item:
    """Return the item of one mosaic; hrefs of its files are relative to the folder of the items.

    `counts` are the cores by status. A scene without a CRS has no geometry. Unless its time is
    known, a scene was taken before its file was last changed.
    """
    footprint = scene_footprint(scene)
    item = pystac.Item(
        id=name,
        geometry=footprint and mapping(footprint),
        bbox=footprint and _bbox(footprint),
        datetime=None if scene.time is None else datetime.fromisoformat(scene.time),
        properties={
            **_span(scene),
            **_processing(provenance),
            **_projection(scene),
            CORES: dict(counts),
        },
        stac_extensions=list(EXTENSIONS),
        collection=provenance.run_id,
    )
    item.add_asset("data", _asset(data, ["data"], {}))
    legend = [
        {"value": value, "name": short, "description": text}
        for value, (short, text) in CLASSES.items()
    ]
    item.add_asset("status", _asset(status, ["metadata"], {"classification:classes": legend}))
    item.add_link(pystac.Link("collection", f"./{COLLECTION}", pystac.MediaType.JSON))
    item.add_link(pystac.Link("parent", f"./{COLLECTION}", pystac.MediaType.JSON))
    item.add_link(pystac.Link("root", f"./{COLLECTION}", pystac.MediaType.JSON))
    if scene.item is not None:
        item.add_link(pystac.Link("derived_from", _href(scene.item), pystac.MediaType.JSON))
    else:
        item.add_link(pystac.Link("via", _href(scene.path)))
    return item


def mosaic_collection(items: Sequence[pystac.Item], provenance: Provenance) -> pystac.Collection:
    """Return the collection of a run's items, with links to `./ID.item.json`."""
    boxes = [list(item.bbox) for item in items if item.bbox is not None]
    ends = [end for item in items for end in _interval(item)]
    collection = pystac.Collection(
        id=provenance.run_id,
        description=f"Deblurred scenes. {provenance.lineage}",
        extent=pystac.Extent(
            pystac.SpatialExtent(
                [_overall(boxes), *boxes] if len(boxes) > 1 else boxes or [list(WORLD)]
            ),
            pystac.TemporalExtent([[min(ends, default=None), max(ends, default=None)]]),
        ),
        license="other",
    )
    collection.add_link(pystac.Link("root", f"./{COLLECTION}", pystac.MediaType.JSON))
    for item in items:
        collection.add_link(pystac.Link("item", f"./{item.id}{ITEM}", pystac.MediaType.GEOJSON))
    return collection


def to_json(thing: pystac.Item | pystac.Collection) -> bytes:
    """Return an item or a collection as JSON, always the same bytes."""
    content = thing.to_dict(include_self_link=False, transform_hrefs=False)
    return f"{json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)}\n".encode()


def scene_footprint(scene: Scene) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Return where a scene lies in WGS 84, cut at the antimeridian; None where nobody knows."""
    if scene.crs is None:
        return None
    corners = pixels_to_map(
        rectangle_to_corners(Rectangle(0, 0, scene.width, scene.height)), scene.transform
    )
    # Counter-clockwise: around a pole only the direction tells the inside from the outside.
    turned = shapely.LinearRing(corners).is_ccw
    ring = np.concatenate([corners, corners[:1]])[:: 1 if turned else -1]
    along = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    sides = [start + along * (end - start) for start, end in pairwise(ring)]
    points = reproject(np.concatenate(sides), scene.crs, "EPSG:4326")
    if not np.isfinite(points).all():
        return None
    return antimeridian.fix_polygon(shapely.Polygon(points), fix_winding=True)


def _bbox(footprint: shapely.Polygon | shapely.MultiPolygon) -> list[float]:
    """Return west, south, east, north; west is greater than east across the antimeridian."""
    return list(antimeridian.bbox(footprint))


def _href(path: str) -> str:
    """Return a path or URL that means the same in every folder, without its keys.

    Map tiles keep their own name.
    """
    return redact(path) if "://" in path or is_map_tiles(path) else os.path.abspath(path)


def _asset(asset: Asset, roles: list[str], more: Mapping[str, Any]) -> pystac.Asset:
    fields = {
        "file:checksum": SHA2_256 + asset.sha256,
        "file:size": asset.size,
        "bands": [dict(band) for band in asset.bands],
        **more,
    }
    return pystac.Asset(
        f"./{PurePosixPath(asset.path).name}", media_type=COG, roles=roles, extra_fields=fields
    )


def _span(scene: Scene) -> dict[str, Any]:
    """Return between which times a scene was taken, where the time itself is not known."""
    if scene.time is not None:
        return {}
    changed = LATEST
    if scene.version is not None and scene.version.isdigit():
        seconds = int(scene.version) // 10**9
        changed = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"start_datetime": EARLIEST, "end_datetime": changed}


def _interval(item: pystac.Item) -> list[datetime]:
    if item.datetime is not None:
        return [item.datetime]
    ends = (item.properties["start_datetime"], item.properties["end_datetime"])
    return [datetime.fromisoformat(end) for end in ends]


def _processing(provenance: Provenance) -> dict[str, Any]:
    return {
        "processing:software": {"aerial-deblur": provenance.version},
        "processing:lineage": provenance.lineage,
    }


def _projection(scene: Scene) -> dict[str, Any]:
    shape: dict[str, Any] = {"proj:shape": [scene.height, scene.width]}
    if scene.crs is None:
        return shape
    corners = pixels_to_map(
        rectangle_to_corners(Rectangle(0, 0, scene.width, scene.height)), scene.transform
    )
    code = scene.crs if ":" in scene.crs and "[" not in scene.crs else None
    described = (
        {"proj:code": code}
        if code
        else {"proj:code": None, "proj:projjson": crs_to_projjson(scene.crs)}
    )
    return {
        **shape,
        **described,
        "proj:transform": [*scene.transform, 0.0, 0.0, 1.0],
        "proj:bbox": [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()],
    }


def _overall(boxes: Sequence[Sequence[float]]) -> list[float]:
    """Return the box of all boxes; of the whole parallel where one crosses the antimeridian."""
    wests, souths, easts, norths = zip(*boxes, strict=True)
    if any(west > east for west, east in zip(wests, easts, strict=True)):
        wests, easts = WORLD[:1], WORLD[2:3]
    return [min(wests), min(souths), max(easts), max(norths)]
