"""Files in folders and on an S3-protocol server: whole or not at all, and listed as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
from upath import UPath

from transforms import storage
from transforms.storage import (
    StorageError,
    check_reachable,
    find_files,
    is_empty,
    is_file,
    is_local,
    put_file,
    write_bytes_whole,
    written_whole,
)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(params=["folder", "store"])
def place(request, tmp_path):
    """Return an output that does not exist yet, in a file system and on a store."""
    if request.param == "folder":
        return UPath(tmp_path / "night")
    return UPath(request.getfixturevalue("store").url) / "night"


def names(folder: UPath) -> list[str]:
    storage.forget_listings(folder)
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_and_replaced(place):
    for content in (b"one", b"another"):
        write_bytes_whole(place / "run.json", content)
        assert (place / "run.json").read_bytes() == content
    assert names(place) == ["run.json"]


def test_a_writer_that_fails_leaves_what_was_there(place):
    write_bytes_whole(place / "a.tif", b"whole")

    def fail_halfway() -> None:
        with written_whole(place / "a.tif") as local:
            local.write_bytes(b"wh")
            raise KeyError("half")

    with pytest.raises(KeyError):
        fail_halfway()
    assert (place / "a.tif").read_bytes() == b"whole"
    assert names(place) == ["a.tif"]


def test_a_writer_has_a_file_with_the_suffix_of_the_target(place):
    with written_whole(place / "a.parquet") as local:
        assert local.suffix == ".parquet"
        assert isinstance(local, Path)
        local.touch()


@pytest.mark.parametrize("same", [True, False], ids=["same file system", "another"])
def test_a_finished_file_is_moved(tmp_path, monkeypatch, same):
    local, target = tmp_path / "a", tmp_path / "new" / "b.tif"
    local.write_bytes(b"x")
    if not same:
        rename = storage.os.replace
        refuse = {local}

        def replace(source, to):
            if source in refuse:
                raise OSError(18, "Invalid cross-device link")
            rename(source, to)

        monkeypatch.setattr(storage.os, "replace", replace)
    put_file(local, target)
    assert target.read_bytes() == b"x"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.tif", "new"]


def test_a_finished_file_is_uploaded(tmp_path, store):
    (tmp_path / "a").write_bytes(bytes(6 * 2**20))
    put_file(tmp_path / "a", UPath(store.url) / "deep" / "er" / "b.tif")
    assert store.list_keys() == ["deep/er/b.tif"]
    assert store.get("deep/er/b.tif") == bytes(6 * 2**20)


def test_listings_show_what_others_wrote_and_removed(store):
    output = UPath(store.url) / "night"
    assert is_empty(output)
    store.put("night/tiles/part-0.parquet", b"")
    assert not is_empty(output)
    assert find_files(output, "*/part-*.parquet") == [output / "tiles/part-0.parquet"]
    store.put("night/tiles/part-1.parquet", b"")
    assert len(find_files(output, "*/part-*.parquet")) == 2
    assert is_file(output / "tiles/part-1.parquet")
    store.delete("night/tiles/part-1.parquet")
    assert len(find_files(output, "*/part-*.parquet")) == 1
    assert not is_file(output / "tiles/part-1.parquet")


def test_files_are_in_order_and_of_their_folder(place):
    for name in ("b", "a", "c"):
        write_bytes_whole(place / "tiles" / f"part-{name}.parquet", b"")
    write_bytes_whole(place / "tiles" / "notes.txt", b"")
    found = find_files(place / "tiles", "part-*.parquet")
    assert [path.name for path in found] == [f"part-{name}.parquet" for name in "abc"]
    assert find_files(place / "nothing", "*") == []


def test_a_folder_need_not_exist_but_a_bucket_must(tmp_path, store):
    check_reachable(UPath(tmp_path / "absent"))
    check_reachable(UPath(store.url) / "absent")
    missing = UPath("s3://no-such-bucket-here/night")
    with pytest.raises(StorageError, match=r"no-such-bucket-here/night cannot be reached.*bucket"):
        check_reachable(missing)
    with pytest.raises(StorageError, match="does not exist"):
        write_bytes_whole(missing / "run.json", b"{}")


def test_a_refusal_is_an_error_with_the_remedy(store):
    store.fail(store.bucket, times=99, status=403)
    with pytest.raises(StorageError, match=r"PermissionError.*credentials in the environment"):
        check_reachable(UPath(store.url) / "night")


def test_missing_credentials_are_named(store, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    output = UPath(store.url, skip_instance_cache=True)
    with pytest.raises(StorageError, match="NoCredentialsError"):
        check_reachable(output)


def test_a_missing_package_names_the_extra():
    code = """
import sys
sys.modules["s3fs"] = None
from upath import UPath
from transforms.storage import StorageError, check_reachable
try:
    check_reachable(UPath("s3://maps/night"))
except StorageError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "s3://maps/night needs a package: pip install 'aerial-deblur[s3]'" in said.stdout


def test_a_store_is_not_local(tmp_path):
    assert is_local(tmp_path)
    assert is_local(UPath(tmp_path))
    assert not is_local(UPath("s3://maps/night"))
