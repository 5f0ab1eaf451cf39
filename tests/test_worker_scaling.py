"""What a second worker is worth: the job that is timed, and what is computed from it."""

import yaml

from benchmarks.worker_scaling import COLUMNS, Timing, add_row, write_job
from configs.load import validate
from configs.schema import RunConfig
from pipeline.sheet import Sheet

DEBLUR = {"weights": "deblur_mobilenet", "backend": "torch", "dtype": "float32"}


def timing(workers, *, first, last, total):
    return Timing("flink", workers, 11, first, last, total, load=1.0)


def test_a_job_computes_with_what_is_asked_for(tmp_path):
    path = write_job(tmp_path, scenes=2, size=256, deblur=DEBLUR)
    config = validate(RunConfig, yaml.safe_load(path.read_text()), source="job")
    assert config.deblur.weights == "deblur_mobilenet"
    assert config.deblur.backend == config.detect.backend == "torch"
    assert len(list(tmp_path.glob("scenes/*.tif"))) == 2


def test_speed_is_that_after_the_first_window():
    assert timing(1, first=5.0, last=10.0, total=12.0).speed == 2.0


def test_two_workers_are_compared_with_one_in_the_same_round():
    one = timing(1, first=5.0, last=15.0, total=20.0)
    two = timing(2, first=5.0, last=10.0, total=16.0)
    sheet = Sheet("workers", COLUMNS)
    add_row(sheet, "flink", [two], [one, two])
    ratios = ("2.00 (2.00 to 2.00)", "1.25 (1.25 to 1.25)")
    assert sheet.rows == [("flink", "5.0", "16.0", "1.00", "2.00", *ratios)]


def test_without_a_second_worker_nothing_is_compared():
    one = timing(1, first=5.0, last=15.0, total=20.0)
    sheet = Sheet("workers", COLUMNS)
    add_row(sheet, "in_memory", [one], [one])
    assert sheet.rows == [("in_memory", "5.0", "20.0", "1.00", "", "", "")]
