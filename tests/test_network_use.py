"""What GDAL reads over the network is counted, as the server's own log has it."""

import subprocess
import sys
from pathlib import Path

import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scenes import textured, write_picture

from transforms import network_use
from transforms.gdal import gdal_settings, open_dataset
from transforms.network_use import NetworkUse, take_network_use

ROOT = Path(__file__).resolve().parents[1]


def read_corner(path: str, side: int) -> None:
    with rasterio.Env(**gdal_settings()), open_dataset(path) as dataset:
        dataset.read(window=((0, side), (0, side)))


def test_bytes_are_those_that_the_server_sent(store, tmp_path):
    url = store.put("a.tif", write_picture(tmp_path / "a.tif", textured(500, 500, seed=1)))
    take_network_use()
    for side in (100, 300, 500):
        read_corner(url, side)
        asked, use = store.take_requests(), take_network_use()
        assert use.known
        assert use.bytes == sum(one.sent for one in asked) > 0
        assert 1 <= use.requests <= len(asked)


def test_ranges_fetched_at_the_same_time_are_one_request(store, tmp_path):
    path = write_picture(tmp_path / "a.tif", textured(512, 512, seed=1), compress=None)
    url = store.put("a.tif", path)
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        take_network_use()
        store.take_requests()
        # Two rows of blocks, of which only the left half is wanted: two ranges.
        dataset.read(window=((0, 256), (0, 256)))
        assert len(store.take_requests()) == 2
        assert take_network_use().requests == 1


def test_questions_that_fail_are_counted_too(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.1")
    url = store.put("a.tif", write_picture(tmp_path / "a.tif", textured(64, 64, seed=1)))
    store.fail("a.tif", times=2, status=503)
    take_network_use()
    read_corner(url, 64)
    assert take_network_use().requests == len(store.take_requests()) >= 4


def test_local_files_cost_nothing(tmp_path):
    path = write_picture(tmp_path / "a.tif", textured(64, 64, seed=1))
    take_network_use()
    read_corner(str(path), 64)
    assert take_network_use() == NetworkUse(0, 0, known=True)


def test_what_was_taken_is_not_counted_again(store, tmp_path):
    url = store.put("a.tif", write_picture(tmp_path / "a.tif", textured(64, 64, seed=1)))
    read_corner(url, 64)
    assert take_network_use().requests > 0
    assert take_network_use() == NetworkUse()


def test_without_the_function_nothing_is_known_and_nothing_fails(monkeypatch):
    network_use._gdal.cache_clear()
    monkeypatch.setattr(network_use.rasterio._env, "__file__", "/no/such/library.so")
    assert take_network_use() == NetworkUse(0, 0, known=False)
    network_use._gdal.cache_clear()


def test_a_process_that_read_nothing_has_read_nothing():
    code = "from transforms.network_use import take_network_use; print(take_network_use())"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "NetworkUse(requests=0, bytes=0, known=True)"


counts = st.integers(0, 2**40)


@given(st.dictionaries(st.sampled_from(["GET", "HEAD", "PUT"]), st.tuples(counts, counts)))
def test_methods_are_summed(methods):
    import json

    report = {
        "methods": {
            name: {"count": number} | ({"downloaded_bytes": size} if name == "GET" else {})
            for name, (number, size) in methods.items()
        }
    }
    use = network_use._to_use(json.dumps(report).encode())
    assert use.requests == sum(number for number, _ in methods.values())
    assert use.bytes == methods.get("GET", (0, 0))[1]
