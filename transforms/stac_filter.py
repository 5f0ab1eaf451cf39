"""Which STAC items are wanted: collections, a stretch of time, a box of the earth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely

from configs.schema import StacConfig
from transforms.entries import as_utc
from transforms.hrefs import SourceError

_MALFORMED = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    shapely.errors.ShapelyError,
)
"""What shapely raises on what is no GeoJSON."""


@dataclass(frozen=True)
class Extent:
    """What an item says of its place and time; `bbox` in degrees, `geometry` GeoJSON."""

    collection: str | None
    start: datetime | None
    end: datetime | None
    bbox: Sequence[float] | None
    geometry: Mapping[str, Any] | None


@dataclass(frozen=True)
class ItemFilter:
    """Says whether an item is wanted; None wants everything.

    Times are compared to the second, both ends included, and so are the edges of the box.
    """

    collections: frozenset[str]
    start: datetime | None
    end: datetime | None
    area: shapely.Geometry | None

    @staticmethod
    def of(config: StacConfig) -> "ItemFilter":
        """Return the filter that a config asks for; raises ValueError if it makes no sense."""
        start, end = _interval(config.datetime) if config.datetime else (None, None)
        area = None if config.bbox is None else _checked_area(config.bbox)
        return ItemFilter(frozenset(config.collections), start, end, area)

    def fits(self, extent: Extent) -> bool:
        """Say whether an item is wanted; raises SourceError if its place is written wrongly."""
        if self.collections and extent.collection not in self.collections:
            return False
        return self._fits_time(extent) and self._fits_place(extent)

    def _fits_time(self, extent: Extent) -> bool:
        if self.start is not None and (extent.end is None or extent.end < self.start):
            return False
        if self.end is None:
            return True
        return extent.start is not None and extent.start.replace(microsecond=0) <= self.end

    def _fits_place(self, extent: Extent) -> bool:
        """Compare geometry and bbox, if both are there: a geometry may go the wrong way round."""
        if self.area is None:
            return True
        places = [] if extent.geometry is None else [_shape_of(extent.geometry)]
        if extent.bbox is not None:
            places.append(box_area(extent.bbox))
        try:
            return bool(places) and all(shapely.intersects(self.area, place) for place in places)
        except shapely.errors.ShapelyError as error:
            raise SourceError(f"its place is none: {error}") from error


def _interval(text: str) -> tuple[datetime | None, datetime | None]:
    """Return both ends of an instant or interval, dates being whole days; None is an open end."""
    # Files of scenes and indexes come through here too, and do without a client of catalogues.
    from pystac_client import ItemSearch

    try:
        search = ItemSearch("", datetime=text)
        ends = [_instant(end) for end in search.get_parameters()["datetime"].split("/")]
    except Exception as error:  # pystac-client raises no class of its own here
        wanted = "2026-05-01T10:00:00Z, 2026-05-01/2026-05-31 or 2026-05-01/.."
        raise ValueError(f"input.stac.datetime must be like {wanted}, got {text!r}") from error
    start, end = ends[0], ends[-1]
    if start is not None and end is not None and start > end:
        raise ValueError(f"input.stac.datetime ends before it begins: {text!r}")
    return start, end


def _instant(text: str) -> datetime | None:
    return None if text == ".." else as_utc(datetime.fromisoformat(text.upper()))


def _checked_area(bbox: Sequence[float]) -> shapely.Geometry:
    west, south, east, north = bbox
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise ValueError(
            f"input.stac.bbox must be west, south, east, north in degrees, got {list(bbox)}"
        )
    return box_area(bbox)


def box_area(bbox: Sequence[float]) -> shapely.Geometry:
    """Return the ground of a bbox of 4 or 6 numbers, west > east across the antimeridian.

    It is repeated a turn east and west, since some write 181 where others write -179.

    >>> [turn.bounds for turn in box_area([170, 0, -170, 9]).geoms]
    [(-190.0, 0.0, -170.0, 9.0), (170.0, 0.0, 190.0, 9.0), (530.0, 0.0, 550.0, 9.0)]
    """
    if len(bbox) not in (4, 6):
        raise SourceError(f"a bbox has 4 or 6 numbers, got {list(bbox)}")
    west, south, east, north = *bbox[:2], *bbox[len(bbox) // 2 :][:2]
    width = east - west if west <= east else east - west + 360
    turns = [shapely.box(west + turn, south, west + turn + width, north) for turn in (-360, 0, 360)]
    return shapely.MultiPolygon(turns)


def _shape_of(geometry: Mapping[str, Any]) -> shapely.Geometry:
    try:
        return shapely.make_valid(shapely.geometry.shape(geometry))
    except _MALFORMED as error:
        raise SourceError(f"the geometry is no GeoJSON: {error!r}") from error
