"""The area of interest: which scenes and windows are read, in every CRS."""

import json
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import pytest
import shapely
import shapely.affinity
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from scenes import CRS, transform_of

from transforms.aoi import AreaOfInterest, open_aoi
from transforms.functional.windows import Rectangle, plan_cores
from transforms.records import Camera, Scene, Window

HEIGHT, WIDTH, CORE = 300, 400, 64
UTM1 = "EPSG:32601"
"""East of the antimeridian; its neighbour to the west is EPSG:32660."""


def make_scene(
    *,
    crs: str | None = CRS,
    transform: Affine | None = None,
    height: int = HEIGHT,
    width: int = WIDTH,
    camera: Camera | None = None,
) -> Scene:
    place = tuple(transform or transform_of())[:6]
    return Scene("a.tif", "a.tif", height, width, (1, 2, 3), "uint8", crs, place, camera=camera)


def scene_at(longitude: float, latitude: float, crs: str, gsd: float = 10.0) -> Scene:
    """Return a scene whose middle is a place, with pixels of `gsd` units."""
    x, y = change("EPSG:4326", crs).transform(longitude, latitude)
    corner = (x - gsd * WIDTH / 2, y + gsd * HEIGHT / 2)
    return make_scene(crs=crs, transform=Affine(gsd, 0, corner[0], 0, -gsd, corner[1]))


def change(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def window(scene: Scene, core: Rectangle) -> Window:
    return Window(scene, core, core, None)


def cores(scene: Scene) -> list[Rectangle]:
    return list(plan_cores(height=scene.height, width=scene.width, core=CORE))


def write(folder: Path, shapes: list[Any], crs: str = "EPSG:4326") -> Path:
    """Write shapes with their vertices as they are."""
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapes
    ]
    path = folder / "aoi.geojson"
    member = {"crs": {"type": "name", "properties": {"name": crs}}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} | member))
    return path


def opened(folder: Path, shapes: list[Any], crs: str = "EPSG:4326") -> AreaOfInterest:
    area = open_aoi(write(folder, shapes, crs))
    assert area is not None
    return area


def on_map(shape: Any, scene: Scene) -> Any:
    """Return a shape in pixels of the scene in its CRS."""
    a, b, c, d, e, f = scene.transform
    return shapely.affinity.affine_transform(shape, [a, b, d, e, c, f])


def test_without_a_path_there_is_no_area():
    assert open_aoi(None) is None


def test_windows_whose_core_overlaps_a_polygon_are_touched(tmp_path):
    scene = make_scene()
    # Columns 70 to 130 are in the cores 1 and 2, rows 10 to 20 in core 0.
    area = opened(tmp_path, [on_map(shapely.box(70, 10, 130, 20), scene)], CRS)
    found = [core for core in cores(scene) if area.touches(window(scene, core))]
    assert [(core.col_off, core.row_off) for core in found] == [(64, 0), (128, 0)]
    assert area.overlaps(scene)


def test_an_edge_in_common_is_no_overlap(tmp_path):
    scene = make_scene()
    core = Rectangle(64, 64, 64, 64)
    area = opened(tmp_path, [on_map(shapely.box(64, 64, 128, 128), scene)], CRS)
    assert [one for one in cores(scene) if area.touches(window(scene, one))] == [core]
    beside = opened(tmp_path, [on_map(shapely.box(-50, 0, 0, HEIGHT), scene)], CRS)
    assert not beside.overlaps(scene)


def test_the_halo_does_not_count(tmp_path):
    scene = make_scene()
    core = Rectangle(64, 64, 64, 64)
    area = opened(tmp_path, [on_map(shapely.box(0, 0, 60, 60), scene)], CRS)
    assert not area.touches(Window(scene, core, core.grow(32, height=300, width=400), None))


def test_a_hole_is_not_of_interest(tmp_path):
    scene = make_scene()
    ring = shapely.box(0, 0, 400, 300).difference(shapely.box(60, 60, 260, 260))
    area = opened(tmp_path, [on_map(ring, scene)], CRS)
    assert not area.touches(window(scene, Rectangle(64, 64, 64, 64)))
    assert area.touches(window(scene, Rectangle(0, 64, 64, 64)))


def test_any_of_many_polygons_will_do(tmp_path):
    scene = make_scene()
    boxes = [shapely.box(x, 10, x + 5, 15) for x in (70, 330)]
    area = opened(tmp_path, [on_map(shapely.MultiPolygon(boxes), scene)], CRS)
    columns = [core.col_off for core in cores(scene) if area.touches(window(scene, core))]
    assert columns == [64, 320]


CRSS = ["EPSG:32632", "EPSG:4326", "EPSG:3857", "EPSG:25832", "EPSG:3035", "EPSG:2056"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    scene_crs=st.sampled_from(CRSS),
    area_crs=st.sampled_from(CRSS),
    turned=st.floats(-0.7, 0.7),
    points=st.lists(
        st.tuples(st.floats(-0.4, 1.4), st.floats(-0.4, 1.4)), min_size=3, max_size=5, unique=True
    ),
    gsd=st.sampled_from([1.0, 100.0]),
)
def test_points_of_the_ground_agree(tmp_path, scene_crs, area_crs, turned, points, gsd):
    """A witness that knows neither pixels nor frames: points of one are looked for in the other."""
    plain = scene_at(10.3, 47.1, scene_crs, gsd / 1e5 if scene_crs == "EPSG:4326" else gsd)
    a, _, c, _, e, f = plain.transform
    scene = make_scene(crs=scene_crs, transform=Affine(a, a * turned, c, -a * turned, e, f))
    to_area, to_scene = change(scene_crs, area_crs), change(area_crs, scene_crs)
    corners = np.array(points) * (WIDTH, HEIGHT)
    polygon = on_map(shapely.MultiPoint(corners).convex_hull, scene)
    if polygon.geom_type != "Polygon" or polygon.area < 1000 * a * a:
        return
    polygon = shapely.transform(polygon, lambda p: np.stack(to_area.transform(*p.T), axis=-1))
    area = opened(tmp_path, [polygon], area_crs)
    inverse = ~Affine(*scene.transform)
    edge = shapely.get_coordinates(shapely.segmentize(polygon.exterior, polygon.length / 2000))
    cols, rows = apply(inverse, np.array(to_scene.transform(*edge.T)))
    for core in cores(scene):
        touched = area.touches(window(scene, core))
        left, top = core.col_off, core.row_off
        grid = np.meshgrid(
            np.linspace(left + 1, left + core.width - 1, 9),
            np.linspace(top + 1, top + core.height - 1, 9),
        )
        ground = apply(Affine(*scene.transform), np.array([side.ravel() for side in grid]))
        inside = shapely.contains_xy(polygon, *to_area.transform(*ground)).any()
        crossing = (
            (cols > left - 1) & (cols < left + core.width + 1)
            & (rows > top - 1) & (rows < top + core.height + 1)
        ).any()  # fmt: skip
        assert touched or not inside
        assert not touched or inside or crossing


def apply(affine: Affine, points: np.ndarray) -> np.ndarray:
    """Return (2, n) points, moved."""
    return np.stack([
        affine.a * points[0] + affine.b * points[1] + affine.c,
        affine.d * points[0] + affine.e * points[1] + affine.f,
    ])  # fmt: skip


ACROSS = [shapely.box(179.9, 60, 180, 60.1), shapely.box(-180, 60, -179.9, 60.1)]
BEYOND = [shapely.box(179.9, 60, 180.1, 60.1)]
BEFORE = [shapely.box(-180.1, 60, -179.9, 60.1)]


@pytest.mark.parametrize("shapes", [ACROSS, BEYOND, BEFORE])
@pytest.mark.parametrize("crs", [UTM1, "EPSG:32660", "EPSG:3995", "EPSG:3832", "EPSG:3338"])
def test_both_sides_of_the_antimeridian_are_one_place(tmp_path, shapes, crs):
    area = opened(tmp_path, shapes)
    for longitude in (179.95, -179.95, 180.0):
        near = scene_at(longitude, 60.05, crs)
        assert area.overlaps(near)
        assert all(area.touches(window(near, core)) for core in cores(near)[10:12])
    for longitude in (179.5, -179.5, 178.0):
        assert not area.overlaps(scene_at(longitude, 60.05, crs))
    assert not area.overlaps(scene_at(180.0, 60.5, crs))


@pytest.mark.parametrize("shapes", [ACROSS, BEYOND, BEFORE])
@pytest.mark.parametrize("west", [-180.2, 179.8])
def test_scenes_in_degrees_may_go_beyond_180(tmp_path, shapes, west):
    area = opened(tmp_path, shapes)
    scene = make_scene(crs="EPSG:4326", transform=Affine(1e-3, 0, west, 0, -1e-3, 60.2))
    columns = {core.col_off for core in cores(scene) if area.touches(window(scene, core))}
    assert columns == {64, 128, 192, 256}  # 100 to 300


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_an_area_in_metres_across_the_antimeridian_does_not_span_the_world(tmp_path, crs):
    x, y = change("EPSG:4326", UTM1).transform(180.0, 60.0)
    area = opened(tmp_path, [shapely.box(x - 5000, y - 5000, x + 5000, y + 5000)], UTM1)
    gsd = 1e-4 if crs == "EPSG:4326" else 10
    assert area.overlaps(scene_at(179.99, 60.0, crs, gsd))
    assert area.overlaps(scene_at(-179.99, 60.0, crs, gsd))
    for longitude in (0.0, 90.0, -120.0, 179.0, -179.0):
        assert not area.overlaps(scene_at(longitude, 60.0, crs, gsd))
    world = make_scene(crs="EPSG:4326", transform=Affine(0.9, 0, -180, 0, -0.6, 90))
    columns = {core.col_off for core in cores(world) if area.touches(window(world, core))}
    assert columns == {0, 384}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_scene_around_a_pole_sees_all_longitudes(tmp_path, sign):
    crs = "EPSG:3995" if sign > 0 else "EPSG:3031"
    scene = scene_at(0.0, sign * 90.0, crs, gsd=1000)
    for longitude in (-180, -135, -1, 0, 77, 179):
        box = shapely.box(longitude, sign * 89 - 0.1, longitude + 1, sign * 89 + 0.1)
        assert opened(tmp_path, [box]).overlaps(scene)
    cap = opened(
        tmp_path, [shapely.box(-180, min(sign * 89.9, sign * 90), 180, max(sign * 89.9, sign * 90))]
    )
    found = [core for core in cores(scene) if cap.touches(window(scene, core))]
    middle = [core for core in cores(scene) if abs(core.col_off + 32 - 200) < 64]
    assert found
    assert set(found) <= set(middle)
    assert not opened(tmp_path, [shapely.box(-180, -60, 180, 60)]).overlaps(scene)


def test_a_long_edge_in_degrees_is_no_straight_line_on_a_conic_map(tmp_path):
    """The chord between the ends of this parallel lies hundreds of kilometres north of it."""
    scene = scene_at(10.0, 60.0, "EPSG:3035", gsd=500)
    area = opened(tmp_path, [shapely.box(-15, 40, 35, 60)])
    for latitude, inside in [(59.98, True), (60.02, False), (61.0, False)]:
        x, y = change("EPSG:4326", "EPSG:3035").transform(10.0, latitude)
        col, row = apply(~Affine(*scene.transform), np.array([[x], [y]]))[:, 0]
        assert area.touches(window(scene, Rectangle(int(col), int(row), 1, 1))) is inside


def test_an_area_of_the_whole_world_holds_every_scene(tmp_path):
    world = opened(tmp_path, [shapely.box(-180, -90, 180, 90)])
    for crs, longitude, latitude in [
        (CRS, 9, 50), ("EPSG:3857", -100, 30), (UTM1, 180, 10), ("EPSG:3031", 40, -85),
        ("EPSG:3995", 0, 90), ("EPSG:2193", 175, -40),
    ]:  # fmt: skip
        scene = scene_at(longitude, latitude, crs)
        assert all(world.touches(window(scene, core)) for core in cores(scene))


def test_scenes_far_from_an_area_in_metres_do_not_overlap(tmp_path):
    area = opened(tmp_path, [on_map(shapely.box(0, 0, 400, 300), make_scene())], CRS)
    for crs, longitude, latitude in [
        ("EPSG:2193", 175, -40),
        (UTM1, 180, 10),
        ("EPSG:3031", 9, -89),
    ]:
        assert not area.overlaps(scene_at(longitude, latitude, crs))


def test_a_world_map_finds_an_area_in_metres(tmp_path):
    """The scene reaches beyond what the CRS of the area can show."""
    area = opened(tmp_path, [on_map(shapely.box(0, 0, 400, 300), make_scene())], CRS)
    scene = make_scene(crs="EPSG:4326", transform=Affine(0.9, 0, -180, 0, -0.6, 90))
    [core] = [core for core in cores(scene) if area.touches(window(scene, core))]
    longitude, latitude = change(CRS, "EPSG:4326").transform(600_030, 5_799_980)
    assert core.col_off <= (longitude + 180) / 0.9 < core.col_off + core.width
    assert core.row_off <= (90 - latitude) / 0.6 < core.row_off + core.height


def test_a_pole_in_the_area_of_a_map_in_degrees_is_an_error(tmp_path):
    area = opened(tmp_path, [shapely.Point(0, 0).buffer(1e6)], "EPSG:3995")
    scene = make_scene(crs="EPSG:4326", transform=Affine(0.9, 0, -180, 0, -0.6, 90))
    with pytest.raises(ValueError, match="or it holds a pole: draw it smaller"):
        area.overlaps(scene)


def test_scenes_without_a_crs_are_an_error(tmp_path):
    area = opened(tmp_path, [shapely.box(0, 0, 1, 1)])
    with pytest.raises(ValueError, match=r"has no CRS, so input\.aoi cannot be placed in it"):
        area.overlaps(make_scene(crs=None))


MARIENPLATZ = Camera(11.5755, 48.1373, None, None, "walk")


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:25832", "EPSG:3857"])
def test_a_camera_is_where_it_stands(tmp_path, crs):
    x, y = change("EPSG:4326", crs).transform(MARIENPLATZ.longitude, MARIENPLATZ.latitude)
    reach = 1e-3 if crs == "EPSG:4326" else 100
    here = opened(tmp_path, [shapely.box(x - reach, y - reach, x + reach, y + reach)], crs)
    scene = make_scene(crs=None, camera=MARIENPLATZ)
    assert here.overlaps(scene)
    assert all(here.touches(window(scene, core)) for core in cores(scene))
    there = opened(tmp_path, [shapely.box(x + reach, y, x + 2 * reach, y + reach)], crs)
    assert not there.overlaps(scene)


@pytest.mark.parametrize("longitude", [-179.95, 180.0, -180.0])
def test_a_camera_stands_on_both_sides_of_the_antimeridian(tmp_path, longitude):
    scene = make_scene(crs=None, camera=Camera(longitude, 60.05, None, None, "walk"))
    for shapes in (ACROSS, BEYOND, BEFORE):
        assert opened(tmp_path, shapes).overlaps(scene)


def test_a_camera_beyond_the_projection_is_not_in_the_area(tmp_path):
    area = opened(tmp_path, [shapely.box(0, 0, 1e5, 1e5)], "EPSG:3857")
    assert not area.overlaps(make_scene(crs=None, camera=Camera(0, 90, None, None, "walk")))


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet", ".shp", ".fgb"])
def test_polygons_come_from_every_kind_of_map_file(tmp_path, suffix):
    scene = make_scene()
    geopandas = pytest.importorskip("geopandas")
    shape = on_map(shapely.box(10, 10, 20, 20), scene)
    frame = geopandas.GeoDataFrame({"name": ["a"]}, geometry=[shape], crs=CRS)
    path = tmp_path / f"aoi{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        pyogrio.write_dataframe(frame, path)
    area = open_aoi(path)
    assert area is not None
    found = [core for core in cores(scene) if area.touches(window(scene, core))]
    assert found == [Rectangle(0, 0, 64, 64)]


def test_what_is_no_area_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"input\.aoi: .*gone\.geojson does not exist"):
        open_aoi(tmp_path / "gone.geojson")
    with pytest.raises(ValueError, match=r"input\.aoi: .*holds no polygon"):
        open_aoi(write(tmp_path, []))
    with pytest.raises(ValueError, match=r"input\.aoi: .*has the geometry Point"):
        open_aoi(write(tmp_path, [shapely.Point(1, 1)]))
    with pytest.raises(ValueError, match=r"input\.aoi: .*swapped"):
        open_aoi(write(tmp_path, [shapely.box(48, 100, 49, 101)]))


def test_a_bow_tie_is_repaired(tmp_path):
    scene = make_scene()
    tie = shapely.Polygon([(0, 0), (60, 60), (60, 0), (0, 60)])
    area = opened(tmp_path, [on_map(tie, scene)], CRS)
    found = [core for core in cores(scene) if area.touches(window(scene, core))]
    assert found == [Rectangle(0, 0, 64, 64)]


def test_an_area_travels_to_workers(tmp_path):
    scene = make_scene()
    area = opened(tmp_path, [on_map(shapely.box(70, 10, 130, 20), scene)], CRS)
    assert area.overlaps(scene)
    copy = pickle.loads(pickle.dumps(area))
    for core in cores(scene):
        assert copy.touches(window(scene, core)) == area.touches(window(scene, core))


def test_thousands_of_windows_a_second_are_judged(tmp_path):
    scene = make_scene(height=50_000, width=50_000)
    angles = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    radius = 20_000 + 3_000 * np.cos(40 * angles)
    star = shapely.Polygon(
        np.stack([25_000 + radius * np.cos(angles), 25_000 + radius * np.sin(angles)], axis=-1)
    )
    area = opened(tmp_path, [on_map(star, scene)], CRS)
    windows = [
        window(scene, core) for core in plan_cores(height=50_000, width=50_000, core=512)
    ]  # fmt: skip
    assert area.overlaps(scene)
    started = time.process_time()
    found = sum(area.touches(one) for one in windows)
    assert len(windows) / (time.process_time() - started) > 2000
    assert 0.45 < found / len(windows) < 0.65  # pi * 0.4 ** 2 of the square is inside, and a rim
