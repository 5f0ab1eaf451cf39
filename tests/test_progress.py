"""Progress: what workers leave in files is what the driver counts."""

import io

import pytest
from made_rows import make_scene
from rich.console import Console

from pipeline.progress import Tally, _Tick, read_tally, run_with_progress
from transforms.functional.windows import Rectangle
from transforms.records import Rejected, TileRow, Window


def settled(count):
    core = Rectangle(0, 0, 10, 20)
    window = Window(make_scene(), core, core, None)
    return [TileRow.empty(window, "none") for _ in range(count)]


def test_two_workers_add_up(tmp_path):
    for rows in (settled(3), [*settled(1), Rejected("a", "a", "read", "E", "m")]):
        worker = _Tick(tmp_path)
        for row in rows:
            assert worker.process(row) == [row]
        worker.teardown()
    assert read_tally(tmp_path) == Tally(tiles=5, pixels=4 * 200, rejected=1)


def test_half_a_record_counts_next_time(tmp_path):
    (tmp_path / "worker").write_bytes(b"\x01" + b"\0" * 7 + b"\x01\0")
    assert read_tally(tmp_path) == Tally(tiles=1, pixels=1)


def test_the_result_comes_back_and_errors_are_raised():
    console = Console(file=io.StringIO())
    assert run_with_progress(lambda folder: folder.exists(), planned=1, opened=1, console=console)

    def fail(folder):
        raise LookupError("no such engine")

    with pytest.raises(LookupError, match="no such engine"):
        run_with_progress(fail, planned=1, opened=1, console=console)
