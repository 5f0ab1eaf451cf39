"""STAC: files, catalogues that pystac wrote, and an API that answers on 127.0.0.1."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
from stores import Store
from web_server import Answer, Ask, Site, serving

from configs.schema import StacConfig
from transforms.entries import Entry, Refused
from transforms.hrefs import SourceError
from transforms.stac_item import parse_item
from transforms.stac_items import list_items

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
CONFORMS = "https://api.stacspec.org/v1.0.0/item-search"


def item_of(name: str, *, href: str = "", west: float = 10.0, **settings: Any) -> pystac.Item:
    """Return an item of one degree with the assets `visual` and `thumbnail`."""
    item = pystac.Item(
        id=name,
        bbox=[west, 50, west + 1, 51],
        geometry={
            "type": "Polygon",
            "coordinates": [[[west, 50], [west + 1, 50], [west + 1, 51], [west, 51], [west, 50]]],
        },
        **{"datetime": NOON, "properties": {}} | settings,
    )
    item.add_asset("visual", pystac.Asset(href or f"./{name}.tif"))
    item.add_asset("thumbnail", pystac.Asset(f"./{name}.png"))
    return item


def content_of(name: str, **settings: Any) -> dict[str, Any]:
    return item_of(name, **settings).to_dict(include_self_link=False)


def write(path: Path, content: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def listed(source: str, *, roots: tuple[str, ...] = (), **settings: Any) -> list[Entry | Refused]:
    return sorted(list_items(StacConfig(source=source, **settings), roots=roots), key=str)


def names(found: list[Entry | Refused]) -> list[str]:
    assert all(isinstance(one, Entry) for one in found), found
    return sorted(one.name for one in found)


def refusal(found: list[Entry | Refused]) -> str:
    [only] = found
    assert isinstance(only, Refused)
    return f"{only.name}: {only.reason}"


@pytest.fixture
def catalogue(tmp_path: Path) -> str:
    """A self-contained catalogue on disk: collections night and day, of two items each."""
    root = pystac.Catalog("maps", "Maps")
    for place, name in enumerate(("night", "day")):
        extent = pystac.Extent(
            pystac.SpatialExtent([[10, 50, 13, 51]]), pystac.TemporalExtent([[NOON, None]])
        )
        collection = pystac.Collection(name, f"By {name}", extent)
        collection.add_items([item_of(f"{name}{n}", west=10.0 + 5 * place + n) for n in (0, 2)])
        root.add_child(collection)
    root.normalize_and_save(str(tmp_path / "maps"), pystac.CatalogType.SELF_CONTAINED)
    return str(tmp_path / "maps" / "catalog.json")


def test_an_item_is_one_scene(tmp_path: Path) -> None:
    properties = {"proj:code": "EPSG:32632"}
    source = write(tmp_path / "ä b" / "a.json", content_of("a", properties=properties))
    path = str(tmp_path / "ä b" / "a.tif")
    assert listed(source) == [
        Entry(path, path, "a", "EPSG:32632", "2026-05-01T12:00:00Z", source),
    ]


def test_an_item_named_from_here_is_found_elsewhere(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "a.json", content_of("a"))
    monkeypatch.chdir(tmp_path)
    [entry] = listed("a.json")
    assert (entry.path, entry.item) == (str(tmp_path / "a.tif"), str(tmp_path / "a.json"))


def test_the_asset_is_chosen_by_name(tmp_path: Path) -> None:
    source = write(tmp_path / "a.json", content_of("a"))
    [entry] = listed(source, asset="thumbnail")
    assert entry.path.endswith("a.png")
    found = refusal(listed(source, asset="red"))
    assert found == (
        "a: no asset 'red': set input.stac.asset to one of those it has: thumbnail, visual"
    )


@pytest.mark.parametrize(
    ("properties", "asset", "crs"),
    [
        ({"proj:epsg": 25832}, {}, "EPSG:25832"),
        ({"proj:code": "IAU_2015:30100"}, {}, "IAU_2015:30100"),
        ({"proj:code": "EPSG:32632"}, {"proj:code": "EPSG:32633"}, "EPSG:32633"),
        ({"proj:epsg": None, "proj:code": None}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_the_crs_is_that_of_the_asset_before_the_item(properties, asset, crs: str) -> None:
    content = content_of("a")
    content["properties"] |= properties
    content["assets"]["visual"] |= asset
    assert parse_item(content).to_entry("visual", base="https://h/a.json", roots=()).crs == crs


def test_a_range_of_time_begins_somewhere() -> None:
    ends = {"start_datetime": NOON, "end_datetime": datetime(2026, 6, 1, tzinfo=UTC)}
    content = content_of("a", datetime=None, **ends)
    entry = parse_item(content).to_entry("visual", base="https://h/a.json", roots=())
    assert entry.time == "2026-05-01T12:00:00Z"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": None}, "not a valid STAC item: id"),
        ({"properties": {"datetime": "noon"}}, "not a valid STAC item: properties.datetime"),
        ({"assets": []}, "not a valid STAC item: assets"),
        ({"assets": {"visual": {"title": "no href"}}}, "not a valid asset visual: href"),
        ({"assets": {}}, "those it has: none"),
    ],
)
def test_a_bad_item_is_refused_and_says_why(tmp_path: Path, change, why: str) -> None:
    source = write(tmp_path / "a.json", content_of("a") | change)
    assert why in refusal(listed(source))


def test_a_catalogue_is_followed(catalogue: str) -> None:
    found = listed(catalogue)
    assert names(found) == ["day0", "day2", "night0", "night2"]
    witness = {
        item.id: (item.get_self_href(), item.assets["visual"].get_absolute_href())
        for item in pystac.Catalog.from_file(catalogue).get_items(recursive=True)
    }
    assert {entry.name: (entry.item, entry.path) for entry in found} == witness


def test_files_obey_the_filters(catalogue: str) -> None:
    assert names(listed(catalogue, collections=("night",))) == ["night0", "night2"]
    assert names(listed(catalogue, bbox=(11.5, 50, 15.5, 51))) == ["day0", "night2"]
    assert len(listed(catalogue, datetime="2026-05-01")) == 4
    with pytest.raises(
        ValueError, match=r"none of the 4 items of .* fits .*datetime=2026-05-02, bbox=None"
    ):
        listed(catalogue, datetime="2026-05-02")


def test_a_bad_link_costs_nothing_else(catalogue: str, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.json", content_of("outside"))
    content = json.loads(Path(catalogue).read_text())
    write(Path(catalogue).parent / "c.json", {"type": "FeatureCollection"})
    hrefs = ["./none/a.json", "../outside.json", outside, "ftp://host/b.json", "./catalog.json"]
    hrefs.append("c.json")
    content["links"] += [{"rel": "item", "href": href} for href in hrefs] + ["junk", {}]
    write(Path(catalogue), content)
    refused = [one for one in listed(catalogue) if isinstance(one, Refused)]
    assert len(refused) == 5
    assert {one.name for one in refused} == {"a.json", "outside.json", "b.json", "c.json"}
    assert sum("lies outside the folder" in one.reason for one in refused) == 2
    assert len(listed(catalogue)) == 9


def test_a_tree_with_items_in_another_branch_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "items" / "a.json", content_of("a"))
    links = [{"rel": "item", "href": "../items/a.json"}]
    write(
        tmp_path / "collections" / "c.json", {"type": "Collection", "id": "night", "links": links}
    )
    links = [{"rel": "child", "href": "collections/c.json"}]
    root = write(tmp_path / "catalog.json", {"type": "Catalog", "id": "maps", "links": links})
    assert names(listed(root, collections=("night",))) == ["a"]
    assert listed(root, collections=("night",))[0].path == str(tmp_path / "items" / "a.tif")


def test_a_collection_of_items_is_a_file(tmp_path: Path) -> None:
    items = [content_of("a"), content_of("b"), {"id": "c"}, "junk"]
    source = write(tmp_path / "all.json", {"type": "FeatureCollection", "features": items})
    found = listed(source)
    assert [one.name for one in found] == ["a", "b", "all.json item 4", "c"]
    assert found[0].item == source


def test_a_file_cannot_claim_another_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    item = content_of("a", href="./key.tif")
    item["links"] = [{"rel": "self", "href": str(tmp_path / "secret" / "a.json")}]
    source = write(
        tmp_path / "maps" / "all.json", {"type": "FeatureCollection", "features": [item]}
    )
    [entry] = listed(source)
    assert entry.path == str(tmp_path / "maps" / "key.tif")


def test_relative_assets_of_a_file_lie_beside_it_wherever_it_came_from(tmp_path: Path) -> None:
    item = content_of("a")
    item["links"] = [{"rel": "self", "href": "https://host/items/a.json"}]
    source = write(tmp_path / "saved.json", {"type": "FeatureCollection", "features": [item]})
    [entry] = listed(source)
    assert (entry.path, entry.item) == (str(tmp_path / "a.tif"), source)


@pytest.mark.parametrize("href", ["../x.tif", "/etc/passwd", "file:///etc/passwd", "/vsimem/x.tif"])
def test_a_local_item_stays_in_its_folder(tmp_path: Path, href: str) -> None:
    source = write(tmp_path / "maps" / "a.json", content_of("a", href=href))
    assert refusal(listed(source)).startswith("a: ")
    if href == "../x.tif":
        assert names(listed(source, roots=(str(tmp_path),))) == ["a"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "is no JSON"),
        (b"[1]", "is no STAC item, item collection"),
        (b'{"type": "Topology"}', "is no STAC item, item collection"),
        (b'{"type": "FeatureCollection", "features": 3}', "a list of features"),
        (b'{"type": "Catalog", "links": []}', "none of the 0 items"),
        (b"\xff\xfe", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_source_that_is_no_catalogue_stops_the_run(tmp_path, content: bytes, why: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"input\.stac.*{why}"):
        listed(str(tmp_path / "a.json"))


def test_a_source_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^input\.stac\.source: /\S*none\.json cannot be read: "):
        listed(str(tmp_path / "none.json"))


def test_a_catalogue_on_a_store_is_followed(store: Store, catalogue: str) -> None:
    top = Path(catalogue).parent
    for path in top.rglob("*.json"):
        store.put(f"maps/{path.relative_to(top)}", path)
    found = listed(f"{store.url}/maps/catalog.json")
    assert names(found) == ["day0", "day2", "night0", "night2"]
    assert found[0].path == f"{store.url}/maps/day/day0/day0.tif"
    assert found[0].item == f"{store.url}/maps/day/day0/day0.json"


def test_a_catalogue_on_a_server_names_no_local_file(tmp_path: Path, catalogue: str) -> None:
    local = write(tmp_path / "local.json", content_of("local"))
    links = [{"rel": "item", "href": href} for href in (local, f"file://{local}", "/b.json")]
    with serving() as site:
        site.pages["/maps/c.json"] = {"type": "Catalog", "id": "c", "links": links}
        site.pages["/b.json"] = content_of("b")
        found = listed(f"{site.url}/maps/c.json")
    refused = [one for one in found if isinstance(one, Refused)]
    assert len(refused) == 2
    assert [one.path for one in found if isinstance(one, Entry)] == [f"{site.url}/b.tif"]


class Api:
    """A STAC API of eleven items in pages of four, which filters nothing: a sloppy one."""

    def __init__(self, site: Site, *methods: str) -> None:
        self.site = site
        self.items = [content_of(f"i{n:02}", west=10.0 + 2 * n) for n in range(11)]
        for item in self.items:
            place = f"{site.url}/collections/night/items/{item['id']}"
            item |= {"collection": "night", "links": [{"rel": "self", "href": place}]}
        links = [
            {"rel": "search", "href": f"{site.url}/search", "method": method} for method in methods
        ]
        links = [*links, {"rel": "data"}, "junk"]
        landing = {"type": "Catalog", "id": "api", "links": links, "conformsTo": [CONFORMS]}
        site.pages |= {"/": landing, "/search": self.page, "/collections/night/items": self.page}
        night = {"rel": "items", "href": "/collections/night/items"}
        site.pages["/collections/night"] = {"type": "Collection", "id": "night", "links": [night]}

    def page(self, ask: Ask) -> dict[str, Any]:
        """Return four items from the token on."""
        start = int(ask.parameters.get("token", 0))
        page = {"type": "FeatureCollection", "features": self.items[start : start + 4]}
        if start + 4 < len(self.items):
            page["links"] = [self.next_link(ask, start + 4)]
        return page

    def next_link(self, ask: Ask, token: int) -> dict[str, Any]:
        """Return the link to the page that begins with a token, by the method of the request."""
        url = f"{self.site.url}{ask.path}"
        if ask.method == "GET":
            return {"rel": "next", "href": f"{url}?token={token}"}
        body = {**ask.parameters, "token": token}
        return {"rel": "next", "href": url, "method": "POST", "body": body}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("methods", [("GET", "POST"), ("POST",), ("GET",)])
def test_an_api_is_searched_page_by_page(site: Site, methods: tuple[str, ...]) -> None:
    Api(site, *methods)
    found = listed(f"{site.url}/")
    assert names(found) == [f"i{n:02}" for n in range(11)]
    assert found[0].item == f"{site.url}/collections/night/items/i00"
    assert found[0].path == f"{site.url}/collections/night/items/i00.tif"
    used = {ask.method for ask in site.asked if ask.path == "/search"}
    assert used == ({"POST"} if "POST" in methods else {"GET"})


def test_filters_are_sent_and_hold_though_the_api_ignores_them(site: Site) -> None:
    Api(site, "POST")
    filters = {"collections": ("night",), "datetime": "2026-05", "bbox": (12.5, 50, 14.5, 51)}
    assert names(listed(f"{site.url}/", **filters)) == ["i01", "i02"]
    sent = next(ask.parameters for ask in site.asked if ask.path == "/search")
    assert sent["collections"] == ["night"]
    assert sent["bbox"] == [12.5, 50, 14.5, 51]
    assert sent["datetime"] == "2026-05-01T00:00:00Z/2026-05-31T23:59:59Z"


def test_the_collection_of_an_api_lists_its_items(site: Site) -> None:
    Api(site, "POST")
    assert len(names(listed(f"{site.url}/collections/night"))) == 11
    assert len(names(listed(f"{site.url}/collections/night/items"))) == 11


def test_items_of_an_api_name_no_local_file(site: Site) -> None:
    api = Api(site, "GET")
    hrefs = ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x.tif", "/vsimem/x"]
    for item, href in zip(api.items, hrefs, strict=False):
        item["assets"]["visual"]["href"] = href
    api.items[4]["links"] = [{"rel": "self", "href": "/etc/x.json"}]
    api.items[5]["assets"]["visual"]["href"] = "s3://maps/x.tif"
    found = listed(f"{site.url}/")
    assert [one.name for one in found if isinstance(one, Refused)] == ["i00", "i01", "i02", "i03"]
    paths = {one.name: one.path for one in found if isinstance(one, Entry)}
    assert paths["i04"] == f"{site.url}/i04.tif"
    assert paths["i05"] == "s3://maps/x.tif"


@pytest.mark.parametrize("link", ["/etc/passwd", "file:///etc/passwd", "page2.json"])
def test_a_next_page_is_no_local_file(site: Site, link: str) -> None:
    api = Api(site, "GET")
    api.next_link = lambda ask, token: {"rel": "next", "href": link}
    with pytest.raises(ValueError, match="a page must be an http or https URL"):
        listed(f"{site.url}/")


def test_pages_that_never_end_are_noticed(site: Site) -> None:
    api = Api(site, "GET")
    api.next_link = lambda ask, token: {"rel": "next", "href": f"{site.url}/search"}
    with pytest.raises(ValueError, match="the same page of items again and again"):
        listed(f"{site.url}/")


def after_the_first(site: Site, answer: Answer) -> None:
    """Let every page of an API but the first be this answer."""
    api = Api(site, "GET")
    site.pages["/search"] = lambda ask: answer if "token" in ask.parameters else api.page(ask)


@pytest.mark.parametrize("answer", [404, b"<html>", {"features": 3}, {"features": {"a": 1}}])
def test_a_page_that_fails_stops_the_run(site: Site, answer: Answer) -> None:
    """Else scenes would be missing, and nobody would know."""
    after_the_first(site, answer)
    with pytest.raises(ValueError, match=r"input\.stac\.source: "):
        listed(f"{site.url}/")


def test_junk_on_a_page_costs_no_other_item(site: Site) -> None:
    after_the_first(site, {"features": ["junk", content_of("good")]})
    found = listed(f"{site.url}/")
    assert [one.reason for one in found if isinstance(one, Refused)] == ["not a valid STAC item"]
    assert len(found) == 6


def test_what_is_no_item_says_so() -> None:
    with pytest.raises(SourceError, match="not a valid STAC item: the whole"):
        parse_item([])
