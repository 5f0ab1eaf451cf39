"""Judged areas: which pixels count, the same in every window, CRS and file."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from scenes import CRS, textured, transform_of, write_labels, write_picture

from configs.schema import InputConfig, ReadConfig, RunConfig
from transforms.areas import JudgedAreas, open_areas
from transforms.functional.polygons import covered_pixels
from transforms.functional.windows import Rectangle, plan_cores
from transforms.georeference import pixels_to_map
from transforms.ground import Ground, open_ground
from transforms.headers import open_scene
from transforms.read import read_tile
from transforms.records import Scene, Source, Tile, Window
from transforms.scene_reader import SceneReader
from transforms.scenes import plan_windows

HEIGHT, WIDTH = 300, 400
ROTATED = Affine(0.12, -0.16, 6e5, -0.16, -0.12, 5.8e6)


def make_scene(
    *, name: str = "a.tif", crs: str | None = CRS, transform: Affine | None = None
) -> Scene:
    place = tuple(transform or transform_of())[:6]
    return Scene(name, f"somewhere/{name}", HEIGHT, WIDTH, (1, 2, 3), "uint8", crs, place)


SCENE = make_scene()
WHOLE = Rectangle(0, 0, WIDTH, HEIGHT)


def window_of(scene: Scene = SCENE, read: Rectangle = WHOLE) -> Window:
    return Window(scene, read, read, None)


def write_areas(
    path: Path, shapes: list[Any], *, scene: Scene = SCENE, written_in: str = CRS
) -> Path:
    """Write shapes in pixels of a scene as GeoJSON; only vertices are projected."""
    change = pyproj.Transformer.from_crs(scene.crs, written_in, always_xy=True)

    def to_map(points: np.ndarray) -> np.ndarray:
        return np.stack(change.transform(*pixels_to_map(points, scene.transform).T), axis=-1)

    features = [
        {
            "type": "Feature",
            "properties": None,
            "geometry": shapely.geometry.mapping(shapely.transform(shape, to_map)),
        }
        for shape in shapes
    ]
    crs = {"type": "name", "properties": {"name": written_in}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, "crs": crs}))
    return path


def open_one(path: Path, name: str = "area") -> JudgedAreas:
    areas = open_areas(InputConfig(**{name: path}))
    assert areas is not None
    return areas


STAR = shapely.Polygon(
    [
        (200 + r * np.cos(t), 150 + r * np.sin(t))
        for r, t in zip([140, 60] * 6, np.arange(12) * np.pi / 6, strict=True)
    ],
    holes=[[(190.2, 140.1), (210.7, 141.3), (205.4, 160.9)]],
)


def rasterised(shapes: list[Any]) -> np.ndarray:
    """Ask GDAL, the independent witness, which pixels' centres lie in shapes."""
    return rasterio.features.geometry_mask(shapes, (HEIGHT, WIDTH), Affine.identity(), invert=True)


@pytest.mark.parametrize("scene", [SCENE, make_scene(transform=ROTATED)], ids=["up", "rotated"])
@pytest.mark.parametrize("written_in", [CRS, "EPSG:4326", "EPSG:3035"])
def test_pixels_are_judged_by_their_centre_as_gdal_rasterises(
    tmp_path: Path, scene: Scene, written_in: str
) -> None:
    path = write_areas(tmp_path / "a.geojson", [STAR], scene=scene, written_in=written_in)
    inside = open_one(path).judged(window_of(scene))
    assert inside.dtype == np.bool_
    # The outline lies on 1/256 px, and the projection bends it: a centre on it may go either way.
    assert (inside != rasterised([STAR])).sum() <= 4
    assert np.array_equal(open_one(path, "ignore").judged(window_of(scene)), ~inside)


def test_opencv_fills_the_same_pixels() -> None:
    corners = np.array([[20, 30], [380, 60], [300, 280], [90, 200]])
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(drawn, [corners], 1)
    # OpenCV takes whole numbers for centres, and fills every pixel that the outline touches.
    covered = covered_pixels(shapely.Polygon(corners + 0.5), WHOLE)
    assert not (covered & (drawn == 0)).any()
    near = cv2.dilate(covered.astype(np.uint8), np.ones((3, 3), np.uint8))
    assert not ((drawn > 0) & (near == 0)).any()


rectangles = st.builds(
    Rectangle,
    col_off=st.integers(0, WIDTH - 150),
    row_off=st.integers(0, HEIGHT - 150),
    width=st.integers(1, 150),
    height=st.integers(1, 150),
)
vertices = st.lists(
    st.tuples(st.integers(-100 * 256, 500 * 256), st.integers(-100 * 256, 400 * 256)),
    min_size=3,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(vertices, rectangles)
def test_a_pixel_has_one_answer_in_every_rectangle(
    points: list[tuple[int, int]], part: Rectangle
) -> None:
    shape = shapely.make_valid(shapely.Polygon(np.array(points) / 256))
    whole = covered_pixels(shape, WHOLE)
    assert np.array_equal(covered_pixels(shape, part), whole[part.within(WHOLE)])


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rectangles, st.integers(0, 2**32 - 1))
def test_windows_that_overlap_agree_on_what_is_judged(
    tmp_path: Path, part: Rectangle, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    area = shapely.Polygon(STAR.exterior.coords + rng.uniform(-30, 30, 2))
    holes = [shapely.Point(*rng.uniform(0, 300, 2)).buffer(40) for _ in range(3)]
    areas = open_areas(
        InputConfig(
            area=write_areas(tmp_path / "a.geojson", [area], written_in="EPSG:4326"),
            ignore=write_areas(tmp_path / "i.geojson", holes, written_in="EPSG:3035"),
        )
    )
    assert areas is not None
    whole = areas.judged(window_of())
    assert np.array_equal(areas.judged(window_of(read=part)), whole[part.within(WHOLE)])


def test_judged_is_inside_the_area_and_outside_every_ignored_polygon(tmp_path: Path) -> None:
    holes = [shapely.box(0, 0, 150, 150), shapely.box(100, 100, 220, 180)]
    areas = open_areas(
        InputConfig(
            area=write_areas(tmp_path / "a.geojson", [shapely.box(50, 50, 350, 250)]),
            ignore=write_areas(tmp_path / "i.geojson", holes),
        )
    )
    assert areas is not None
    wanted = np.zeros((HEIGHT, WIDTH), np.bool_)
    wanted[50:250, 50:350] = True
    wanted[:150, :150] = False
    wanted[100:180, 100:220] = False
    assert np.array_equal(areas.judged(window_of()), wanted)


def test_far_polygons_change_nothing(tmp_path: Path) -> None:
    far = shapely.box(90_000, 90_000, 90_100, 90_100)
    path = write_areas(tmp_path / "a.geojson", [far])
    assert open_one(path, "ignore").judged(window_of()).all()
    assert not open_one(path).judged(window_of()).any()


def test_an_area_may_reach_around_the_earth(tmp_path: Path) -> None:
    world = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(
        shapely.box(-180, -90, 180, 90))}  # fmt: skip
    (tmp_path / "a.geojson").write_text(json.dumps(world))
    assert open_one(tmp_path / "a.geojson").judged(window_of()).all()


def test_a_long_straight_side_bends_with_the_projection(tmp_path: Path) -> None:
    """A parallel of latitude, 100 km long, is not straight in UTM: its middle is metres away."""
    to_earth = pyproj.Transformer.from_crs(CRS, 4326, always_xy=True)
    lon, lat = to_earth.transform(*pixels_to_map(np.array([200, 150.0]), SCENE.transform))
    half = shapely.box(lon - 0.7, lat, lon + 0.7, lat + 0.5)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(half)}
    (tmp_path / "a.geojson").write_text(json.dumps(feature))
    judged = open_one(tmp_path / "a.geojson").judged(window_of())
    rows, cols = np.indices(judged.shape) + 0.5
    x, y = np.moveaxis(pixels_to_map(np.stack([cols, rows], -1), SCENE.transform), -1, 0)
    assert (judged != (to_earth.transform(x, y)[1] >= lat)).mean() < 0.001


def test_a_polygon_that_crosses_itself_is_repaired(tmp_path: Path) -> None:
    bow = shapely.Polygon([(50, 50), (150, 150), (150, 50), (50, 150)])
    inside = open_one(write_areas(tmp_path / "a.geojson", [bow])).judged(window_of())
    assert inside[100, 60]
    assert inside[100, 140]
    assert not inside[60, 100]


def test_without_areas_there_are_none() -> None:
    assert open_areas(InputConfig()) is None


@pytest.mark.parametrize("name", ["area", "ignore"])
def test_a_scene_without_a_crs_cannot_be_cut_by_areas(tmp_path: Path, name: str) -> None:
    areas = open_one(write_areas(tmp_path / "a.geojson", [STAR]), name)
    bare = make_scene(crs=None, transform=Affine.identity())
    with pytest.raises(ValueError, match=rf"a\.tif has no CRS, so input\.{name} cannot be placed"):
        areas.check([SCENE, bare])


def test_an_area_that_touches_no_scene_is_explained(tmp_path: Path) -> None:
    path = write_areas(tmp_path / "a.geojson", [shapely.box(9000, 0, 9100, 90)])
    with pytest.raises(ValueError, match=r"input\.area touches no scene: it is .* WGS 84 / UTM"):
        open_one(path).check([SCENE])
    open_one(path, "ignore").check([SCENE])
    open_one(write_areas(tmp_path / "b.geojson", [STAR])).check(
        [make_scene(crs="EPSG:32633"), SCENE]
    )


def test_a_local_crs_cannot_take_areas_of_the_earth(tmp_path: Path) -> None:
    areas = open_one(write_areas(tmp_path / "a.geojson", [STAR]))
    local = make_scene(crs='LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(ValueError, match=r"input\.area cannot be placed in the CRS of scene"):
        areas.check([local])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([], "holds no polygon: draw one, or leave input.area out"),
        ([shapely.Point(3, 4)], r"input\.area: .*features\[0\] has the geometry Point"),
        ([shapely.LineString([(3, 4), (5, 6)])], "the geometry LineString.*so are areas"),
    ],
)
def test_what_is_no_area_is_explained(tmp_path: Path, shapes: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_one(write_areas(tmp_path / "a.geojson", shapes))


def test_a_missing_file_of_areas_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"input\.ignore: .*a\.shp does not exist"):
        open_one(tmp_path / "a.shp", "ignore")


def ground_of(tmp_path: Path, centres: np.ndarray, **shapes: list[Any]) -> Ground:
    """Return boxes of 8 px around centres (k, 2) as labels, with areas."""
    corners = centres[:, None] + np.array([[-4, -4], [4, -4], [4, 4], [-4, 4]])
    labels = write_labels(tmp_path / "l.geojson", corners, ["car"] * len(centres), written_in=CRS)
    files = {name: write_areas(tmp_path / f"{name}.geojson", s) for name, s in shapes.items()}
    return open_ground(InputConfig(labels=labels, **files), ("car",))


def test_labels_are_ignored_exactly_where_nothing_is_judged(tmp_path: Path) -> None:
    centres = np.random.default_rng(0).uniform(5, (395, 295), (200, 2))
    ground = ground_of(tmp_path, centres, area=[STAR], ignore=[shapely.box(150, 0, 200, 300)])
    labels, judged = ground.around(window_of())
    assert labels is not None
    cols, rows = np.floor(labels.centres).astype(int).T
    assert np.array_equal(labels.ignored, ~judged[rows, cols])
    assert 0 < labels.ignored.sum() < len(labels) == 200


def test_a_label_is_ignored_in_every_window_or_in_none(tmp_path: Path) -> None:
    centres = np.random.default_rng(1).uniform(5, (395, 295), (300, 2))
    ground = ground_of(tmp_path, centres, area=[STAR])
    whole = ground.around(window_of())[0]
    assert whole is not None
    known = dict(zip(whole.numbers.tolist(), whole.ignored.tolist(), strict=True))
    seen = set()
    for core in plan_cores(height=HEIGHT, width=WIDTH, core=64):
        part = ground.around(window_of(read=core))[0]
        assert part is not None
        for number, ignored in zip(part.numbers.tolist(), part.ignored.tolist(), strict=True):
            assert ignored == known[number]
            seen.add(number)
    assert len(seen) == 300


def test_ground_without_anything_judges_all(tmp_path: Path) -> None:
    labels, judged = open_ground(InputConfig(), ("car",)).around(window_of())
    assert labels is None
    assert judged.shape == (HEIGHT, WIDTH)
    assert judged.all()
    assert Ground().check([SCENE]) == 0


def test_labels_that_lie_in_no_scene_at_all_stop_the_run(tmp_path: Path) -> None:
    ground = ground_of(tmp_path, np.array([[5000.0, 40], [5000, 90]]))
    with pytest.raises(ValueError, match=r"none of the 2 labels lies in a scene, such as a\.tif"):
        ground.check([SCENE])
    assert ground_of(tmp_path, np.array([[5000.0, 40], [100, 90]])).check([SCENE]) == 1
    assert ground_of(tmp_path, np.zeros((0, 2))).check([SCENE]) == 0


def test_a_tile_carries_what_is_judged(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.tif", textured(HEIGHT, WIDTH, 0))
    config = ReadConfig(core=128, halo=32)
    scene = open_scene(Source("a.tif", str(path)), RunConfig(read=config))
    ground = ground_of(
        tmp_path, np.array([[30.0, 40], [300, 200]]), area=[shapely.box(0, 0, 150, 300)]
    )
    whole = ground.areas.judged(window_of(scene)) if ground.areas else None
    assert whole is not None
    assert whole.sum() == 150 * 300
    reader = SceneReader(InputConfig())
    for window in plan_windows(scene, config):
        tile = read_tile(window, reader, ground, config)
        assert isinstance(tile, Tile)
        assert np.array_equal(tile.judged, whole[window.read.within(WHOLE)])
    reader.close()
