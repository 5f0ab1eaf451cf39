"""Time by stage: of tiles, of loading, and of waiting."""

import apache_beam as beam
import pytest

from pipeline.metrics import Metrics, Spread
from transforms import stopwatch
from transforms.stopwatch import LOAD, NAMESPACE, PER_TILE, WAITING, Stopwatch


class Clock:
    """Stands still, unless it is told otherwise."""

    now = 0

    def perf_counter_ns(self):
        """Return what the clock shows."""
        return self.now

    def advance(self, milliseconds):
        """Let time pass."""
        self.now += 1_000_000 * milliseconds


CLOCK = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(stopwatch, "time", CLOCK)
    monkeypatch.setattr(stopwatch, "_activity", stopwatch._Activity())


class Work(beam.DoFn):
    """Loads for 30 ms; then waits 20 ms before each batch, and works as long as it is told."""

    def __init__(self, tiles):
        self._tiles = tiles
        self._stopwatch = Stopwatch("deblur")

    def setup(self):
        """Load."""
        with self._stopwatch.loading():
            CLOCK.advance(30)

    def process(self, milliseconds):
        """Wait and work."""
        CLOCK.advance(20)
        with self._stopwatch.running(self._tiles):
            CLOCK.advance(milliseconds)


def measure(*milliseconds, tiles=1):
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create(milliseconds, reshuffle=False) | beam.ParDo(Work(tiles))
    result = pipeline.run()
    result.wait_until_finish()
    return Metrics.of(result)


def test_time_is_summed_by_stage_and_loading_counts_once():
    assert measure(20, 30).count(NAMESPACE) == {"deblur": 50_000, LOAD: 30_000}


def test_a_batch_counts_as_tiles_of_equal_time():
    assert measure(40, 80, tiles=4).spread(PER_TILE) == {"deblur": Spread(8, 120, 10, 20)}


def test_a_batch_of_settled_windows_has_time_but_no_tile():
    metrics = measure(5, 5, tiles=0)
    assert metrics.count(NAMESPACE)["deblur"] == 10_000
    assert metrics.spread(PER_TILE) == {}
    assert metrics.spread(WAITING) == {}


def test_pauses_between_tiles_are_waiting_and_the_start_is_none():
    assert measure(1, 1, 1).spread(WAITING) == {WAITING: Spread(2, 40, 20, 20)}


def test_a_process_does_not_wait_while_another_thread_works():
    activity = stopwatch._Activity()
    activity.begin()
    activity.begin()
    activity.end()
    CLOCK.advance(10)
    assert activity.begin() == 0
    activity.end()
    activity.end()
    CLOCK.advance(10)
    assert activity.begin() == 10_000


def test_a_stage_that_fails_has_taken_its_time():
    watch, counted = Stopwatch("deblur"), []
    watch._total.inc = counted.append

    def fail():
        with watch.running():
            CLOCK.advance(10)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert counted == [10_000]
