"""Hrefs: what a document may name, from where, and what it must not."""

import os
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.hrefs import SourceError, resolve_href, scheme_of

ITEM = "https://host/maps/items/a.json"
OBJECT = "s3://maps/items/a.json"
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cc", "Cs"]),
    min_size=1,
).filter(lambda name: name not in (".", ".."))


@pytest.fixture
def item(tmp_path: Path) -> str:
    """The path of an item, with a file beside, one below and one outside of its folder."""
    for name in ("items/a.tif", "items/deep/b.tif", "outside/c.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return str(tmp_path / "items" / "a.json")


@pytest.mark.parametrize(
    ("href", "base", "meant"),
    [
        ("a.tif", ITEM, "https://host/maps/items/a.tif"),
        ("./deep/../a.tif", ITEM, "https://host/maps/items/a.tif"),
        ("a.tif?key=1/../2", ITEM, "https://host/maps/items/a.tif?key=1/../2"),
        ("ä b.tif", ITEM, "https://host/maps/items/%C3%A4%20b.tif"),
        ("%C3%A4%20b.tif", ITEM, "https://host/maps/items/%C3%A4%20b.tif"),
        ("https://other.org/x.tif?sig=%2B", ITEM, "https://other.org/x.tif?sig=%2B"),
        ("HTTPS://other.org/x.tif", ITEM, "https://other.org/x.tif"),
        ("gs://bucket/x.tif", OBJECT, "gs://bucket/x.tif"),
        ("az://box/x.tif", ITEM, "az://box/x.tif"),
        ("./deep/ü #1?.tif", OBJECT, "s3://maps/items/deep/ü #1?.tif"),
        ("day:1.tif", OBJECT, "s3://maps/items/day:1.tif"),
        ("http://host:80/x.tif", "http://host:80/a.json", "http://host:80/x.tif"),
    ],
)
def test_a_remote_document_names_urls(href: str, base: str, meant: str) -> None:
    assert resolve_href(href, base=base) == meant


@pytest.mark.parametrize(
    ("href", "base", "why"),
    [
        ("/etc/passwd", ITEM, "must not name a local path"),
        ("/vsicurl/https://host/x.tif", OBJECT, "must not name a local path"),
        ("file:///etc/passwd", ITEM, "must not name a local file"),
        ("FILE:///etc/passwd", OBJECT, "must not name a local file"),
        ("../x.tif", ITEM, "leaves the folder.*allow https://host/maps/ with input.roots"),
        ("deep/../../x.tif", OBJECT, "leaves the folder.*allow s3://maps/ with input.roots"),
        ("../../../../x.tif", OBJECT, "leaves the folder"),
        ("s3://maps/../../x.tif", ITEM, r"holds `\.\.`"),
        ("http://host/x.tif", ITEM, "not encrypted"),
        ("http://other/x.tif", "http://host/a.json", "not encrypted"),
        ("http://host:81/x.tif", "http://host/a.json", "not encrypted"),
        ("ftp://host/x.tif", ITEM, "must be a URL of s3, gs, az, https"),
        ("vrt:///etc/x.vrt", ITEM, "must be a URL of"),
        ("", ITEM, "empty"),
        ("a\n.tif", ITEM, "control characters"),
        ("a\0.tif", OBJECT, "control characters"),
        ("a\x9b.tif", OBJECT, "control characters"),
        ("\ud800.tif", ITEM, "control characters"),
    ],
)
def test_a_remote_document_names_nothing_else(href: str, base: str, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        resolve_href(href, base=base)


def test_a_file_names_what_lies_beside_and_below_it(item: str) -> None:
    folder = os.path.dirname(item)
    assert resolve_href("./a.tif", base=item) == f"{folder}/a.tif"
    assert resolve_href("deep/b.tif", base=item) == f"{folder}/deep/b.tif"
    assert resolve_href(f"{folder}/a.tif", base=item) == f"{folder}/a.tif"
    assert resolve_href(Path(folder, "a.tif").as_uri(), base=item) == f"{folder}/a.tif"
    assert resolve_href("s3://maps/x.tif", base=item) == "s3://maps/x.tif"


def test_a_relative_base_is_made_absolute(item: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a name such as GTIFF_DIR:1:/etc/x.tif would reach GDAL as it stands."""
    monkeypatch.chdir(os.path.dirname(item))
    found = resolve_href("GTIFF_DIR:1:/etc/x.tif", base="a.json")
    assert found == f"{os.path.dirname(item)}/GTIFF_DIR:1:/etc/x.tif"


@pytest.mark.parametrize(
    "href", ["../outside/c.tif", "/etc/passwd", "file:///etc/passwd", "deep/../../outside/c.tif"]
)
def test_a_file_names_nothing_outside_of_its_folder(item: str, href: str) -> None:
    with pytest.raises(SourceError, match=r"lies outside the folder of .*input\.roots"):
        resolve_href(href, base=item)


def test_a_link_leads_nowhere_else(item: str) -> None:
    os.symlink("../outside", Path(item).parent / "link")
    with pytest.raises(SourceError, match="lies outside"):
        resolve_href("link/c.tif", base=item)


def test_roots_open_other_folders(item: str) -> None:
    outside = str(Path(item).parent.parent / "outside")
    assert resolve_href("../outside/c.tif", base=item, roots=[outside]) == f"{outside}/c.tif"
    with pytest.raises(SourceError):
        resolve_href("../outside2/c.tif", base=item, roots=[outside])
    assert resolve_href("../x.tif", base=OBJECT, roots=["s3://maps"]) == "s3://maps/x.tif"
    with pytest.raises(SourceError):
        resolve_href("../x.tif", base=OBJECT, roots=["s3://map"])


def test_names_of_gdal_and_of_other_machines_are_refused(item: str) -> None:
    with pytest.raises(SourceError, match="name of GDAL's"):
        resolve_href("/vsizip/a.zip/a.tif", base=item)
    with pytest.raises(SourceError, match="another machine"):
        resolve_href("file://server/share/a.tif", base=item)


def test_a_quoted_name_means_the_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "ä b.tif").touch()
    (tmp_path / "50%25.tif").touch()
    base = str(tmp_path / "a.json")
    assert resolve_href("%C3%A4%20b.tif", base=base) == str(tmp_path / "ä b.tif")
    assert resolve_href("50%25.tif", base=base) == str(tmp_path / "50%25.tif")


@given(folders=st.lists(NAMES, max_size=3), name=NAMES)
def test_every_key_below_the_folder_can_be_named(folders: list[str], name: str) -> None:
    key = "/".join([*folders, name])
    assert resolve_href(f"./{key}", base=OBJECT) == f"s3://maps/items/{key}"


@given(st.lists(st.sampled_from(["..", ".", "a", "b c", "ä"]), min_size=1, max_size=6))
def test_no_path_leaves_the_folder_and_all_others_mean_what_urls_mean(parts: list[str]) -> None:
    href = "/".join([*parts, "x.tif"])
    meant = urljoin("http://maps/items/a.json", href).replace("http", "s3")
    try:
        assert resolve_href(href, base=OBJECT) == meant
    except SourceError:
        assert not meant.startswith("s3://maps/items/")


@given(NAMES)
def test_a_name_without_slashes_has_no_scheme(name: str) -> None:
    assert scheme_of(name) == ""
