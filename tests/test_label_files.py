"""Files of a map: every format gives the same labels, and every common mistake one clear error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import shapely
from scenes import CRS, transform_of

from configs.schema import InputConfig
from transforms.functional.boxes import ANY_CLASS, Labels
from transforms.functional.windows import Rectangle
from transforms.georeference import pixels_to_map
from transforms.labels import open_labels
from transforms.records import Scene, Window

NAMES = ("car", "truck", "bus")
SCENE = Scene(
    "a.tif", "somewhere/a.tif", 300, 400, (1, 2, 3), "uint8", CRS, tuple(transform_of())[:6]
)
SUFFIXES = (".shp", ".gpkg", ".fgb", ".geojson")


def around(config: InputConfig, read: Rectangle | None = None) -> Labels:
    source = open_labels(config, NAMES)
    assert source is not None
    read = read or Rectangle(0, 0, SCENE.width, SCENE.height)
    return source.around(Window(SCENE, read, read, None))


def squares(count: int) -> np.ndarray:
    """Return boxes (k, 4, 2) of 8 px in a row, in pixels."""
    corners = np.array([[0, 0], [8, 0], [8, 8], [0, 8]], np.float64)
    return corners + np.stack([10 + 20.0 * np.arange(count), np.full(count, 50)], 1)[:, None]


def on_map(corners: np.ndarray) -> np.ndarray:
    return shapely.polygons(pixels_to_map(corners, SCENE.transform))


def write_map(path: Path, shapes: Any, *, crs: str | None = CRS, **columns: Any) -> Path:
    """Write polygons with GDAL; the kind of geometry is that of the first."""
    shapes = np.asarray(shapes, dtype=object)
    kind = "Unknown" if path.suffix == ".gpkg" else shapes[0].geom_type
    fields = {name: np.asarray(values) for name, values in columns.items()}
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapes),
        list(fields.values()),
        list(fields),
        geometry_type=kind,
        crs=crs,
    )
    return path


CLASSES = np.array(["bus", "car", "truck"], dtype=object)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_labels(tmp_path: Path, suffix: str) -> None:
    path = write_map(
        tmp_path / f"a{suffix}",
        on_map(squares(3)),
        **{"class": CLASSES, "ignore": np.array([0, 1, 0]), "iscrowd": np.array([0, 0, 1])},
    )
    labels = around(InputConfig(labels=path))
    order = np.argsort(labels.corners[:, 0, 0])  # FlatGeobuf sorts its features by place
    labels = labels.select(order)
    assert np.allclose(np.sort(labels.xyxy, axis=0)[:, 0], [10, 30, 50], atol=0.01)
    assert labels.classes.tolist() == [2, 0, 1]
    assert labels.ignored.tolist() == [False, True, True]
    assert labels.crowd.tolist() == [False, False, True]
    assert sorted(labels.numbers.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("value", [True, 1, 1.0])
def test_flags_are_booleans_or_0_and_1(tmp_path: Path, value: Any) -> None:
    values = [value, None, type(value)(0)]
    labels = around(InputConfig(labels=write_geojson(tmp_path / "a.geojson", ignore=values)))
    assert labels.ignored.tolist() == [True, False, False]
    assert not labels.crowd.any()


@pytest.mark.parametrize("value", ["yes", 2, [1]])
def test_a_flag_that_is_none_is_explained(tmp_path: Path, value: Any) -> None:
    path = write_geojson(tmp_path / "a.geojson", iscrowd=[0, value, 0])
    with pytest.raises(ValueError, match=r"row 1 has iscrowd = .* true or false"):
        around(InputConfig(labels=path))


def write_geojson(path: Path, **flags: list[Any]) -> Path:
    """Write three boxes as GeoJSON by hand."""
    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shape),
            "properties": {"class": "car"} | {name: flags[name][row] for name in flags},
        }
        for row, shape in enumerate(on_map(squares(3)))
    ]
    crs = {"type": "name", "properties": {"name": CRS}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, "crs": crs}))
    return path


def test_a_class_may_be_mapped_to_ignore(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.shp", on_map(squares(3)), **{"class": CLASSES})
    labels = around(InputConfig(labels=path, label_classes={"truck": "ignore", "bus": "car"}))
    assert labels.classes.tolist() == [0, 0, ANY_CLASS]
    assert labels.ignored.tolist() == [False, False, True]


def test_numbers_are_those_of_the_file_in_every_window(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.shp", on_map(squares(15)), **{"class": ["car"] * 15})
    config = InputConfig(labels=path)
    assert around(config).numbers.tolist() == list(range(15))
    assert around(config, Rectangle(109, 40, 50, 30)).numbers.tolist() == [5, 6, 7]


def test_parts_of_a_multipolygon_have_numbers_of_their_own(tmp_path: Path) -> None:
    a, b, c, d = on_map(squares(4))
    shapes = [shapely.multipolygons([a, b]), c, shapely.multipolygons([d])]
    path = write_map(tmp_path / "a.gpkg", shapes, **{"class": ["car"] * 3})
    assert around(InputConfig(labels=path)).numbers.tolist() == [0, 3, 1, 2]


def test_holes_do_not_change_the_box_of_a_label(tmp_path: Path) -> None:
    outer = squares(1)[0]
    ring = shapely.Polygon(outer, holes=[outer.mean(axis=0) + (outer - outer.mean(axis=0)) / 2])
    shape = shapely.transform(ring, lambda points: pixels_to_map(points, SCENE.transform))
    path = write_map(tmp_path / "a.fgb", [shape], **{"class": ["car"]})
    assert np.allclose(around(InputConfig(labels=path)).xyxy, [[10, 50, 18, 58]], atol=0.01)


def test_heights_are_dropped(tmp_path: Path) -> None:
    shapes = shapely.force_3d(on_map(squares(1)), 321.0)
    path = write_map(tmp_path / "a.gpkg", shapes, **{"class": ["car"]})
    assert np.allclose(around(InputConfig(labels=path)).xyxy, [[10, 50, 18, 58]], atol=0.01)


@pytest.mark.parametrize("lost", [".prj", ".shx", ".dbf"])
def test_a_shapefile_without_one_of_its_files_is_explained(tmp_path: Path, lost: str) -> None:
    path = write_map(tmp_path / "a.shp", on_map(squares(1)), **{"class": ["car"]})
    path.with_suffix(lost).unlink()
    with pytest.raises(ValueError, match=rf"a\.shp comes without its \{lost}: .*copy all of them"):
        around(InputConfig(labels=path))


def empty_shapefile(path: Path) -> None:
    write_map(path, on_map(squares(1)), **{"class": ["car"]})
    path.write_bytes(b"")


def two_layers(path: Path) -> None:
    write_map(path, on_map(squares(1)), **{"class": ["car"]})
    wkb = shapely.to_wkb(on_map(squares(1)))
    pyogrio.raw.write(
        path, wkb, [], [], layer="more", geometry_type="Polygon", crs=CRS, append=False
    )


DEGREES = shapely.box(9, 52, 9.001, 52.001)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.shp", empty_shapefile, r"a\.shp cannot be read: "),
        ("a.gpkg", lambda p: p.write_bytes(b""), r"a\.gpkg cannot be read: "),
        ("a.geojson", lambda p: p.write_bytes(b""), r"is no JSON \(it is empty, 0 bytes\)"),
        ("a.gpkg", two_layers, r"holds the layers \['a', 'more'\], and one is wanted"),
        (
            "a.fgb",
            lambda p: write_map(p, [shapely.Point(9, 52)], crs="EPSG:4326", **{"class": ["car"]}),
            r"row 0 has the geometry POINT \(9 52\): labels are polygons",
        ),
        (
            "a.shp",
            lambda p: write_map(
                p, [shapely.LineString([(9, 52), (9, 53)])], crs="EPSG:4326", **{"class": ["car"]}
            ),
            "row 0 has the geometry LINESTRING .* buffer its point to its size",
        ),
        (
            "a.shp",
            lambda p: write_map(p, on_map(squares(1)), kind=["car"]),
            r"no column 'class' \(it has \['kind'\]\): set input\.label_field",
        ),
        (
            "a.gpkg",
            lambda p: write_map(p, [DEGREES], **{"class": np.array([None], dtype=object)}),
            r"row 0 has no class \('class' is empty\)",
        ),
        (
            "a.shp",
            lambda p: write_map(p, on_map(squares(1)), crs="EPSG:4326", **{"class": ["car"]}),
            r"declares WGS 84, so its coordinates must be longitude and latitude.*ogr2ogr -a_srs",
        ),
        (
            "a.gpkg",
            lambda p: write_map(
                p, [shapely.box(52, 109, 53, 110)], crs="EPSG:4326", **{"class": ["car"]}
            ),
            "longitude and latitude seem to be swapped",
        ),
        (
            "a.shp",
            lambda p: write_map(p, on_map(squares(1)), **{"class": ["boat"]}),
            r"'boat' \(1 times\), and the detector knows .* or to ignore",
        ),
    ],
)
def test_common_mistakes_are_explained(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        around(InputConfig(labels=tmp_path / name))


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_file_that_does_not_say_its_crs_is_explained(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.fgb", on_map(squares(1)), crs=None, **{"class": ["car"]})
    with pytest.raises(ValueError, match="does not say its CRS: declare it"):
        around(InputConfig(labels=path))


def test_a_format_must_fit_what_the_path_is(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.shp", on_map(squares(1)), **{"class": ["car"]})
    with pytest.raises(ValueError, match=r"dota wants a folder of \.txt files, got the file"):
        around(InputConfig(labels=path, label_format="dota"))
    with pytest.raises(ValueError, match="coco wants a file, got the folder"):
        around(InputConfig(labels=tmp_path, label_format="coco"))
    assert len(around(InputConfig(labels=path, label_format="map"))) == 1


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    path = write_map(tmp_path / "a.shp", on_map(squares(1)), **{"class": ["car"]})
    for file in list(tmp_path.iterdir()):
        shutil.move(file, file.with_suffix(file.suffix.upper()))
    assert len(around(InputConfig(labels=path.with_suffix(".SHP")))) == 1
