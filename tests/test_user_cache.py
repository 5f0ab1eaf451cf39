"""What can be made again is kept whole, or not at all."""

import pytest

from models.user_cache import cache_folder, recall, remember


def test_what_is_remembered_is_recalled(tmp_path):
    path = tmp_path / "deep" / "known.json"
    remember(path, {"answer": 4})
    remember(path, {"answer": 5})
    assert recall(path) == {"answer": 5}
    assert [each.name for each in path.parent.iterdir()] == ["known.json"]


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_what_is_no_object_is_nothing(tmp_path, content):
    path = tmp_path / "known.json"
    path.write_text(content)
    assert recall(path) == {}
    assert recall(tmp_path / "missing.json") == {}


def test_where_nothing_can_be_written_life_goes_on(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    remember(blocked / "known.json", {"answer": 4})
    assert recall(blocked / "known.json") == {}


def test_the_folder_is_where_the_system_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "aerial-deblur"
    assert not cache_folder().exists()
