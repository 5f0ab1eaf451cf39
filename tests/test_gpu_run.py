"""The measurements of a GPU, tried on a CPU with tiny tiles: every part runs."""

import json
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.gpu_jobs import compare_jobs, compare_with_cpu, fill_memory, measure_production
from benchmarks.gpu_networks import (
    BY_HAND,
    Bench,
    compare_pictures,
    cudnn_that_tries,
    make_tiles,
    measure_calls,
    measure_kernels,
    search_batches,
    time_in_turns,
)
from benchmarks.gpu_run import Record
from models.batch_size import SIZES
from models.buffered_calls import WORTH

TINY = Bench("cpu", side=128, batch=2, rounds=1, product=64)
SIZE = {"tiles": 1, "core": 128, "halo": 32}


@pytest.mark.slow
def test_calls_are_beside_those_by_hand_and_give_the_same_pictures():
    rows = [*measure_calls(TINY)]
    called = {(row["network"], row["called"]): row for row in rows}
    assert all(row["mpix_per_second"] > 0 for row in rows)
    for name in ("deblur_dsc", "deblur_mobilenet"):
        assert called[name, BY_HAND]["times_by_hand"] == 1
        assert called[name, BY_HAND]["max_dn"] <= 1
        assert called[name, "float32, plain"]["max_dn"] == 0
        assert called[name, "bfloat16, plain"]["psnr"] > 50
    assert ("vehicles_yolo", "float32") in called


@pytest.mark.slow
def test_kernels_are_set_beside_a_product_of_matrices():
    rows = [*measure_kernels(TINY)]
    assert {row["dtype"] for row in rows} == {"float32", "bfloat16"}
    peaks = {r["dtype"]: r["tflops"] for r in rows if r["network"] == "product of matrices"}
    graphs = [row for row in rows if row["network"] != "product of matrices"]
    assert {(row["form"], row["called"]) for row in graphs} == {
        ("as trained", "plain"),
        ("rewritten", "plain"),
    }
    for row in graphs:
        assert row["share_of_peak"] == pytest.approx(row["tflops"] / peaks[row["dtype"]])
        assert row["tflops"] > 0


@pytest.mark.slow
def test_the_search_for_a_batch_tells_what_it_tried():
    *trials, found = search_batches(TINY)
    assert [row["batch"] for row in trials] == [*SIZES[: len(trials)]]
    assert found["found"] in SIZES


def test_calls_take_turns_after_they_were_recorded():
    called = []
    calls = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = time_in_turns(calls, 2)
    assert called == ["a"] * (WORTH + 1) + ["b"] * (WORTH + 1) + ["a", "b", "b", "a"]
    assert [len(each) for each in seconds.values()] == [2, 2]


def test_cudnn_stops_trying_afterwards():
    with cudnn_that_tries(True):
        assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.benchmark


def test_pictures_are_compared_in_levels():
    one, other = np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 2, 3), np.uint8)
    assert compare_pictures(one, other)["psnr"] is None
    other[0, 0, 0, 0] = 12
    found = compare_pictures(one, other)
    assert (found["max_dn"], found["mean_dn"], found["above_1_dn"]) == (12, 1, 1 / 12)
    assert found["psnr"] == pytest.approx(10 * np.log10(255**2 / 12))


def test_all_tiles_of_a_full_memory_are_compared():
    [picture] = make_tiles(1, 128)
    found = fill_memory(picture, 3, "cpu")
    assert (found["restored"], found["batches"], found["failures"]) == (3, [3], [])
    assert found["max_dn"] == 0


@pytest.mark.slow
def test_jobs_on_the_same_device_have_the_same_tables(tmp_path):
    on_cpu, row = compare_with_cpu(tmp_path, "cpu", **SIZE)
    assert on_cpu["job"] == "evaluation_cpu"
    assert row["detections"] > 0
    assert (row["same_share"], row["largest_score_difference"]) == (1, 0)
    assert row["psnr_after"] == on_cpu["psnr_after"]
    first, second = measure_production(tmp_path, "cpu", ["float32"], **SIZE)
    assert first["mpix_per_second"] > 0
    assert second["gpu_busy_percent"] is None
    assert compare_jobs(tmp_path / "production_float32_1", tmp_path / "production_float32_2") == {
        "detections": pytest.approx(2 * len_of(tmp_path / "production_float32_1")),
        "same_share": 1,
        "largest_score_difference": 0,
    }


def len_of(output):
    return pq.read_table(str(output / "detections")).num_rows


def test_what_was_measured_is_kept_when_time_is_up(tmp_path):
    path = tmp_path / "gpu.json"
    rows = ({"number": number} for number in range(3))
    record = Record(path, time.monotonic() + 100)
    record.add("first", rows)
    late = Record(path, time.monotonic() - 1, record.measured)
    late.add("second", iter([{"number": 9}]))
    assert json.loads(path.read_text()) == {
        "first": [{"number": 0}, {"number": 1}, {"number": 2}],
        "cut_short": ["second"],
    }
