"""What starting costs: which processes are timed, and what the table says of them."""

import json
import sys

import pytest

from benchmarks import startup
from benchmarks.startup import (
    HERE,
    OTHER,
    ROOT,
    describe,
    measure,
    seconds_of,
    start_all,
    write_job,
)


def test_a_program_that_fails_is_no_measurement():
    assert seconds_of(ROOT, "import sys; sys.exit(3)", code=3) > 0
    with pytest.raises(RuntimeError, match="ended with 4:\nno luck"):
        seconds_of(ROOT, "import sys; sys.stderr.write('no luck'); sys.exit(4)")


def test_programs_import_the_modules_of_their_checkout(tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise SystemExit(7)")
    assert seconds_of(tmp_path, "import pipeline", code=7) > 0


def test_checkouts_take_turns_after_a_start_that_does_not_count(tmp_path, monkeypatch):
    started = []

    def start(checkout, job, workers):
        assert job.exists()
        started.append(checkout.name)
        return {"--help": float(len(started))}

    monkeypatch.setattr(startup, "start_all", start)
    checkouts = {HERE: tmp_path / "a", OTHER: tmp_path / "b"}
    measured = measure(checkouts, [1], rounds=3)
    assert started == ["a", "b", *"ab", *"ba", *"ab"]
    assert measured[HERE] == [{"--help": 3.0}, {"--help": 6.0}, {"--help": 7.0}]


def test_the_table_compares_the_same_rounds():
    alone = {HERE: [{"--help": 1.0}, {"--help": 2.0}, {"--help": 9.0}]}
    assert describe(alone).rows == [("--help", "2.00 (1.00 to 9.00)")]
    both = alone | {OTHER: [{"--help": 2.0}, {"--help": 4.0}, {"--help": 9.0}]}
    [row] = describe(both).rows
    assert row[2:] == ("4.00 (2.00 to 9.00)", "0.50 (0.50 to 1.00)")


def test_numbers_and_table_are_written(tmp_path, monkeypatch):
    measured = {HERE: [{"--help": 1.0}]}
    monkeypatch.setattr(startup, "measure", lambda checkouts, workers, rounds: measured)
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["startup", f"--json={numbers}", f"--markdown={page}"])
    assert startup.main() == 0
    assert json.loads(numbers.read_text())["seconds"] == measured
    assert "| --help | 1.00 (1.00 to 1.00) |" in page.read_text()


@pytest.mark.slow
def test_all_that_is_started_is_timed(tmp_path):
    seconds = start_all(ROOT, write_job(tmp_path), [1])
    assert seconds.keys() == {
        *("--help", "import pipeline.run", "nothing to do"),
        *("first window, 1 process", "whole run, 1 process"),
    }
    assert 0 < seconds["first window, 1 process"] < seconds["whole run, 1 process"]
