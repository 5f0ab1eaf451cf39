"""Pixels to places: composed with independent witnesses (affine, shapely, a sphere's degrees)."""

import math

import numpy as np
import pyproj
import pytest
import rasterio.transform
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from made_rows import DEGREES, SOUTH_UP, TURNED, UTM

from transforms.functional.windows import Rectangle
from transforms.georeference import (
    check_crs,
    corners_to_wkb,
    crs_name,
    crs_to_projjson,
    distances,
    pixels_to_map,
    rectangle_to_corners,
    reproject,
)

LOCAL = (
    'LOCAL_CS["site grid",UNIT["US survey foot",0.304800609601219],AXIS["X",EAST],AXIS["Y",NORTH]]'
)
EAST = np.array([100.0, 0.0])
LAMBERT = pyproj.CRS("EPSG:2154").to_wkt().replace("RGF93 v1 / Lambert-93", "our Lambert")


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 6), st.floats(0, 4e4), st.floats(0, 4e4))
def test_pixels_go_where_rasterio_puts_them(transform, col, row):
    expected = rasterio.transform.xy(Affine(*transform), row, col, offset="ul")
    placed = pixels_to_map(np.array([col, row]), transform)
    assert placed == pytest.approx(np.array(expected), rel=1e-12, abs=1e-4)


@pytest.mark.parametrize("transform", [UTM, DEGREES, TURNED, SOUTH_UP, (-0.1, 0, 9, 0, 0.2, 3)])
def test_polygons_are_valid_and_counter_clockwise_on_any_grid(transform):
    corners = pixels_to_map(rectangle_to_corners(Rectangle(5, 7, 20, 10)), transform)
    [polygon] = shapely.from_wkb(corners_to_wkb(corners[None]))
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    assert polygon.area == pytest.approx(200 * abs(Affine(*transform).determinant))


def test_polygons_keep_an_oriented_box():
    diamond = np.array([[[2.0, 0.0], [4.0, 2.0], [2.0, 4.0], [0.0, 2.0]]])
    [polygon] = shapely.from_wkb(corners_to_wkb(diamond))
    assert polygon.area == 8
    assert set(polygon.exterior.coords) == {tuple(corner) for corner in diamond[0]}


def test_reprojection_gives_longitude_before_latitude():
    # The central meridian of zone 32 is 9 degrees east; its false easting is 500 km.
    assert reproject(np.array([[500_000.0, 0.0]]), "EPSG:32632", "EPSG:4326")[0] == pytest.approx(
        [9, 0], abs=1e-9
    )


def test_reprojection_to_the_same_crs_changes_no_bit():
    points = np.array([[0.1, 0.2]])
    assert reproject(points, "EPSG:4326", "EPSG:4326") is points


def test_degrees_measure_metres_on_the_ellipsoid():
    equator = distances(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]), "EPSG:4326")
    assert equator == pytest.approx(math.radians(1) * 6_378_137)


def test_web_mercator_is_measured_on_the_ground():
    # Web Mercator stretches lengths by about 1 / cos(latitude): twice at 60 degrees north.
    start = reproject(np.array([[10.0, 60.0]]), "EPSG:4326", "EPSG:3857")
    metres = distances(start, start + EAST, "EPSG:3857")[0]
    assert metres == pytest.approx(50, rel=0.005)


def test_feet_become_metres():
    # New York Long Island, in US survey feet.
    start = np.array([[1_000_000.0, 200_000.0]])
    assert distances(start, start + EAST, "EPSG:2263") == pytest.approx(30.48, rel=1e-4)
    assert distances(start, start + EAST, LOCAL) == pytest.approx(30.48006)


def test_utm_measures_its_map_length_over_its_scale():
    start = np.array([[500_000.0, 5_300_000.0]])
    assert distances(start, start + EAST, "EPSG:32632") == pytest.approx(100 / 0.9996)


def test_pixels_have_no_metres():
    assert np.isnan(distances(np.zeros((3, 2)), np.ones((3, 2)), None)).all()


def test_no_boxes_have_no_distances():
    assert distances(np.zeros((0, 2)), np.zeros((0, 2)), "EPSG:32632").shape == (0,)


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        (None, "pixels"),
        ("EPSG:32632", "epsg32632"),
        ("EPSG:4326", "epsg4326"),
        ("OGC:CRS84", "ogccrs84"),
        ("EPSG:25832+7837", "epsg258327837"),
    ],
)
def test_names_of_authority_codes_are_readable(crs, name):
    assert crs_name(crs) == name


def test_names_of_wkt_are_short_safe_and_differ():
    name = crs_name(LAMBERT)
    assert name.startswith("wkt")
    assert name.isalnum()
    assert len(name) == 11
    assert name != crs_name(LOCAL)


def test_projjson_describes_the_same_crs():
    for crs in ("EPSG:32632", LAMBERT):
        assert pyproj.CRS.from_json_dict(crs_to_projjson(crs)) == pyproj.CRS(crs)
    assert crs_to_projjson(None) is None


def test_an_unknown_crs_is_named_in_the_error():
    check_crs("EPSG:4326")
    with pytest.raises(ValueError, match="EPSG:99999999"):
        check_crs("EPSG:99999999")
