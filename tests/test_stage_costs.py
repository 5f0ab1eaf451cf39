"""The benchmarks of a whole run time what they say, over the same pixels as the run."""

from argparse import Namespace

import numpy as np
import pytest
from stub_networks import STUBS, use_stubs

from benchmarks import pipeline_overhead
from benchmarks.pipeline_overhead import LOOP, PIPELINE, as_json, describe, measure, read_batches
from benchmarks.stage_costs import (
    DEBLUR,
    DETECT,
    STAGES,
    Cost,
    Meter,
    profile,
    run_stages,
    stage_sheet,
)
from benchmarks.timed_scene import evaluation, production, write_scene
from pipeline.planning import plan_run
from pipeline.rounds import Lap
from transforms.scene_reader import SceneReader

GIVEN = Namespace(
    tiles=3, core=128, halo=32, backend="torch", dtype="float32", weights="deblur_dsc"
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"), GIVEN)


@pytest.fixture
def plan(scene, monkeypatch):
    use_stubs(monkeypatch)
    return plan_run(production(scene[0], GIVEN))


def test_a_scene_has_at_least_the_wanted_number_of_whole_cores(plan):
    assert len(plan.windows) == 4
    assert {window.core.area for window in plan.windows} == {128 * 128}


def test_the_bare_loop_reads_the_pixels_of_the_job(plan):
    reader = SceneReader(plan.config.input)
    wanted = [reader.read_window(window)[0] for window in plan.windows]
    reader.close()
    read = [image for batch in read_batches(plan) for image in batch]
    assert all(np.array_equal(one, two) for one, two in zip(read, wanted, strict=True))


def test_both_rivals_cover_every_core_in_every_round(plan):
    known = measure(plan, rounds=1)
    mpix = 256 * 256 / 1e6
    assert [lap.mpix for lap in known["whole"][LOOP]] == [mpix]
    assert [lap.mpix for lap in known["whole"][PIPELINE]] == [mpix]
    # One batch holds all: nothing is left after the first.
    assert [lap.mpix for lap in known["windows"][PIPELINE]] == [0]


def test_the_ratio_is_the_share_of_the_loops_speed(plan):
    loop, ours = Lap(10, 5, 5), Lap(10, 8, 10)
    known = {"whole": {LOOP: [loop], PIPELINE: [ours]}}
    [row] = describe(plan, known).rows
    assert row[1].startswith("2.00")
    assert row[2].startswith("1.25")
    assert row[3].startswith("0.62")
    assert row[4].startswith("0.50")


def test_a_time_that_nobody_knows_is_none_in_json():
    known = {"windows": {PIPELINE: [Lap(1.0, 2.0, float("nan"))]}}
    assert as_json(known) == {"windows": {PIPELINE: [{"mpix": 1.0, "wall": 2.0, "cpu": None}]}}


def test_a_stage_comes_without_its_network():
    meter = Meter()
    meter.costs.update({"deblur": Cost(5, 4), DEBLUR: Cost(3, 3), "detect": Cost(2, 2)})
    costs = meter.by_stage()
    assert costs["deblur"] == Cost(2, 1)
    assert costs[DEBLUR] == Cost(3, 3)
    assert costs["detect"] == Cost(2, 2)
    assert tuple(costs) == STAGES
    total = stage_sheet("t", costs, tiles=1).rows[-2]
    assert total[:2] == ("all", "7000.0")


def test_stages_run_with_truth_and_without(scene, monkeypatch, tmp_path):
    use_stubs(monkeypatch)
    for config in (production(scene[0], GIVEN), evaluation(*scene, GIVEN)):
        plan = plan_run(config)
        costs = run_stages(plan, plan.windows, STUBS, tmp_path).by_stage()
        assert all(costs[stage].wall > 0 for stage in STAGES)
        assert costs[DETECT].wall < 1  # the stub does nothing


def test_profiled_functions_are_ours_and_counted_by_tile(plan, tmp_path):
    functions = {each.name: each for each in profile(plan, STUBS, tmp_path)}
    assert functions["transforms.functional.blur_estimate: estimate_blur"].calls == 1
    assert all(name.startswith(("transforms.", "models.")) for name in functions)


def test_the_title_names_what_is_measured(plan):
    known = {"whole": {LOOP: [Lap(1, 1, 1)], PIPELINE: [Lap(1, 1, 1)]}}
    title = pipeline_overhead.describe(plan, known).title
    assert "4 tiles of 128 px" in title
    assert "backend torch" in title
