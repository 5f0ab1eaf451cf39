"""Keeping and finding finished windows."""

import dataclasses

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from made_rows import make_scene
from upath import UPath

from transforms import units
from transforms.functional.windows import Rectangle
from transforms.records import Rejected, TileRow, Window
from transforms.unit_files import seal
from transforms.units import FINISHED, MISSING, Keeper, KeepUnits, resume
from transforms.workplace import Workplace

SCENE = make_scene()
WINDOWS = [
    Window(SCENE, core, core, None) for core in (Rectangle(col, 0, 64, 64) for col in (0, 64, 128))
]


@pytest.fixture
def keeper(tmp_path):
    return Keeper(Workplace.of(UPath(tmp_path / "run"), attempt="one", settings="abc"))


def find(keeper, window):
    return keeper.find(window, keeper.list_kept(window.scene))


def row_of(window, **values):
    return dataclasses.replace(TileRow.empty(window, "none"), **values)


def test_what_was_kept_is_found_and_nothing_else(keeper):
    keeper.keep(row_of(WINDOWS[0]))
    found = find(keeper, WINDOWS[0])
    assert isinstance(found, TileRow)
    assert found.window == WINDOWS[0]
    assert find(keeper, WINDOWS[1]) is None


def test_a_reject_is_noted_and_tried_again(keeper):
    keeper.keep(Rejected(WINDOWS[0].key, "a.tif", "read", "RasterioIOError", "no"))
    assert keeper.place.reject_path(WINDOWS[0].key).is_file()
    assert find(keeper, WINDOWS[0]) is None


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b""])
def test_a_damaged_file_is_done_again_and_said(keeper, damage, caplog):
    keeper.keep(row_of(WINDOWS[0]))
    path = keeper.place.unit_path(WINDOWS[0])
    path.write_bytes(damage(path.read_bytes()))
    assert find(keeper, WINDOWS[0]) is None
    assert WINDOWS[0].key in caplog.text


def test_a_file_that_cannot_be_read_is_an_error(keeper):
    keeper.keep(row_of(WINDOWS[0]))
    path = keeper.place.unit_path(WINDOWS[0])
    path.unlink()
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        find(keeper, WINDOWS[0])


def test_a_mosaic_needs_the_core_unless_it_is_there_or_the_input_was_kept(keeper):
    keeper = dataclasses.replace(keeper, cores=True)
    deblurred = row_of(WINDOWS[0], status="measured", owned=np.zeros(0, np.bool_))
    keeper.keep(deblurred)
    assert find(keeper, WINDOWS[0]) is None
    assembled = dataclasses.replace(keeper, assembled=frozenset({SCENE.name}))
    assert find(assembled, WINDOWS[0]) is not None
    core = keeper.place.core_path(SCENE, WINDOWS[0].core)
    core.write_bytes(seal(b"pixels"))
    assert find(keeper, WINDOWS[0]) is not None
    for damaged in (b"", b"pixels", seal(b"pixels")[:-1], seal(b"pixels").replace(b"x", b"y")):
        core.write_bytes(damaged)
        assert find(keeper, WINDOWS[0]) is None
    for window, reason in zip(WINDOWS[1:], ({"skipped": True}, {"fallback": "flat"}), strict=True):
        keeper.keep(row_of(window, status="measured", **reason))
        assert find(keeper, window) is not None


def test_what_is_kept_of_a_scene_is_listed_once_though_windows_come_mixed(keeper, monkeypatch):
    listed = []
    monkeypatch.setattr(units, "names_in", lambda folder: listed.append(folder) or [])
    other = dataclasses.replace(SCENE, name="other.tif")
    mixed = [dataclasses.replace(w, scene=scene) for w in WINDOWS for scene in (SCENE, other)]
    look = units._Look(keeper, None)
    look.setup()
    assert [look.process(window) for window in mixed] == [[window] for window in mixed]
    assert listed == [keeper.place.unit_folder(scene) for scene in (SCENE, other)]


def test_beam_parts_windows_and_keeps_results(keeper):
    keeper.keep(row_of(WINDOWS[1]))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        known = pipeline | beam.Create(WINDOWS) | resume(keeper)
        finished = known[FINISHED] | "KeysFinished" >> beam.Map(lambda row: row.window.key)
        assert_that(finished, equal_to([WINDOWS[1].key]), label="finished")
        kept = known[MISSING] | beam.Map(row_of) | KeepUnits(keeper)
        keys = kept | "KeysKept" >> beam.Map(lambda row: row.window.key)
        assert_that(keys, equal_to([WINDOWS[0].key, WINDOWS[2].key]), label="kept")
    assert all(find(keeper, window) is not None for window in WINDOWS)
