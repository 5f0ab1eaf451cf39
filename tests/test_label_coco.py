"""COCO JSON: pictures found by their names, boxes as pycocotools has them, mistakes by their id."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import DATA

from configs.schema import InputConfig, RunConfig
from transforms.functional.boxes import ANY_CLASS, Labels
from transforms.functional.windows import Rectangle
from transforms.headers import open_scene
from transforms.labels import LabelSource, open_labels
from transforms.records import Grid, Scene, Source, Window

NAMES = ("car", "truck", "bus")


def make_scene(path: str = "somewhere/a.tif") -> Scene:
    size = (512, 1024)
    return Scene(Path(path).name, path, *size, (1, 2, 3), "uint8", None, (1, 0, 0, 0, 1, 0))


SCENE = make_scene()


def image(number: int = 1, name: str = "a.tif", **members: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": 512, "width": 1024} | members


def mark(number: int, bbox: Any = (10, 20, 30, 8), **members: Any) -> dict[str, Any]:
    known = {"id": number, "image_id": 1, "category_id": 3, "bbox": list(bbox)} | members
    return {name: value for name, value in known.items() if value is not None}


def coco(*marks: dict[str, Any], images: Any = None, **members: Any) -> dict[str, Any]:
    kinds = [{"id": 3, "name": "car"}, {"id": 5, "name": "lorry"}]
    images = [image()] if images is None else images
    return {"images": images, "annotations": list(marks), "categories": kinds} | members


def open_coco(path: Path, content: Any, **options: Any) -> LabelSource:
    path.write_text(json.dumps(content))
    mapping = {"label_classes": {"lorry": "truck"}} | options
    source = open_labels(InputConfig(labels=path, **mapping), NAMES)
    assert source is not None
    return source


def around(source: LabelSource, scene: Scene = SCENE, read: Rectangle | None = None) -> Labels:
    read = read or Rectangle(0, 0, scene.width, scene.height)
    return source.around(Window(scene, read, read, None))


def test_json_with_images_and_annotations_is_coco(tmp_path: Path) -> None:
    content = coco(mark(70), mark(9, (100, 200, 20, 10.5), category_id=5))
    source = open_coco(tmp_path / "a.json", content)
    labels = around(source)
    assert labels.xyxy.tolist() == [[10, 20, 40, 28], [100, 200, 120, 210.5]]
    assert labels.classes.tolist() == [0, 1]
    assert labels.numbers.tolist() == [70, 9]
    assert not labels.ignored.any()
    assert source.outside([SCENE]) == 0
    near = around(source, read=Rectangle(90, 190, 64, 64))
    assert near.numbers.tolist() == [9]
    assert near.corners[0, 0].tolist() == [10, 10]


def test_labels_of_a_resampled_picture_are_where_they_are_in_the_file(tmp_path: Path) -> None:
    grid = Grid(SCENE.height, SCENE.width, SCENE.transform)
    halved = replace(SCENE, height=256, width=256, file_grid=grid)
    labels = around(open_coco(tmp_path / "a.json", coco(mark(70, (40, 20, 80, 8)))), halved)
    assert labels.xyxy.tolist() == [[10, 10, 30, 14]]


def test_pycocotools_reads_the_same_boxes(tmp_path: Path) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    rng = np.random.default_rng(0)
    boxes = np.round(rng.uniform((0, 0, 4, 4), (900, 400, 100, 100), (40, 4)), 2)
    crowds = rng.integers(0, 2, 40).tolist()
    marks = [
        mark(n + 1, b, iscrowd=c) for n, b, c in zip(range(40), boxes.tolist(), crowds, strict=True)
    ]
    labels = around(open_coco(tmp_path / "a.json", coco(*marks)))
    with contextlib.redirect_stdout(io.StringIO()):
        witness = tools.COCO(str(tmp_path / "a.json"))
    for number, box, crowd in zip(labels.numbers, labels.xyxy, labels.crowd, strict=True):
        (wanted,) = witness.loadAnns([int(number)])
        x, y, w, h = wanted["bbox"]
        assert np.abs(box - (x, y, x + w, y + h)).max() <= 1 / 256
        assert crowd == bool(wanted["iscrowd"])


def test_crowds_and_ignored_ones_are_kept_and_not_judged(tmp_path: Path) -> None:
    rle = {"counts": [0, 8], "size": [512, 1024]}
    content = coco(mark(1, iscrowd=1, segmentation=rle), mark(2, ignore=1), mark(3, iscrowd=0))
    labels = around(open_coco(tmp_path / "a.json", content))
    assert labels.ignored.tolist() == [True, True, False]
    assert labels.crowd.tolist() == [True, False, False]
    assert labels.classes.tolist() == [0, 0, 0]


def test_a_category_may_be_mapped_to_ignore(tmp_path: Path) -> None:
    content = coco(mark(1), mark(2, category_id=5))
    labels = around(open_coco(tmp_path / "a.json", content, label_classes={"lorry": "ignore"}))
    assert labels.classes.tolist() == [0, ANY_CLASS]
    assert labels.ignored.tolist() == [False, True]


DIAMOND = [100, 90, 110, 100, 100, 110, 90, 100]


def test_a_quadrilateral_that_fills_its_bbox_is_the_oriented_box(tmp_path: Path) -> None:
    content = coco(
        mark(1, (90, 90, 20, 20), segmentation=[DIAMOND]),
        mark(2, (90, 90, 40, 20), segmentation=[DIAMOND]),
        mark(3, (90, 90, 20, 20), segmentation=[[*DIAMOND, 95, 95]]),
    )
    labels = around(open_coco(tmp_path / "a.json", content))
    assert labels.corners[0].ravel().tolist() == DIAMOND
    assert labels.xyxy[1:].tolist() == [[90, 90, 130, 110], [90, 90, 110, 110]]
    assert labels.corners[2, 0].tolist() == [90, 90]


def test_without_a_bbox_the_polygons_give_the_smallest_box(tmp_path: Path) -> None:
    parts = [[10, 10, 20, 10, 20, 20, 10, 20], [40, 10, 50, 10, 50, 20, 40, 20]]
    content = coco(mark(1, bbox=(), segmentation=parts))
    labels = around(open_coco(tmp_path / "a.json", content))
    assert labels.xyxy.tolist() == [[10, 10, 50, 20]]


@pytest.mark.parametrize(
    ("file_name", "path"),
    [
        ("a.jpg", "x/a.tif"),
        ("images/a.tif", "x/a.tif"),
        ("day1\\a.tif", "x/day1/a.tif"),
    ],
)
def test_a_scene_is_the_image_of_its_name_or_stem(
    tmp_path: Path, file_name: str, path: str
) -> None:
    content = coco(mark(1), images=[image(1, file_name), image(2, "b.tif")])
    assert len(around(open_coco(tmp_path / "c.json", content), make_scene(path))) == 1


def test_of_images_with_one_name_the_folder_decides(tmp_path: Path) -> None:
    images = [image(1, "day1/a.tif"), image(2, "day2/a.tif")]
    source = open_coco(tmp_path / "c.json", coco(mark(1), images=images))
    assert len(around(source, make_scene("x/day1/a.tif"))) == 1
    assert len(around(source, make_scene("x/day2/a.tif"))) == 0
    with pytest.raises(ValueError, match=r"could be any of day1/a\.tif, day2/a\.tif in"):
        source.outside([make_scene("x/a.tif")])


def test_an_image_without_annotations_holds_no_objects(tmp_path: Path) -> None:
    source = open_coco(tmp_path / "c.json", coco())
    assert source.outside([SCENE]) == 0
    assert around(source).corners.shape == (0, 4, 2)


def test_scenes_that_no_image_names_are_listed(tmp_path: Path) -> None:
    source = open_coco(tmp_path / "c.json", coco(mark(1), images=[image(1, "other.jpg")]))
    with pytest.raises(
        ValueError, match=r"1 of 1 pictures have no labels: .* lists other\.jpg, and"
    ):
        source.outside([SCENE])
    with pytest.raises(ValueError, match=r"scene a\.tif has no labels: .*without annotations"):
        around(source)


def test_two_scenes_cannot_share_an_image(tmp_path: Path) -> None:
    source = open_coco(tmp_path / "c.json", coco(mark(1)))
    with pytest.raises(ValueError, match=r"several scenes would share the labels a\.tif"):
        source.outside([SCENE, make_scene("somewhere/a.jpg")])


def test_labels_of_a_picture_of_another_size_are_refused(tmp_path: Path) -> None:
    source = open_coco(tmp_path / "c.json", coco(mark(1), images=[image(height=256, width=512)]))
    with pytest.raises(ValueError, match=r"a\.tif is \(256, 512\) pixels .* is \(512, 1024\)"):
        source.outside([SCENE])
    unsized = coco(mark(1), images=[{"id": 1, "file_name": "a.tif"}])
    assert open_coco(tmp_path / "d.json", unsized).outside([SCENE]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (coco(categories=None), r"COCO wants lists of .*missing: \['categories'\]"),
        (coco(mark(1, category_id=4)), r"annotation 1 has the category_id 4, .*\{3: 'car'"),
        (coco(mark(1, image_id=7)), "annotation 1 has the image_id 7, which no image"),
        (coco(mark(1), mark(1)), "annotation 1 wants an id of its own"),
        (coco(mark("x")), "annotation 'x' wants an id of its own, a whole number"),
        (coco(mark(8, (10, 20, -3, 8))), r"annotation 8: .*a size above 0, got \[10, 20, -3, 8\]"),
        (coco(mark(8, (10, 20, 3, 0))), "a size above 0"),
        (coco(mark(8, (10, 20, 3))), "annotation 8: a bbox is x, y, width, height"),
        (coco(mark(8, (10, 20, 3, "wide"))), "annotation 8: a bbox is x, y, width, height"),
        (coco(mark(8, bbox=())), "annotation 8 has neither a bbox nor polygons"),
        (coco(mark(8, bbox=(), segmentation=[[1, 2, 3]])), "annotation 8: polygons of a segm"),
        (coco(mark(8, iscrowd=2)), "annotation 8 has iscrowd = 2, and 0 or 1 is wanted"),
        (coco(mark(8, ignore="no")), "annotation 8 has ignore = 'no'"),
        (coco(mark(8, (0.1, 0.2, 0.1, 0.1))), "a bbox is in pixels"),
        (
            coco(mark(1, (900, 400, 950, 440)), mark(2, (600, 300, 650, 340))),
            "2 of 2 boxes end beyond their picture.* not x0, y0, x1, y1",
        ),
        (coco(mark(1), images=[image(), image(name="b.tif")]), "two images have the same id"),
    ],
)
def test_common_mistakes_are_explained(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_coco(tmp_path / "a.json", content)


def test_a_category_that_the_detector_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'lorry' \(1 times\), and the detector knows"):
        open_coco(tmp_path / "a.json", coco(mark(1, category_id=5)), label_classes={})


def test_coco_may_be_declared_for_any_suffix(tmp_path: Path) -> None:
    source = open_coco(tmp_path / "labels.coco", coco(mark(1)), label_format="coco")
    assert len(around(source)) == 1
    with pytest.raises(ValueError, match="FeatureCollection is wanted"):
        open_coco(tmp_path / "a.json", coco(mark(1)), label_format="map")


def test_real_coco_labels_lie_in_their_pictures() -> None:
    folder = DATA / "scenes_nepal" / "train"
    if not (folder / "detection_labels.json").is_file():
        pytest.skip(f"no pictures in {folder}")
    config = InputConfig(labels=folder / "detection_labels.json")
    source = open_labels(config, ("building",))
    assert source is not None
    listed = json.loads((folder / "detection_labels.json").read_text())["images"]
    paths = [folder / "oam" / entry["file_name"] for entry in listed]
    scenes = [open_scene(Source(p.name, str(p)), RunConfig()) for p in paths if p.is_file()]
    assert source.outside(scenes) == 0
    assert source.total(scenes) > 100
