"""Scenes of a STAC catalogue: an asset of every item that is wanted."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urljoin

from pystac.link import HREF, Link
from pystac_client import ItemSearch
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO

from configs.schema import StacConfig
from transforms.entries import Found, Refused
from transforms.hrefs import SourceError, check_host, resolve_href, scheme_of
from transforms.listing import TIMEOUT, Session, read_bytes
from transforms.stac_filter import ItemFilter
from transforms.stac_item import parse_item

Document = Mapping[str, Any]


@dataclass(frozen=True)
class _Met:
    """An item as it was met: its content, where it lies, and the collection it was met in."""

    content: Document
    base: str
    collection: str | None


@dataclass(frozen=True)
class _Place:
    """Where a document lies, and the collection that leads to it."""

    href: str
    collection: str | None


def list_items(config: StacConfig, *, roots: Sequence[str] = ()) -> list[Found]:
    """Return the asset of every item that fits; what cannot be used is Refused.

    `roots` are folders and URLs whose files items may name, beside those in their own folder.
    Raises ValueError for a source that cannot be read, a search that fails, a filter that makes no
    sense, and where nothing is left.
    """
    wanted, seen = ItemFilter.of(config), 0
    found: list[Found] = []
    try:
        for met in _walk(config, roots):
            seen += 1
            found += [met] if isinstance(met, Refused) else _choose(met, config, wanted, roots)
    except SourceError as error:
        raise ValueError(f"input.stac.source: {error}") from error
    if not found:
        raise ValueError(
            f"input.stac: none of the {seen} items of {config.source} fits collections="
            f"{list(config.collections)}, datetime={config.datetime}, bbox={config.bbox}"
        )
    return found


def _choose(met: _Met, config: StacConfig, wanted: ItemFilter, roots: Sequence[str]) -> list[Found]:
    """Return the scene of an item, or why it has none; nothing if the item is not wanted."""
    try:
        item = parse_item({"collection": met.collection} | {**met.content})
        if not wanted.fits(item.extent):
            return []
        return [item.to_entry(config.asset, base=met.base, roots=roots)]
    except SourceError as error:
        return [Refused(str(met.content.get("id") or _name_of(met.base)), str(error))]


def _walk(config: StacConfig, roots: Sequence[str]) -> Iterator[_Met | Refused]:
    """Yield the items of all documents that the source leads to, each document once."""
    source = config.source if scheme_of(config.source) else os.path.abspath(config.source)
    content = read_document(source)
    if content.get("type") != "Collection" and _links(content, "search"):
        yield from _search(content, source, config)
        return
    todo: list[_Place] = [_Place(source, None)]
    known, allowed = {source}, (*roots, _top_of(source))
    while todo:
        place = todo.pop()
        try:
            content = content if place.href == source else read_document(place.href)
        except SourceError as error:
            yield Refused(_name_of(place.href), str(error))
            continue
        if content.get("type") in ("Feature", "FeatureCollection"):
            yield from _features(content, place)
            continue
        for found in _follow(content, place, allowed):
            if isinstance(found, Refused):
                yield found
            elif found.href not in known:
                known.add(found.href)
                todo.append(found)


def _follow(content: Document, place: _Place, allowed: Sequence[str]) -> Iterator[_Place | Refused]:
    """Yield where the links of a catalogue or collection lead to."""
    collection = content.get("id") if content.get("type") == "Collection" else place.collection
    for link in _links(content, "item", "child", "items"):
        try:
            meant = _meant(link, place.href)
            yield _Place(resolve_href(meant, base=place.href, roots=allowed), collection)
        except SourceError as error:
            yield Refused(_name_of(link), str(error))


def _features(content: Document, place: _Place) -> Iterator[_Met | Refused]:
    """Yield one item, or those of an item collection; one on a server has all its pages."""
    if content["type"] == "Feature":
        yield _Met(content, place.href, place.collection)
    elif _links(content, "next") and scheme_of(place.href) in ("http", "https"):
        yield from _paged(_PageReader(place.href).get_pages(place.href), place.href)
    else:
        yield from _items_of(content, place.href)


def _search(landing: Document, source: str, config: StacConfig) -> Iterator[_Met | Refused]:
    links = _dicts(landing["links"])
    found = [link for link in links if link.get("rel") == "search"]
    urls = {str(link.get("method", "GET")).upper(): str(link.get("href", "")) for link in found}
    method = "POST" if "POST" in urls else "GET"
    search = ItemSearch(
        urljoin(source, urls.get(method, "")),
        method=method,
        stac_io=_PageReader(source),
        collections=list(config.collections) or None,
        bbox=config.bbox,
        datetime=config.datetime,
    )
    yield from _paged(search.pages_as_dicts(), source)


def _paged(pages: Iterator[Document], document: str) -> Iterator[_Met | Refused]:
    """Yield the items of all pages; raises SourceError if a page fails, or pages repeat."""
    known = set()
    try:
        for page in pages:
            content = json.dumps(page["features"])
            if content in known:
                raise SourceError(f"{document} gives the same page of items again and again")
            known.add(content)
            yield from _items_of(page, document)
    except SourceError:
        raise
    except (APIError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise SourceError(f"{document}: a page of items cannot be read: {error!r}") from error


def _items_of(content: Document, document: str) -> Iterator[_Met | Refused]:
    for number, item in enumerate(_features_of(content, document), start=1):
        if isinstance(item, dict):
            yield _Met(item, _base_of(item, document), None)
        else:
            yield Refused(f"{_name_of(document)} item {number}", "not a valid STAC item")


def _features_of(content: Document, document: str) -> list[object]:
    features = content.get("features")
    if not isinstance(features, list):
        raise SourceError(f"{document}: an item collection has a list of features")
    return features


def _base_of(item: Document, document: str) -> str:
    """Return where an item of a collection lies: among remote ones, where it says that it does.

    A file must not make itself a member of another folder, whose files it could name then.
    """
    itself = _links(item, "self") if scheme_of(document) else []
    try:
        return resolve_href(itself[0], base=document) if itself else document
    except SourceError:
        return document


class _PageReader(StacApiIO):
    """Reads the pages of a document over http, and nothing else: neither files nor inner networks.

    A page says how the next one is asked for, down to the method and the body of the request.
    """

    def __init__(self, document: str) -> None:
        super().__init__(timeout=TIMEOUT)
        self.session = Session()
        self._document = document

    def read_text(self, source: HREF, *args: object, **kwargs: object) -> str:
        """Return the answer to a request."""
        href = str(source.href if isinstance(source, Link) else source)
        if scheme_of(href) not in ("http", "https"):
            raise APIError(f"a page must be an http or https URL, got {href}")
        return super().read_text(source, *args, **kwargs)

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Return the page that a request gives."""
        if str(method or "GET").upper() not in ("GET", "POST"):
            raise APIError(f"a page is asked for with GET or POST, got {method!r:.20}")
        check_host(href, base=self._document)
        return super().request(href, method, headers, parameters)


def read_document(path: str) -> Document:
    """Return the STAC document in a file or URL; raises SourceError if there is none."""
    text = read_bytes(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or not (content.keys() & {"links", "features", "assets"}):
        raise SourceError(f"{path} is no STAC item, item collection, collection or catalogue")
    if content.get("type") == "FeatureCollection":
        _features_of(content, path)
    return content


def _links(content: Document, *relations: str) -> list[str]:
    links = _dicts(content.get("links"))
    return [str(link.get("href", "")) for link in links if link.get("rel") in relations]


def _dicts(values: object) -> list[Document]:
    """Return those of a list that are objects; what is no list has none."""
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def _meant(link: str, document: str) -> str:
    """Return what a link means; servers may link to any of their own documents, as `/items`."""
    remote = scheme_of(document) in ("http", "https") and not scheme_of(link)
    return urljoin(document, link) if remote else link


def _top_of(source: str) -> str:
    """Return the folder, host or bucket in which the documents of a catalogue may lie."""
    if not scheme_of(source):
        return os.path.dirname(source)
    return "/".join(source.split("/")[:3])


def _name_of(href: str) -> str:
    return PurePath(href.split("?")[0]).name or href
