"""Labels: the same object at the same pixels from every file, CRS and window."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from scenes import CRS, DATA, transform_of, write_labels

from configs.schema import InputConfig, RunConfig
from transforms.functional.boxes import Labels
from transforms.functional.windows import Rectangle, plan_cores
from transforms.headers import open_scene
from transforms.labels import LabelSource, open_labels
from transforms.records import Scene, Source, Window

NAMES = ("car", "truck", "bus")


def make_scene(
    *,
    name: str = "a.tif",
    crs: str | None = CRS,
    transform: Affine | None = None,
    height: int = 1024,
    width: int = 2048,
) -> Scene:
    place = tuple(transform or transform_of())[:6]
    return Scene(name, f"somewhere/{name}", height, width, (1, 2, 3), "uint8", crs, place)


SCENE = make_scene()
WHOLE = Rectangle(0, 0, SCENE.width, SCENE.height)


def around(source: LabelSource | None, read: Rectangle = WHOLE, scene: Scene = SCENE) -> Labels:
    assert source is not None
    return source.around(Window(scene, read, read, None))


def boxes(count: int, *, seed: int = 0, scene: Scene = SCENE) -> np.ndarray:
    """Return oriented boxes (k, 4, 2) of 8-40 px at all angles, centres inside the scene."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, count)
    along = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(10, 20, (count, 1))
    across = np.stack([-np.sin(angle), np.cos(angle)], 1) * rng.uniform(4, 8, (count, 1))
    centre = rng.uniform((40, 40), (scene.width - 40, scene.height - 40), (count, 2))
    offsets = np.stack([-along - across, along - across, along + across, across - along], 1)
    return centre[:, None] + offsets


def same_boxes(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest distance in px between the corners of boxes, wherever each box starts."""
    turns = [np.roll(wanted, turn, axis=1) for turn in range(4)]
    turns += [turn[:, ::-1] for turn in turns]
    if not len(wanted):
        return 0.0
    apart = [np.abs(found - turn).max(axis=(1, 2)) for turn in turns]
    return float(np.min(apart, axis=0).max())


def open_json(path: Path, **options: Any) -> LabelSource | None:
    return open_labels(InputConfig(labels=path, **options), NAMES)


def collection(*features: Any, **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)} | members


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def square(x: float, y: float, size: float = 1e-4) -> dict[str, Any]:
    ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_parquet(
    path: Path, shapes: Any, classes: Any, *, crs: str | None = CRS, **column: Any
) -> Path:
    """Write GeoParquet by hand, so that the reader has an independent witness."""
    described = None if crs is None else pyproj.CRS(crs).to_json_dict()
    meaning = {"encoding": "WKB", "geometry_types": [], "crs": described} | column
    geo = {"version": "1.1.0", "primary_column": "shape", "columns": {"shape": meaning}}
    table = pa.table({"shape": shapely.to_wkb(np.asarray(shapes)), "class": classes})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def map_polygons(corners: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = tuple(transform_of())[:6]
    x, y = np.moveaxis(corners, -1, 0)
    return shapely.polygons(np.stack([a * x + b * y + c, d * x + e * y + f], -1))


@pytest.mark.parametrize("written_in", [None, CRS, "EPSG:4326", "EPSG:3035"])
@pytest.mark.parametrize(
    "scene",
    [
        SCENE,
        make_scene(transform=Affine(0.12, -0.16, 6e5, -0.16, -0.12, 5.8e6)),
        make_scene(crs="EPSG:32633", transform=Affine(0.1, 0, 3e5, 0, -0.1, 5.7e6)),
    ],
    ids=["north up", "rotated", "another zone"],
)
def test_every_crs_gives_the_same_pixels(
    tmp_path: Path, scene: Scene, written_in: str | None
) -> None:
    wanted = boxes(200, scene=scene)
    path = write_labels(
        tmp_path / "a.geojson",
        wanted,
        ["car"] * 200,
        transform=Affine(*scene.transform),
        crs=str(scene.crs),
        written_in=written_in,
    )
    source = open_json(path)
    found = around(source, WHOLE, scene)
    assert found.corners.dtype == np.float32
    assert found.corners.shape == (200, 4, 2)
    assert same_boxes(found.corners, wanted) < 0.01
    assert source is not None
    assert source.outside([scene]) == 0


def test_geoparquet_and_geojson_agree(tmp_path: Path) -> None:
    wanted = boxes(50)
    classes = [NAMES[i % 3] for i in range(50)]
    from_json = around(
        open_json(write_labels(tmp_path / "a.geojson", wanted, classes, written_in=CRS))
    )
    path = write_parquet(tmp_path / "a.parquet", map_polygons(wanted), classes)
    from_parquet = around(open_json(path))
    assert np.array_equal(from_parquet.classes, from_json.classes)
    assert np.array_equal(from_parquet.classes, np.arange(50) % 3)
    assert same_boxes(from_parquet.corners, from_json.corners) < 0.01


def test_geopandas_writes_what_we_read(tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas")
    wanted = boxes(20)
    frame = geopandas.GeoDataFrame({"class": ["bus"] * 20}, geometry=map_polygons(wanted), crs=CRS)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_crs(4326).to_file(tmp_path / "a.geojson")
    for name in ("a.parquet", "a.geojson"):
        assert same_boxes(around(open_json(tmp_path / name)).corners, wanted) < 0.01


def test_a_polygon_becomes_its_smallest_rotated_box(tmp_path: Path) -> None:
    box = boxes(1)[0]
    middle = (box + np.roll(box, -1, axis=0)) / 2
    inset = middle + 0.2 * (box.mean(axis=0) - middle)
    ring = np.stack([box, inset], axis=1).reshape(-1, 2)
    path = write_parquet(tmp_path / "a.parquet", map_polygons(ring[None]), ["car"])
    assert same_boxes(around(open_json(path)).corners, box[None]) < 0.01


def test_each_part_of_a_multipolygon_is_an_object(tmp_path: Path) -> None:
    wanted = boxes(2)
    shape = shapely.multipolygons(map_polygons(wanted))
    path = write_parquet(tmp_path / "a.parquet", [shape], ["truck"])
    found = around(open_json(path))
    assert same_boxes(found.corners, wanted) < 0.01
    assert found.classes.tolist() == [1, 1]
    content = collection(feature(shapely.geometry.mapping(shape), **{"class": "truck"}))
    content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    found = around(open_json(write_json(tmp_path / "a.geojson", content)))
    assert same_boxes(found.corners, wanted) < 0.01


def test_a_polygon_without_an_area_is_the_box_around_it(tmp_path: Path) -> None:
    line = np.array([[[100, 50], [120, 60], [120, 60], [100, 50]]], np.float64)
    found = around(open_json(write_labels(tmp_path / "a.geojson", line, ["car"], written_in=CRS)))
    assert found.corners[0].tolist() == [[100, 50], [120, 50], [120, 60], [100, 60]]


@pytest.fixture
def many(tmp_path: Path) -> tuple[LabelSource, np.ndarray]:
    wanted = boxes(400, seed=2)
    path = write_labels(tmp_path / "a.geojson", wanted, ["car"] * 400)
    source = open_json(path)
    assert source is not None
    return source, wanted


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.builds(
        Rectangle,
        col_off=st.integers(0, 1900),
        row_off=st.integers(0, 900),
        width=st.integers(1, 600),
        height=st.integers(1, 600),
    )
)
def test_a_window_gets_exactly_the_labels_whose_box_touches_it(
    many: tuple[LabelSource, np.ndarray], read: Rectangle
) -> None:
    source, wanted = many
    low, high = wanted.min(axis=1), wanted.max(axis=1)
    place = (read.col_off, read.row_off)
    size = (read.width, read.height)
    sure = ((high >= np.add(place, 0.01)) & (low <= np.add(place, size) - 0.01)).all(axis=1)
    maybe = ((high >= np.subtract(place, 0.01)) & (low <= np.add(place, size) + 0.01)).all(axis=1)
    found = around(source, read)
    assert sure.sum() <= len(found.classes) <= maybe.sum()
    if sure.sum() == maybe.sum():
        assert same_boxes(found.corners + np.float32(place), wanted[sure]) < 0.01


@pytest.mark.parametrize("on_the_border", [False, True])
def test_every_label_has_exactly_one_owner(tmp_path: Path, on_the_border: bool) -> None:
    wanted = boxes(300, seed=4)
    if on_the_border:
        centre = wanted.mean(axis=1, keepdims=True)
        wanted += np.rint(centre / 128) * 128 - centre
    source = open_json(write_labels(tmp_path / "a.geojson", wanted, ["car"] * 300))
    assert source is not None
    owners = 0
    for core in plan_cores(height=SCENE.height, width=SCENE.width, core=128):
        read = core.grow(32, height=SCENE.height, width=SCENE.width)
        labels = source.around(Window(SCENE, core, read, None))
        for x, y in labels.corners.mean(axis=1, dtype=np.float32):
            owners += core.owns(float(x) + read.col_off, float(y) + read.row_off)
    inside = wanted.mean(axis=1) < (SCENE.width - 1, SCENE.height - 1)
    assert owners == inside.all(axis=1).sum()


def test_classes_are_renamed_and_indexed(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "a.geojson", boxes(3), ["lorry", "bus", "2"], field="kind")
    mapping = {"lorry": "truck", "2": "car"}
    found = around(open_json(path, label_field="kind", label_classes=mapping))
    assert found.classes.tolist() == [1, 2, 0]


def test_whole_numbers_that_a_table_made_fractions_are_classes(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", map_polygons(boxes(2)), [0.0, 2.0])
    found = around(open_json(path, label_classes={"0": "car", "2": "bus"}))
    assert found.classes.tolist() == [0, 2]


def test_no_labels_around_is_an_empty_answer(tmp_path: Path) -> None:
    for content in (collection(), collection(feature(square(0, 0), **{"class": "car"}))):
        found = around(open_json(write_json(tmp_path / "a.geojson", content)))
        assert found.corners.shape == (0, 4, 2)
        assert found.classes.shape == (0,)
        assert (found.corners.dtype, found.classes.dtype) == (np.float32, np.int32)


def test_labels_outside_every_scene_are_counted(tmp_path: Path) -> None:
    wanted = boxes(10)
    wanted[:3] += 5000
    source = open_json(write_labels(tmp_path / "a.geojson", wanted, ["car"] * 10))
    assert source is not None
    far = make_scene(name="b.tif", crs="EPSG:28992")
    assert source.outside([SCENE, far]) == 3
    assert source.outside([far]) == 10
    assert source.outside([]) == 10


def test_labels_that_no_projection_can_place_are_outside(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "a.geojson", collection(feature(square(-171, 0), **{"class": "car"}))
    )
    source = open_json(path)
    assert source is not None
    assert source.outside([SCENE]) == 1
    assert len(around(source).classes) == 0


def test_without_labels_there_is_no_source() -> None:
    assert open_labels(InputConfig(), NAMES) is None


CAR = {"class": "car"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "FeatureCollection is wanted, got type None"),
        ({"type": "Topology"}, "FeatureCollection is wanted, got type 'Topology'"),
        (
            collection(feature(square(9, 52))),
            r"features\[0\] has no property 'class' \(it has \[\]",
        ),
        (collection(feature(square(9, 52), kind="car")), r"\['kind'\]\): set input\.label_field"),
        (
            collection(feature({"type": "Point", "coordinates": [9, 52]}, **CAR)),
            r"features\[0\] has the geometry Point: labels are polygons",
        ),
        (collection(feature(None, **CAR)), "has the geometry null"),
        (
            collection(feature({"type": "Polygon", "coordinates": []}, **CAR)),
            r"features\[0\] is an empty Polygon",
        ),
        (
            collection(feature({"type": "Polygon", "coordinates": [[[9, "x"], [1, 2]]]}, **CAR)),
            "a vertex that is not two numbers",
        ),
        (collection(feature(square(600_000, 5_800_000), **CAR)), r"no crs member.*EPSG::32632"),
        (collection(feature(square(52, 109), **CAR)), "longitude and latitude seem to be swapped"),
        (collection(feature(square(9, 52), **CAR), crs=None), "crs member must name a CRS"),
        (
            collection(
                feature(square(9, 52), **CAR),
                crs={"type": "name", "properties": {"name": "EPSG:0"}},
            ),
            "its CRS is not known to PROJ",
        ),
        (
            collection(
                *[feature(square(9, 52), **{"class": name}) for name in ("boat", "car", "boat")]
            ),
            r"'boat' \(2 times\), and the detector knows \['car', 'truck', 'bus'\]: map them",
        ),
    ],
)
def test_bad_geojson_is_explained(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_json(write_json(tmp_path / "a.geojson", content))


def test_a_file_that_is_no_json_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_bytes(b"\xff\xfe not json")
    with pytest.raises(ValueError, match=r"a\.geojson is no JSON"):
        open_json(tmp_path / "a.geojson")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_bytes(b"words"), "is no Parquet file"),
        (lambda p: pq.write_table(pa.table({"class": ["car"]}), p), "has no `geo` metadata"),
        (
            lambda p: write_parquet(p, [shapely.Point(9, 52)], ["car"]),
            r"row 0 has the geometry POINT \(9 52\): labels are polygons",
        ),
        (
            lambda p: write_parquet(p, [shapely.box(0, 0, 1, 1), None], ["car", "car"]),
            "row 1 has the geometry None",
        ),
        (lambda p: write_parquet(p, [shapely.box(0, 0, 1, 1)], [None]), "row 0 has no class"),
        (
            lambda p: write_parquet(p, [shapely.box(0, 0, 1, 1)], ["car"], crs=None),
            r"declared as unknown \(null\)",
        ),
        (
            lambda p: write_parquet(p, [shapely.box(0, 0, 1, 1)], ["car"], encoding="polygon"),
            "must be WKB, got 'polygon'",
        ),
    ],
)
def test_bad_geoparquet_is_explained(
    tmp_path: Path, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        open_json(tmp_path / "a.parquet")


def test_a_missing_class_column_is_explained(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [shapely.box(0, 0, 1, 1)], ["car"])
    with pytest.raises(ValueError, match=r"no column 'kind' \(it has \['shape', 'class'\]\)"):
        open_json(path, label_field="kind")


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.geojson", "does not exist"), ("a.csv", r"must be \.geojson, \.json, \.parquet")],
)
def test_a_path_that_cannot_hold_labels_is_explained(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match=message):
        open_json(tmp_path / name)


def test_a_scene_without_a_crs_cannot_take_labels_of_a_map(tmp_path: Path) -> None:
    source = open_json(write_labels(tmp_path / "a.geojson", boxes(1), ["car"]))
    assert source is not None
    bare = make_scene(crs=None, transform=Affine.identity())
    for ask in (lambda: source.outside([bare]), lambda: around(source, WHOLE, bare)):
        with pytest.raises(ValueError, match=r"scene a\.tif has no CRS.*gdal_edit"):
            ask()


def test_a_local_crs_cannot_take_labels_of_the_earth(tmp_path: Path) -> None:
    source = open_json(write_labels(tmp_path / "a.geojson", boxes(1), ["car"]))
    assert source is not None
    local = make_scene(crs='LOCAL_CS["site",UNIT["metre",1]]')
    with pytest.raises(ValueError, match=r"cannot be placed in the CRS of scene a\.tif"):
        source.outside([local])


def test_swapped_coordinates_are_suspected_only_if_swapping_helps(tmp_path: Path) -> None:
    change = pyproj.Transformer.from_crs(CRS, 4326, always_xy=True)
    x, y = change.transform(600_010, 5_799_990)
    swapped = feature(square(y, x, 1e-6), **CAR)
    source = open_json(write_json(tmp_path / "a.geojson", collection(swapped)))
    assert source is not None
    with pytest.raises(ValueError, match="with x and y swapped some do"):
        source.outside([SCENE])
    right = feature(square(x, y, 1e-6), **CAR)
    source = open_json(write_json(tmp_path / "b.geojson", collection(swapped, right)))
    assert source is not None
    assert source.outside([SCENE]) == 1


def open_yolo(folder: Path, **options: Any) -> LabelSource:
    config = InputConfig(labels=folder, **{"label_names": ("car", "truck")} | options)
    source = open_labels(config, NAMES)
    assert source is not None
    return source


def test_yolo_boxes_are_fractions_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "0 0.5 0.25 0.125 0.0625\n\n1 0.25 0.5 0.5 0.5 0.5 0.75 0.25 0.75\r\n"
    )
    source = open_yolo(tmp_path)
    labels = around(source)
    assert labels.classes.tolist() == [0, 1]
    assert labels.corners[0].tolist() == [[896, 224], [1152, 224], [1152, 288], [896, 288]]
    assert labels.corners[1].tolist() == [[512, 512], [1024, 512], [1024, 768], [512, 768]]
    assert source.outside([SCENE]) == 0
    near = around(source, Rectangle(1000, 100, 200, 200))
    assert near.corners[0, 0].tolist() == [-104, 124]
    assert near.classes.tolist() == [0]


def test_yolo_classes_go_through_the_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 .5 .5 .1 .1\n")
    options = {"label_names": ("car", "minibus"), "label_classes": {"minibus": "bus"}}
    assert around(open_yolo(tmp_path, **options)).classes.tolist() == [2]
    with pytest.raises(ValueError, match=r"'minibus' \(1 times\), and the detector knows"):
        open_yolo(tmp_path, label_names=("car", "minibus"))
    with pytest.raises(ValueError, match=r"input\.label_names is empty"):
        open_yolo(tmp_path, label_names=())


def test_an_empty_yolo_file_says_that_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    source = open_yolo(tmp_path)
    assert source.outside([SCENE]) == 0
    assert around(source).corners.shape == (0, 4, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .1", r"a\.txt, line 2: 5 or 9 numbers are wanted, not 4"),
        ("0 .5 .5 .1 .1 .93", "not 6"),
        ("car .5 .5 .1 .1", "line 2: could not convert string to float"),
        ("0.5 .5 .5 .1 .1", "class must be a whole number"),
        ("-1 .5 .5 .1 .1", "class must be a whole number"),
        ("0 512 .5 .1 .1", "places must be fractions"),
        ("0 nan .5 .1 .1", "places must be fractions"),
        ("7 .5 .5 .1 .1", r"a\.txt holds class 7, and input\.label_names has 2 names"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(ValueError, match=message):
        open_yolo(tmp_path).outside([SCENE])


def test_missing_yolo_files_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    scenes = [make_scene(name=f"{name}.tif") for name in "abcde"]
    source = open_yolo(tmp_path)
    with pytest.raises(ValueError, match=r"4 of 5 .*b\.txt, .*c\.txt, .*d\.txt \.\.\.; an empty"):
        source.outside(scenes)
    with pytest.raises(ValueError, match=r"scene b\.tif has no labels"):
        around(source, WHOLE, scenes[1])


def test_two_scenes_cannot_share_a_yolo_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="several scenes would share"):
        open_yolo(tmp_path).outside([SCENE, make_scene(name="a.jpg")])


def test_real_yolo_labels_lie_in_their_pictures() -> None:
    folder = DATA / "vehicles_munich"
    if not folder.is_dir():
        pytest.skip(f"no pictures in {folder}")
    texts = sorted(folder.rglob("*.txt"))
    pictures = [p for t in texts for p in t.parent.glob(f"{t.stem}.*") if p.suffix != ".txt"]
    if not pictures:
        pytest.skip(f"no picture beside its labels in {folder}")
    scenes = [open_scene(Source(p.name, str(p)), RunConfig()) for p in pictures]
    source = open_yolo(pictures[0].parent, label_names=("car", "truck", "bus", "bus"))
    assert source.outside(scenes) == 0
    whole = [Rectangle(0, 0, scene.width, scene.height) for scene in scenes]
    found = [around(source, *pair) for pair in zip(whole, scenes, strict=True)]
    assert sum(len(labels.classes) for labels in found) > 100
