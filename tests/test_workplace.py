"""The workplace: every scene, window and attempt has names of its own."""

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from upath import UPath

from transforms.functional.windows import Rectangle
from transforms.records import Blur, Scene, Window
from transforms.workplace import LONGEST_NAME, Workplace, safe_name, window_name

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
LONG = st.text("ab/é", min_size=LONGEST_NAME - 5, max_size=LONGEST_NAME + 60)
SCENE = Scene("a.tif", "in/a.tif", 900, 900, (1, 2, 3), "uint8", "EPSG:32632", (1, 0, 0, 0, -1, 0))
CORE = Rectangle(256, 512, 256, 256)
PLACE = Workplace.of(UPath("out"), attempt="one", settings="abc")


@given(first=NAMES | LONG, second=NAMES | LONG)
def test_every_scene_has_a_file_name_of_its_own(first: str, second: str) -> None:
    assume(first != second)
    assert safe_name(first) != safe_name(second)


@given(name=NAMES | LONG)
def test_a_file_name_lies_in_its_folder_and_in_a_url(name: str) -> None:
    safe = safe_name(name)
    assert safe.isascii()
    assert set(safe) <= {*"~-_.", *map(chr, range(48, 58)), *map(chr, range(65, 91))} | {
        *map(chr, range(97, 123))
    }
    assert 0 < len(safe) <= LONGEST_NAME
    assert not safe.startswith(".")


@pytest.mark.parametrize(
    "change",
    [
        {"path": "elsewhere/a.tif"},
        {"size": 7},
        {"version": "7"},
        {"bands": (3, 2, 1)},
        {"crs": None},
        {"stretch": ((0.0, 1.0),) * 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_is_known_of_a_scene_decides_its_folder(change):
    other = dataclasses.replace(SCENE, **change)
    assert PLACE.unit_folder(other) != PLACE.unit_folder(SCENE)


def test_a_url_that_is_signed_anew_is_the_same_scene():
    signed = [
        dataclasses.replace(
            SCENE,
            path=f"https://host/a.tif?X-Amz-Signature={key}",
            item=f"https://host/a?sig={key}",
        )
        for key in ("0af3", "77b1")
    ]
    assert PLACE.unit_folder(signed[0]) == PLACE.unit_folder(signed[1])


def test_other_settings_have_other_folders_and_other_attempts_the_same():
    later = Workplace.of(PLACE.output, attempt="two", settings="abc")
    assert later.unit_folder(SCENE) == PLACE.unit_folder(SCENE)
    assert later.staged != PLACE.staged
    other = Workplace.of(PLACE.output, attempt="one", settings="abd")
    assert other.unit_folder(SCENE) != PLACE.unit_folder(SCENE)


def test_windows_of_a_scene_have_names_of_their_own():
    blurs = (None, Blur(7.0, 0.0), Blur(7.0, 30.0), Blur(7.5, 30.0), Blur(11.0, 0.0))
    cores = (CORE, dataclasses.replace(CORE, col_off=0), dataclasses.replace(CORE, row_off=0))
    names = [window_name(Window(SCENE, core, core, blur)) for core in cores for blur in blurs]
    assert len(set(names)) == len(names)
    assert names[0] == "256_512"


def test_an_open_workplace_writes_where_the_results_are_to_be():
    place = Workplace.open(UPath("out"))
    assert place.staged == place.output == UPath("out")
