"""Publishing: whole files of this attempt become the output, and nothing else stays."""

import pytest
from made_rows import make_scene
from upath import UPath

from pipeline.publish import publish_rasters, tidy
from transforms.storage import find_files, is_local
from transforms.workplace import Workplace

SCENE = make_scene()


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    output = tmp_path / "run" if request.param == "folder" else f"memory://{tmp_path.name}/run"
    return Workplace.of(UPath(output), attempt="one", settings="abc")


def write(*paths):
    for path in paths:
        if is_local(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content")


def names(folder):
    return [path.name for path in find_files(folder, "*")]


def test_half_an_item_is_not_published(place):
    staged = place.staged / "mosaics"
    whole = ("a.tif.deblurred.tif", "a.tif.item.json", "a.tif.status.tif")
    write(*(staged / name for name in whole), staged / ".4f2a.json")
    assert publish_rasters(place) == {"a.tif"}
    assert names(place.output / "mosaics") == list(whole)


def test_what_is_kept_of_the_runs_scenes_alone_outlives_it(place):
    ours, other = place.unit_folder(SCENE), place.units / "b.tif~77"
    write(ours / "0_0.unit", ours / "0_0.tif")
    write(other / "0_0.unit", place.staged / "tiles" / "part-0.parquet")
    write(place.output / "mosaics" / "a.tif.item.json")
    if is_local(place.output):
        write(ours / ".4f2a.unit", ours / ".4f2a.tif", place.output / "mosaics" / ".4f2a.json")
    tidy(place, [SCENE])
    assert [path.name for path in find_files(place.output, "**/*") if path.is_file()] == [
        "0_0.unit",
        "a.tif.item.json",
    ]
