"""Listing: paths, globs and URLs, on disk and on a real S3-protocol server."""

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import Store
from web_server import serving

from transforms import listing
from transforms.hrefs import SourceError
from transforms.listing import list_paths, read_bytes

ODD = ("b c.tif", "ü.tif", "#1.tif", "q?.tif", "x[1].tif", "100%.tif")
"""Names that globs, URLs and shells take for something else."""


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def put(store: Store, *keys: str) -> None:
    for key in keys:
        store.put(quote(key), key.encode())


def test_a_glob_lists_files_and_no_folders(tmp_path: Path) -> None:
    touch(tmp_path, "b.tif", "a.tif", "c.txt", "folder.tif/d.png")
    assert list_paths(f"{tmp_path}/*.tif") == [f"{tmp_path}/a.tif", f"{tmp_path}/b.tif"]


def test_two_stars_search_all_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a.tif", "one/b.tif", "one/two/c.tif")
    assert len(list_paths(f"{tmp_path}/**/*.tif")) == 3


def test_a_plain_path_stays_though_nothing_is_there() -> None:
    assert list_paths("folder/./missing.tif") == ["folder/missing.tif"]
    assert list_paths("s3://maps//a b#.tif") == ["s3://maps//a b#.tif"]
    assert list_paths("https://a.b/c.tif?x=[1]*") == ["https://a.b/c.tif?x=[1]*"]


def test_a_scheme_is_written_small() -> None:
    assert list_paths("S3://Maps/A.tif") == ["s3://Maps/A.tif"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("none/*.jp2", r"no file matches 'none/\*\.jp2'"),
        ("https://host/*.tif", "nothing can be listed over https: name each file, in a list"),
        ("ftp://host/a.tif", "must be a local path or a URL of s3, gs, az, https"),
        ("file:///maps/a.tif", "write the path without file://"),
        ("/vsis3/maps/a.tif", "write the URL, such as s3://"),
        ("s3://maps-*/a.tif", "the bucket cannot be a pattern"),
        ("gs://maps/*.tif", r"pip install 'aerial-deblur\[gs\]'"),
        ("az://maps/*.tif", r"pip install 'aerial-deblur\[az\]'"),
    ],
)
def test_what_cannot_be_listed_is_said(pattern: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        list_paths(pattern)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    touch(tmp_path, *ODD)
    assert list_paths(f"{tmp_path}/{name}") == [f"{tmp_path}/{name}"]
    assert list_paths(name, folder=str(tmp_path)) == [f"{tmp_path}/{name}"]


def test_a_folder_with_brackets_holds_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "night[1]/a.tif", "night1/b.tif")
    folder = str(tmp_path / "night[1]")
    assert list_paths("*.tif", folder=folder) == [f"{folder}/a.tif"]
    assert list_paths("../night1/*.tif", folder=folder) == [f"{tmp_path}/night1/b.tif"]
    assert list_paths(f"{tmp_path}/night1/*", folder=folder) == [f"{tmp_path}/night1/b.tif"]


@given(names=st.sets(st.sampled_from(["a.tif", "b/a.tif", "b/c/x y.tif", *ODD])))
def test_all_files_are_listed_in_order(names: set[str], tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("listed")
    touch(folder, *names)
    found = list_paths(f"{folder}/**") if names else []
    assert found == sorted(f"{folder}/{name}" for name in names)


def test_a_store_is_listed(store: Store) -> None:
    put(store, "a.tif", "day/b.tif", "day/deep/c.tif", "day/d.txt")
    assert list_paths(f"{store.url}/day/*.tif") == [f"{store.url}/day/b.tif"]
    found = list_paths(f"{store.url}/**/*.tif")
    assert found == [f"{store.url}/{key}" for key in ("a.tif", "day/b.tif", "day/deep/c.tif")]


def test_odd_keys_are_keys(store: Store) -> None:
    put(store, *(f"day/{name}" for name in ODD))
    assert list_paths(f"{store.url}/day/*") == sorted(f"{store.url}/day/{name}" for name in ODD)
    for name in ODD:
        assert list_paths(f"{store.url}/day/{name}") == [f"{store.url}/day/{name}"]
        assert read_bytes(f"{store.url}/day/{name}") == f"day/{name}".encode()


def test_a_store_and_a_folder_match_the_same(store: Store, tmp_path: Path) -> None:
    names = ("a.tif", "b1.tif", "b2.tif", "deep/b3.tif", "deep/er/c.tif")
    put(store, *names)
    touch(tmp_path, *names)
    for pattern in ("*", "*.tif", "b?.tif", "[ab]*.tif", "**/*.tif", "deep/**/*.tif", "*/*.tif"):
        there = [path.removeprefix(store.url) for path in list_paths(f"{store.url}/{pattern}")]
        here = [path.removeprefix(str(tmp_path)) for path in list_paths(f"{tmp_path}/{pattern}")]
        assert there == here, pattern


def test_nothing_is_asked_where_there_is_no_glob(store: Store) -> None:
    store.take_requests()
    list_paths(f"{store.url}/a.tif")
    assert store.take_requests() == []


def test_a_listing_is_fresh(store: Store) -> None:
    put(store, "a.tif")
    assert len(list_paths(f"{store.url}/*.tif")) == 1
    put(store, "b.tif")
    assert len(list_paths(f"{store.url}/*.tif")) == 2


def test_a_bucket_that_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(SourceError, match="s3://no-such-bucket/ cannot be reached"):
        list_paths("s3://no-such-bucket/*.tif")
    with pytest.raises(SourceError, match="no file matches"):
        list_paths(f"{store.url}/*.tif")


def test_an_object_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(SourceError, match=f"{store.url}/none.txt cannot be reached"):
        read_bytes(f"{store.url}/none.txt")


def test_public_buckets_need_no_credentials(store: Store, monkeypatch) -> None:
    put(store, "a.tif")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    assert listing.open_bucket("s3", "maps").fs.anon
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "NO")
    assert not listing.open_bucket("s3", "maps").fs.anon


def test_files_are_read_from_everywhere(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"here")
    assert read_bytes(str(tmp_path / "a.txt")) == b"here"
    with serving() as site:
        site.pages["/a b.txt"] = b"there"
        assert read_bytes(f"{site.url}/a%20b.txt?key=1") == b"there"


def test_a_server_is_asked_again() -> None:
    with serving() as site:
        site.pages["/a.txt"] = lambda _: 503 if len(site.asked) < 3 else b"late"
        assert read_bytes(f"{site.url}/a.txt") == b"late"
        assert len(site.asked) == 3


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with serving() as site, pytest.raises(SourceError, match="cannot be read: 404"):
        read_bytes(f"{site.url}/a.txt")
    with pytest.raises(SourceError, match=r"a\.txt cannot be read: .*No such file"):
        read_bytes(os.path.join(tmp_path, "a.txt"))
