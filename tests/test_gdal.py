"""GDAL's settings against a real server: endpoints, sidecars, retries, silence, changed files."""

import cv2
import numpy as np
import pytest
import rasterio
from scenes import write_picture

from transforms.gdal import GDAL, gdal_name, gdal_settings, open_dataset
from transforms.network import take_network_use


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def picture(store, tmp_path):
    """Return the URL of a tiled picture of 600 x 600 pixels and its pixels."""
    image = noise(600, 600)
    path = write_picture(tmp_path / "a.tif", image, tiled=True, blockxsize=256, blockysize=256)
    return store.put("in/a.tif", path), image


@pytest.fixture
def impatient(monkeypatch):
    """Wait a second for an answer and a moment before asking again."""
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.1")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")


def read(url: str) -> np.ndarray:
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        return np.moveaxis(dataset.read(), 0, -1)


@pytest.mark.parametrize(
    ("environment", "endpoint", "https"),
    [
        ({"AWS_ENDPOINT_URL": "http://minio:9000"}, "minio:9000", "NO"),
        ({"AWS_ENDPOINT_URL": "https://store.example/s3/"}, "store.example/s3", "YES"),
        ({"AWS_ENDPOINT_URL": "store.example"}, "store.example", "YES"),
        (
            {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_S3": "http://minio:9000"},
            "minio:9000",
            "NO",
        ),
    ],
)
def test_the_endpoint_of_botocore_is_translated(environment, endpoint, https):
    settings = gdal_settings(environment)
    assert (settings["AWS_S3_ENDPOINT"], settings["AWS_HTTPS"]) == (endpoint, https)
    assert settings["AWS_VIRTUAL_HOSTING"] == "FALSE"


@pytest.mark.parametrize(
    "environment",
    [{}, {"AWS_ENDPOINT_URL": ""}, {"AWS_ENDPOINT_URL": "http://a", "AWS_S3_ENDPOINT": "b"}],
)
def test_gdals_own_endpoint_is_left_alone(environment):
    assert gdal_settings(environment) == GDAL


def test_virtual_hosting_can_be_kept():
    environment = {"AWS_ENDPOINT_URL": "https://a", "AWS_VIRTUAL_HOSTING": "TRUE"}
    assert gdal_settings(environment)["AWS_VIRTUAL_HOSTING"] == "TRUE"


def test_retries_and_timeouts_can_be_set_in_the_environment_and_nothing_else():
    environment = {"GDAL_HTTP_MAX_RETRY": "9", "GDAL_VRT_ENABLE_PYTHON": "YES"}
    assert gdal_settings(environment) == GDAL | {"GDAL_HTTP_MAX_RETRY": "9"}


def test_names_of_stores_are_gdals():
    assert [gdal_name(f"{scheme}://b/a.tif") for scheme in ("s3", "gs", "az")] == [
        "/vsis3/b/a.tif",
        "/vsigs/b/a.tif",
        "/vsiaz/b/a.tif",
    ]


def test_a_picture_on_a_store_has_its_pixels(picture):
    url, image = picture
    assert np.array_equal(read(url), image)


def test_opening_asks_for_a_list_and_a_header(store, picture):
    url, _ = picture
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        assert [(asked.method, asked.status) for asked in store.take_requests()] == [
            ("GET", 206),
            ("GET", 200),
        ]
        dataset.read_masks(window=((0, 10), (0, 10)))
        assert store.take_requests() == []


def test_a_mask_beside_a_picture_is_seen(store, picture, tmp_path):
    url, _ = picture
    mask = np.full((600, 600), 255, np.uint8)
    mask[:100] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "a.tif", "r+") as it:
        it.write_mask(mask)
    store.put("in/a.tif.msk", tmp_path / "a.tif.msk")
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        assert np.array_equal(dataset.dataset_mask(), mask)


@pytest.mark.parametrize("may_list", [True, False], ids=["may list", "may not list"])
def test_a_world_file_beside_a_picture_is_seen(store, tmp_path, may_list):
    assert cv2.imwrite(str(tmp_path / "b.png"), noise(40, 40))
    url = store.put("in/b.png", tmp_path / "b.png")
    store.put("in/b.pgw", b"2\n0\n0\n-2\n1001\n1999\n")
    if not may_list:
        store.fail("prefix=", times=99, status=403)
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        assert tuple(dataset.transform)[:6] == (2, 0, 1000, 0, -2, 2000)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_stumbles_is_asked_again(store, picture, impatient, status):
    url, image = picture
    store.fail("a.tif", times=2, status=status)
    assert np.array_equal(read(url), image)


@pytest.mark.parametrize("status", [500, 503])
def test_blocks_are_asked_for_again(store, picture, impatient, status):
    url, image = picture
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        store.fail("a.tif", times=2, status=status)
        assert np.array_equal(np.moveaxis(dataset.read(), 0, -1), image)


@pytest.mark.parametrize("opened", [False, True], ids=["header", "blocks"])
def test_a_server_that_falls_silent_is_asked_again(store, picture, impatient, opened):
    url, image = picture
    with rasterio.Env(**gdal_settings()):
        if not opened:
            store.fail("a.tif", times=1, status=0)
        with open_dataset(url) as dataset:
            if opened:
                store.fail("a.tif", times=1, status=0)
            assert np.array_equal(np.moveaxis(dataset.read(), 0, -1), image)


def test_a_server_that_stays_broken_is_an_error_and_no_black_picture(
    store, picture, impatient, monkeypatch
):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
    url, image = picture
    with rasterio.Env(**gdal_settings()), open_dataset(url) as dataset:
        store.fail("a.tif", times=99, status=503)
        with pytest.raises(rasterio.errors.RasterioIOError):
            dataset.read()
        store.heal()
    assert np.array_equal(read(url), image)


def test_a_missing_object_is_not_asked_for_again_and_again(store):
    with pytest.raises(rasterio.errors.RasterioIOError):
        read(f"{store.url}/in/none.tif")
    assert len(store.take_requests()) <= 3


def test_a_picture_that_is_replaced_is_read_by_its_new_header(store, picture, tmp_path):
    url, image = picture
    assert np.array_equal(read(url), image)
    other = noise(300, 500, seed=1)
    store.put("in/a.tif", write_picture(tmp_path / "b.tif", other))
    assert np.array_equal(read(url), other)


def test_all_is_counted(store, picture):
    url, _ = picture
    take_network_use()
    read(url)
    asked, use = store.take_requests(), take_network_use()
    assert use.bytes == sum(one.sent for one in asked)
    assert 3 <= use.requests <= len(asked)


def test_waiting_has_an_end():
    assert {"GDAL_HTTP_TIMEOUT", "GDAL_HTTP_CONNECTTIMEOUT", "GDAL_HTTP_MAX_RETRY"} <= set(GDAL)
