"""Progress: what is settled is counted from the files of the output."""

import io

import pytest
from rich.console import Console
from upath import UPath

from pipeline.progress import ProgressBar, Tallier, Tally
from transforms.functional.windows import Rectangle
from transforms.records import Blur, Rejected, Scene, TileRow, Window
from transforms.units import Keeper
from transforms.workplace import Workplace

SCENE = Scene("a.tif", "in/a.tif", 100, 250, (1, 2, 3), "uint8", None, (1, 0, 0, 0, -1, 0))
CORES = [Rectangle(0, 0, 100, 100), Rectangle(100, 0, 100, 100), Rectangle(200, 0, 50, 100)]
BLURS = (None, Blur(7.0, 30.0))
WINDOWS = [Window(SCENE, core, core, blur) for blur in BLURS for core in CORES]


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    output = tmp_path / "run" if request.param == "folder" else f"memory://{tmp_path.name}/run"
    return Workplace.of(UPath(output), attempt="second", settings="abc")


def test_nothing_is_settled_before_anything_is_written(place):
    assert Tallier(place, WINDOWS).read() == Tally()


def test_finished_windows_count_with_their_pixels_and_rejects_without(place):
    keeper, tallier = Keeper(place), Tallier(place, WINDOWS)
    for window in WINDOWS[1:4]:
        keeper.keep(TileRow.empty(window, "none"))
    keeper.keep(Rejected(WINDOWS[0].key, "a.tif", "read", "RasterioIOError", "no"))
    assert tallier.read() == Tally(windows=4, pixels=100 * (100 + 50 + 100), rejected=1)


def test_another_attempts_rejects_and_other_jobs_do_not_count(place):
    first = Workplace.of(place.output, attempt="first", settings="abc")
    Keeper(first).keep(Rejected(WINDOWS[0].key, "a.tif", "read", "RasterioIOError", "no"))
    Keeper(first).keep(TileRow.empty(WINDOWS[1], "none"))
    other = Workplace.of(place.output, attempt="second", settings="other settings")
    Keeper(other).keep(TileRow.empty(WINDOWS[2], "none"))
    assert Tallier(place, WINDOWS).read() == Tally(windows=1, pixels=100 * 100)


def test_files_that_no_window_has_do_not_count(place):
    folder, other = place.unit_folder(SCENE), place.units / "b.tif~77"
    strange = [folder / name for name in ("0_0.tif", "7_7.unit", ".a1b2.unit")]
    for path in (*strange, other / "0_0.unit", place.rejects / ".a1b2.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert Tallier(place, WINDOWS).read() == Tally()


def test_the_bar_counts_scenes_that_were_never_opened_as_rejects():
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with ProgressBar(console, planned=8, unopened=2) as bar:
        bar.show(Tally(windows=1, pixels=100, rejected=1))
        bar.show(Tally(windows=6, pixels=500, rejected=1))
    shown = console.file.getvalue()
    assert "8/8" in shown
    assert "rejects 3" in shown
