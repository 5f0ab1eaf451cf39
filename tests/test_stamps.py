"""Stamps: a changed file, object or page is another one, and what cannot be reached is unknown."""

import os
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from PIL import Image

from transforms.map_tiles import find_map_tiles
from transforms.stamps import stamp, stamp_beside


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def website(tmp_path):
    """Serve a folder and yield it with its URL."""
    folder = tmp_path / "www"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_is_known_by_size_and_time_of_change(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"1234")
    os.utime(path, ns=(7, 9))
    assert stamp(path) == stamp(str(path)) == (str(path), 4, 9)


def test_a_folder_is_known_by_all_files_below_it(tmp_path):
    (tmp_path / "17" / "3").mkdir(parents=True)
    tile = tmp_path / "17" / "3" / "5.png"
    tile.write_bytes(b"1234")
    os.utime(tile, ns=(7, 9))
    before = stamp(tmp_path)
    assert before[1] == 4
    os.utime(tmp_path, ns=(1, 1))
    assert stamp(tmp_path) == before
    os.utime(tile, ns=(7, 10))
    touched = stamp(tmp_path)
    tile.rename(tile.with_name("6.png"))
    assert len({before, touched, stamp(tmp_path)}) == 3


def test_map_tiles_are_known_by_the_tiles_of_their_level(tmp_path):
    tiles = [tmp_path / str(zoom) / "3" / "5.png" for zoom in (16, 17)]
    for tile in tiles:
        tile.parent.mkdir(parents=True)
        Image.new("RGB", (256, 256)).save(tile)
        os.utime(tile, ns=(7, 9))
    path = find_map_tiles(str(tmp_path), zoom=17, scheme="xyz")
    before = stamp(path)
    assert before[:2] == (path, tiles[1].stat().st_size)
    os.utime(tiles[0], ns=(7, 10))
    assert stamp(path) == before
    os.utime(tiles[1], ns=(7, 10))
    assert stamp(path) != before


def test_an_object_is_known_by_size_and_etag(store):
    url = store.put("in/a.tif", b"1234")
    assert stamp(url) == (url, 4, "81dc9bdb52d04dc20036dbd8313ed055")  # the MD5 of 1234
    store.put("in/a.tif", b"1235")
    assert stamp(url)[1:] == (4, "9996535e07258a7bbfd8b132435c5962")


def test_a_page_is_known_by_what_its_server_says(website):
    folder, url = website
    (folder / "a.tif").write_bytes(b"1234")
    os.utime(folder / "a.tif", (1_700_000_000, 1_700_000_000))
    assert stamp(f"{url}/a.tif") == (f"{url}/a.tif", 4, "Tue, 14 Nov 2023 22:13:20 GMT")


def test_what_cannot_be_reached_is_unknown(tmp_path, store, website):
    _, url = website
    for path in (
        str(tmp_path / "none.tif"),
        f"{store.url}/none.tif",
        "s3://no-such-bucket-here/a.tif",
        f"{url}/none.tif",
        "http://127.0.0.1:9/a.tif",
        "strange://where/a.tif",
    ):
        assert stamp(path) == (path, None, None)


def test_what_lies_beside_a_file_is_stamped_by_name_size_and_time(tmp_path):
    scene, side, far = str(tmp_path / "a.vrt"), tmp_path / "a.ovr", "/vsis3/bucket/b.tif"
    side.write_bytes(b"one")
    assert stamp_beside(scene, [scene]) is None
    first = stamp_beside(scene, [scene, str(side), far])
    assert stamp_beside(scene, [far, str(side), scene]) == first
    assert stamp_beside(scene, [scene, str(side)]) != first
    side.write_bytes(b"other")
    assert stamp_beside(scene, [scene, str(side), far]) != first
