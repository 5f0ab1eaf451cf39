"""Text files of labels: YOLO and DOTA, told apart by their lines, every mistake by its line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import CRS, transform_of

from configs.schema import InputConfig
from transforms.functional.boxes import ANY_CLASS, Labels
from transforms.functional.windows import Rectangle
from transforms.label_text import tell_format
from transforms.labels import LabelSource, open_labels
from transforms.records import Grid, Scene, Window

NAMES = ("car", "truck", "bus")
SCENE = Scene(
    "a.tif", "somewhere/a.tif", 512, 1024, (1, 2, 3), "uint8", CRS, tuple(transform_of())[:6]
)
DOTA = "10 20 30 20 30 28 10 28 car 0\n500 100 520 110 515 120 495 110 large-vehicle 1\n"
LARGE = {"large-vehicle": "truck"}


def open_text(folder: Path, text: str, **options: Any) -> LabelSource:
    (folder / "a.txt").write_text(text)
    source = open_labels(InputConfig(labels=folder, **options), NAMES)
    assert source is not None
    return source


def around(source: LabelSource, read: Rectangle | None = None) -> Labels:
    read = read or Rectangle(0, 0, SCENE.width, SCENE.height)
    return source.around(Window(SCENE, read, read, None))


@pytest.mark.parametrize("header", ["", "imagesource:GoogleEarth\ngsd:0.146\n", "gsd:None\n\n"])
def test_dota_boxes_are_pixels_and_difficult_ones_are_ignored(tmp_path: Path, header: str) -> None:
    source = open_text(tmp_path, header + DOTA, label_classes=LARGE)
    labels = around(source)
    assert labels.corners[0].tolist() == [[10, 20], [30, 20], [30, 28], [10, 28]]
    assert labels.corners[1].tolist() == [[500, 100], [520, 110], [515, 120], [495, 110]]
    assert labels.classes.tolist() == [0, 1]
    assert labels.ignored.tolist() == [False, True]
    assert not labels.crowd.any()
    assert labels.numbers.tolist() == [header.count("\n"), header.count("\n") + 1]
    assert source.outside([SCENE]) == 0
    assert source.total([SCENE]) == 2


def test_labels_of_a_resampled_picture_are_where_they_are_in_the_file(tmp_path: Path) -> None:
    grid = Grid(SCENE.height, SCENE.width, SCENE.transform)
    halved = replace(SCENE, height=256, width=256, file_grid=grid)
    whole = Rectangle(0, 0, 256, 256)
    dota = open_text(tmp_path, "40 20 80 20 80 28 40 28 car\n")
    labels = dota.around(Window(halved, whole, whole, None))
    assert labels.corners[0].tolist() == [[10, 10], [20, 10], [20, 14], [10, 14]]
    yolo = open_text(tmp_path, "0 .5 .5 .25 .25\n", label_names=("car",))
    labels = yolo.around(Window(halved, whole, whole, None))
    assert labels.xyxy.tolist() == [[96, 96, 160, 160]]


def test_dota_without_difficult_is_read_as_judged(tmp_path: Path) -> None:
    labels = around(open_text(tmp_path, "10 20 30 20 30 28 10 28 car\n"))
    assert labels.ignored.tolist() == [False]


def test_a_dota_class_that_the_detector_lacks_is_named_with_its_file(tmp_path: Path) -> None:
    source = open_text(tmp_path, DOTA)
    with pytest.raises(ValueError, match=r"labels in .*a\.txt hold 'large-vehicle' \(1 times\)"):
        source.outside([SCENE])


def test_a_dota_class_may_be_mapped_to_ignore(tmp_path: Path) -> None:
    labels = around(open_text(tmp_path, DOTA, label_classes={"large-vehicle": "ignore"}))
    assert labels.classes.tolist() == [0, ANY_CLASS]
    assert labels.ignored.tolist() == [False, True]


def test_a_yolo_class_may_be_mapped_to_ignore(tmp_path: Path) -> None:
    text = "1 .5 .5 .1 .1\n0 .2 .2 .1 .1\n"
    options = {"label_names": ("car", "van"), "label_classes": {"van": "ignore"}}
    labels = around(open_text(tmp_path, text, **options))
    assert labels.classes.tolist() == [ANY_CLASS, 0]
    assert labels.ignored.tolist() == [True, False]


def test_numbers_are_lines_in_every_window(tmp_path: Path) -> None:
    text = "0 .1 .5 .01 .01\n\n0 .5 .5 .01 .01\n0 .9 .5 .01 .01\n"
    source = open_text(tmp_path, text, label_names=("car",))
    assert around(source).numbers.tolist() == [0, 2, 3]
    assert around(source, Rectangle(500, 200, 100, 100)).numbers.tolist() == [2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("10 20 30 20 30 28 10 28", r"a\.txt, line 3: the class is missing behind the 8 numbers"),
        ("10 20 30 20 30 28 car 0", "line 3: 8 numbers, a class and 0 or 1"),
        ("10 20 30 20 30 28 10 28 car very", r"difficult, behind the class, must be 0 or 1"),
        ("10 20 30 20 30 28 10 x car 0", "could not convert string to float: 'x'"),
        ("10 20 30 20 30 28 10 inf car 0", "finite numbers of pixels"),
    ],
)
def test_a_bad_dota_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    source = open_text(tmp_path, f"{DOTA}{line}\n", label_classes=LARGE)
    with pytest.raises(ValueError, match=message):
        source.outside([SCENE])


def test_fractions_are_no_dota(tmp_path: Path) -> None:
    source = open_text(tmp_path, ".1 .2 .3 .2 .3 .4 .1 .4 car 0\n")
    with pytest.raises(ValueError, match="DOTA places are pixels"):
        source.outside([SCENE])


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("0 .5 .5 .1 .1", "yolo"),
        ("3 .1 .2 .3 .2 .3 .4 .1 .4", "yolo"),
        ("10 20 30 20 30 28 10 28 car", "dota"),
        ("10 20 30 20 30 28 10 28 car 1", "dota"),
        ("imagesource:GoogleEarth", "dota"),
        ("gsd:0.1", "dota"),
    ],
)
def test_the_format_is_told_by_the_first_line(tmp_path: Path, line: str, wanted: str) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.txt").write_text("\n")
    (tmp_path / "classes.txt").write_text("car\ntruck\n")
    (tmp_path / "d.txt").write_text(f"\n{line}\n")
    assert tell_format(tmp_path) == wanted


@pytest.mark.parametrize(
    "line",
    [
        "10 20 30 20 30 28 10 28 0",  # DOTA with a number for a class, or YOLO in pixels
        "10 20 30 20 30 28 10 28 0 1",
        "0 .1 .2 .3 .2 .3 .4 .1 .4 .97",  # YOLO predictions, with a score
    ],
)
def test_a_line_that_could_be_either_asks_for_the_format(tmp_path: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"a\.txt could be YOLO or DOTA, .*input\.label_format"):
        open_text(tmp_path, line, label_names=("car",))


def test_a_declared_format_is_not_guessed(tmp_path: Path) -> None:
    line = "10 20 30 20 30 28 10 28 0 1\n"
    options = {"label_format": "dota", "label_classes": {"0": "bus"}}
    assert around(open_text(tmp_path, line, **options)).classes.tolist() == [2]


def test_a_folder_of_other_texts_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.txt in .* is YOLO .*begins with 'hello you'"):
        open_text(tmp_path, "hello you\n")


def test_a_folder_without_an_object_asks_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds an object.*set input\.label_format to yolo"):
        open_text(tmp_path, "")
    assert around(open_text(tmp_path, "", label_format="dota")).corners.shape == (0, 4, 2)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.txt is no text"):
        open_labels(InputConfig(labels=tmp_path), NAMES)


def test_corners_lie_on_the_grid_that_makes_centres_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [" ".join(f"{x:.7f}" for x in rng.uniform(5, 500, 8)) + " car 0" for _ in range(50)]
    corners = around(open_text(tmp_path, "\n".join(rows))).corners.astype(np.float64)
    assert np.array_equal(corners * 256, np.rint(corners * 256))
