"""Importing without looking for garbage, and looking again afterwards."""

import gc
import sys

import pytest

from pipeline.importing import importing


@pytest.fixture(autouse=True)
def thawed():
    """Let other tests find the garbage that was there before."""
    yield
    gc.unfreeze()


@pytest.fixture
def new_module(tmp_path, monkeypatch):
    """The name of a module that is not imported yet."""
    (tmp_path / "a_module_of_this_test.py").write_text("import gc\nlooks = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "a_module_of_this_test"
    sys.modules.pop("a_module_of_this_test", None)


def test_what_is_imported_is_never_looked_through(new_module):
    gc.unfreeze()
    with importing():
        module = __import__(new_module)
    assert not module.looks
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_block_that_imports_nothing_changes_nothing():
    gc.unfreeze()
    with importing():
        import json  # noqa: F401 - it is there already
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_who_looks_for_no_garbage_is_left_alone():
    gc.disable()
    try:
        with importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_failed_import_ends_it_too():
    with pytest.raises(ModuleNotFoundError), importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()
