"""What workers count: ends of windows, devices, memory."""

from dataclasses import replace

import apache_beam as beam
from made_rows import make_scene
from upath import UPath

from models.device_use import computing, take_device_use
from pipeline.metrics import Metrics
from transforms import counters
from transforms.functional.windows import Rectangle
from transforms.records import Rejected, TileRow, Window
from transforms.units import MISSING, Keeper, KeepUnits, resume
from transforms.workplace import Workplace

CORE = Rectangle(0, 0, 64, 32)
EMPTY = TileRow.empty(Window(make_scene(), CORE, CORE, None), "none")
REJECTED = Rejected("a.tif:0,0", "a.tif", "detect", "ValueError", "no")


def count(function, *elements):
    """Return what a function counts on a worker, called with each element."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    pipeline | beam.Create(elements, reshuffle=False) | beam.Map(function)
    result = pipeline.run()
    result.wait_until_finish()
    return Metrics.of(result)


def test_windows_are_counted_by_how_they_end_and_rejects_by_stage():
    metrics = count(counters.count_settled, EMPTY, EMPTY, REJECTED)
    assert metrics.count(counters.TILES) == {"empty": 2, "rejected": 1}
    assert metrics.count(counters.REJECTS) == {"detect": 1}
    assert metrics.count(counters.PIXELS) == {"kept": 2 * CORE.area}


def test_batches_are_counted_by_size():
    sizes = count(counters.count_batch, [1], [1, 2, 3]).spread(counters.BATCH)[counters.BATCH]
    assert (sizes.count, sizes.total, sizes.low, sizes.high) == (2, 4, 1, 3)


def compute(pictures):
    with computing("cpu", pictures):
        pass
    counters.count_devices()


def test_pictures_are_counted_by_the_device_that_really_computed_them():
    take_device_use()
    metrics = count(compute, 2, 3)
    assert metrics.count(counters.DEVICES) == {"cpu": 5}
    assert metrics.count(counters.GPU_BUSY) == {}


def test_the_peak_of_memory_is_that_of_this_process():
    block = bytearray(64 * 2**20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    before = counters.peak_mib()
    assert before is not None
    assert before >= 64


def test_where_nobody_knows_the_peak_nothing_is_noted(monkeypatch, tmp_path):
    monkeypatch.setattr(counters, "_STATUS", tmp_path / "absent")
    assert counters.peak_mib() is None
    counters.note_memory()


def test_what_is_kept_is_counted_with_its_bytes_and_what_was_kept_as_resumed(tmp_path):
    keeper = Keeper(Workplace.of(UPath(tmp_path), attempt="one", settings="abc"))
    windows = [EMPTY.window, replace(EMPTY.window, core=Rectangle(64, 0, 64, 32))]
    size = keeper.keep(TileRow.empty(windows[1], "none"))
    pipeline = beam.Pipeline(runner="FnApiRunner")
    known = pipeline | beam.Create(windows, reshuffle=False) | resume(keeper)
    _ = known[MISSING] | beam.Map(lambda window: TileRow.empty(window, "none")) | KeepUnits(keeper)
    result = pipeline.run()
    result.wait_until_finish()
    metrics = Metrics.of(result)
    assert metrics.count(counters.TILES) == {"empty": 1, "resumed": 1}
    written = keeper.place.unit_path(windows[0]).stat().st_size
    assert metrics.count(counters.WRITTEN) == {"units": written}
    assert size == keeper.place.unit_path(windows[1]).stat().st_size
    assert metrics.spread(counters.MEMORY)[counters.MEMORY].low > 0
