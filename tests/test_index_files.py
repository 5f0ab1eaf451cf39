"""Lists and indexes: text, CSV, Parquet, and STAC items that stac-geoparquet wrote."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from stac_geoparquet.arrow import parse_stac_items_to_arrow, to_parquet
from stores import Store

from transforms.entries import Entry, Refused, Row
from transforms.hrefs import SourceError
from transforms.index_files import is_index, read_index

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1)


def locations(path: Path) -> list[str]:
    return [row.location for row in read_index(str(path)) if isinstance(row, Row)]


def write_parquet(path: Path, **columns: list[Any]) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def stac_item(name: str, **hrefs: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": name,
        "bbox": [10.0, 50.0, 11.0, 51.0],
        "geometry": shapely.box(10, 50, 11, 51).__geo_interface__,
        "properties": {"datetime": "2026-05-01T12:00:00Z", "proj:code": "EPSG:32632"},
        "links": [],
        "assets": {key: {"href": href} for key, href in hrefs.items()},
    }


def write_items(path: Path, *items: dict[str, Any]) -> str:
    to_parquet(parse_stac_items_to_arrow(list(items)), path)
    return str(path)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("a.txt", True),
        ("b/A.LST", True),
        ("https://host/scenes.csv?key=a.tif", True),
        ("s3://maps/x.geoparquet", True),
        ("a.tif", False),
        ("https://host/a.tif?list=a.csv", False),
        ("txt", False),
    ],
)
def test_an_index_is_told_by_its_suffix(path: str, answer: bool) -> None:
    assert is_index(path) == answer


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_holds_a_path_a_line(tmp_path: Path, mark: bytes, end: str) -> None:
    lines = ["ä b.tif", "", "  # not a path", "deep/*.tif  ", "#one.tif", "two#2.tif"]
    (tmp_path / "list.txt").write_bytes(mark + end.join(lines).encode())
    assert locations(tmp_path / "list.txt") == ["ä b.tif", "deep/*.tif", "two#2.tif"]


def test_rows_know_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "list.lst").write_text("# night\na.tif\n")
    path = str(tmp_path / "list.lst")
    assert read_index(path) == [Row(path, "a.tif", 2)]


@given(lines=st.lists(LINES.filter(lambda line: not line.startswith(("#", "\ufeff"))), min_size=1))
def test_every_line_that_is_no_comment_is_a_row(lines: list[str], tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert locations(path) == lines


def test_a_csv_has_a_column_of_locations(tmp_path: Path) -> None:
    path = tmp_path / "scenes.csv"
    path.write_text(
        "name,location,crs,time\n"
        'one,"a, b.tif",32632,2026-05-01T14:00:00+02:00\n'
        ",c.tif,EPSG:25832,\n"
        "three,,,\n"
        "four,d.tif,,noon\n"
        "five\n"
    )
    index = str(path)
    assert read_index(index) == [
        Row(index, "a, b.tif", 2, "one", "EPSG:32632", "2026-05-01T12:00:00Z"),
        Row(index, "c.tif", 3, "", "EPSG:25832", ""),
        Refused("three", f"{index}, row 4: no location"),
        Refused(
            "four",
            f"{index}, row 5: the time must be a date and time such as 2026-05-01T10:00:00Z, "
            "got 'noon'",
        ),
        Refused("five", f"{index}, row 6: no location"),
    ]


@pytest.mark.parametrize("column", ["location", "path", "href", "url"])
def test_the_column_has_several_names(tmp_path: Path, column: str) -> None:
    (tmp_path / "scenes.csv").write_text(f"id,{column}\na,a.tif\n")
    [row] = read_index(str(tmp_path / "scenes.csv"))
    assert (row.name, row.location) == ("a", "a.tif")


def test_location_goes_first(tmp_path: Path) -> None:
    (tmp_path / "scenes.csv").write_text("url,location\nhttps://host/a,a.tif\n")
    assert locations(tmp_path / "scenes.csv") == ["a.tif"]


def test_parquet_and_csv_say_the_same(tmp_path: Path) -> None:
    table = write_parquet(
        tmp_path / "scenes.parquet",
        location=["a.tif", None, "c.tif"],
        name=["one", "two", None],
        crs=[32632, 25832, None],
        time=[NOON, None, NOON.replace(hour=0)],
        other=[1, 2, 3],
    )
    (tmp_path / "scenes.csv").write_text(
        "location,name,crs,time\na.tif,one,32632,2026-05-01T12:00:00Z\n,two,25832,\n"
        "c.tif,,,2026-05-01\n"
    )
    rows, lines = read_index(table), read_index(str(tmp_path / "scenes.csv"))
    for row, line in zip(rows, lines, strict=True):
        assert row.name == line.name
        if isinstance(row, Row):
            assert (row.location, row.crs, row.time) == (line.location, line.crs, line.time)


@pytest.mark.parametrize(
    "time",
    [
        pa.array([date(2026, 5, 1)]),
        pa.array(["2026-05-01T02:00:00+02:00"]),
        pa.array([datetime(2026, 5, 1)], pa.timestamp("ns")),
        pa.array([datetime(2026, 5, 1)], pa.timestamp("s", "Europe/Berlin")),
    ],
    ids=lambda time: str(time.type),
)
def test_every_type_of_time_is_one(tmp_path: Path, time: pa.Array) -> None:
    table = write_parquet(tmp_path / "a.parquet", location=["a.tif"], time=time)
    assert read_index(table)[0].time == "2026-05-01T00:00:00Z"


def test_what_gdaltindex_calls_an_index_is_one(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"location": ["a.tif", "b.tif"]}, geometry=[shapely.box(0, 0, 1, 1)] * 2, crs="EPSG:4326"
    )
    frame.to_parquet(tmp_path / "index.geoparquet")
    assert locations(tmp_path / "index.geoparquet") == ["a.tif", "b.tif"]


def test_items_of_stac_geoparquet_are_scenes(tmp_path: Path) -> None:
    one = stac_item("one", visual="./a.tif", thumbnail="a.png")
    two = stac_item("two", data="s3://maps/b.tif")
    path = write_items(tmp_path / "items.parquet", one, two)
    place, known = str(tmp_path / "a.tif"), ("EPSG:32632", "2026-05-01T12:00:00Z", path)
    assert read_index(path) == [
        Entry(place, place, "one", *known),
        Entry("s3://maps/b.tif", "s3://maps/b.tif", "two", *known),
    ]


def test_the_asset_of_an_item_is_chosen(tmp_path: Path) -> None:
    one = stac_item("one", red="r.tif", green="g.tif")
    path = write_items(tmp_path / "items.parquet", one, stac_item("two", red="../x.tif"))
    assert [row.name for row in read_index(path, roots=[str(tmp_path.parent)])] == ["one", "two"]
    first, second = read_index(path)
    assert isinstance(first, Refused)
    assert "no asset 'visual': set input.stac.asset to one of those it has: green, red" in (
        first.reason
    )
    assert isinstance(second, Refused)
    assert "lies outside the folder" in second.reason
    chosen = read_index(path, asset="green")
    assert [type(one) for one in chosen] == [Entry, Refused]


def test_items_need_no_more_than_id_and_assets(tmp_path: Path) -> None:
    assets = [{"visual": {"href": "a.tif"}}, None]
    path = write_parquet(tmp_path / "items.parquet", id=["one", "two"], assets=assets)
    first, second = read_index(path)
    assert (first.name, first.time, first.crs) == ("one", "", "")
    assert second == Refused("two", f"{path}: assets must be a struct of structs, got None")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"\xff\xfe\x00", "must be UTF-8"),
        ("a.txt", b"# nothing\n\n", "names no scene: it is empty"),
        ("a.csv", b"", "needs a column location, path, href or url, it has none"),
        ("a.csv", b"file,name\na,b\n", "needs a column .*, it has file, name"),
        ("a.csv", b"location\n", "names no scene: it is empty"),
        ("a.csv", b"location\n" + b"x" * 200_000, "is no CSV file: field larger than"),
        ("a.parquet", b"PAR1", "is no Parquet file that can be read"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=why):
        read_index(str(tmp_path / name))


def test_a_table_without_locations_is_said(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", name=["a"], file=["a.tif"])
    with pytest.raises(SourceError, match=r"needs a column .*, it has name, file"):
        read_index(path)


def test_an_index_may_lie_on_a_store(store: Store, tmp_path: Path) -> None:
    items = write_items(tmp_path / "items.parquet", stac_item("one", visual="a.tif"))
    url = store.put("day/items.parquet", Path(items))
    assert read_index(url)[0].path == f"{store.url}/day/a.tif"
    url = store.put("day/list.txt", b"a.tif\n")
    assert read_index(url) == [Row(url, "a.tif", 1)]
