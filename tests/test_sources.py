"""Sources: what a config names, each once, under a name of its own."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import Store
from web_server import serving

from configs.schema import InputConfig, StacConfig
from transforms.records import Rejected, Source
from transforms.sources import list_sources, make_unique, name_scenes

PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c:d", "ü", "..", "x~2"]), min_size=1, max_size=4).map(
        lambda parts: "/".join([*parts, "x.tif"])
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def sources_of(*scenes: str, **settings: Any) -> list[Source]:
    sources, rejected = list_sources(InputConfig(scenes=scenes, **settings))
    assert rejected == []
    return sources


def names(sources: Sequence[Source]) -> list[str]:
    return [source.name for source in sources]


def write_item(path: Path, name: str, href: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "type": "Feature",
        "id": name,
        "properties": {"datetime": "2026-05-01T12:00:00Z", "proj:code": "EPSG:32632"},
        "assets": {"visual": {"href": href}},
    }
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        ([], []),
        (["/x/a.tif"], ["a.tif"]),
        (["/x/1/a.tif", "/x/2/a.tif", "/x/2/b.tif"], ["1/a.tif", "2/a.tif", "b.tif"]),
        (["/x/a.tif", "/x/y/a.tif"], ["a.tif", "y/a.tif"]),
        (["day:1.tif"], ["day_1.tif"]),
        (["day:1.tif", "day_1.tif"], ["day_1.tif", "day_1.tif~2"]),
        (["s3://one/a.tif", "s3://two/a.tif"], ["one/a.tif", "two/a.tif"]),
        (["a/x.tif", "ab/x.tif"], ["a/x.tif", "ab/x.tif"]),
        (["/a/x.tif", "s3://b/x.tif"], ["a/x.tif", "s3_/b/x.tif"]),
        (["../x/a.tif", "y/a.tif"], ["x/a.tif", "y/a.tif"]),
        (["https://host/a.tif?sig=secret"], ["a.tif"]),
        (["s3://maps/a?b.tif"], ["a?b.tif"]),
    ],
)
def test_names_are_short_and_unique(paths: list[str], wanted: list[str]) -> None:
    assert name_scenes(paths) == wanted


@given(PATHS)
def test_names_are_safe_and_unique(paths: list[str]) -> None:
    found = name_scenes(paths)
    assert len(set(found)) == len(found) == len(paths)
    for name in found:
        assert ":" not in name
        assert os.path.normpath(name) == name
        assert not name.startswith(("/", ".."))


@given(st.lists(st.text(max_size=3)))
def test_any_text_becomes_a_name(wanted: list[str]) -> None:
    found = make_unique(wanted)
    assert len(set(found)) == len(found) == len(wanted)
    assert all(
        name and ":" not in name and name.isprintable() == name.isprintable() for name in found
    )


def test_scenes_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    touch(tmp_path, "b.tif", "a.tif", "c.png")
    found = sources_of(f"{tmp_path}/*.tif", f"{tmp_path}/./a.tif", f"{tmp_path}/missing.tif")
    assert names(found) == ["a.tif", "b.tif", "missing.tif"]
    assert found[0] == Source("a.tif", f"{tmp_path}/a.tif")


def test_a_file_by_two_paths_is_one_scene(tmp_path: Path, monkeypatch) -> None:
    touch(tmp_path, "a.tif")
    monkeypatch.chdir(tmp_path)
    assert len(sources_of("a.tif", f"{tmp_path}/a.tif", "./*.tif")) == 1


def test_nothing_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"input\.scenes is empty: name at least one"):
        list_sources(InputConfig())


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("*.jp2", "no file matches"),
        ("none.txt", "cannot be read"),
        ("none*.csv", "no file matches"),
        ("https://host/*.tif", "nothing can be listed over https"),
        ("gs://maps/*.tif", r"pip install 'aerial-deblur\[gs\]'"),
    ],
)
def test_what_concerns_all_scenes_stops_the_run(tmp_path: Path, pattern: str, why: str) -> None:
    touch(tmp_path, "a.tif")
    place = pattern if "://" in pattern else f"{tmp_path}/{pattern}"
    with pytest.raises(ValueError, match=rf"input\.scenes: .*{why}"):
        list_sources(InputConfig(scenes=(f"{tmp_path}/a.tif", place)))


def test_a_list_is_relative_to_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "night[1]/a.tif", "night[1]/b.tif", "day/ü #?.tif")
    lines = ["*.tif", "../day/ü #?.tif", "# c.tif", "", "s3://maps/d.tif", f"{tmp_path}/day/*.tif"]
    (tmp_path / "night[1]" / "list.txt").write_text("\n".join(lines))
    found = sources_of(f"{tmp_path}/night[1]/list.txt")
    assert [source.path for source in found] == [
        f"{tmp_path}/day/ü #?.tif",
        f"{tmp_path}/night[1]/a.tif",
        f"{tmp_path}/night[1]/b.tif",
        "s3://maps/d.tif",
    ]


def test_a_bad_row_costs_no_other(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif")
    (tmp_path / "list.txt").write_text("a.tif\n*.jp2\nother.csv\nftp://host/x.tif\nmissing.tif\n")
    sources, rejected = list_sources(InputConfig(scenes=(f"{tmp_path}/list.txt",)))
    assert names(sources) == ["a.tif", "missing.tif"]
    assert [one.key for one in rejected] == ["list.txt row 2", "list.txt row 3", "list.txt row 4"]
    assert rejected[0] == Rejected(
        "list.txt row 2",
        "list.txt row 2",
        "open",
        "SourceError",
        f"{tmp_path}/list.txt, row 2: no file matches '*.jp2'",
    )
    assert "a list cannot name another one" in rejected[1].message


def test_an_index_names_its_scenes(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "b.tif", "c1.tif", "c2.tif")
    (tmp_path / "scenes.csv").write_text(
        "location,name,crs,time\n"
        "a.tif,night:1,EPSG:32632,2026-05-01T12:00:00Z\n"
        "b.tif,,,\n"
        "c?.tif,many,25832,\n"
        ",lost,,\n"
    )
    sources, rejected = list_sources(InputConfig(scenes=(f"{tmp_path}/scenes.csv",)))
    assert names(sources) == ["night_1", "b.tif", "many", "many~2"]
    assert sources[0].crs == "EPSG:32632"
    assert sources[0].time == "2026-05-01T12:00:00Z"
    assert (sources[1].crs, sources[1].time, sources[1].item) == (None, None, None)
    assert [one.key for one in rejected] == ["lost"]


def test_a_name_that_is_not_utf8_is_a_reject(tmp_path: Path) -> None:
    """No table could hold it, and the run would end when it writes."""
    touch(tmp_path, "a.tif")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xfcnchen.tif")).touch()
    sources, [rejected] = list_sources(InputConfig(scenes=(f"{tmp_path}/*.tif",)))
    assert names(sources) == ["a.tif"]
    assert rejected.key == "m\\udcfcnchen.tif"
    assert rejected.message.endswith("m\\udcfcnchen.tif: the name is not UTF-8: rename the file")


def test_whoever_says_most_of_a_scene_counts(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif")
    item = write_item(tmp_path / "a.json", "night", "./a.tif")
    (tmp_path / "a.csv").write_text("location,name\na.tif,evening\n")
    [source] = sources_of(f"{tmp_path}/*.tif", f"{tmp_path}/a.csv", stac=StacConfig(source=item))
    assert source == Source(
        "night", f"{tmp_path}/a.tif", "EPSG:32632", "2026-05-01T12:00:00Z", item
    )


def test_items_that_share_a_name_are_told_apart(tmp_path: Path) -> None:
    features = [
        json.loads(Path(write_item(tmp_path / "x.json", "../tile", f"{number}.tif")).read_text())
        for number in (2, 1)
    ] + [{"id": "tile"}]
    items = tmp_path / "items.json"
    items.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    sources, rejected = list_sources(InputConfig(stac=StacConfig(source=str(items))))
    assert [(one.name, os.path.basename(one.path)) for one in sources] == [
        ("tile", "1.tif"),
        ("tile~2", "2.tif"),
    ]
    assert [one.key for one in rejected] == ["tile~3"]


def test_roots_open_other_folders_for_items(tmp_path: Path) -> None:
    item = write_item(tmp_path / "items" / "a.json", "a", "../pictures/a.tif")
    closed, refused = list_sources(InputConfig(stac=StacConfig(source=item)))
    assert (closed, refused[0].key) == ([], "a")
    assert "allow its folder with input.roots" in refused[0].message
    opened = sources_of(stac=StacConfig(source=item), roots=(f"{tmp_path}/pictures",))
    assert [source.path for source in opened] == [f"{tmp_path}/pictures/a.tif"]


def test_a_folder_of_map_tiles_is_one_scene(tmp_path: Path) -> None:
    touch(tmp_path, "maps/3/4/5.png", "maps/4/8/11.png")
    (tmp_path / "list.txt").write_text("maps\n")
    [source] = sources_of(f"{tmp_path}/maps/", f"{tmp_path}/list.txt")
    assert source.name == "maps"
    assert source.path != f"{tmp_path}/maps"
    assert source != sources_of(f"{tmp_path}/maps", zoom=3)[0]


def test_a_zoom_that_is_not_there_is_an_error_or_a_bad_row(tmp_path: Path) -> None:
    touch(tmp_path, "maps/3/4/5.png", "a.tif")
    with pytest.raises(ValueError, match=r"input\.scenes: .*17"):
        list_sources(InputConfig(scenes=(f"{tmp_path}/maps",), zoom=17))
    (tmp_path / "list.txt").write_text("maps\na.tif\n")
    sources, rejected = list_sources(InputConfig(scenes=(f"{tmp_path}/list.txt",), zoom=17))
    assert names(sources) == ["a.tif"]
    assert rejected[0].key == "list.txt row 1"


def test_any_other_folder_is_left_to_fail_when_it_is_opened(tmp_path: Path) -> None:
    touch(tmp_path, "maps/a.tif")
    assert sources_of(f"{tmp_path}/maps") == [Source("maps", f"{tmp_path}/maps")]


def test_a_store_gives_scenes_and_lists(store: Store) -> None:
    for key in ("day/a.tif", "day/b.tif", "night/c.tif"):
        store.put(key, b"")
    store.put("day/list.txt", b"*.tif\n../night/c.tif\n/etc/passwd\nfile:///etc/passwd\n")
    assert names(sources_of(f"{store.url}/**/*.tif")) == ["a.tif", "b.tif", "c.tif"]
    config = InputConfig(scenes=(f"{store.url}/day/list.txt",))
    sources, rejected = list_sources(config)
    assert [source.path for source in sources] == [
        f"{store.url}/day/a.tif",
        f"{store.url}/day/b.tif",
    ]
    assert len(rejected) == 3
    wider, rejected = list_sources(config.model_copy(update={"roots": (store.url,)}))
    assert names(wider) == ["a.tif", "b.tif", "c.tif"]
    assert len(rejected) == 2


def test_a_list_on_a_server_names_what_is_beside_it() -> None:
    with serving() as site:
        site.pages["/maps/list.txt"] = b"a b.tif\ndeep/*.tif\n/etc/passwd\n"
        sources, rejected = list_sources(InputConfig(scenes=(f"{site.url}/maps/list.txt?key=1",)))
    assert [source.path for source in sources] == [f"{site.url}/maps/a%20b.tif"]
    assert [one.key for one in rejected] == ["list.txt row 2", "list.txt row 3"]


@given(st.permutations(["*.tif", "deep/*", "list.txt", "scenes.csv", "*.png"]))
def test_the_order_of_patterns_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, patterns: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "same"
    if not folder.exists():
        touch(folder, "a.tif", "b.tif", "c.png", "deep/a.tif", "deep/d:e.png")
        (folder / "list.txt").write_text("a.tif\nb.tif\n*.jp2\n")
        (folder / "scenes.csv").write_text("location,name\na.tif,night\ndeep/a.tif,night\n,x\n")
    in_order = ("*.png", "*.tif", "deep/*", "list.txt", "scenes.csv")
    wanted, found = (
        list_sources(InputConfig(scenes=tuple(f"{folder}/{pattern}" for pattern in chosen)))
        for chosen in (in_order, patterns)
    )
    assert found == wanted
    everything = [one.name for one in found[0]] + [one.key for one in found[1]]
    assert len(set(everything)) == len(everything) == 7
