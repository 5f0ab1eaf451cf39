"""Pixels to places: composed with independent witnesses (affine, shapely, a sphere's degrees)."""

import math

import antimeridian
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
    join_bounds,
    pixels_to_map,
    place_camera,
    place_corners,
    rectangle_to_corners,
    reproject,
)
from transforms.records import Camera

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


def quad(left, bottom, right, top):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def place_of(corners, source, target="EPSG:4326"):
    [place] = place_corners(corners[None], source, target)
    return place


def geometry_of(*args):
    place = place_of(*args)
    return None if place is None else shapely.from_wkb(place.wkb)


def turned(middle, side, angle):
    """Return a square of a side, in its CRS, turned about its middle."""
    square = side / 2 * quad(-1, -1, 1, 1)
    cos, sin = math.cos(angle), math.sin(angle)
    return square @ np.array([[cos, sin], [-sin, cos]]) + middle


ANGLES = st.floats(0, 6.25)
FIJI = st.tuples(st.floats(179.5, 180.5), st.floats(-20, -15))


@given(FIJI, st.floats(0.01, 0.5), ANGLES)
def test_places_at_the_antimeridian_are_those_of_another_program(middle, side, angle):
    corners = turned(np.array(middle), side, angle)
    ours = geometry_of(corners, "EPSG:4326")
    theirs = antimeridian.fix_polygon(
        shapely.Polygon(corners), fix_winding=True, great_circle=False
    )
    # It moves points within 2e-7 degrees of the antimeridian onto it.
    assert shapely.symmetric_difference(ours, theirs).area < 1e-6 * side


@given(FIJI, st.floats(0.01, 0.5), ANGLES)
def test_cutting_at_the_antimeridian_keeps_the_area_and_the_bounds(middle, side, angle):
    corners = turned(np.array(middle), side, angle)
    place = place_of(corners, "EPSG:4326")
    geometry = shapely.from_wkb(place.wkb)
    assert geometry.is_valid
    assert geometry.area == pytest.approx(side**2)
    assert all(part.exterior.is_ccw for part in shapely.get_parts(geometry))
    crosses = corners[:, 0].min() < 180 < corners[:, 0].max()
    assert (geometry.geom_type == "MultiPolygon") == crosses
    west, south, east, north = place.bounds
    assert (west > east) == crosses
    assert (south, north) == pytest.approx(geometry.bounds[1::2])
    assert (east - west) % 360 == pytest.approx(np.ptp(corners[:, 0]))
    assert max(abs(west), abs(east)) <= 180


def test_a_utm_tile_that_crosses_the_antimeridian_is_two_small_polygons():
    # Zone 60 ends at 180 degrees; false eastings there are about 834 km on the equator.
    place = place_of(quad(833_000, 1000, 835_000, 3000), "EPSG:32660")
    parts = shapely.get_parts(shapely.from_wkb(place.wkb))
    assert len(parts) == 2
    assert all(np.ptp(part.bounds[::2]) < 0.02 for part in parts)
    assert sum(ground_area(part) for part in parts) == pytest.approx(2000**2, rel=3e-3)


def ground_area(polygon):
    return abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(polygon)[0])


POLAR = st.sampled_from(["EPSG:3413", "EPSG:3031", "EPSG:5041", "EPSG:32661", "EPSG:3995"])


@given(POLAR, st.floats(-500, 500), st.floats(-500, 500), ANGLES)
def test_no_place_near_a_pole_spans_the_world(crs, x, y, angle):
    latitude = -90 if crs == "EPSG:3031" else 90
    pole = reproject(np.array([0.0, latitude]), "EPSG:4326", crs)
    corners = turned(pole + np.array([x, y]), 400, angle)
    distance = shapely.Polygon(corners).exterior.distance(shapely.Point(pole))
    holds = shapely.Polygon(corners).contains(shapely.Point(pole))
    place = place_of(corners, crs)
    if distance > 1:
        assert (place is None) == holds
    for part in [] if place is None else shapely.get_parts(shapely.from_wkb(place.wkb)):
        assert np.ptp(part.bounds[::2]) <= 180
        assert part.is_valid


@given(POLAR, ANGLES, ANGLES)
def test_a_polar_place_is_as_large_as_on_the_ground(crs, bearing, angle):
    latitude = -90 if crs == "EPSG:3031" else 90
    pole = reproject(np.array([0.0, latitude]), "EPSG:4326", crs)
    away = 20_000 * np.array([math.cos(bearing), math.sin(bearing)])
    geometry = geometry_of(turned(pole + away, 400, angle), crs)
    scale = pyproj.Proj(crs).get_factors(12.0, latitude * 0.998).areal_scale
    area = sum(ground_area(part) for part in shapely.get_parts(geometry))
    assert area == pytest.approx(400**2 / scale, rel=1e-3)


@pytest.mark.parametrize(
    "corners", [quad(0, 0, 500, 500), quad(-500, 0, 500, 500), quad(-100, -100, 500, 500)]
)
def test_what_touches_or_holds_a_pole_has_no_outline_in_degrees(corners):
    assert geometry_of(corners, "EPSG:3413") is None
    # In the scene's own CRS it is a square like others.
    assert geometry_of(corners, "EPSG:3413", "EPSG:3413").area == np.ptp(corners[:, 0]) * np.ptp(
        corners[:, 1]
    )


@pytest.mark.parametrize(
    ("corners", "crs", "bounds"),
    [
        (quad(-180, -90, 180, 90), "EPSG:4326", (-180, -90, 180, 90)),
        (quad(0, -90, 360, 90), "EPSG:4326", (-180, -90, 180, 90)),
        (quad(0, 0, 256, 90), "EPSG:4326", (0, 0, -104, 90)),
        (quad(180, 0, 181, 1), "EPSG:4326", (-180, 0, -179, 1)),
        (quad(179, 0, 180, 1), "EPSG:4326", (179, 0, 180, 1)),
        (quad(-1, 89, 1, 90), "EPSG:4326", (-1, 89, 1, 90)),
        (quad(-20_037_508, -100, 20_037_508, 100), "EPSG:3857", (-180, -9e-4, 180, 9e-4)),
    ],
)
def test_what_really_is_wide_stays_wide(corners, crs, bounds):
    place = place_of(corners, crs)
    assert place.bounds == pytest.approx(bounds, abs=1e-4)
    area = np.ptp(corners[:, 0]) * np.ptp(corners[:, 1])
    if crs == "EPSG:4326":
        assert shapely.from_wkb(place.wkb).area == pytest.approx(area)


def test_a_place_that_no_projection_defines_is_none_among_others():
    here, nowhere = quad(500_000, 0, 500_010, 10), quad(1e30, 0, 1.1e30, 10)
    places = place_corners(np.stack([nowhere, here, nowhere]), "EPSG:32632", "EPSG:4326")
    assert [place is None for place in places] == [True, False, True]
    assert places[1].bounds == pytest.approx((9, 0, 9 + 9e-5, 9e-5), abs=1e-5)


def test_grads_are_not_cut_at_180():
    # A full turn is 400 grads.
    assert geometry_of(quad(179, 50, 181, 51), "EPSG:4807", "EPSG:4807").geom_type == "Polygon"


def test_pixels_stay_pixels():
    assert geometry_of(quad(0, 0, 400, 100), None, None).bounds == (0, 0, 400, 100)


@given(
    st.lists(
        st.tuples(st.floats(-180, 179.9), st.floats(0, 60)).map(
            lambda pair: (pair[0], (sum(pair) + 180) % 360 - 180)
        ),
        min_size=1,
        max_size=5,
    ),
    st.floats(0, 1),
)
def test_joined_bounds_hold_every_one(sides, share):
    bounds = np.array([[west, -1.0, east, 1.0] for west, east in sides])
    left, south, right, north = join_bounds(bounds)
    assert (south, north) == (-1, 1)
    assert max(abs(left), abs(right)) <= 180
    for west, east in sides:
        # A point of the interval, by how far east of its joined bounds' west end it lies.
        point = west + share * ((east - west) % 360)
        span = right - left if left <= right else right - left + 360
        assert (point - left) % 360 <= span + 1e-9 or (left - point) % 360 < 1e-9


def test_bounds_that_do_not_cross_are_joined_to_the_bit():
    bounds = np.array([[0.1, 0.2, 0.3, 0.4], [-0.1, 0.3, 0.2, 0.7]])
    assert join_bounds(bounds) == (-0.1, 0.2, 0.3, 0.7)


def test_a_camera_is_a_point_and_may_be_nowhere_in_a_projection():
    camera = Camera(9.0, -1.0, None, None, "a")
    place = place_camera(camera, "EPSG:32632")
    assert shapely.from_wkb(place.wkb).geom_type == "Point"
    assert place.bounds[::2] == pytest.approx((500_000, 500_000))
    # The gnomonic projection shows half the earth.
    assert place_camera(camera, "+proj=gnom +lat_0=90") is None


def test_an_unknown_crs_is_named_in_the_error():
    check_crs("EPSG:4326")
    with pytest.raises(ValueError, match="EPSG:99999999"):
        check_crs("EPSG:99999999")
