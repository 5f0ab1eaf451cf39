"""STAC filters: what falls into an interval and a box, across midnight and the antimeridian."""

from datetime import UTC, datetime
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import StacConfig
from transforms.hrefs import SourceError
from transforms.stac_filter import Extent, ItemFilter, box_area

LONGITUDES = st.integers(-180, 180)
LATITUDES = st.integers(-90, 90)


def wanted(**settings: Any) -> ItemFilter:
    return ItemFilter.of(StacConfig(source="none", **settings))


def extent(
    start: str | None = None, end: str | None = None, bbox=None, geometry=None, collection=None
) -> Extent:
    times = [None if text is None else datetime.fromisoformat(text) for text in (start, end)]
    return Extent(collection, times[0], times[1], bbox, geometry)


def at(time: str) -> Extent:
    return extent(time, time)


@pytest.mark.parametrize(
    ("interval", "time", "fits"),
    [
        ("2026-05-01", "2026-05-01T00:00:00Z", True),
        ("2026-05-01", "2026-05-01T23:59:59.7Z", True),
        ("2026-05-01", "2026-05-02T00:00:00Z", False),
        ("2026-05-01", "2026-05-02T01:00:00+02:00", True),
        ("2026-05-01", "2026-04-30T23:59:59Z", False),
        ("2026-05", "2026-05-31T12:00:00Z", True),
        ("2026-05-01/2026-05-31", "2026-05-31T12:00:00Z", True),
        ("2026-05-01/2026-05-31", "2026-06-01T00:00:00Z", False),
        ("2026-05-01/..", "2030-01-01T00:00:00Z", True),
        ("2026-05-01/", "2026-04-30T12:00:00Z", False),
        ("../2026-05-01", "1990-01-01T00:00:00Z", True),
        ("/2026-05-01", "2026-05-02T12:00:00Z", False),
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z", True),
        ("2026-05-01t10:00:00z", "2026-05-01T12:00:00+02:00", True),
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:01Z", False),
        ("2026-05-01T10:00:00", "2026-05-01T10:00:00Z", True),
        ("../..", "2026-05-01T10:00:01Z", True),
    ],
)
def test_an_instant_falls_into_an_interval(interval: str, time: str, fits: bool) -> None:
    assert wanted(datetime=interval).fits(at(time)) == fits


def test_an_item_with_a_range_fits_where_it_overlaps() -> None:
    may = extent("2026-05-01T00:00:00Z", "2026-05-31T00:00:00Z")
    assert wanted(datetime="2026-05-31/2026-06-30").fits(may)
    assert wanted(datetime="2026-05-10").fits(may)
    assert not wanted(datetime="2026-06-01/..").fits(may)
    assert not wanted(datetime="../2026-04-30").fits(may)


def test_an_item_without_a_time_fits_no_interval() -> None:
    assert wanted().fits(extent())
    assert not wanted(datetime="../2026-05-01").fits(extent())
    assert not wanted(datetime="2026-05-01/..").fits(extent())


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026/2027/2028", "2026-05-01T1"])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"input\.stac\.datetime must be like 2026-05-01T10"):
        wanted(datetime=text)


def test_an_interval_runs_forwards() -> None:
    with pytest.raises(ValueError, match="ends before it begins: '2026-05-02/2026-05-01'"):
        wanted(datetime="2026-05-02/2026-05-01")


def test_collections_are_compared_by_name() -> None:
    night = wanted(collections=("night", "day"))
    assert night.fits(extent(collection="night"))
    assert not night.fits(extent(collection="nights"))
    assert not night.fits(extent())


@pytest.mark.parametrize(
    ("box", "there", "fits"),
    [
        ((10, 50, 11, 51), (10.5, 50.5, 12, 52), True),
        ((10, 50, 11, 51), (11, 51, 12, 52), True),
        ((10, 50, 11, 51), (11.1, 50, 12, 51), False),
        ((170, -20, -170, 0), (175, -10, 176, -9), True),
        ((170, -20, -170, 0), (-176, -10, -175, -9), True),
        ((170, -20, -170, 0), (0, -10, 1, -9), False),
        ((170, -20, -170, 0), (179, -10, -179, -9), True),
        ((-175, -20, -170, 0), (179, -10, -174, -9), True),
        ((175, -20, 178, 0), (179, -10, -174, -9), False),
        ((-175, -20, -170, 0), (181, -10, 186, -9), True),
        ((10, 50, 11, 51), (10.5, 50.5, 0, 12, 52, 900), True),
        ((10, 50, 11, 51), (12, 50.5, 0, 13, 52, 900), False),
    ],
)
def test_boxes_meet(box: tuple[float, ...], there: tuple[float, ...], fits: bool) -> None:
    assert wanted(bbox=box).fits(extent(bbox=there)) == fits


def test_the_geometry_counts_within_its_box() -> None:
    triangle = shapely.Polygon([(0, 0), (10, 0), (0, 10)])
    item = extent(bbox=triangle.bounds, geometry=triangle.__geo_interface__)
    assert wanted(bbox=(1, 1, 2, 2)).fits(item)
    assert not wanted(bbox=(8, 8, 9, 9)).fits(item)


def test_a_polygon_that_goes_the_wrong_way_round_is_held_by_its_box() -> None:
    round_the_earth = shapely.box(-179, 0, 179, 1).__geo_interface__
    item = extent(bbox=(179, 0, -179, 1), geometry=round_the_earth)
    assert not wanted(bbox=(10, 0, 11, 1)).fits(item)
    assert wanted(bbox=(178, 0, 180, 1)).fits(item)


def test_an_item_without_a_place_fits_no_box() -> None:
    assert wanted().fits(extent())
    assert not wanted(bbox=(-180, -90, 180, 90)).fits(extent())


@pytest.mark.parametrize(
    "geometry", [{}, {"type": "Polygon"}, {"type": "Polygon", "coordinates": [["a"]]}]
)
def test_a_wrong_place_is_the_fault_of_the_item(geometry: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="the geometry is no GeoJSON"):
        wanted(bbox=(0, 0, 1, 1)).fits(extent(geometry=geometry))
    with pytest.raises(SourceError, match="a bbox has 4 or 6 numbers"):
        wanted(bbox=(0, 0, 1, 1)).fits(extent(bbox=(1, 2, 3)))


@pytest.mark.parametrize("bbox", [(0, 1, 1, 0), (0, 0, 181, 1), (0, -91, 1, 1)])
def test_a_box_has_its_numbers_in_order(bbox: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="west, south, east, north in degrees"):
        wanted(bbox=bbox)


def boxes() -> st.SearchStrategy[tuple[int, int, int, int]]:
    latitudes = st.tuples(LATITUDES, LATITUDES).map(sorted)
    return st.tuples(LONGITUDES, latitudes, LONGITUDES).map(
        lambda drawn: (drawn[0], drawn[1][0], drawn[2], drawn[1][1])
    )


@given(boxes(), boxes())
def test_meeting_is_mutual(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    forth = wanted(bbox=one).fits(extent(bbox=other))
    assert forth == wanted(bbox=other).fits(extent(bbox=one))


@given(boxes(), LONGITUDES, LATITUDES)
def test_a_point_is_in_a_box_as_arithmetic_says(box, longitude: int, latitude: int) -> None:
    west, south, east, north = box
    across = (longitude - west) % 360 <= (east - west if west <= east else east - west + 360)
    point = {"type": "Point", "coordinates": [longitude, latitude]}
    inside = across and south <= latitude <= north
    assert wanted(bbox=box).fits(extent(geometry=point)) == inside


@given(boxes())
def test_a_box_is_repeated_all_around(box: tuple[int, int, int, int]) -> None:
    first, second, third = (turn.bounds for turn in box_area(box).geoms)
    assert first[0] + 360 == second[0] == third[0] - 360
    assert {turn[1::2] for turn in (first, second, third)} == {(box[1], box[3])}


def test_times_without_a_zone_are_utc() -> None:
    assert wanted(datetime="2026-05-01T10:00:00").start == datetime(2026, 5, 1, 10, tzinfo=UTC)
