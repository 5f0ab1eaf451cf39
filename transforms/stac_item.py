"""One STAC item: its place and time, and the scene that one of its assets is."""

from collections.abc import Sequence
from datetime import datetime as Instant  # noqa: N812  (STAC calls a property datetime)
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from transforms.entries import Entry, as_utc, to_rfc3339
from transforms.hrefs import SourceError, resolve_href
from transforms.stac_filter import Extent


class _Part(BaseModel):
    """What we read of a STAC document, of any version; the rest is none of our business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Projected(_Part):
    code: str | None = Field(None, alias="proj:code")
    epsg: int | None = Field(None, alias="proj:epsg")

    @property
    def crs(self) -> str:
        return self.code or (f"EPSG:{self.epsg}" if self.epsg else "")


class _Asset(_Projected):
    href: str


class _Properties(_Projected):
    datetime: Instant | None = None
    start_datetime: Instant | None = None
    end_datetime: Instant | None = None


class Item(_Part):
    """A STAC item; an asset is looked at when it is wanted."""

    id: str
    collection: str | None = None
    geometry: dict[str, Any] | None = None
    bbox: tuple[float, ...] | None = None
    properties: _Properties
    assets: dict[str, Any]

    @property
    def extent(self) -> Extent:
        """Return place and time, as filters want them."""
        said = self.properties
        start, end = said.start_datetime or said.datetime, said.end_datetime or said.datetime
        return Extent(
            collection=self.collection,
            start=None if start is None else as_utc(start),
            end=None if end is None else as_utc(end),
            bbox=self.bbox,
            geometry=self.geometry,
        )

    def to_entry(self, asset: str, *, base: str, roots: Sequence[str]) -> Entry:
        """Return the scene that an asset is, of the item at `base`.

        Its time is the item's, or when the item begins. Raises SourceError if the item has no such
        asset, or one whose href it must not name.
        """
        if asset not in self.assets:
            there = ", ".join(sorted(self.assets)) or "none"
            raise SourceError(
                f"no asset {asset!r}: set input.stac.asset to one of those it has: {there}"
            )
        chosen = _parse(_Asset, self.assets[asset], f"asset {asset}")
        taken = self.properties.datetime or self.properties.start_datetime
        path = resolve_href(chosen.href, base=base, roots=roots)
        return Entry(
            path=path,
            place=path,
            name=self.id,
            crs=chosen.crs or self.properties.crs,
            time="" if taken is None else to_rfc3339(taken),
            item=base,
        )


def parse_item(content: object) -> Item:
    """Return an item; raises SourceError, which says what is wrong with it."""
    return _parse(Item, content, "STAC item")


_Kind = TypeVar("_Kind", bound=_Part)


def _parse(kind: type[_Kind], content: object, name: str) -> _Kind:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise SourceError(f"not a valid {name}: {where}: {first['msg']}") from error
