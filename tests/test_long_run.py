"""The memory of a long run does not grow with the number of its tiles."""

import numpy as np
import pytest

from benchmarks import long_run
from benchmarks.long_run import Finder, Growth, Held, Watch, describe, watch_apart

ALLOWED_GROWTH = 100
"""MiB that the tiles after the first hundred may add."""


def test_memory_is_looked_at_after_the_first_tiles_and_the_last(monkeypatch):
    sizes = iter([Held(float(size), 1000.0 + size) for size in range(10)])
    monkeypatch.setattr(Held, "now", staticmethod(lambda: next(sizes)))
    watch = Watch()
    for tiles in (60, 60, 60):
        watch.count(tiles)
    grown = watch.growth("job")
    assert grown.tiles == 180
    assert (grown.early, grown.late) == (Held(2.0, 1002.0), Held(3.0, 1003.0))
    assert grown.end == 1004.0


def test_the_operating_system_tells_what_this_process_holds():
    held = Held.now()
    assert 10 < held.resident <= held.peak


def test_growth_is_that_after_the_first_tiles():
    grown = Growth("job", 5000, Held(900.0, 1000.0), Held(930.0, 1010.0), 1200.0, 210.0)
    numbers = ("1000", "1010", "10", "900", "930", "30", "1200", "210")
    assert describe([grown]).rows == [("job", "5,000", *numbers)]


def test_the_detector_of_a_long_run_finds_five_objects_in_the_core_of_a_tile():
    side = long_run.CORE + 2 * long_run.HALO
    first, second = Finder()(np.zeros((2, side, side, 3), np.uint8))
    assert len(first.scores) == len(second.scores) == 5
    assert first.centres.min() >= long_run.HALO
    assert first.centres.max() < long_run.HALO + long_run.CORE


@pytest.mark.slow
def test_ten_times_the_tiles_need_no_more_memory():
    grown = watch_apart("job", 1000)
    print(f"after 100 and {grown.tiles} tiles: {grown.early} and {grown.late}")
    assert grown.tiles >= 1000
    assert grown.late.peak - grown.early.peak < ALLOWED_GROWTH
    assert grown.late.resident - grown.early.resident < ALLOWED_GROWTH


@pytest.mark.slow
@pytest.mark.parametrize("backend", long_run.installed_backends())
def test_networks_need_no_more_memory_the_longer_they_run(backend):
    grown = watch_apart(backend, 0)
    print(f"{backend}, after 100 and {grown.tiles} pictures: {grown.early} and {grown.late}")
    assert grown.tiles == long_run.PICTURES
    assert grown.late.resident - grown.early.resident < ALLOWED_GROWTH
